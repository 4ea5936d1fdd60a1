"""Work of the query runs with a batch dimension of 1, and gives what running it for each item gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from calibration.runtime.programme import Inputs, Programme, build_programme
from perfmodel.domain.model import RecModel

ITEMS = 5
TABLE = {"num_rows": 50, "dim": 8}
QUERY = {"scope": "query"}
HISTORY = {
    "name": "history",
    "kind": "embedding_bag",
    "pooling": "none",
    "tables": ({**TABLE, "pooling_factor": 6},),
    **QUERY,
}
FEATURES = {"name": "features", "kind": "embedding_bag", "tables": ({**TABLE, "count": 3},), **QUERY}
POOLED = {"name": "pooled", "kind": "sum", "inputs": ("history",), **QUERY}
ITEM = {"name": "item", "kind": "embedding_bag", "tables": (TABLE,)}
ROWS = {**HISTORY, "name": "rows", "scope": "item"}


def op(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "out", "kind": kind, **fields}


CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "a tower beside items": (
        HISTORY,
        POOLED,
        {"name": "tower", "kind": "mlp", "input": "pooled", "widths": (8, 4), **QUERY},
        ITEM,
        op("concat", inputs=("tower", "item")),
    ),
    "features of many tables": (FEATURES, ITEM, op("concat", inputs=("item", "features"))),
    "their interactions": (FEATURES, ITEM, op("dot_interaction", inputs=("features", "item"))),
    "a sequence one after the other": (
        HISTORY,
        ITEM,
        op("concat", inputs=("history", "item"), along="length"),
    ),
    "a sum": (HISTORY, POOLED, ITEM, op("sum", inputs=("pooled", "item"))),
    "an elementwise product": (HISTORY, ITEM, op("elementwise", inputs=("history", "item", "item"))),
    "a product with a shared right side": (
        HISTORY,
        ITEM,
        op("batch_matmul", left="item", right="history", inner=8),
    ),
    "several products with one": (
        HISTORY,
        ROWS,
        op("batch_matmul", left="rows", right="history", inner=4, products=2),
    ),
    "products with a shared left side": (
        HISTORY,
        ROWS,
        op("batch_matmul", left="history", right="rows", inner=4, products=2),
    ),
    "attention over the history": (
        HISTORY,
        ITEM,
        op("attention", query="item", key="history", num_heads=2),
    ),
    "of several query vectors, without projections": (
        HISTORY,
        ROWS,
        op("attention", query="rows", key="history", num_heads=4, projected=False),
    ),
    "of the query over an item's rows": (
        HISTORY,
        ROWS,
        op("attention", query="history", key="rows", num_heads=2),
    ),
    "DIN": (HISTORY, ITEM, op("local_activation", behaviours="history", candidate="item")),
    "DIN the other way round": (
        HISTORY,
        POOLED,
        ROWS,
        op("local_activation", behaviours="rows", candidate="pooled"),
    ),
    "values of the items beside keys of the query": (
        HISTORY,
        ROWS,
        op("attention", query="rows", key="history", value="rows", num_heads=2, projected=False),
    ),
    "DIEN with a candidate of the query": (
        ROWS,
        HISTORY,
        POOLED,
        op("attention_scores", states="rows", candidate="pooled"),
    ),
    "tables that an item reads joined and one by one": (
        FEATURES,
        ITEM,
        {"name": "layer", "kind": "mlp", "input": "features", "widths": (8, 4)},
        {"name": "flat", "kind": "view", "input": "layer", "length": 1, "width": 12},
        op("concat", inputs=("flat", "features", "item")),
    ),
    "DIEN": (
        HISTORY,
        {"name": "states", "kind": "gru", "input": "history", "hidden_size": 4, **QUERY},
        ITEM,
        {"name": "scores", "kind": "attention_scores", "states": "states", "candidate": "item"},
        op("augru", input="states", hidden_size=4, attention="scores"),
    ),
    "what reads the query alone": (
        HISTORY,
        POOLED,
        {"name": "layer", "kind": "mlp", "input": "pooled", "widths": (8, 4)},
        ITEM,
        op("concat", inputs=("layer", "item", "pooled")),
    ),
}


def model_of(operators: tuple[dict[str, Any], ...]) -> RecModel:
    return RecModel.model_validate({"name": "model", "operators": operators})


def repeated(given: Programme, inputs: Inputs, other: Programme) -> Inputs:
    """The same inputs for the model without scopes: each item has the query's."""
    tensors, found = dict(inputs.tensors), []
    for own, theirs in zip(given.lookups, other.lookups, strict=True):
        indices = tensors[own.indices]
        if own.scope == "query":
            indices = indices.repeat(ITEMS) if indices.dim() == 1 else indices.repeat(ITEMS, 1)
        found.append((theirs.indices, indices))
        if theirs.offsets is not None:
            found.append((theirs.offsets, torch.arange(ITEMS) * (len(indices) // ITEMS)))
    return Inputs(ITEMS, tuple(found))


@pytest.mark.parametrize("case", CASES)
def test_the_query_computed_once_gives_what_it_gives_for_each_item(case: str) -> None:
    operators = CASES[case]
    once = build_programme(model_of(operators))
    each = build_programme(model_of(tuple({**operator, "scope": "item"} for operator in operators)))
    inputs = once.inputs(ITEMS, np.random.default_rng(3))
    result, expected = once.run(inputs), each.run(repeated(once, inputs, each))
    assert len(result) == ITEMS
    assert torch.allclose(result.reshape(ITEMS, -1), expected.reshape(ITEMS, -1), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_every_kernel_is_carried_out(case: str) -> None:
    programme = build_programme(model_of(CASES[case]))
    carried_out = {kernel for call in programme.calls for kernel in call.kernels}
    assert carried_out == {i for i, kernel in enumerate(programme.kernels) if kernel.family != "input"}


def test_the_query_s_inputs_are_one_whatever_the_batch() -> None:
    tower = {"name": "tower", "kind": "mlp", "input": "query_dense", "widths": (4, 8), **QUERY}
    operators = (tower, HISTORY, ITEM, op("concat", inputs=("tower", "history", "item")))
    model = RecModel.model_validate({"name": "m", "query_dense_features": 4, "operators": operators})
    programme = build_programme(model)
    shapes = {
        slot: tuple(tensor.shape) for slot, tensor in programme.inputs(64, np.random.default_rng(0)).tensors
    }
    assert programme.query_dense is not None
    assert shapes[programme.query_dense] == (1, 4)
    assert shapes[programme.lookups[0].indices] == (1, 6)
    assert programme.run(programme.inputs(64, np.random.default_rng(0))).shape == (64, 8 + 6 * 8 + 8)
