"""A value that was estimated from a recording, and its 95 % interval."""

from __future__ import annotations

from typing import NamedTuple

Z95 = 1.959964
"""Of a normal law, for intervals of 95 %. [1]"""


class Estimated(NamedTuple):
    """A value with the ends of its 95 % interval, all in one unit."""

    value: float
    low: float
    high: float

    def holds(self, truth: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= truth <= self.high


def around(value: float, standard_error: float) -> Estimated:
    """A value with the interval of a normal law.

    Examples
    --------
    >>> around(10.0, 1.0).holds(8.1), around(10.0, 1.0).holds(8.0)
    (True, False)
    """
    return Estimated(value, value - Z95 * standard_error, value + Z95 * standard_error)
