"""What model operators are made of: names, shapes, embedding tables, and the operators' common parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from perfmodel.domain.base import Frozen

PositiveInt = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Function = Literal["none", "relu", "sigmoid", "tanh", "prelu"]


class Shape(NamedTuple):
    """One item's result: `length` vectors of `width` elements."""

    length: int
    width: int

    @property
    def elements(self) -> int:
        """Elements in all. [elements/item]"""
        return self.length * self.width


Shapes = Mapping[str, Shape]


class EmbeddingTable(Frozen):
    """`count` equal tables; `pooling_factor` is the mean lookups per item in each of them.

    Attributes
    ----------
    num_rows, dim, count : int
        Rows and elements per row of one table; how many tables are like this one.
    pooling_factor : float
        Mean lookups per item in each table. [lookups/item]
    element_bytes : int
        Bytes of one element: 4 for fp32, 2 for fp16, 1 for int8. [bytes]
    zipf_exponent : float
        Skew of the indices: the r-th most popular row is drawn with weight r**-s; 0 is uniform. [1]
    """

    num_rows: PositiveInt
    dim: PositiveInt
    pooling_factor: Annotated[float, Field(gt=0)] = 1.0
    count: PositiveInt = 1
    element_bytes: Literal[1, 2, 4, 8] = 4
    zipf_exponent: Annotated[float, Field(ge=0, le=3)] = 0.0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row. [bytes]"""
        return self.dim * self.element_bytes

    @property
    def size_bytes(self) -> int:
        """Memory that one of the tables occupies. [bytes]"""
        return self.num_rows * self.row_bytes

    @property
    def bytes_per_item(self) -> float:
        """Rows read for one item in one of the tables. [bytes/item]"""
        return self.pooling_factor * self.row_bytes


class OperatorBase(Frozen):
    """What all operators share: a name that others read the result by."""

    name: Name

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        raise AssertionError("every operator says what it reads")

    def output_shape(self, shapes: Shapes) -> Shape:
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
        widths = {name: shapes[name].width for name in self.inputs}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name} has {width}" for name, width in widths.items())
            raise ValueError(f"expects inputs of one width, but {listed}")
        return next(iter(widths.values()))
