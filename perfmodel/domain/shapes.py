"""Shapes of results, and the common bases of the operators that give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from perfmodel.domain.base import Frozen

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Function = Literal["none", "relu", "sigmoid", "tanh", "prelu", "gelu", "silu"]
"""Elementwise functions."""
Scope = Literal["item", "query"]
"""Whom a result belongs to: each candidate item, or the query, which all its items share."""


Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""Of what an operator computes, reads and gives, weights included."""


DeviceKind = Literal["cpu", "gpu"]
"""What runs a model: cores of a host, or a card."""
Link = Literal["host", "cards"]
"""What a card's link goes to: its host (PCIe, or NVLink where the host has it), or other cards (NVLink)."""


class Shape(NamedTuple):
    """One item's result: `length` vectors of `width` elements."""

    length: int
    width: int

    @property
    def elements(self) -> int:
        """Elements in all. [elements/item]"""
        return self.length * self.width


Shapes = Mapping[str, Shape]
"""Results known so far, by the name of the operator that gives them."""


class OperatorBase(Frozen):
    """What all operators share: a name that others read the result by, and whom the result belongs to.

    `scope: query` says that it is computed once for each request of a query that reaches an executor (the
    user's features, history or tower) and broadcast to the request's items. `precision` is that of the
    module; a stack's costs are those of fp32, or of the precision that it says.
    """

    name: Name
    scope: Scope = "item"
    precision: Precision = "fp32"

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        raise AssertionError("every operator says what it reads")

    def output_shape(self, shapes: Shapes) -> Shape:  # noqa: ARG002  # subclasses need it
        """Shape of the result; raises ValueError, without the operator's name, where inputs do not fit."""
        raise AssertionError("every operator says what it gives")

    def num_parameters(self, shapes: Shapes) -> int:  # noqa: ARG002  # most operators have none
        """Weights and biases, embedding tables left out. [elements]"""
        return 0


class OneInput(OperatorBase):
    """An operator that reads one result."""

    input: Name

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.input,)

    def output_shape(self, shapes: Shapes) -> Shape:
        """Elementwise unless a subclass says otherwise: the input's own shape."""
        return shapes[self.input]


class ManyInputs(OperatorBase):
    """An operator that reads several results in order."""

    inputs: Annotated[tuple[Name, ...], Field(min_length=1)]

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return self.inputs

    def common_width(self, shapes: Shapes) -> int:
        """Width of all inputs; raises ValueError where they differ. [elements]"""
        widths = {name: shapes[name].width for name in self.inputs}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name} has {width}" for name, width in widths.items())
            raise ValueError(f"expects inputs of one width, but {listed}")
        return next(iter(widths.values()))
