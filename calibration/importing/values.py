"""What a node of the graph stands for while operators are recognised; sizes are an item's, or the query's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perfmodel.domain.operators import Shape
from perfmodel.domain.shapes import Precision

Scope = Literal["item", "query"]
"""Whom a value belongs to: each item has its own, or all items of a query share it."""
Key = tuple[object, ...]
"""Which elements of a result a view selects: equal keys, equal elements. Empty: all of them."""


@dataclass(frozen=True, slots=True)
class Result:
    """All elements of an operator's result, in whatever shape the graph sees them."""

    name: str
    shape: Shape
    scope: Scope = "item"

    @property
    def elements(self) -> int:
        """Elements of one item. [elements/item]"""
        return self.shape.elements


@dataclass(frozen=True, slots=True)
class Part:
    """Some elements of an operator's result, or repeated ones; `scope` is whose they are once repeated."""

    source: Result
    elements: int
    key: Key = ()
    scope: Scope = "item"


@dataclass(frozen=True, slots=True)
class Joined:
    """Results that a call has joined, not yet written down: the reader's shape says along what."""

    parts: tuple[Value, ...]
    label: str
    call: str
    scope: Scope = "item"

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
    scope: Scope = "item"

    @property
    def elements(self) -> int:
        """Elements of one item. [elements/item]"""
        return self.num_vectors**2


@dataclass(frozen=True, slots=True)
class Index:
    """Whole numbers or truth values: those that the request brings, or an operator's result.

    Attributes
    ----------
    elements : float
        Of one item, or of the query. [elements]
    origin : str
        The input that they come with; empty where an operator computes them.
    key : tuple
        Which of the input's elements they are.
    result : Result or None
        What computes them.
    """

    elements: float
    scope: Scope = "item"
    origin: str = ""
    key: Key = ()
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """Parameters, and what is computed from them alone; `items`: whether each item has a copy.

    `packed_bias`: of a quantised layer's weights, whether a bias is packed with them. `is_repeated`: whether
    the copies are one place in memory, as `expand` makes them. `is_made`: whether sizes alone make it, as
    they make ones and ranges.
    """

    shape: tuple[int, ...]
    name: str = ""
    element_bytes: Literal[1, 2, 4, 8] = 4
    items: bool = False
    key: Key = ()
    is_index: bool = False
    packed_bias: bool | None = None
    is_repeated: bool = False
    is_made: bool = False


@dataclass(frozen=True, slots=True)
class Several:
    """The results of a call that has several."""

    members: tuple[AnyValue, ...]


@dataclass(frozen=True, slots=True)
class Picked:
    """Rows of a result that a gate or a mask gives to an expert; None: of zeros."""

    source: Value | None
    width: int


@dataclass(frozen=True, slots=True)
class Layered:
    """A layer over an expert's rows."""

    of: Step
    weight: Constant
    widths: tuple[int, int]
    has_bias: bool
    precision: Precision


@dataclass(frozen=True, slots=True)
class Pointed:
    """A function of each element of an expert's rows."""

    function: str
    of: tuple[Step, ...]
    width: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An expert's rows in another width, or a part of each."""

    of: Step
    width: int


Step = Picked | Layered | Pointed | Seen
"""What is done to the rows of an expert, from where they come on."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows of an expert, so many in the example, and what was done to them."""

    rows: int
    width: int
    step: Step


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows that come back from experts, put to `base` or joined; `elements` are an item's."""

    base: Value | None
    parts: tuple[Chosen | Value, ...]
    elements: int
    label: str
    is_joined: bool = False


Value = Result | Part | Joined | Pairs
"""Activations: what operators read."""
ACTIVATIONS = (Result, Part, Joined, Pairs)
AnyValue = Value | Index | Constant | Several | Chosen | Gathered
