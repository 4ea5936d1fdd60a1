"""Random sequences of operators: what calibration times, with each call among others as in a model.

Sizes are drawn over the ranges that recommendation models live in, not from any model. A call in a
sequence finds its operands as a model's calls do: results hot, weights as cold as a pass is long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from perfmodel.domain.model import RecModel

Operator = dict[str, Any]

DRAWN_BY = 3
"""Version of the draw: measurements name their sequences by seed, which means nothing to another."""

GENERAL_SEEDS = range(300_000, 400_000)
"""Seeds of sequences of general operators: products of activations of any sizes, norms, functions.
They came later, and leave what other seeds draw as it was."""

LATER_SEEDS = range(600_000, 700_000)
"""Seeds of sequences of layers side by side, attention, convolutions and LSTMs, which came later still."""

ATTENTION_SEEDS = range(700_000, 800_000)
"""Seeds of sequences of attention in one call, among the layers of a transformer, and of one vector that
attends to many: last of all."""

MIXED_SEEDS = range(510_000, 600_000)
"""Seeds of sequences of all of these kinds, as models have them, which modules are measured on."""

_FUNCTIONS = ("relu", "relu", "relu", "sigmoid", "tanh", "prelu", "none")


def sequence_of_seed(seed: int, *, most_table_bytes: float) -> RecModel:
    """Draw the sequence of a seed; its tables take at most `most_table_bytes` together."""
    rng = np.random.default_rng(seed)
    if seed in GENERAL_SEEDS:
        shape = (_attending, _gated)[int(rng.random() < 0.4)]
    elif seed in LATER_SEEDS:
        shape = (_side_by_side, _headed, _convolved, _side_by_side, _headed, _remembering)[seed % 6]
    elif seed in ATTENTION_SEEDS:
        shape = (_transformed, _targeted)[seed % 2]
    elif seed in MIXED_SEEDS and seed % 3 == 0:
        shape = _MIXED[seed // 3 % len(_MIXED)]
    else:
        return random_sequence(rng, most_table_bytes=most_table_bytes)
    draw = _Draw(rng, most_table_bytes)
    operators = shape(draw)
    return RecModel.model_validate(
        {"name": "sequence", "dense_features": draw.dense, "operators": tuple(operators)}
    )


def random_sequence(rng: np.random.Generator, *, most_table_bytes: float) -> RecModel:
    """Draw one sequence of operators; its tables take at most `most_table_bytes` together."""
    shape = rng.choice(len(_SHAPES), p=[share for share, _ in _SHAPES])
    draw = _Draw(rng, most_table_bytes)
    operators = _SHAPES[shape][1](draw)
    return RecModel.model_validate(
        {"name": "sequence", "dense_features": draw.dense, "operators": tuple(operators)}
    )


class _Draw:
    """Draws sizes and operators; remembers the dense input and the memory that tables may still take."""

    def __init__(self, rng: np.random.Generator, room_bytes: float) -> None:
        self.rng = rng
        self.room_bytes = room_bytes
        self.dense = 0

    def log_int(self, low: float, high: float) -> int:
        """A whole number, log-uniform."""
        return round(float(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def width(self, low: float, high: float) -> int:
        """A layer's width: mostly as people choose them, powers of 2 or multiples of 8, else any."""
        drawn, kind = self.log_int(low, high), self.rng.random()
        if kind < 0.4:
            return int(2 ** round(np.log2(drawn)))
        return max(8, round(drawn / 8) * 8) if kind < 0.7 and drawn >= 4 else drawn

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def mlp(self, name: str, source: str, width: int, *, low: float, high: float, depth: int) -> Operator:
        """Layers of random widths, the last one often narrow."""
        widths = [width, *(self.width(low, high) for _ in range(depth))]
        if self.chance(0.3):
            widths[-1] = int(self.rng.integers(1, 4))
        function, last = self.rng.choice(_FUNCTIONS), self.rng.choice(_FUNCTIONS)
        kind = {"name": name, "kind": "mlp", "input": source}
        return kind | {"widths": tuple(widths), "activation": str(function), "final_activation": str(last)}

    def table(self, dim: int, *, lookups: int, count: int = 1) -> Operator:
        """Tables of random rows, skewed now and then."""
        most = min(2e7, self.room_bytes / (4 * dim * count))
        least = most / 8 if self.chance(0.2) else min(50, most)  # some tables are beyond what a TLB reaches
        rows = self.log_int(max(least, 1), max(most, 51))
        self.room_bytes -= rows * dim * 4 * count
        skew = float(self.rng.uniform(0.3, 1.4)) if self.chance(0.25) else 0.0
        sizes = {"num_rows": rows, "dim": dim, "count": count}
        return sizes | {"pooling_factor": lookups, "zipf_exponent": skew}

    def dim(self) -> int:
        """Width of an embedding."""
        return int(self.rng.choice((8, 16, 24, 32, 32, 48, 64, 64, 96, 128, 192, 256)))

    def pooled(self, name: str, dim: int | None = None) -> tuple[Operator, int, int]:
        """Pooled lookups in some tables; the operator, its vectors, and its elements."""
        tables = []
        for _ in range(int(self.rng.integers(1, 4))):
            lookups = 1 if self.chance(0.3) else self.log_int(2, 200)
            count = self.log_int(1, 40 if lookups < 10 else 12)
            tables.append(self.table(dim or self.dim(), lookups=lookups, count=count))
        vectors = sum(table["count"] for table in tables)
        elements = sum(table["count"] * table["dim"] for table in tables)
        return {"name": name, "kind": "embedding_bag", "tables": tuple(tables)}, vectors, elements


def _layers(draw: _Draw) -> list[Operator]:
    """Fully connected layers alone, up to large ones; a cross network now and then."""
    draw.dense = draw.width(1 if draw.chance(0.1) else 8, 4096)
    depth = int(draw.rng.integers(2, 6))
    operators = [
        draw.mlp("layers", "dense", draw.dense, low=2 if draw.chance(0.1) else 12, high=4096, depth=depth)
    ]
    width = operators[0]["widths"][-1]
    if draw.chance(0.25):
        rank = None if draw.chance(0.4) else draw.width(4, 512)
        operators.append({"name": "cross", "kind": "cross", "input": "layers", "num_layers": 2, "rank": rank})
    if draw.chance(0.3):
        operators.append({"name": "softmax", "kind": "softmax", "input": operators[-1]["name"]})
    if draw.chance(0.2):
        other = {"name": "again", "kind": "activation", "input": operators[-1]["name"]}
        operators.append(other | {"function": str(draw.rng.choice(("relu", "sigmoid", "tanh")))})
    if width > 7 and draw.chance(0.5):
        operators.append(draw.mlp("end", operators[-1]["name"], width, low=8, high=512, depth=1))
    return operators


def _lookups(draw: _Draw) -> list[Operator]:
    """Pooled lookups beside dense layers, joined side by side or by dot products, and layers on top."""
    draw.dense = draw.width(4, 2560) if draw.chance(0.7) else 0
    dots = bool(draw.dense) and draw.chance(0.35)
    dim = draw.dim()
    lookups, vectors, elements = draw.pooled("lookups", dim if dots else None)
    operators, joined = [lookups], ["lookups"]
    if draw.dense:
        bottom = draw.mlp(
            "bottom", "dense", draw.dense, low=16, high=1024, depth=int(draw.rng.integers(1, 4))
        )
        if dots:
            bottom["widths"] = (*bottom["widths"][:-1], dim)
        operators, joined = [bottom, lookups], ["bottom", "lookups"]
        elements += bottom["widths"][-1]
    if dots:
        operators.append({"name": "dots", "kind": "dot_interaction", "inputs": tuple(joined)})
        joined = ["bottom", "dots"]
        elements = dim + vectors * (vectors + 1) // 2
    operators.append({"name": "joined", "kind": "concat", "inputs": tuple(joined)})
    if draw.chance(0.3):
        return operators
    top = draw.mlp("top", "joined", elements, low=8, high=1024, depth=int(draw.rng.integers(1, 4)))
    return [*operators, top]


def _sums(draw: _Draw) -> list[Operator]:
    """Pooled lookups that are stacked or added."""
    dim = draw.dim()
    lookups, vectors, _ = draw.pooled("lookups", dim)
    operators = [lookups]
    if vectors > 1 and draw.chance(0.5):
        operators.append({"name": "stacked", "kind": "concat", "along": "length", "inputs": ("lookups",)})
        operators.append({"name": "total", "kind": "sum", "inputs": ("stacked",)})
    else:
        operators.append({"name": "total", "kind": "sum", "inputs": ("lookups",)})
    return [*operators, draw.mlp("top", "total", dim, low=8, high=512, depth=2)]


def _behaviours(draw: _Draw) -> list[Operator]:
    """A sequence of rows, and one of the operators that work on sequences."""
    dim, length = draw.dim(), draw.log_int(4, 300)
    tables = (draw.table(dim, lookups=length),)
    operators: list[Operator] = [
        {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": tables},
    ]
    which = int(draw.rng.integers(0, 6))
    if which in (0, 1):
        candidate = draw.table(dim, lookups=1)
        operators.append({"name": "item", "kind": "embedding_bag", "tables": (candidate,)})
    if which == 0:
        unit = {"name": "unit", "kind": "local_activation", "behaviours": "rows", "candidate": "item"}
        return [*operators, unit | {"hidden_widths": (draw.width(8, 128),)}]
    if which == 1:
        hidden = draw.width(8, 256)
        scores = {"name": "scores", "kind": "attention_scores", "states": "states", "candidate": "item"}
        augru = {"name": "evolution", "kind": "augru", "input": "states", "attention": "scores"}
        gru = {"name": "states", "kind": "gru", "input": "rows", "hidden_size": hidden}
        returns = "last" if draw.chance(0.7) else "sequence"
        return [*operators, gru, scores, augru | {"hidden_size": draw.width(8, 256), "returns": returns}]
    if which in (2, 3):
        kind, returns = ("rnn", "gru")[which - 2], "last" if draw.chance(0.4) else "sequence"
        layer = {"name": "states", "kind": kind, "input": "rows", "hidden_size": draw.width(8, 256)}
        operators.append(layer | {"returns": returns})
        return operators
    if which == 4:
        heads = int(draw.rng.choice((1, 2, 4, 8)))
        attend = {"name": "attend", "kind": "attention", "query": "rows", "num_heads": heads}
        return [*operators, attend, {"name": "pooled", "kind": "sum", "inputs": ("attend",)}]
    layers = draw.mlp("each", "rows", dim, low=8, high=128, depth=int(draw.rng.integers(1, 3)))
    return [*operators, layers, {"name": "weights", "kind": "softmax", "input": "each"}]


_POINTWISE = ("add", "mul", "sub", "maximum", "neg", "abs")
_SLOW = ("gelu", "silu", "exp", "tanh", "sigmoid", "erf", "softplus", "sqrt")


def _elementwise(draw: _Draw, name: str, *inputs: str, kinds: str = "pnt") -> Operator:
    """A function of memory's speed, a norm, or one of each element's arithmetic."""
    kind = kinds[int(draw.rng.integers(0, len(kinds)))]
    functions = {"p": _POINTWISE if len(inputs) == 1 else _POINTWISE[:4], "n": ("layer_norm",), "t": _SLOW}[
        kind
    ]
    if len(inputs) > 1:
        functions = _POINTWISE[:4]
    return {
        "name": name,
        "kind": "elementwise",
        "inputs": inputs,
        "function": str(draw.rng.choice(functions)),
    }


def _attending(draw: _Draw) -> list[Operator]:
    """Vectors of an item that attend to each other by hand: products by heads, a residual, norms between."""
    heads, length = int(draw.rng.choice((1, 2, 4, 8))), draw.log_int(2, 220)
    width = heads * draw.log_int(4, 256 / heads)
    table = draw.table(width, lookups=length)
    of_rows: Operator = {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)}
    products = {"kind": "batch_matmul", "products": heads}
    return [
        of_rows,
        _elementwise(draw, "first", "rows", kinds="nt"),
        {"name": "scores", **products, "left": "first", "right": "rows", "inner": width // heads},
        _elementwise(draw, "weights", "scores", kinds="pt"),
        {"name": "heads", **products, "left": "weights", "right": "first", "inner": length},
        {"name": "joined", "kind": "view", "input": "heads", "length": length, "width": width},
        _elementwise(draw, "residual", "joined", "rows"),
        _elementwise(draw, "normed", "residual", kinds="nt"),
        {"name": "pooled", "kind": "sum", "inputs": ("normed",)},
        _elementwise(draw, "last", "pooled", kinds="pnt"),
    ]


def _gated(draw: _Draw) -> list[Operator]:
    """Layers whose results gate each other, and a product of two of them of any sizes."""
    products, rows = draw.log_int(1, 16), draw.log_int(1, 32)
    inner, outer = draw.log_int(2, 128), draw.log_int(1, 64)
    draw.dense = draw.width(8, 512)
    left, right = products * rows * inner, products * inner * outer
    function = str(draw.rng.choice(("none", "gelu", "silu")))
    layer = {"kind": "mlp", "activation": "none", "final_activation": function}
    operators: list[Operator] = [
        {"name": "left", **layer, "input": "dense", "widths": (draw.dense, left)},
        {"name": "right", **layer, "input": "dense", "widths": (draw.dense, right)},
        _elementwise(draw, "gate", "left", kinds="nt"),
        _elementwise(draw, "gated", "left", "gate", *(("gate",) if draw.chance(0.3) else ())),
        {
            "name": "product",
            "kind": "batch_matmul",
            "left": "gated",
            "right": "right",
            "inner": inner,
            "products": products,
        },
        _elementwise(draw, "scaled", "product"),
    ]
    return operators


def _side_by_side(draw: _Draw) -> list[Operator]:
    """Experts over the same features, or layers of their own over parts of them."""
    groups, inner = draw.log_int(2, 64), draw.width(4, 512)
    same = draw.chance(0.5)
    if not same:
        groups = min(groups, max(2, 8192 // inner))
    features = inner if same else groups * inner
    draw.dense = draw.width(8, 256)
    widths = (inner, *(draw.width(4, 512) for _ in range(int(draw.rng.integers(1, 3)))))
    function = str(draw.rng.choice(_FUNCTIONS))
    return [
        {
            "name": "features",
            "kind": "mlp",
            "input": "dense",
            "widths": (draw.dense, features),
            "activation": "none",
        },
        {"name": "parts", "kind": "view", "input": "features", "length": groups, "width": inner},
        {
            "name": "layers",
            "kind": "mlp",
            "input": "parts",
            "widths": widths,
            "activation": function,
            "groups": groups,
        },
    ]


def _headed(draw: _Draw) -> list[Operator]:
    """Attention of several heads over a sequence of rows, with its layers, and the vectors' sum."""
    heads, length = int(draw.rng.choice((1, 2, 4, 8))), draw.log_int(4, 250)
    width = heads * draw.log_int(4, 256 / heads)
    table = draw.table(width, lookups=length)
    return [
        {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)},
        {"name": "attend", "kind": "attention", "query": "rows", "num_heads": heads},
        {"name": "pooled", "kind": "sum", "inputs": ("attend",)},
    ]


def _transformed(draw: _Draw) -> list[Operator]:
    """A transformer's layer whose attention is one call: residuals, norms, and two layers after it."""
    heads, length = int(draw.rng.choice((1, 2, 4, 8))), draw.log_int(4, 250)
    width = heads * draw.log_int(8, 256 / heads)
    wide = draw.width(width, 4 * width)
    table = draw.table(width, lookups=length)
    attention = {"kind": "attention", "num_heads": heads, "fused": True, "projected": draw.chance(0.7)}
    function = str(draw.rng.choice(("relu", "gelu", "silu")))
    return [
        {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)},
        {"name": "attend", "query": "rows", **attention},
        {"name": "residual", "kind": "sum", "inputs": ("attend", "rows")},
        {"name": "normed", "kind": "layer_norm", "input": "residual"},
        {
            "name": "fed",
            "kind": "mlp",
            "input": "normed",
            "widths": (width, wide, width),
            "activation": function,
            "final_activation": "none",
        },
        {"name": "again", "kind": "sum", "inputs": ("fed", "normed")},
        {"name": "pooled", "kind": "sum", "inputs": ("again",)},
    ]


def _targeted(draw: _Draw) -> list[Operator]:
    """One vector, or a few, attend to a sequence of rows: in one call, or by products of one row."""
    heads, length = int(draw.rng.choice((1, 1, 2, 4))), draw.log_int(4, 250)
    width = heads * draw.log_int(8, 256 / heads)
    asks = 1 if draw.chance(0.7) else draw.log_int(2, 16)
    rows, asked = draw.table(width, lookups=length), draw.table(width, lookups=asks)
    fused = {"name": "attend", "kind": "attention", "query": "asked", "key": "rows", "num_heads": heads}
    products = {"kind": "batch_matmul", "products": heads}
    by_hand: list[Operator] = [
        {"name": "scores", **products, "left": "asked", "right": "rows", "inner": width // heads},
        {"name": "by_row", "kind": "view", "input": "scores", "length": heads * asks, "width": length},
        {"name": "weights", "kind": "softmax", "input": "by_row"},
        {"name": "attend", **products, "left": "weights", "right": "rows", "inner": length},
    ]
    in_one_call = {**fused, "fused": True, "projected": draw.chance(0.3)}
    attend = [in_one_call] if draw.chance(0.5) else by_hand
    return [
        {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (rows,)},
        {"name": "asked", "kind": "embedding_bag", "pooling": "none", "tables": (asked,)},
        *attend,
        {"name": "flat", "kind": "view", "input": "attend", "length": 1, "width": asks * width},
        draw.mlp("top", "flat", asks * width, low=16, high=512, depth=2),
    ]


def _convolved(draw: _Draw) -> list[Operator]:
    """A sequence of rows and one or two convolutions over it."""
    dim, length = draw.dim(), draw.log_int(8, 200)
    table = draw.table(dim, lookups=length)
    operators: list[Operator] = [
        {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)},
    ]
    for number in range(int(draw.rng.integers(1, 3))):
        window = int(draw.rng.choice((1, 2, 3, 3, 5, 7)))
        operators.append(
            {
                "name": f"windows{number}",
                "kind": "conv1d",
                "input": operators[-1]["name"],
                "channels": draw.width(8, 256),
                "kernel_size": window,
                "padding": window // 2,
            }
        )
    return [*operators, {"name": "pooled", "kind": "sum", "inputs": (operators[-1]["name"],)}]


def _remembering(draw: _Draw) -> list[Operator]:
    """A sequence of rows and an LSTM over it."""
    table = draw.table(draw.dim(), lookups=draw.log_int(4, 200))
    returns = "last" if draw.chance(0.6) else "sequence"
    return [
        {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)},
        {
            "name": "states",
            "kind": "lstm",
            "input": "rows",
            "hidden_size": draw.width(8, 256),
            "returns": returns,
        },
    ]


_SHAPES: tuple[tuple[float, Callable[[_Draw], list[Operator]]], ...] = (
    (0.28, _layers),
    (0.46, _lookups),
    (0.06, _sums),
    (0.20, _behaviours),
)

_MIXED = (_remembering, _headed, _convolved, _attending, _remembering, _side_by_side, _gated)
"""Of `MIXED_SEEDS`, one sequence in three."""
