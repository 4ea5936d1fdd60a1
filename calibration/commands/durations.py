"""Durations as options give them: 500ms, 30s, 1.5m, 2h."""

from __future__ import annotations

from math import inf

from perfmodel.errors import InputError
from perfmodel.loading.words import quoted

UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(
    text: str,
    option: str,
    *,
    least_s: float = 0.0,
    most_s: float = inf,
    unit: str = "",
    expected: str = "a time such as 30s or 2m",
) -> float:
    """Read a duration > 0. [s]

    Parameters
    ----------
    text : str
        A number and a unit of `UNITS_S`, in either case.
    option : str
        What it was given to, as messages name it.
    least_s, most_s : float
        Bounds, themselves allowed. [s]
    unit : str
        What a number without one is in; empty: there has to be one.
    expected : str
        What a message says was expected.

    Raises
    ------
    InputError
        If it is no finite time within the bounds.

    Examples
    --------
    >>> seconds_of("30s", "--duration"), seconds_of("1.5m", "--duration")
    (30.0, 90.0)
    """
    digits = text.rstrip("mshMSH")
    try:
        seconds = float(digits) * UNITS_S[text[len(digits) :].lower() or unit]
    except (KeyError, ValueError):
        seconds = 0.0
    if not (0.0 < seconds < inf and least_s <= seconds <= most_s):
        raise InputError(f"{option}: expected {expected}, got {quoted(text)}")
    return seconds
