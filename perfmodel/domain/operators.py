"""The operators that a model file may use: what each holds, and what shape it gives.

A result is `length` vectors of `width` elements for each item: a plain vector has length 1, a behaviour
sequence or the pooled vectors of several tables have more. What an operator costs is `costmodel`'s job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

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


class _Base(Frozen):
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


class _OneInput(_Base):
    """An operator that reads one result."""

    input: Name

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.input,)

    def output_shape(self, shapes: Shapes) -> Shape:
        """Elementwise unless a subclass says otherwise: the input's own shape."""
        return shapes[self.input]


class _ManyInputs(_Base):
    """An operator that reads several results in order."""

    inputs: Annotated[tuple[Name, ...], Field(min_length=1)]

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return self.inputs

    def _common_width(self, shapes: Shapes) -> int:
        widths = {name: shapes[name].width for name in self.inputs}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name} has {width}" for name, width in widths.items())
            raise ValueError(f"expects inputs of one width, but {listed}")
        return next(iter(widths.values()))


class Mlp(_OneInput):
    """Fully connected layers, applied to every vector of the input; `widths` starts with the input's.

    `final_activation` is the last layer's; left out, it is the same as the others'.
    """

    kind: Literal["mlp", "fc"]
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    activation: Function = "relu"
    final_activation: Function | None = None

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
            hint = (
                f" (it gives {given.length} vectors; concat or sum them first)" if given.length > 1 else ""
            )
            raise ValueError(f"expects {wide}{hint}")
        return Shape(given.length, self.widths[-1])

    def num_parameters(self, shapes: Shapes) -> int:  # noqa: ARG002
        """Weights and a bias for each layer. [elements]"""
        return sum(k * n + n for k, n, _ in self.layers)


class EmbeddingBag(_Base):
    """Look up rows of embedding tables; pool the rows of each table to one vector, or keep the sequence."""

    kind: Literal["embedding_bag"]
    tables: Annotated[tuple[EmbeddingTable, ...], Field(min_length=1)]
    pooling: Literal["sum", "none"] = "sum"

    def reads(self) -> tuple[str, ...]:
        """Indices come with the request, not from another operator."""
        return ()

    def output_shape(self, shapes: Shapes) -> Shape:  # noqa: ARG002
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


class Concat(_ManyInputs):
    """Join results: side by side into one vector (`features`), or one after the other (`length`)."""

    kind: Literal["concat"]
    along: Literal["features", "length"] = "features"

    def output_shape(self, shapes: Shapes) -> Shape:
        """All elements in one vector, or all vectors in one sequence."""
        if self.along == "features":
            return Shape(1, sum(shapes[name].elements for name in self.inputs))
        return Shape(sum(shapes[name].length for name in self.inputs), self._common_width(shapes))


class Sum(_ManyInputs):
    """Add results of one shape elementwise; or, of a single input, its vectors to one."""

    kind: Literal["sum"]

    def output_shape(self, shapes: Shapes) -> Shape:
        """The shape of each input; one vector where there is one input."""
        width = self._common_width(shapes)
        lengths = {shapes[name].length for name in self.inputs}
        if len(self.inputs) == 1:
            return Shape(1, width)
        if len(lengths) > 1:
            raise ValueError(f"expects inputs of one length, gets {sorted(lengths)}")
        return Shape(lengths.pop(), width)


class DotInteraction(_ManyInputs):
    """Dot products of all pairs of vectors (DLRM); with `with_self`, of each vector with itself too."""

    kind: Literal["dot_interaction"]
    with_self: bool = False

    def num_vectors(self, shapes: Shapes) -> int:
        """Vectors that interact."""
        return sum(shapes[name].length for name in self.inputs)

    def output_shape(self, shapes: Shapes) -> Shape:
        """One element for each pair."""
        self._common_width(shapes)
        n = self.num_vectors(shapes)
        if n < 2:
            raise ValueError("expects at least 2 vectors to interact, gets 1")
        return Shape(1, n * (n + 1) // 2 if self.with_self else n * (n - 1) // 2)


class Activation(_OneInput):
    """An elementwise function."""

    kind: Literal["activation"]
    function: Function


class Softmax(_OneInput):
    """Softmax over the elements of each vector."""

    kind: Literal["softmax"]


class LocalActivation(_Base):
    """DIN's local activation unit: weigh each behaviour by its match with the candidate, then sum.

    Each unit feeds [behaviour, behaviour x candidate, candidate] to an MLP that ends in one weight
    (Zhou et al., "Deep Interest Network", KDD 2018, section 4.3); weights are not normalised.
    """

    kind: Literal["local_activation"]
    behaviours: Name
    candidate: Name
    hidden_widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (36,)

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.behaviours, self.candidate)

    def unit_widths(self, shapes: Shapes) -> tuple[int, ...]:
        """Widths of the unit's MLP, its input first."""
        return (3 * shapes[self.behaviours].width, *self.hidden_widths, 1)

    def output_shape(self, shapes: Shapes) -> Shape:
        """One vector as wide as a behaviour."""
        return Shape(1, _candidate_width(shapes, self.behaviours, self.candidate))

    def num_parameters(self, shapes: Shapes) -> int:
        """Weights and biases of the one MLP that all units share. [elements]"""
        widths = self.unit_widths(shapes)
        return sum(k * n + n for k, n in zip(widths, widths[1:], strict=False))


class AttentionScores(_Base):
    """DIEN's attention: softmax over the sequence of state x W x candidate (Zhou et al., AAAI 2019, eq. 4)."""

    kind: Literal["attention_scores"]
    states: Name
    candidate: Name

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.states, self.candidate)

    def output_shape(self, shapes: Shapes) -> Shape:
        """One weight for each state."""
        if shapes[self.candidate].length != 1:
            raise ValueError(f"expects one candidate vector, gets {shapes[self.candidate].length}")
        return Shape(shapes[self.states].length, 1)

    def num_parameters(self, shapes: Shapes) -> int:
        """The bilinear form. [elements]"""
        return shapes[self.states].width * shapes[self.candidate].width


class Attention(_Base):
    """Scaled dot-product attention, multi-head (Vaswani et al., 2017); `key` left out: self-attention.

    With `projected`, query, key, value and output go through linear layers of num_heads x head_dim.
    """

    kind: Literal["attention"]
    query: Name
    key: Name | None = None
    num_heads: PositiveInt = 1
    head_dim: PositiveInt | None = None
    projected: bool = True

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.query, self.key or self.query)

    def inner_width(self, shapes: Shapes) -> int:
        """Width of all heads together. [elements]"""
        width = shapes[self.query].width
        if self.head_dim is not None:
            return self.num_heads * self.head_dim
        if width % self.num_heads:
            raise ValueError(f"expects a width divisible by {self.num_heads} heads, gets {width}")
        return width

    def output_shape(self, shapes: Shapes) -> Shape:
        """One vector for each query vector."""
        query, key = shapes[self.query], shapes[self.key or self.query]
        inner = self.inner_width(shapes)
        if not self.projected and not query.width == key.width == inner:
            raise ValueError(
                f"expects query, key and heads of one width where nothing is projected, "
                f"gets {query.width}, {key.width} and {inner}"
            )
        return query

    def num_parameters(self, shapes: Shapes) -> int:
        """Query, key, value and output projections with biases. [elements]"""
        if not self.projected:
            return 0
        query, key = shapes[self.query].width, shapes[self.key or self.query].width
        inner = self.inner_width(shapes)
        return (query + 1) * inner + 2 * (key + 1) * inner + (inner + 1) * query


class Recurrent(_OneInput):
    """A recurrent layer over a sequence: plain tanh RNN, GRU, or GRU with an attentional update gate (AUGRU)."""

    kind: Literal["rnn", "gru", "augru"]
    hidden_size: PositiveInt
    returns: Literal["sequence", "last"] = "sequence"
    attention: Name | None = None

    @model_validator(mode="after")
    def _only_augru_has_attention(self) -> Recurrent:
        if (self.kind == "augru") != (self.attention is not None):
            raise ValueError("attention: an augru needs the scores to use, an rnn or a gru takes none")
        return self

    @property
    def num_gates(self) -> int:
        """Matrices of the hidden size that each step multiplies with."""
        return 1 if self.kind == "rnn" else 3

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.input,) if self.attention is None else (self.input, self.attention)

    def output_shape(self, shapes: Shapes) -> Shape:
        """The state after each step, or after the last."""
        steps = shapes[self.input].length
        if self.attention is not None and shapes[self.attention] != (steps, 1):
            got = shapes[self.attention]
            raise ValueError(
                f"expects {steps} scores, gets {got.length} x {got.width} from {self.attention}"
            )
        return Shape(steps if self.returns == "sequence" else 1, self.hidden_size)

    def num_parameters(self, shapes: Shapes) -> int:
        """Input and hidden matrices and, as in PyTorch and cuDNN, two biases for each gate. [elements]"""
        width = shapes[self.input].width
        return self.num_gates * self.hidden_size * (width + self.hidden_size + 2)


class Cross(_OneInput):
    """DCN-v2 cross layers: x' = x0 * (W x + b) + x, with W of low `rank`, or full where null (Wang et al., 2021)."""

    kind: Literal["cross"]
    num_layers: PositiveInt
    rank: PositiveInt | None = None

    def output_shape(self, shapes: Shapes) -> Shape:
        """The input's own shape."""
        given = shapes[self.input]
        if given.length != 1:
            raise ValueError(
                f"expects one vector, gets {given.length} from {self.input}; concat them first"
            )
        return given

    def num_parameters(self, shapes: Shapes) -> int:
        """Weights and one bias vector for each layer. [elements]"""
        width = shapes[self.input].width
        weights = width * width if self.rank is None else 2 * width * self.rank
        return self.num_layers * (weights + width)


def _candidate_width(shapes: Shapes, behaviours: str, candidate: str) -> int:
    many, one = shapes[behaviours], shapes[candidate]
    if one.length != 1:
        raise ValueError(f"expects one candidate vector, gets {one.length} from {candidate}")
    if many.width != one.width:
        raise ValueError(
            f"expects candidate and behaviours of one width, gets {one.width} from {candidate} "
            f"and {many.width} from {behaviours}"
        )
    return many.width


Operator = Annotated[
    Mlp
    | EmbeddingBag
    | Concat
    | Sum
    | DotInteraction
    | Activation
    | Softmax
    | LocalActivation
    | AttentionScores
    | Attention
    | Recurrent
    | Cross,
    Field(discriminator="kind"),
]
