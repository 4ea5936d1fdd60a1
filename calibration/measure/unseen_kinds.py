"""Random models beside DLRM: heads of attention, wide layers, many tables, recurrent layers, experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.words import quoted

_Operators = list[dict[str, Any]]
_DENSE = 16
_MOST_ROWS = 1e6


def models_of_kinds(count: int, seed: int, kinds: Sequence[str]) -> list[RecModel]:
    """One model of each of these kinds in turn, named after it; the first are the same whatever the count.

    Raises
    ------
    InputError
        Of a kind that there is not.
    """
    if unknown := [kind for kind in kinds if kind not in _DRAWS]:
        raise InputError(f"--kinds: expected some of {', '.join(_DRAWS)}, got {quoted(unknown[0])}")
    models = []
    for index in range(count):
        kind = kinds[index % len(kinds)]
        operators = _DRAWS[kind](np.random.default_rng((seed, index)))
        models.append(
            RecModel.model_validate(
                {
                    "name": f"{kind}-{seed}-{index}",
                    "dense_features": _DENSE,
                    "operators": tuple(operators),
                }
            )
        )
    return models


def _heads(rng: np.random.Generator) -> _Operators:
    """A transformer's layer over a sequence of rows, before layers on top."""
    heads = int(rng.choice((2, 4, 8)))
    width = heads * int(rng.choice((8, 16, 32)))
    feed_forward = {"kind": "mlp", "widths": (width, 4 * width, width), "activation": "gelu"}
    return [
        _sequence(rng, width),
        {"name": "attended", "kind": "attention", "query": "rows", "num_heads": heads},
        {"name": "residual", "kind": "elementwise", "inputs": ("attended", "rows"), "function": "add"},
        {"name": "normed", "kind": "layer_norm", "input": "residual"},
        {"name": "fed", "input": "normed", "final_activation": "none", **feed_forward},
        {"name": "pooled", "kind": "sum", "inputs": ("fed",)},
        *_top("pooled", width, (_log_int(rng, 64, 512),)),
    ]


def _wide(rng: np.random.Generator) -> _Operators:
    """Few tables, and layers of thousands of outputs."""
    count = _log_int(rng, 4, 30)
    widths = tuple(_log_int(rng, 512, 4096) for _ in range(3))
    return [_pooled(rng, 32, count, lookups=1), *_top("lookups", 32 * count, widths)]


def _many_tables(rng: np.random.Generator) -> _Operators:
    """Hundreds of tables of a few lookups each."""
    dim, count = int(rng.choice((8, 16, 32))), _log_int(rng, 80, 300)
    table = _pooled(rng, dim, count, lookups=_log_int(rng, 1, 8), most_rows=2e5)
    return [table, *_top("lookups", dim * count, (256, 128))]


def _recurrent(rng: np.random.Generator) -> _Operators:
    """An LSTM or a GRU over a sequence of rows."""
    kind, hidden = str(rng.choice(("lstm", "gru"))), _log_int(rng, 32, 200)
    layer = {"name": "states", "kind": kind, "input": "rows", "hidden_size": hidden, "returns": "last"}
    return [_sequence(rng, int(rng.choice((16, 32, 64)))), layer, *_top("states", hidden, (128,))]


def _experts(rng: np.random.Generator) -> _Operators:
    """Experts over the same features, mixed by a gate."""
    experts, width, outer = int(rng.choice((4, 8, 16))), _log_int(rng, 64, 400), _log_int(rng, 32, 256)
    count = _log_int(rng, 8, 26)
    layers = {"kind": "mlp", "widths": (width, outer, outer), "groups": experts, "activation": "relu"}
    return [
        _pooled(rng, 16, count, lookups=1),
        {"name": "features", "kind": "concat", "inputs": ("lookups", "dense")},
        {
            "name": "shared",
            "kind": "mlp",
            "input": "features",
            "widths": (16 * count + _DENSE, width),
            "activation": "relu",
        },
        {"name": "repeated", "kind": "view", "input": "shared", "length": experts, "width": width},
        {"name": "experts", "input": "repeated", **layers},
        {"name": "gate", "kind": "mlp", "input": "shared", "widths": (width, experts), "activation": "none"},
        {"name": "weights", "kind": "softmax", "input": "gate"},
        {
            "name": "mixed",
            "kind": "batch_matmul",
            "left": "weights",
            "right": "experts",
            "inner": experts,
            "products": 1,
        },
        *_top("mixed", outer, (64,)),
    ]


def _transformer(rng: np.random.Generator) -> _Operators:
    """One or two layers of a transformer whose attention is one call; the last vector goes on."""
    heads = int(rng.choice((1, 2, 4, 8)))
    width = heads * int(rng.choice((16, 32, 48)))
    operators, last = [_sequence(rng, width)], "rows"
    for number in range(int(rng.integers(1, 3))):
        attend, residual, normed, fed = (
            f"{part}{number}" for part in ("attend", "residual", "normed", "fed")
        )
        operators += [
            {"name": attend, "kind": "attention", "query": last, "num_heads": heads, "fused": True},
            {"name": residual, "kind": "elementwise", "inputs": (attend, last), "function": "add"},
            {"name": normed, "kind": "layer_norm", "input": residual},
            {
                "name": fed,
                "kind": "mlp",
                "input": normed,
                "widths": (width, 2 * width, width),
                "activation": "relu",
                "final_activation": "none",
            },
        ]
        last = fed
    pooled = {"name": "pooled", "kind": "sum", "inputs": (last,)}
    return [*operators, pooled, *_top("pooled", width, (_log_int(rng, 64, 512),))]


def _target(rng: np.random.Generator) -> _Operators:
    """A candidate attends to a history in one call, beside pooled lookups."""
    heads = int(rng.choice((1, 2, 4)))
    width, count = heads * int(rng.choice((16, 32, 64))), _log_int(rng, 2, 12)
    candidates = {"num_rows": _log_int(rng, 5e4, _MOST_ROWS), "dim": width}
    attend = {"name": "attend", "kind": "attention", "query": "candidate", "key": "rows", "num_heads": heads}
    return [
        _sequence(rng, width),
        {"name": "candidate", "kind": "embedding_bag", "pooling": "none", "tables": (candidates,)},
        {**attend, "fused": True, "projected": bool(rng.random() < 0.5)},
        {"name": "flat", "kind": "view", "input": "attend", "length": 1, "width": width},
        _pooled(rng, 32, count, lookups=_log_int(rng, 1, 20)),
        {"name": "beside", "kind": "concat", "inputs": ("flat", "lookups")},
        *_top("beside", width + 32 * count, (_log_int(rng, 64, 512), 64)),
    ]


KINDS = ("heads", "wide", "many-tables", "recurrent", "experts")
"""Drawn in turn where no kinds are named."""
_DRAWS: Mapping[str, Callable[[np.random.Generator], _Operators]] = {
    "heads": _heads,
    "wide": _wide,
    "many-tables": _many_tables,
    "recurrent": _recurrent,
    "experts": _experts,
    "transformer": _transformer,
    "target": _target,
}


def _sequence(rng: np.random.Generator, dim: int) -> dict[str, Any]:
    table = {"num_rows": _log_int(rng, 5e4, _MOST_ROWS), "dim": dim, "pooling_factor": _log_int(rng, 10, 150)}
    return {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)}


def _pooled(
    rng: np.random.Generator, dim: int, count: int, *, lookups: int, most_rows: float = _MOST_ROWS
) -> dict[str, Any]:
    rows = _log_int(rng, 1e4, most_rows)
    table = {"num_rows": rows, "dim": dim, "count": count, "pooling_factor": lookups}
    return {"name": "lookups", "kind": "embedding_bag", "tables": (table,)}


def _top(source: str, elements: int, widths: tuple[int, ...]) -> _Operators:
    """Dense features beside a result, and layers down to one output."""
    layers = {"kind": "mlp", "activation": "relu", "final_activation": "sigmoid"}
    return [
        {"name": "joined", "kind": "concat", "inputs": (source, "dense")},
        {"name": "top", "input": "joined", "widths": (elements + _DENSE, *widths, 1), **layers},
    ]


def _log_int(rng: np.random.Generator, low: float, high: float) -> int:
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
