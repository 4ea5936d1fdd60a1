"""What differs between two scenarios, and which of their keys it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perfmodel.loading.inputs import InputFile
from perfmodel.planning.diff.keys import DifferingKey
from perfmodel.planning.diff.side import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """A key in which the scenarios differ, and what it does by itself.

    Attributes
    ----------
    key : DifferingKey
        The key and its values.
    from_a : tuple of Difference
        A with B's value, over A.
    from_b : tuple of Difference
        B over B with A's value.
    why_not : str or None
        Why it cannot be changed by itself on at least one side.
    """

    key: DifferingKey
    from_a: tuple[Difference, ...]
    from_b: tuple[Difference, ...]
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The answer of `perfplan diff`.

    Attributes
    ----------
    a, b : str
        What is compared.
    differences : tuple of Difference
        By metric, in SI.
    keys : tuple of KeyShare
        Empty where what is compared is no two scenarios.
    notes : tuple of str
        What a reader must know.
    inputs : tuple of InputFile
        The files that were read.
    asked : (mapping or None, mapping or None)
        Both sides as files say them; None of a saved answer that does not tell.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    keys: tuple[KeyShare, ...] = ()
    notes: tuple[str, ...] = ()
    inputs: tuple[InputFile, ...] = ()
    asked: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None] = (None, None)

    @property
    def interaction(self) -> Mapping[str, float | None]:
        """By metric, what the keys' shares, each changed alone in A, leave of the difference."""
        return {
            found.metric: _rest(found.value, [_value(key.from_a, found.metric) for key in self.keys])
            for found in self.differences
        }


def _value(differences: tuple[Difference, ...], metric: str) -> float | None:
    return next((found.value for found in differences if found.metric == metric), None)


def _rest(value: float | None, parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return None if value is None or len(known) < len(parts) else value - sum(known)
