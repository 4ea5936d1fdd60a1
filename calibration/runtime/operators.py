"""The PyTorch calls of each kernel: one function for each kind, with its weights bound.

These are the calls that the runtime makes and that calibration times; each is one framework call where
PyTorch has one, and says so where it is more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from perfmodel.domain.shapes import Precision

Tensor = torch.Tensor
Function = Callable[..., Tensor]


class Library(Protocol):
    """Who makes the calls that have weights, and activations: this module, or one of `nn.Module`s.

    What joins them (concatenations, products of activations) is the same function in both.
    """

    def linear(self, weight: Tensor, bias: Tensor, /) -> Function:
        """A fully connected layer over the last dimension."""

    def prelu(self, slope: Tensor, /) -> Function:
        """A PReLU with one slope."""

    def activation(self, function: str, /, *, in_place: bool) -> Function:
        """Another activation."""

    def embedding_bag(self, table: Tensor, /) -> Function:
        """Rows of each bag summed."""

    def embedding(self, table: Tensor, /) -> Function:
        """Rows of each item as a sequence."""

    def recurrent(self, kind: str, weights: Sequence[Tensor], /, *, last: bool) -> Function:
        """A plain RNN or a GRU over a sequence."""


ACTIVATIONS: Mapping[str, Function] = {
    "none": torch.clone,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": torch._C._nn.gelu,
    "silu": torch._C._nn.silu,
}
IN_PLACE: Mapping[str, Function] = {
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
    "gelu": torch._C._nn.gelu,  # has no form that works in place in older versions
    "silu": torch._C._nn.silu_,
}
"""Where a layer's result has no other reader: no second buffer, as a serving engine would do it."""


def activation(function: str, *, in_place: bool) -> Function:
    """An activation by its name; in place where the input is the layer's own."""
    return (IN_PLACE if in_place else ACTIVATIONS)[function]


def linear(weight: Tensor, bias: Tensor) -> Function:
    """A fully connected layer over the last dimension."""

    def call(x: Tensor) -> Tensor:
        return torch._C._nn.linear(x, weight, bias)

    return call


def grouped_linear(weights: Tensor, biases: Tensor) -> Function:
    """Layers side by side, each over its own run of vectors: one batched product."""
    groups, inner, outer = weights.shape

    def call(x: Tensor) -> Tensor:
        batch = x.shape[0]
        runs = x.reshape(batch, groups, -1, inner).transpose(0, 1).reshape(groups, -1, inner)
        result = torch.baddbmm(biases, runs, weights)
        return result.view(groups, batch, -1, outer).transpose(0, 1).reshape(batch, -1, outer)

    return call


def routed_linear(weights: Tensor, biases: Tensor) -> Function:
    """Layers of which each gets vectors of its own, as many as the others: one call for each."""
    groups, outer, inner = weights.shape

    def call(x: Tensor) -> Tensor:
        runs = torch.tensor_split(x.reshape(-1, inner), groups)
        parts = [
            torch.nn.functional.linear(run, w, b) for run, w, b in zip(runs, weights, biases, strict=True)
        ]
        return torch.cat(parts).view(*x.shape[:-1], outer)

    return call


def cast(weights: Tensor) -> Function:
    """Weights made from ones that are kept in fp32, as autocast does in each pass."""

    def call() -> Tensor:
        return weights.to(torch.bfloat16)

    return call


def prelu(slope: Tensor) -> Function:
    """A PReLU with one slope; it has no form that works in place."""

    def call(x: Tensor) -> Tensor:
        return torch.prelu(x, slope)

    return call


_MODES: Mapping[str, int] = {"sum": 0, "mean": 1, "max": 2}
"""Pooling of `torch.embedding_bag`."""


def narrowed(table: Tensor, precision: Precision) -> Tensor:
    """The table in another precision: halves, or a byte an element with each row's scale and offset after it.

    The latter is how PyTorch packs a quantised table (`torch.ao.nn.quantized.EmbeddingBag`).
    """
    if precision == "int8":
        packed: Tensor = torch.ops.quantized.embedding_bag_byte_prepack(table.float())
        return packed
    return table.to(torch.float16)


def is_packed(table: Tensor) -> bool:
    """Whether each row is bytes, its scale and its offset."""
    return table.dtype == torch.uint8


def packed_bag(table: Tensor, indices: Tensor, offsets: Tensor) -> Tensor:
    """Rows of each bag of a packed table as fp32, summed."""
    summed: Tensor = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        table, indices, offsets, False, _MODES["sum"], False, None, None, False
    )
    return summed


def packed_rows(table: Tensor, indices: Tensor) -> Tensor:
    """Rows of a packed table as fp32, in the indices' shape: each a bag of its own, as PyTorch does it."""
    flat = indices.flatten()
    alone = torch.arange(0, len(flat) + 1, dtype=flat.dtype, device=flat.device)
    rows: Tensor = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        table, flat, alone, False, _MODES["sum"], False, None, None, True
    )
    return rows.view(*indices.shape, -1)


def embedding_bag(table: Tensor, pooling: str = "sum", dtype: torch.dtype = torch.float32) -> Function:
    """Rows of each bag summed, averaged, or their largest; int64 indices and offsets.

    A packed table's rows are summed alone; those of halves are converted afterwards.
    """
    mode = _MODES[pooling]
    if is_packed(table):
        return lambda indices, offsets: packed_bag(table, indices, offsets)
    if table.dtype != dtype:
        return lambda indices, offsets: torch.embedding_bag(table, indices, offsets, False, mode)[0].to(dtype)

    def call(indices: Tensor, offsets: Tensor) -> Tensor:
        return torch.embedding_bag(table, indices, offsets, False, mode)[0]

    return call


def weighted_bag(table: Tensor, dtype: torch.dtype = torch.float32) -> Function:
    """Rows of each bag summed, each times a weight of its own."""

    def call(indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        given = weights.flatten()
        if given.numel() != indices.numel():  # lookups drawn from a mean need not be those of the weights
            given = given.repeat(-(-indices.numel() // given.numel()))[: indices.numel()]
        given = given.to(table.dtype)
        return torch.embedding_bag(table, indices, offsets, False, 0, False, given)[0].to(dtype)

    return call


def as_vector(function: Function) -> Function:
    """The same call, with a result of one vector for each item as that vector."""

    def call(*inputs: Tensor) -> Tensor:
        result: Tensor = function(*inputs)
        return result.squeeze(1) if result.dim() == 3 and result.shape[1] == 1 else result

    return call


def converted_rows(table: Tensor, dtype: torch.dtype) -> Function:
    """Rows of each item as a sequence, of a table whose elements are shorter than results are."""
    if is_packed(table):
        return lambda indices: packed_rows(table, indices)

    def call(indices: Tensor) -> Tensor:
        return torch.embedding(table, indices).to(dtype)

    return call


def embedding(table: Tensor) -> Function:
    """Rows of each item as a sequence, one alone as a vector; int64 indices of shape (batch, lookups)."""

    def call(indices: Tensor) -> Tensor:
        rows = torch.embedding(table, indices)
        return rows.squeeze(1) if indices.shape[1] == 1 else rows

    return call


def concat_features(*pieces: Tensor) -> Tensor:
    """All elements of each item side by side."""
    return torch.cat([piece if piece.dim() == 2 else piece.flatten(1) for piece in pieces], 1)


def concat_length(*pieces: Tensor) -> Tensor:
    """All vectors of each item one after the other."""
    return torch.cat([piece if piece.dim() == 3 else piece.unsqueeze(1) for piece in pieces], 1)


def add(*inputs: Tensor) -> Tensor:
    """Sum of tensors of one shape: one call for two of them, one more for each further one."""
    total = torch.add(inputs[0], inputs[1])
    for other in inputs[2:]:
        total.add_(other)
    return total


def sum_vectors(x: Tensor) -> Tensor:
    """The vectors of each item, summed to one; of a single vector a copy, as Caffe2 makes."""
    return x.clone() if x.dim() == 2 else x.sum(1)


def softmax(x: Tensor) -> Tensor:
    """Over the elements of each vector."""
    return torch.softmax(x, -1)


def all_pairs(x: Tensor) -> Tensor:
    """Dot products of all vectors of each item, (batch, n, n)."""
    return torch.bmm(x, x.transpose(1, 2))


def take(positions: Tensor) -> Function:
    """The elements at flat positions of each item: the triangle of a dot interaction."""

    def call(x: Tensor) -> Tensor:
        return torch.index_select(x.flatten(1), 1, positions)

    return call


def cross_residual(x: Tensor, first: Tensor, product: Tensor) -> Tensor:
    """DCN's elementwise half of a cross layer: x0 * (W x + b) + x."""
    return torch.addcmul(x, first, product)


def match(behaviours: Tensor, candidate: Tensor) -> Tensor:
    """DIN: each behaviour times the candidate."""
    return torch.mul(behaviours, candidate.unsqueeze(1))


def join_unit_inputs(behaviours: Tensor, matched: Tensor, candidate: Tensor) -> Tensor:
    """DIN: [behaviour, behaviour x candidate, candidate] for each behaviour."""
    return torch.cat((behaviours.expand_as(matched), matched, candidate.unsqueeze(1).expand_as(matched)), 2)


def weigh(weights: Tensor, vectors: Tensor) -> Tensor:
    """Weighted sum of each item's vectors; weights as (batch, length, 1)."""
    return torch.bmm(weights.transpose(1, 2), vectors).squeeze(1)


def activation_units(units: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> Function:
    """DIN's units one after the other, each with layers (weights, bias) of its own; then their sum.

    Reads the candidate, then the behaviours: as many vectors as units, or a sequence of them.
    """

    def call(candidate: Tensor, *behaviours: Tensor) -> Tensor:
        each = (
            behaviours
            if len(behaviours) > 1
            else behaviours[0].reshape(len(behaviours[0]), len(units), -1).unbind(1)
        )
        results = []
        for behaviour, layers in zip(each, units, strict=True):
            both = behaviour + candidate
            x = torch.cat([behaviour.expand_as(both), candidate.expand_as(both), both], dim=-1)
            for weight, bias in layers:
                x = torch.relu(torch.nn.functional.linear(x, weight, bias))
            results.append(x)
        return add(*results) if len(results) > 1 else results[0]

    return call


def state_scores(states: Tensor, candidate: Tensor) -> Tensor:
    """Dot product of each state with the candidate, (batch, length)."""
    return torch.bmm(states, candidate.unsqueeze(2)).squeeze(2)


def softmax_scores(x: Tensor) -> Tensor:
    """Over an item's scores, as (batch, length, 1)."""
    return torch.softmax(x, -1).unsqueeze(2)


def attention_scores(num_heads: int) -> Function:
    """Scaled dot products of query and key by head, (batch, heads, queries, keys)."""

    def call(query: Tensor, key: Tensor) -> Tensor:
        q, k = _by_head(query, num_heads), _by_head(key, num_heads)
        return torch.matmul(q, k.transpose(2, 3))

    return call


def attention_values(num_heads: int, length: int) -> Function:  # noqa: ARG001  # as `broadcast` has it
    """Weighted sums of values by head, heads side by side again."""

    def call(weights: Tensor, value: Tensor) -> Tensor:
        heads: Tensor = torch.matmul(weights, _by_head(value, num_heads))
        return heads.transpose(1, 2).flatten(2)

    return call


def fused_attention(num_heads: int) -> Function:
    """Attention in one call, heads side by side again."""

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (_by_head(x if x.dim() == 3 else x.unsqueeze(1), num_heads) for x in (query, key, value))
        heads: Tensor = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        result = heads.transpose(1, 2).flatten(2)
        return result if query.dim() == 3 else result.squeeze(1)

    return call


def _by_head(x: Tensor, num_heads: int) -> Tensor:
    x = x if x.dim() == 3 else x.unsqueeze(1)
    return x.reshape(x.shape[0], x.shape[1], num_heads, -1).transpose(1, 2)


def recurrent(kind: str, weights: Sequence[Tensor], *, last: bool) -> Function:
    """A plain RNN, a GRU or an LSTM over a sequence, all steps in one framework call; zero initial state."""
    hidden, params = weights[1].shape[1], _side_by_side(kind, weights)
    layers: Mapping[str, Callable[..., tuple[Tensor, ...]]] = {
        "rnn": torch.rnn_tanh,
        "gru": torch.gru,
        "lstm": torch.lstm,
    }
    layer = layers[kind]

    def call(x: Tensor) -> Tensor:
        start = x.new_zeros(1, x.shape[0], hidden)
        begin = [start, start] if kind == "lstm" else start
        steps = x if x.dim() == 3 else x.unsqueeze(1)  # one vector is a sequence of one step
        states, final, *_ = layer(steps, begin, params, True, 1, 0.0, False, False, True)
        return final[0] if last or steps is not x else states.contiguous()

    return call


_CUDNN_MODES: Mapping[str, int] = {"rnn": 1, "lstm": 2, "gru": 3}
"""cudnnRNNMode_t of cudnn.h: CUDNN_RNN_TANH, CUDNN_LSTM, CUDNN_GRU."""


def _side_by_side(kind: str, weights: Sequence[Tensor]) -> list[Tensor]:
    """A layer's weights for cuDNN, which reads them as one block, and gathers others anew in each call."""
    if not weights[0].is_cuda:
        return list(weights)
    (_, hidden), (_, width) = weights[1].shape, weights[0].shape
    mode = _CUDNN_MODES[kind]
    block = [weight.clone() for weight in weights]  # made views of the block in place
    torch._cudnn_rnn_flatten_weight(block, len(block), width, mode, hidden, 0, 1, True, False)
    return block


def augru(weights: Sequence[Tensor], *, last: bool) -> Function:
    """A GRU whose update gate the attention score scales: six framework calls a step."""
    w_input, w_hidden, b_input, b_hidden = weights
    hidden = w_hidden.shape[1]

    def call(x: Tensor, scores: Tensor) -> Tensor:
        inputs = torch._C._nn.linear(x, w_input, b_input)
        state = x.new_zeros(x.shape[0], hidden)
        states = []
        for step in range(x.shape[1]):
            given = inputs[:, step]
            own = torch._C._nn.linear(state, w_hidden, b_hidden)
            gates = torch.add(given[:, : 2 * hidden], own[:, : 2 * hidden]).sigmoid_()
            update = gates[:, :hidden] * scores[:, step]
            fresh = torch.addcmul(given[:, 2 * hidden :], gates[:, hidden:], own[:, 2 * hidden :]).tanh_()
            state = torch.lerp(state, fresh, update)
            if not last:
                states.append(state)
        return state if last else torch.stack(states, 1)

    return call
