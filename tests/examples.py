"""How many examples a property is tried with: as many as it says in a thorough run, an eighth by default."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import settings

share = Fraction(1)
"""Of the examples that are tried; `tests/conftest.py` sets it before any test module is read. [1]"""


def examples(number: int) -> settings:
    """So many examples of a property in a thorough run, its share of them by default.

    They are drawn anew in each run, so that runs by default see others each time.
    """
    return settings(max_examples=max(5, int(number * share)), deadline=None)
