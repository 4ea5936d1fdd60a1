"""Kernels of the operators that work on sequences: attention in its published forms, recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernels import ELEMENT_BYTES, Kernel, Product
from perfmodel.costmodel.walk import Value, Values, Walk
from perfmodel.domain import operators as ops

GATE_FLOP = 10
"""Elementwise FLOP of one gate element in a recurrent step: two additions and a transcendental."""


def local_activation(op: ops.LocalActivation, at: Walk) -> Values:
    """All units of an item share one batched MLP: rows are behaviours; then the weighted sum.

    The local activation unit of DIN [1]_: behaviour, candidate and their product go through an MLP to a
    weight. Counts are those of `calls`.

    Parameters
    ----------
    op : LocalActivation
        Behaviours, candidate, and the widths of the unit.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] G. Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.
    """
    behaviours, candidate = at.one(op.behaviours), at.one(op.candidate)
    length, width = at.shapes[op.behaviours]
    once = (behaviours,) if behaviours.is_query else ()  # of a candidate all that is read is counted
    kernel = calls.elementwise(op.name, length * width, inputs=2, variant="mul")
    matched = at.call("match", (behaviours, candidate), kernel, once=once)
    kernel = calls.elementwise(op.name, 3 * length * width, family="concat", variant="sequence")
    x = at.call("join_unit_inputs", (behaviours, matched, candidate), kernel, once=once)
    for inner, outer in pairwise(op.unit_widths(at.shapes)):
        x = at.linear(x, length, inner, outer)
        if outer != 1:
            kernel = calls.elementwise(op.name, length * outer, family="activation", variant="relu")
            x = at.activate(x, "relu", kernel, own=True)
    kernel = calls.batch_matmul(op.name, 1, 1, length, width, variant="weigh")
    return (at.product("weigh", x, behaviours, kernel),)


def activation_units(op: ops.ActivationUnits, at: Walk) -> Values:
    """Calls of every unit, which follow each other: Sum, Concat, layers with ReLU; then one Sum of all units.

    Source: DeepRecSys's code, `create_attention_unit` of models/din.py: a loop over the behaviours, whose
    units have weights of their own. Counts are those of `calls`.

    Parameters
    ----------
    op : ActivationUnits
        Behaviours, candidate, and the widths of a unit.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]
    """
    length, width = at.shapes[op.behaviours]
    candidate, behaviours = at.one(op.candidate), at.pieces((op.behaviours,))
    joined = calls.elementwise(op.name, 3 * width, family="concat", variant="features")
    unit = [_sum_of(op.name, 2, width), replace(joined, pieces=3, flop_per_item=0.0)]
    weights: list[tuple[int, ...]] = []
    for inner, outer in pairwise(op.unit_widths(at.shapes)):
        unit += [calls.fc(op.name, 1, inner, outer), *calls.activation(op.name, "relu", outer)]
        weights += [(outer, inner), (outer,)]
    first, *more = [replace(kernel, calls=length) for kernel in unit]
    result = at.call(
        "activation_units",
        (candidate, *behaviours),
        first,
        *more,
        _sum_of(op.name, length, width),
        weights=tuple(weights) * length,
        once=(candidate,) if candidate.is_query else (),
        units=length,
    )
    return (result,)


def _sum_of(operator: str, tensors: int, width: int) -> Kernel:
    """One call that adds so many vectors of an item."""
    return Kernel(
        operator=operator,
        family="sum",
        flop_per_item=float((tensors - 1) * width),
        read_bytes_per_item=float(ELEMENT_BYTES * tensors * width),
        written_bytes_per_item=float(ELEMENT_BYTES * width),
        pieces=tensors,
        variant="tensors" if tensors > 1 else "vectors",
    )


def attention_scores(op: ops.AttentionScores, at: Walk) -> Values:
    """Candidate through the bilinear form once, then one dot product a state, then softmax.

    The attention of DIEN [1]_: a_t = softmax(h_t W e) over the states h_t of a sequence and a candidate e.
    Counts are those of `calls`.

    Parameters
    ----------
    op : AttentionScores
        States and candidate.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] G. Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", AAAI 2019.
    """
    length, width = at.shapes[op.states]
    states = at.one(op.states)
    mapped = at.linear(at.one(op.candidate), 1, at.shapes[op.candidate].width, width)
    kernel = calls.batch_matmul(op.name, 1, length, width, 1, variant="match")
    if mapped.is_query:
        scores = at.call("state_scores", (states, at.repeat(mapped)), kernel, once=(mapped,))
    else:
        scores = at.product("state_scores", states, mapped, kernel, reverse=True)
    return (at.call("softmax_scores", (scores,), calls.softmax(op.name, 1, length)),)


def attention(op: ops.Attention, at: Walk) -> Values:
    """Projections of query, key and value; scores, softmax and weighted sums by head; output projection.

    softmax(Q K^T / sqrt(d)) V by heads ([1]_, equation 1 and section 3.2.2); the division is left out of the
    counts, which are those of `calls`. Fused (FlashAttention [2]_): one call with the FLOP of both products,
    which reads query, keys and values once and writes the result; its exponentials are not counted.

    Parameters
    ----------
    op : Attention
        Query, key, heads, and whether they are projected.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    .. [2] T. Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
       NeurIPS 2022.
    """
    asks, asked = at.shapes[op.query], at.shapes[op.key or op.query]
    inner = op.inner_width(at.shapes)
    query, key = at.one(op.query), at.one(op.key or op.query)
    value = key if op.value is None else at.one(op.value)
    if op.projected:
        query, key, value = (
            at.linear(query, asks.length, asks.width, inner),
            at.linear(key, asked.length, asked.width, inner),
            at.linear(value, asked.length, asked.width, inner),
        )
    weigh = _fused if op.fused else _weighed
    x = weigh(op, (query, key, value), asks.length, asked.length, at)
    return (at.linear(x, asks.length, inner, asks.width) if op.projected else x,)


def _weighed(op: ops.Attention, given: tuple[Value, Value, Value], asks: int, asked: int, at: Walk) -> Value:
    """Scores, what makes weights of them, and the weighted sums: a call each."""
    query, key, value = given
    inner, heads = op.inner_width(at.shapes), op.num_heads
    if key.is_query != value.is_query:  # no two of them share a matrix: all items have both
        key, value = at.repeat(key), at.repeat(value)
    scores = calls.batch_matmul(op.name, heads, asks, inner // heads, asked, variant="scores")
    x = at.product("attention_scores", query, key, scores, num_heads=heads)
    rows = heads * asks
    if op.weights == "softmax":
        x = at.call("softmax", (x,), calls.softmax(op.name, rows, asked))
    else:
        kernel = calls.elementwise(op.name, rows * asked, family="activation", variant=op.weights)
        x = at.activate(x, op.weights, kernel, own=True)
    values = calls.batch_matmul(op.name, heads, asks, asked, inner // heads, variant="values")
    return at.product("attention_values", x, value, values, num_heads=heads, length=asks)


def _fused(op: ops.Attention, given: tuple[Value, Value, Value], asks: int, asked: int, at: Walk) -> Value:
    """All of it in one call, which keeps the scores to itself."""
    head = op.inner_width(at.shapes) // op.num_heads
    kernel = calls.fused_attention(op.name, op.num_heads, asks, head, asked)
    return at.call("fused_attention", given, kernel, num_heads=op.num_heads)


def recurrent(op: ops.Recurrent, at: Walk) -> Values:
    """Input products of all steps at once; then, step by step, the hidden product and the gates.

    For steps of an input of w elements and h hidden ones with g gates (an RNN 1, a GRU [1]_ and DIEN's AUGRU
    [2]_ 3, an LSTM 4 of them): F = 2 w g h a step beforehand, then 2 h g h and 10 for each gate element.
    Counts are those of `calls`; the 10 are derived here: two additions and a transcendental.

    Parameters
    ----------
    op : Recurrent
        Kind of layer, and its hidden size.
    at : Walk
        Where its calls are put down; holds the shapes of all results, for one item. [elements]

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
       Translation", EMNLP 2014.
    .. [2] G. Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", AAAI 2019.
    """
    steps, width = at.shapes[op.input]
    gates = op.num_gates * op.hidden_size
    projected = Kernel(
        operator=op.name,
        family="recurrent",
        variant=f"{op.kind}_inputs",
        calls=1,
        flop_per_item=2.0 * steps * width * gates,
        read_bytes_per_item=float(ELEMENT_BYTES * steps * width),
        written_bytes_per_item=float(ELEMENT_BYTES * steps * gates),
        product=Product(rows_per_item=float(steps), inner=width, outer=gates),
    )
    hidden = Kernel(
        operator=op.name,
        family="recurrent",
        variant=op.kind,
        shape=(steps, width, op.hidden_size),
        calls=steps,
        steps=steps,
        flop_per_item=2.0 * op.hidden_size * gates + GATE_FLOP * gates,
        read_bytes_per_item=float(ELEMENT_BYTES * (op.hidden_size + gates)),
        written_bytes_per_item=float(ELEMENT_BYTES * (op.hidden_size + gates)),
        product=Product(rows_per_item=1.0, inner=op.hidden_size, outer=gates),
    )
    weights = ((gates, width), (gates, op.hidden_size), (gates,), (gates,))
    x, last = at.repeat(at.one(op.input)), op.returns == "last"
    if op.attention is None:
        return (at.call("recurrent", (x,), projected, hidden, weights=weights, cell=op.kind, last=last),)
    reads = (x, at.repeat(at.one(op.attention)))
    return (at.call("augru", reads, projected, hidden, weights=weights, last=last),)


LOWERINGS: Mapping[type, Callable[[Any, Walk], Values]] = {
    ops.LocalActivation: local_activation,
    ops.ActivationUnits: activation_units,
    ops.AttentionScores: attention_scores,
    ops.Attention: attention,
    ops.Recurrent: recurrent,
}
"""What puts each operator's calls down."""
