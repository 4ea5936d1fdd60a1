"""Kernels of the operators that work on sequences: attention in its published forms, recurrent layers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernels import ELEMENT_BYTES, Kernel, Product
from perfmodel.domain import operators as ops
from perfmodel.domain.operators import Shapes

GATE_FLOP = 10
"""Elementwise FLOP of one gate element in a recurrent step: two additions and a transcendental."""


def local_activation(op: ops.LocalActivation, shapes: Shapes) -> list[Kernel]:
    """All units of an item share one batched MLP: rows are behaviours; then the weighted sum.

    The local activation unit of DIN [1]_: behaviour, candidate and their product go through an MLP to a
    weight. Counts are those of `calls`.

    Parameters
    ----------
    op : LocalActivation
        Behaviours, candidate, and the widths of the unit.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]

    References
    ----------
    .. [1] G. Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.
    """
    length, width = shapes[op.behaviours]
    kernels = [
        calls.elementwise(op.name, length * width, inputs=2, variant="mul"),
        calls.elementwise(op.name, 3 * length * width, family="concat", variant="sequence"),
    ]
    for inner, outer in pairwise(op.unit_widths(shapes)):
        kernels.append(calls.fc(op.name, length, inner, outer))
        if outer != 1:
            kernels.append(calls.elementwise(op.name, length * outer, family="activation", variant="relu"))
    return [*kernels, calls.batch_matmul(op.name, 1, 1, length, width, variant="weigh")]


def attention_scores(op: ops.AttentionScores, shapes: Shapes) -> list[Kernel]:
    """Candidate through the bilinear form once, then one dot product a state, then softmax.

    The attention of DIEN [1]_: a_t = softmax(h_t W e) over the states h_t of a sequence and a candidate e.
    Counts are those of `calls`.

    Parameters
    ----------
    op : AttentionScores
        States and candidate.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]

    References
    ----------
    .. [1] G. Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", AAAI 2019.
    """
    length, width = shapes[op.states]
    return [
        calls.fc(op.name, 1, shapes[op.candidate].width, width),
        calls.batch_matmul(op.name, 1, length, width, 1, variant="match"),
        calls.softmax(op.name, 1, length),
    ]


def attention(op: ops.Attention, shapes: Shapes) -> list[Kernel]:
    """Projections of query, key and value; scores, softmax and weighted sums by head; output projection.

    softmax(Q K^T / sqrt(d)) V by heads ([1]_, equation 1 and section 3.2.2); the division is left out of the
    counts, which are those of `calls`. Fused (FlashAttention [2]_): one call with the FLOP of both products,
    which reads query, keys and values once and writes the result; its exponentials are not counted.

    Parameters
    ----------
    op : Attention
        Query, key, heads, and whether they are projected.
    shapes : mapping of str to Shape
        Length and width of every result, for one item. [elements]

    References
    ----------
    .. [1] A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    .. [2] T. Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
       NeurIPS 2022.
    """
    query, key = shapes[op.query], shapes[op.key or op.query]
    inner = op.inner_width(shapes)
    head = inner // op.num_heads
    weigh = [
        calls.batch_matmul(op.name, op.num_heads, query.length, head, key.length, variant="scores"),
        _weights(op, op.num_heads * query.length, key.length),
        calls.batch_matmul(op.name, op.num_heads, query.length, key.length, head, variant="values"),
    ]
    if op.fused:
        products = query.length * key.length * inner
        fused = calls.batch_matmul(op.name, op.num_heads, query.length, head, key.length, variant="values")
        moved = float(ELEMENT_BYTES * inner)
        weigh = [
            replace(
                fused,
                flop_per_item=4.0 * products,
                read_bytes_per_item=moved * (query.length + 2 * key.length),
                written_bytes_per_item=moved * query.length,
            )
        ]
    if not op.projected:
        return weigh
    return [
        calls.fc(op.name, query.length, query.width, inner),
        *[calls.fc(op.name, key.length, key.width, inner)] * 2,
        *weigh,
        calls.fc(op.name, query.length, inner, query.width),
    ]


def _weights(op: ops.Attention, rows: int, width: int) -> Kernel:
    """The call that makes weights of scores."""
    if op.weights == "softmax":
        return calls.softmax(op.name, rows, width)
    return calls.elementwise(op.name, rows * width, family="activation", variant=op.weights)


def recurrent(op: ops.Recurrent, shapes: Shapes) -> list[Kernel]:
    """Input products of all steps at once; then, step by step, the hidden product and the gates.

    For steps of an input of w elements and h hidden ones with g gates (an RNN 1, a GRU [1]_ and DIEN's AUGRU
    [2]_ 3, an LSTM 4 of them): F = 2 w g h a step beforehand, then 2 h g h and 10 for each gate element.
    Counts are those of `calls`; the 10 are derived here: two additions and a transcendental.

    Parameters
    ----------
    op : Recurrent
        Kind of layer, and its hidden size.
    shapes : mapping of str to Shape
        Length (steps) and width w of every result, for one item. [elements]

    References
    ----------
    .. [1] K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
       Translation", EMNLP 2014.
    .. [2] G. Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", AAAI 2019.
    """
    steps, width = shapes[op.input]
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
    return [projected, hidden]
