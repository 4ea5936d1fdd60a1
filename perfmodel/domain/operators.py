"""The operators that a model file may use: what each holds, and what shape it gives.

A result is `length` vectors of `width` elements for each item, or once for the query where that is the
operator's scope: a plain vector has length 1, a behaviour sequence or the pooled vectors of several tables
have more. What an operator costs is `costmodel`'s job.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import Count, Pooling, Rows
from perfmodel.domain.sequence_operators import (
    ActivationUnits,
    Attention,
    AttentionScores,
    LocalActivation,
    Recurrent,
)
from perfmodel.domain.shapes import (
    Function,
    ManyInputs,
    Name,
    OneInput,
    OperatorBase,
    Precision,
    Scope,
    Shape,
    Shapes,
)
from perfmodel.domain.tensor_operators import BatchMatmul, Elementwise, TensorOperator, View

__all__ = [
    "Activation",
    "ActivationUnits",
    "Attention",
    "AttentionScores",
    "BatchMatmul",
    "Concat",
    "Cross",
    "DotInteraction",
    "Elementwise",
    "EmbeddingBag",
    "EmbeddingTable",
    "Function",
    "Ids",
    "LocalActivation",
    "Mlp",
    "Operator",
    "Parameters",
    "Recurrent",
    "Scope",
    "Shape",
    "Shapes",
    "Softmax",
    "Sum",
    "View",
]


TABLE_PRECISION: Mapping[int, Precision] = {1: "int8", 2: "fp16", 4: "fp32", 8: "fp32"}
"""What a table's elements are stored in, by their size. [bytes]"""


class EmbeddingTable(Frozen):
    """`count` equal tables; `pooling_factor` is the mean lookups per item in each of them.

    Attributes
    ----------
    num_rows : int
        Rows of one table. [rows]
    dim : int
        Elements of a row. [elements]
    count : int
        How many tables are like this one.
    pooling_factor : float
        Mean lookups per item in each table. [lookups/item]
    element_bytes : int
        Bytes of one element: 4 for fp32, 2 for fp16, 1 for int8. [bytes]
    zipf_exponent : float
        Skew of the indices: the r-th most popular row is drawn with weight r**-s; 0 is uniform. [1]
    rows_in_use : int or None
        Rows that the indices fall on, where they are fewer than the table has: stored inputs that a benchmark
        runs again and again, a part of the users who are awake. Left out: all of them.
    indices : str or None
        The result that the indices are, such as an `ids` that several tables read; left out: they come with
        the request for this table alone.
    memory : str or None
        Label of its memory: tables (and score layers) with one label are one table, read several times.
    """

    num_rows: Rows
    dim: Count
    pooling_factor: Pooling = 1.0
    count: Count = 1
    element_bytes: Literal[1, 2, 4, 8] = 4
    zipf_exponent: Annotated[float, Field(ge=0, le=3)] = 0.0
    rows_in_use: Rows | None = None
    indices: Name | None = None
    memory: Name | None = None

    @model_validator(mode="after")
    def _rows_in_use_are_rows(self) -> EmbeddingTable:
        if self.rows_in_use is not None and self.rows_in_use > self.num_rows:
            raise ValueErrorAt(
                f"expected at most the table's {self.num_rows} rows, got {self.rows_in_use}", ("rows_in_use",)
            )
        return self

    @property
    def precision(self) -> Precision:
        """What its elements are stored in, by their size."""
        return TABLE_PRECISION[self.element_bytes]

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


class Mlp(OneInput):
    """Fully connected layers, applied to every vector of the input; `widths` starts with the input's.

    `final_activation` is the last layer's; left out, it is the same as the others'. With `groups` there are
    that many such stacks with weights of their own (experts, fields, groups of a convolution): the input's
    vectors are dealt to them in equal runs; where they are `routed` (a mixture of experts), a gate gives each
    vector to one of them, as many to each on average. `memory`: label of its weights, where others are the
    same ones. `bias`: whether layers add one. `casts`: whether each pass first makes weights of the
    operator's precision from ones that are kept in fp32, as autocast does.
    """

    kind: Literal["mlp", "fc"]
    widths: Annotated[tuple[Count, ...], Field(min_length=2)]
    activation: Function = "relu"
    final_activation: Function | None = None
    groups: Count = 1
    routed: bool = False
    memory: Name | None = None
    bias: bool = True
    casts: bool = False

    @model_validator(mode="after")
    def _are_cast_to_something(self) -> Mlp:
        if self.casts and self.precision not in ("bf16", "fp16"):
            raise ValueErrorAt(f"expected precision bf16 or fp16 beside it, got {self.precision}", ("casts",))
        return self

    @property
    def layers(self) -> tuple[tuple[int, int, Function], ...]:
        """Inputs, outputs and activation of each layer."""
        last = self.final_activation or self.activation
        activations = [self.activation] * (len(self.widths) - 2) + [last]
        return tuple(zip(self.widths[:-1], self.widths[1:], activations, strict=True))

    def output_shape(self, shapes: Shapes) -> Shape:
        """As many vectors as the input has, of the last width."""
        given = shapes[self.input]
        if given.width != self.widths[0]:
            wide = f"{self.widths[0]} inputs, gets {given.width} from {self.input}"
            hint = f" (it gives {given.length} vectors; concat or sum them first)" if given.length > 1 else ""
            raise ValueError(f"expects {wide}{hint}")
        if given.length % self.groups and not self.routed:
            raise ValueError(
                f"expects vectors for {self.groups} groups, gets {given.length} from {self.input}"
            )
        return Shape(given.length, self.widths[-1])

    def num_parameters(self, shapes: Shapes) -> int:  # noqa: ARG002  # one signature for all
        """Weights and, unless there is none, a bias for each layer. [elements]"""
        return self.groups * sum(k * n + self.bias * n for k, n, _ in self.layers)


class EmbeddingBag(OperatorBase):
    """Look up rows of embedding tables; pool the rows of each table to one vector, or keep the sequence.

    Where it `varies`, the lists are as long as the history of the query at hand, which `traffic.lengths` of a
    scenario says; the file's pooling factor is that of a typical one. `weights` is the result by whose
    elements the rows are multiplied before they are pooled. What a card does not run (`only_on: cpu`) gives
    a result that nothing reads; its tables, and indices that come with the request, are there all the same.
    """

    kind: Literal["embedding_bag"]
    tables: Annotated[tuple[EmbeddingTable, ...], Field(min_length=1)]
    pooling: Literal["sum", "mean", "max", "none"] = "sum"
    varies: bool = False
    weights: Name | None = None
    only_on: Literal["cpu"] | None = None

    def reads(self) -> tuple[str, ...]:
        """Results that indices and weights are; other indices come with the request."""
        indices = dict.fromkeys(table.indices for table in self.tables if table.indices is not None)
        return (*indices, *(() if self.weights is None else (self.weights,)))

    def is_stored_in(self, precisions: Collection[Precision]) -> bool:
        """Whether it and the elements of all its tables are in these."""
        return self.precision in precisions and all(table.precision in precisions for table in self.tables)

    def output_shape(self, shapes: Shapes) -> Shape:  # noqa: ARG002  # one signature for all
        """One vector a table (a lookup, where not pooled); side by side where widths differ."""
        dims = {table.dim for table in self.tables}
        if self.pooling == "none":
            if len(dims) > 1:
                raise ValueError(f"expects one dim for a sequence, gets {sorted(dims)}")
            lookups = sum(table.count * table.pooling_factor for table in self.tables)
            if lookups != int(lookups):
                raise ValueError("expects whole pooling factors for a sequence")
            return Shape(int(lookups), dims.pop())
        if len(dims) > 1:
            return Shape(1, sum(table.count * table.dim for table in self.tables))
        return Shape(sum(table.count for table in self.tables), dims.pop())


class Ids(OperatorBase):
    """Whole numbers that come with the request, `count` an item: what several operators read of them.

    Tables that name it as their `indices` share it, and it is converted once; other operators make masks,
    hashes and lengths of it.
    """

    kind: Literal["ids"]
    count: Pooling = 1.0

    def reads(self) -> tuple[str, ...]:
        """They come with the request."""
        return ()

    def output_shape(self, shapes: Shapes) -> Shape:  # noqa: ARG002  # one signature for all
        """One vector of them, whole where their number is a mean."""
        return Shape(1, max(1, round(self.count)))


class Parameters(OperatorBase):
    """Weights that others read as they read results: learned queries, positions, matrices made of weights.

    `memory`: label of what they are, where layers or tables are the same.
    """

    kind: Literal["parameters"]
    length: Count = 1
    width: Count
    memory: Name | None = None

    def reads(self) -> tuple[str, ...]:
        """Nothing: they are the model's."""
        return ()

    def output_shape(self, shapes: Shapes) -> Shape:  # noqa: ARG002  # one signature for all
        """As the file says."""
        return Shape(self.length, self.width)

    def num_parameters(self, shapes: Shapes) -> int:  # noqa: ARG002  # one signature for all
        """All of them. [elements]"""
        return self.length * self.width


class Concat(ManyInputs):
    """Join results: side by side into one vector (`features`), or one after the other (`length`)."""

    kind: Literal["concat"]
    along: Literal["features", "length"] = "features"

    def output_shape(self, shapes: Shapes) -> Shape:
        """All elements in one vector, or all vectors in one sequence."""
        if self.along == "features":
            return Shape(1, sum(shapes[name].elements for name in self.inputs))
        return Shape(sum(shapes[name].length for name in self.inputs), self.common_width(shapes))


class Sum(ManyInputs):
    """Add results of one shape elementwise; or, of a single input, its vectors to one."""

    kind: Literal["sum"]

    def output_shape(self, shapes: Shapes) -> Shape:
        """The shape of each input; one vector where there is one input."""
        width = self.common_width(shapes)
        lengths = {shapes[name].length for name in self.inputs}
        if len(self.inputs) == 1:
            return Shape(1, width)
        if len(lengths) > 1:
            raise ValueError(f"expects inputs of one length, gets {sorted(lengths)}")
        return Shape(lengths.pop(), width)


class DotInteraction(ManyInputs):
    """Dot products of all pairs of vectors (DLRM); with `with_self`, of each vector with itself too."""

    kind: Literal["dot_interaction"]
    with_self: bool = False

    def num_vectors(self, shapes: Shapes) -> int:
        """Vectors that interact."""
        return sum(shapes[name].length for name in self.inputs)

    def output_shape(self, shapes: Shapes) -> Shape:
        """One element for each pair."""
        self.common_width(shapes)
        n = self.num_vectors(shapes)
        if n < 2:
            raise ValueError("expects at least 2 vectors to interact, gets 1")
        return Shape(1, n * (n + 1) // 2 if self.with_self else n * (n - 1) // 2)


class Activation(OneInput):
    """An elementwise function."""

    kind: Literal["activation"]
    function: Function


class Softmax(OneInput):
    """Softmax over the elements of each vector."""

    kind: Literal["softmax"]


class Cross(OneInput):
    """DCN-v2 cross layers: x' = x0 * (W x + b) + x, with W of low `rank`, or full where null.

    Wang et al., "DCN V2", WWW 2021, eq. 1 and 2.
    """

    kind: Literal["cross"]
    num_layers: Count
    rank: Count | None = None

    def output_shape(self, shapes: Shapes) -> Shape:
        """The input's own shape."""
        given = shapes[self.input]
        if given.length != 1:
            raise ValueError(f"expects one vector, gets {given.length} from {self.input}; concat them first")
        return given

    def num_parameters(self, shapes: Shapes) -> int:
        """Weights and one bias vector for each layer. [elements]"""
        width = shapes[self.input].width
        weights = width * width if self.rank is None else 2 * width * self.rank
        return self.num_layers * (weights + width)


Operator = Annotated[
    Mlp
    | EmbeddingBag
    | Ids
    | Parameters
    | Concat
    | Sum
    | DotInteraction
    | Activation
    | Softmax
    | LocalActivation
    | ActivationUnits
    | AttentionScores
    | Attention
    | Recurrent
    | Cross
    | TensorOperator,
    Field(discriminator="kind"),
]
