"""Every call that the walk may put down has its PyTorch function, in each library, and every one is met."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from benchmarks.hostile.documents import EVERY_OPERATOR
from calibration.runtime import operators
from calibration.runtime.assembly import BINDINGS
from calibration.runtime.modules import Modules
from calibration.runtime.operators import Library
from calibration.runtime.programme import build_programme
from perfmodel.costmodel.lowering import walk_over
from perfmodel.domain import operators as ops
from perfmodel.domain.model import RecModel
from perfmodel.domain.shapes import Function
from tests.unit.calibration.runtime.test_query_scope import CASES, HISTORY, ITEM, ROWS, model_of, op

CELLS = ("rnn", "gru", "lstm")
MORE: dict[str, tuple[dict[str, Any], ...]] = {
    "experts": (ROWS, op("mlp", input="rows", widths=(8, 3), groups=3, activation="prelu")),
    "routed": (ROWS, op("mlp", input="rows", widths=(8, 3), groups=4, routed=True)),
    "weights that are cast": (ITEM, op("mlp", input="item", widths=(8, 3), casts=True, precision="bf16")),
    "a cross network": (ITEM, op("cross", input="item", num_layers=2, rank=3)),
    "fused attention": (ROWS, op("attention", query="rows", num_heads=2, fused=True)),
    "attention of an item's own": (ROWS, op("attention", query="rows", num_heads=2)),
    "a softmax": (ROWS, op("softmax", input="rows")),
    "learned positions": (
        ROWS,
        {"name": "learned", "kind": "parameters", "length": 6, "width": 8},
        op("sum", inputs=("rows", "learned")),
    ),
    "weighted lookups": (
        {"name": "ids", "kind": "ids", "count": 4},
        op(
            "embedding_bag",
            weights="ids",
            tables=({"num_rows": 9, "dim": 4, "pooling_factor": 4, "indices": "ids"},),
        ),
    ),
    "products of an item's own": (ROWS, ITEM, op("batch_matmul", left="rows", right="item", inner=8)),
    "states of an item's own": (
        ROWS,
        ITEM,
        {"name": "scores", "kind": "attention_scores", "states": "rows", "candidate": "item"},
        op("augru", input="rows", hidden_size=4, attention="scores"),
    ),
    "a match with an item's own": (
        ROWS,
        ITEM,
        op("local_activation", behaviours="rows", candidate="item"),
    ),
    "units of their own": (ROWS, ITEM, op("activation_units", behaviours="rows", candidate="item")),
    "another shape": (ROWS, op("view", input="rows", length=2, width=24)),
    "a sum of vectors": (ROWS, op("sum", inputs=("rows",))),
    **{cell: (ROWS, op(cell, input="rows", hidden_size=4, returns="last")) for cell in CELLS},
}


def models() -> list[RecModel]:
    """Models with every kind of operator, some of them with results of the query."""
    every = RecModel.model_validate(EVERY_OPERATOR, strict=False)
    return [every, *(model_of(case) for case in (*CASES.values(), *MORE.values()))]


def test_these_models_hold_every_kind_of_operator() -> None:
    (union, *_) = get_args(ops.Operator)
    held = {type(operator) for model in models() for operator in model.operators}
    assert held == set(get_args(union))


def test_every_call_has_a_binding_and_every_binding_a_call() -> None:
    assert {call.name for model in models() for call in walk_over(model).calls} == set(BINDINGS)


@pytest.mark.parametrize("library", [operators, Modules(frozen=True)], ids=["calls", "modules"])
@pytest.mark.parametrize("case", [*CASES, *MORE])
def test_every_model_runs_on_both_libraries(case: str, library: Library) -> None:
    model = model_of((CASES | MORE)[case])
    programme = build_programme(model, library=library, mode=torch.inference_mode)
    result = programme.run(programme.inputs(3, np.random.default_rng(0)))
    shape = model.shapes()["out"]
    assert result.numel() == 3 * shape.elements
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("function", get_args(Function))
def test_both_libraries_have_every_activation_and_agree_on_it(function: str) -> None:
    layer = {"name": "out", "kind": "mlp", "input": "dense", "widths": (4, 3), "activation": function}
    model = RecModel.model_validate({"name": "m", "dense_features": 4, "operators": (layer,)})
    results = []
    for library in (operators, Modules(frozen=True)):
        programme = build_programme(model, library=library)
        results.append(programme.run(programme.inputs(3, np.random.default_rng(0))))
    assert torch.allclose(*results)


def test_two_results_of_several_tables_are_each_joined_by_a_call_that_costs_time() -> None:
    tables = ({"num_rows": 9, "dim": 4, "count": 3},)
    bags = [{"name": name, "kind": "embedding_bag", "tables": tables} for name in ("one", "other")]
    walk = walk_over(model_of((*bags, op("sum", inputs=("one", "other")))))
    last = len(walk.kernels) - 1
    assert [(call.name, call.kernels) for call in walk.calls[-3:]] == [
        ("concat", (last - 2,)),
        ("concat", (last - 1,)),
        ("add", (last,)),
    ]
    joined = walk.kernels[-3]
    assert (joined.family, joined.variant, joined.pieces) == ("concat", "stack", 3)
    assert joined.read_bytes_per_item == joined.written_bytes_per_item == 3 * 4 * 4


def test_what_reads_the_query_alone_does_not_change_what_others_read_of_it() -> None:
    layer = {"name": "layer", "kind": "mlp", "input": "history", "widths": (8, 4)}
    product = {"name": "each", "kind": "batch_matmul", "left": "item", "right": "history", "inner": 8}
    walk = walk_over(model_of((HISTORY, layer, ITEM, product, op("concat", inputs=("layer", "each")))))
    assert [call.name for call in walk.calls][-2:] == ["shared_batch_matmul", "concat"]
