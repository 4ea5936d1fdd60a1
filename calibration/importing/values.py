"""What a node of the graph stands for while operators are recognised; shapes are of one item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perfmodel.domain.operators import Shape


@dataclass(frozen=True, slots=True)
class Result:
    """All elements of an operator's result, in whatever shape the graph sees them."""

    name: str
    shape: Shape

    @property
    def elements(self) -> int:
        """Elements of one item. [elements/item]"""
        return self.shape.elements


@dataclass(frozen=True, slots=True)
class Part:
    """Some elements of an operator's result, or repeated ones."""

    source: Result
    elements: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Results that a call has joined, not yet written down: the reader's shape says along what."""

    parts: tuple[Value, ...]
    label: str
    call: str

    @property
    def elements(self) -> int:
        """Elements of one item. [elements/item]"""
        return sum(part.elements for part in self.parts)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Dot products of all pairs of `vectors`, not yet written down: perhaps only a triangle is kept."""

    vectors: Value
    num_vectors: int
    width: int
    label: str

    @property
    def elements(self) -> int:
        """Elements of one item. [elements/item]"""
        return self.num_vectors**2


@dataclass(frozen=True, slots=True)
class Index:
    """Whole numbers or truth values that come with the request."""

    elements: float


@dataclass(frozen=True, slots=True)
class Constant:
    """Parameters, and what is computed from them alone."""

    shape: tuple[int, ...]
    name: str = ""
    element_bytes: Literal[1, 2, 4, 8] = 4


@dataclass(frozen=True, slots=True)
class Several:
    """The results of a call that has several."""

    members: tuple[AnyValue, ...]


Value = Result | Part | Joined | Pairs
"""Activations: what operators read."""
ACTIVATIONS = (Result, Part, Joined, Pairs)
AnyValue = Value | Index | Constant | Several
