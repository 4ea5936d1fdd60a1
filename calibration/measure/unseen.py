"""Random models that no calibration has seen: their tables, widths and lookups are drawn from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.domain.model import RecModel

_DIMS = (16, 24, 32, 48, 64, 80, 128)
_MOST_TABLE_BYTES = 2e9
_WIDTHS = (16, 1024)


def unseen_models(count: int, seed: int) -> list[RecModel]:
    """DLRM-like models: dense layers, pooled lookups in tables of a few kinds, joined, and layers on top."""
    return [_model(f"unseen-{seed}-{index}", np.random.default_rng((seed, index))) for index in range(count)]


def _model(name: str, rng: np.random.Generator) -> RecModel:
    dim, dots = int(rng.choice(_DIMS)), bool(rng.random() < 0.5)
    tables = [_tables(rng, dim if dots else int(rng.choice(_DIMS))) for _ in range(int(rng.integers(1, 4)))]
    dense, bottom = int(rng.integers(4, 512)), _widths(rng, int(rng.integers(2, 4)))
    if dots:
        bottom[-1] = dim
    vectors = 1 + sum(table["count"] for table in tables)
    elements = bottom[-1] + sum(table["count"] * table["dim"] for table in tables)
    operators: list[dict[str, Any]] = [
        {"name": "bottom", "kind": "mlp", "input": "dense", "widths": (dense, *bottom), "activation": "relu"},
        {"name": "lookups", "kind": "embedding_bag", "tables": tuple(tables)},
    ]
    joined = ("bottom", "lookups")
    if dots:
        operators.append({"name": "dots", "kind": "dot_interaction", "inputs": joined})
        joined, elements = ("bottom", "dots"), dim + vectors * (vectors - 1) // 2
    operators.append({"name": "joined", "kind": "concat", "inputs": joined})
    top = (elements, *_widths(rng, int(rng.integers(1, 4))), 1)
    last = {"name": "top", "kind": "mlp", "input": "joined", "widths": top, "activation": "relu"}
    operators.append(last | {"final_activation": "sigmoid"})
    return RecModel.model_validate({"name": name, "dense_features": dense, "operators": tuple(operators)})


def _tables(rng: np.random.Generator, dim: int) -> dict[str, int]:
    count = int(rng.integers(1, 17))
    rows = min(_log_int(rng, 1e3, 1e7), int(_MOST_TABLE_BYTES / 3 / (4 * dim * count)))
    return {"num_rows": rows, "dim": dim, "count": count, "pooling_factor": _log_int(rng, 1, 120)}


def _widths(rng: np.random.Generator, count: int) -> list[int]:
    return [_log_int(rng, *_WIDTHS) for _ in range(count)]


def _log_int(rng: np.random.Generator, low: float, high: float) -> int:
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
