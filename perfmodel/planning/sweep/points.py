"""The points of a sweep: every combination of the values that its keys are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from perfmodel.errors import InputError
from perfmodel.loading.over import SweptKey, SweptValue
from perfmodel.loading.words import cut

MOST_POINTS = 100_000


@dataclass(frozen=True, slots=True)
class Point:
    """One combination.

    Attributes
    ----------
    number : int
        In the order of the table, from 0.
    keys : tuple of str
        What is set.
    values : tuple of SweptValue
        To what.
    """

    number: int
    keys: tuple[str, ...]
    values: tuple[SweptValue, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """As `load_scenario` takes them."""
        return tuple(f"{key}={value.text}" for key, value in zip(self.keys, self.values, strict=True))

    @property
    def name(self) -> str:
        """What tells it from the others, on one line."""
        return " ".join(self.overrides)


def points_of(keys: Sequence[SweptKey], overrides: Sequence[str] = ()) -> list[Point]:
    """Combine all values; the last key changes fastest.

    Parameters
    ----------
    keys : sequence of SweptKey
        What is swept.
    overrides : sequence of str
        `KEY=VALUE`, what is set at every point: a swept key would undo it in silence.

    Raises
    ------
    InputError
        If a key is given twice, or lies within another, or is set as well; or if the points are too many.

    Examples
    --------
    >>> from perfmodel.loading.over import parse_over
    >>> [point.name for point in points_of([parse_over("a=1,2"), parse_over("b=x,y")])]
    ['a=1 b=x', 'a=1 b=y', 'a=2 b=x', 'a=2 b=y']
    """
    if not keys:
        raise InputError("sweep: expected at least one --over KEY=VALUE,VALUE,...")
    names = [each.key for each in keys]
    for index, name in enumerate(names):
        for other in names[:index]:
            if name == other:
                raise InputError(f"--over {name}: given twice; expected all its values in one")
            if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}."):
                raise InputError(f"--over {name}: one of {other} and {name} lies within the other")
        for key in (override.partition("=")[0].strip() for override in overrides):
            if f"{key}.".startswith(f"{name}."):
                raise InputError(f"--set {cut(key)}: expected no value of it beside --over {cut(name)}")
    count = prod(len(each.values) for each in keys)
    if count > MOST_POINTS:
        raise InputError(f"sweep: expected at most {MOST_POINTS:_} points, got {count:_}")
    combined = product(*(each.values for each in keys))
    return [Point(number, tuple(names), values) for number, values in enumerate(combined)]
