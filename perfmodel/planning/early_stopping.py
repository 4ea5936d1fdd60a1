"""LoadGen's early stopping: how many queries may be late in a run that MLPerf inference calls valid."""

from __future__ import annotations

from math import isfinite

from perfmodel.errors import InputError

CONFIDENCE = 0.99
"""With which LoadGen asks that the percentile lies within the target latency. [1]"""


def least_queries(late: int, percentile: float, *, confidence: float = CONFIDENCE) -> int:
    """Fewest queries of which so many may exceed the target latency. [queries]

    A run of n queries of which t are late is valid where so few would be late with a probability below
    1 - c, if each were late with probability 1 - p: with q = 1 - p, F(t; n, q) < 1 - c, F being the binomial
    law, which is the regularised beta function I_p(n - t, t + 1) [1]_. LoadGen counts the n - t that pass.

    Parameters
    ----------
    late : int
        Queries t that take longer than the target, >= 0.
    percentile : float
        The target's p, a fraction in (0, 1).
    confidence : float, default 0.99
        c, in (0, 1). [1]

    Raises
    ------
    InputError
        If a value is outside these.

    Examples
    --------
    >>> [least_queries(late, 0.99) for late in (0, 1, 2)]
    [459, 662, 838]
    >>> [least_queries(0, percentile) for percentile in (0.9, 0.95, 0.97, 0.999)]
    [44, 90, 152, 4603]

    References
    ----------
    .. [1] MLCommons, inference, loadgen/early_stopping.cc, `odds` and `find_min_passing`.
    """
    _check(percentile, confidence)
    if late < 0:
        raise InputError(f"late queries: expected 0 or more, got {late}")
    low, high = late, max(1, 2 * late)  # of none can be told; doubled until it can
    while not is_valid(high, late, percentile, confidence=confidence):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        valid = is_valid(middle, late, percentile, confidence=confidence)
        low, high = (low, middle) if valid else (middle, high)
    return high


def most_late(num_queries: int, percentile: float, *, confidence: float = CONFIDENCE) -> int | None:
    """Most queries of a run that may exceed the target latency; None: the run is too short for any. [queries]

    Parameters
    ----------
    num_queries : int
        Of the run.
    percentile, confidence : float
        As of `least_queries`.

    Examples
    --------
    >>> most_late(458, 0.99), most_late(459, 0.99), most_late(661, 0.99), most_late(270_336, 0.99)
    (None, 0, 0, 2583)
    """
    _check(percentile, confidence)
    if not is_valid(num_queries, 0, percentile, confidence=confidence):
        return None
    low, high = 0, num_queries  # all late is never valid
    while high - low > 1:
        middle = (low + high) // 2
        valid = is_valid(num_queries, middle, percentile, confidence=confidence)
        low, high = (middle, high) if valid else (low, middle)
    return low


def is_valid(num_queries: int, late: int, percentile: float, *, confidence: float = CONFIDENCE) -> bool:
    """Whether a run of so many queries may end with so many late: see `least_queries`."""
    from scipy.special import betainc  # a tenth of a second that others can spare

    passed = num_queries - late
    return passed > 0 and bool(betainc(passed, late + 1, percentile) < 1.0 - confidence)


def _check(percentile: float, confidence: float) -> None:
    for name, value in (("percentile", percentile), ("confidence", confidence)):
        if not (isfinite(value) and 0.0 < value < 1.0):
            raise InputError(f"{name}: expected a fraction between 0 and 1, got {value:g}")
