"""The greatest value for which a claim holds, between one for which it does and one for which it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

FirstFailing = Callable[[Sequence[float]], int]
"""Given ascending values, the index of the first for which a claim fails; their number where none is."""


def bisecting(holds: Callable[[float], bool]) -> FirstFailing:
    """Ask one value after another, and as few as a bisection needs.

    Examples
    --------
    >>> bisecting(lambda value: value <= 3.0)([1.0, 2.0, 3.0, 4.0])
    3
    """

    def first_failing(values: Sequence[float]) -> int:
        low, high = 0, len(values)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if holds(values[middle]) else (low, middle)
        return low

    return first_failing


def greatest(
    first_failing: FirstFailing,
    guesses: Sequence[float],
    limit: float,
    *,
    tolerance: float,
    at_a_time: int = 1,
) -> float | None:
    """Return the greatest value for which a claim holds, None where it fails at the first guess.

    Parameters
    ----------
    first_failing : callable
        Tries ascending values.
    guesses : sequence of float
        Ascending values, the first below any other answer.
    limit : float
        No greater one is of interest; the answer where it is the last guess, and holds.
    tolerance : float
        How far below the true one the answer may lie, relatively. [1]
    at_a_time : int
        Values that are tried together.
    """
    index = first_failing(guesses)
    if index == 0:
        return None
    low = guesses[index - 1]
    if low >= limit:
        return limit
    high = limit if index == len(guesses) else guesses[index]
    return narrow(first_failing, low, high, tolerance=tolerance, at_a_time=at_a_time)


def narrow(
    first_failing: FirstFailing, low: float, high: float, *, tolerance: float, at_a_time: int = 1
) -> float:
    """Shrink a bracket by as many equal parts as are tried together, plus one; return its lower end.

    Examples
    --------
    >>> found = narrow(bisecting(lambda value: value <= 0.3), 0.0, 1.0, tolerance=0.01)
    >>> 0.297 <= found <= 0.3
    True
    """
    while high - low > tolerance * high:
        step = (high - low) / (at_a_time + 1)
        values = [low, *(low + step * number for number in range(1, at_a_time + 1)), high]
        index = first_failing(values[1:-1])
        low, high = values[index], values[index + 1]
    return low
