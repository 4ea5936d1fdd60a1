"""Operators over sequences of vectors: attention in its published forms, and recurrent layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.bounds import Count
from perfmodel.domain.shapes import Name, OneInput, OperatorBase, Shape, Shapes


class LocalActivation(OperatorBase):
    """DIN's local activation unit: weigh each behaviour by its match with the candidate, then sum.

    Each unit feeds [behaviour, behaviour x candidate, candidate] to an MLP that ends in one weight
    (Zhou et al., "Deep Interest Network", KDD 2018, section 4.3); weights are not normalised.
    """

    kind: Literal["local_activation"]
    behaviours: Name
    candidate: Name
    hidden_widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (36,)

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
        return sum(k * n + n for k, n in pairwise(widths))


class ActivationUnits(OperatorBase):
    """DIN's units as DeepRecSys builds them: layers of its own for each behaviour, one unit after the other.

    A unit adds the candidate to its behaviour, joins behaviour, candidate and sum, and puts them through
    layers with ReLU, the last as wide as a behaviour: weight and weighing in one, as its code says. What all
    units give is added up. `local_activation` is the published unit, all behaviours in one call.
    """

    kind: Literal["activation_units"]
    behaviours: Name
    candidate: Name
    hidden_widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.behaviours, self.candidate)

    def unit_widths(self, shapes: Shapes) -> tuple[int, ...]:
        """Widths of a unit's layers, its input first."""
        width = shapes[self.behaviours].width
        return (3 * width, *self.hidden_widths, width)

    def output_shape(self, shapes: Shapes) -> Shape:
        """One vector as wide as a behaviour."""
        return Shape(1, _candidate_width(shapes, self.behaviours, self.candidate))

    def num_parameters(self, shapes: Shapes) -> int:
        """Weights and biases of every unit. [elements]"""
        widths = self.unit_widths(shapes)
        return shapes[self.behaviours].length * sum(k * n + n for k, n in pairwise(widths))


class AttentionScores(OperatorBase):
    """DIEN's attention: softmax over the sequence of state x W x candidate.

    Zhou et al., "Deep Interest Evolution Network", AAAI 2019, section 4.3.
    """

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


class Attention(OperatorBase):
    """Scaled dot-product attention, multi-head (Vaswani et al., 2017); `key` left out: self-attention.

    With `projected`, query, key, value and output go through linear layers of num_heads x head_dim; else
    `value` may be a result of its own, and is the key where left out. `fused`: in one call, which keeps the
    scores to itself (FlashAttention). `weights`: what makes them of the scores (HSTU: SiLU).
    """

    kind: Literal["attention"]
    query: Name
    key: Name | None = None
    num_heads: Count = 1
    head_dim: Count | None = None
    projected: bool = True
    value: Name | None = None
    fused: bool = False
    weights: Literal["softmax", "silu"] = "softmax"

    @model_validator(mode="after")
    def _value_is_not_projected(self) -> Attention:
        if self.fused and self.weights != "softmax":
            raise ValueErrorAt("one call makes weights by softmax only; expected softmax", ("weights",))
        if self.projected and self.value is not None:
            raise ValueErrorAt("projected attention makes values of the key; expected none", ("value",))
        return self

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        key = self.key or self.query
        return (self.query, key) if self.value is None else (self.query, key, self.value)

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
        if self.value is not None and shapes[self.value] != key:
            got = f"{shapes[self.value].length} x {shapes[self.value].width} from {self.value}"
            raise ValueError(f"expects values like the keys, {key.length} x {key.width}, gets {got}")
        return query

    def num_parameters(self, shapes: Shapes) -> int:
        """Query, key, value and output projections with biases. [elements]"""
        if not self.projected:
            return 0
        query, key = shapes[self.query].width, shapes[self.key or self.query].width
        inner = self.inner_width(shapes)
        return (query + 1) * inner + 2 * (key + 1) * inner + (inner + 1) * query


class Recurrent(OneInput):
    """A recurrent layer over a sequence: plain tanh RNN, GRU, LSTM, or AUGRU.

    AUGRU is a GRU whose update gate the attention score scales (Zhou et al., AAAI 2019, section 4.3). `bias`:
    whether the gates add two. `memory`: label of its weights, where others are the same ones.
    """

    kind: Literal["rnn", "gru", "lstm", "augru"]
    hidden_size: Count
    returns: Literal["sequence", "last"] = "sequence"
    attention: Name | None = None
    bias: bool = True
    memory: Name | None = None

    @model_validator(mode="after")
    def _only_augru_has_attention(self) -> Recurrent:
        if (self.kind == "augru") != (self.attention is not None):
            raise ValueErrorAt("an augru needs the scores to use, an rnn or a gru takes none", ("attention",))
        return self

    @property
    def num_gates(self) -> int:
        """Matrices of the hidden size that each step multiplies with."""
        return {"rnn": 1, "lstm": 4}.get(self.kind, 3)

    def reads(self) -> tuple[str, ...]:
        """Names of the results that this operator reads."""
        return (self.input,) if self.attention is None else (self.input, self.attention)

    def output_shape(self, shapes: Shapes) -> Shape:
        """The state after each step, or after the last."""
        steps = shapes[self.input].length
        if self.attention is not None and shapes[self.attention] != (steps, 1):
            got = shapes[self.attention]
            raise ValueError(f"expects {steps} scores, gets {got.length} x {got.width} from {self.attention}")
        return Shape(steps if self.returns == "sequence" else 1, self.hidden_size)

    def num_parameters(self, shapes: Shapes) -> int:
        """Input and hidden matrices and, as in PyTorch and cuDNN, two biases for each gate. [elements]"""
        width = shapes[self.input].width
        return self.num_gates * self.hidden_size * (width + self.hidden_size + 2 * self.bias)


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
