"""Figures that somebody acts on, rounded so that what they say still holds."""

from __future__ import annotations

from math import ceil, floor, log10

CLOSE = 1e-9
"""Of the last digit: a figure this close to a whole one is that. [1]"""


def rounded_up(value: float, digits: int) -> float:
    """The least number of so many significant digits that is not below a value > 0; others as they are.

    Examples
    --------
    >>> rounded_up(186145.6, 4), rounded_up(39.0, 4), rounded_up(0.0, 4)
    (186200.0, 39.0, 0.0)
    """
    return _rounded(value, digits, up=True)


def rounded_down(value: float, digits: int) -> float:
    """The greatest number of so many significant digits that is not above a value > 0; others as they are.

    Examples
    --------
    >>> rounded_down(232.7586, 4), rounded_down(2.49915, 4), rounded_down(1.5, 4)
    (232.7, 2.499, 1.5)
    """
    return _rounded(value, digits, up=False)


def _rounded(value: float, digits: int, *, up: bool) -> float:
    if value <= 0.0:
        return value
    places = digits - 1 - floor(log10(value))
    steps = value * 10.0**places
    whole = ceil(steps - CLOSE) if up else floor(steps + CLOSE)
    return round(whole * 10.0**-places, max(0, places))
