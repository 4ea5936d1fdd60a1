"""The kernels of each operator, and their work: counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Kernel, Work
from perfmodel.costmodel.lowering import gemm_flop_per_item, lower, walk_over
from perfmodel.costmodel.model_counts import model_counts
from perfmodel.domain.model import RecModel
from tests.unit.costmodel.conftest import MakeModel

USER = {"name": "user", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": 8}]}
ITEM = {"name": "item", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": 8}]}
TABLES = {"name": "tables", "kind": "embedding_bag", "tables": [{"num_rows": 9, "dim": 8, "count": 4}]}
HISTORY = {
    "name": "history",
    "kind": "embedding_bag",
    "pooling": "none",
    "tables": [{"num_rows": 100, "dim": 8, "pooling_factor": 5}],
}
MEMBERS = [HISTORY, ITEM]


def op(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "out", "kind": kind, **fields}


def kernels_of(model: RecModel, operator: str = "out") -> list[Kernel]:
    return [kernel for kernel in lower(model) if kernel.operator.split(".")[0] == operator]


def work_of(kernel: Kernel, batch_size: int = 1) -> Work:
    return kernel.work(np.array(float(batch_size)))


def families(kernels: list[Kernel]) -> list[str]:
    return [kernel.family for kernel in kernels]


def test_an_fc_layer_reads_its_weights_once_a_batch(model_of: MakeModel) -> None:
    model = model_of(op("fc", input="dense", widths=[352, 512], activation="none"), dense_features=352)
    (fc,) = kernels_of(model)
    work = work_of(fc, 64)
    assert work.flop == 64 * 2 * 352 * 512
    assert work.bytes_read == 4 * (64 * 352 + 352 * 512)
    assert work.bytes_written == 4 * 64 * 512
    assert work.bytes_moved == work.bytes_read + work.bytes_written


def test_every_layer_has_its_product_and_its_activation(model_of: MakeModel) -> None:
    model = model_of(op("mlp", input="dense", widths=[8, 4, 2, 1], final_activation="none"), dense_features=8)
    kernels = kernels_of(model)
    assert families(kernels) == ["fc", "activation", "fc", "activation", "fc"]
    assert [kernel.operator for kernel in kernels] == ["out", "out.relu", "out", "out.relu", "out"]
    relu = work_of(kernels[1], 10)
    assert (relu.flop, relu.bytes_read, relu.bytes_written) == (40, 160, 160)


def test_an_mlp_over_a_sequence_has_a_row_for_each_vector(model_of: MakeModel) -> None:
    fc = kernels_of(model_of(HISTORY, op("mlp", input="history", widths=[8, 2])))[0]
    assert fc.product is not None
    assert fc.product.rows_per_item == 5
    assert work_of(fc, 3).flop == 3 * 5 * 2 * 8 * 2


def test_a_pooled_lookup_reads_rows_and_indices_and_writes_one_vector(model_of: MakeModel) -> None:
    table = {"num_rows": 1000, "dim": 32, "pooling_factor": 80, "count": 8}
    (bag,) = kernels_of(model_of(op("embedding_bag", tables=[table])))
    work = work_of(bag, 10)
    assert work.random_rows == 10 * 8 * 80
    assert work.flop == 10 * 8 * 80 * 32
    assert work.bytes_read == 10 * 8 * 80 * (32 * 4 + 8)
    assert work.bytes_written == 10 * 8 * 32 * 4


def test_narrow_elements_are_read_narrow_and_pooled_in_fp32(model_of: MakeModel) -> None:
    table = {"num_rows": 1000, "dim": 32, "pooling_factor": 80, "element_bytes": 1}
    (bag,) = kernels_of(model_of(op("embedding_bag", tables=[table])))
    work = work_of(bag)
    assert (work.bytes_read, work.bytes_written) == (80 * (32 + 8), 128)


def test_an_unpooled_lookup_writes_every_row(model_of: MakeModel) -> None:
    (bag,) = kernels_of(model_of(HISTORY), "history")
    assert work_of(bag, 10).bytes_written == 10 * 5 * 8 * 4


def test_concat_copies_everything_and_joins_a_piece_for_each_table(model_of: MakeModel) -> None:
    model = model_of(TABLES, op("concat", inputs=["dense", "tables"]), dense_features=6)
    (concat,) = kernels_of(model)
    work = work_of(concat, 10)
    assert concat.pieces == 1 + 4
    assert work.bytes_read == work.bytes_written == 10 * 4 * (6 + 4 * 8)
    assert work.flop == 0


def test_sum_adds_what_it_reads_beyond_what_it_writes(model_of: MakeModel) -> None:
    (two,) = kernels_of(model_of(USER, ITEM, op("sum", inputs=["user", "item"])))
    (four,) = kernels_of(model_of(TABLES, op("sum", inputs=["tables"])))
    assert (work_of(two).flop, work_of(two).bytes_read, work_of(two).bytes_written) == (8, 64, 32)
    assert (work_of(four).flop, work_of(four).bytes_read, work_of(four).bytes_written) == (24, 128, 32)


def test_dot_interaction_stacks_multiplies_and_keeps_one_triangle(model_of: MakeModel) -> None:
    model = model_of(TABLES, op("dot_interaction", inputs=["dense", "tables"]), dense_features=8)
    stack, multiply, keep = kernels_of(model)  # 5 vectors of 8, 10 pairs
    assert families([stack, multiply, keep]) == ["concat", "batch_matmul", "elementwise"]
    assert (stack.pieces, work_of(stack).bytes_moved) == (5, 2 * 4 * 5 * 8)
    assert work_of(multiply).flop == 2 * 5 * 8 * 5
    assert work_of(multiply).bytes_read == 4 * 8 * (5 + 5)
    assert work_of(multiply).bytes_written == 4 * 5 * 5
    assert work_of(keep).bytes_moved == 2 * 4 * 10


def test_activation_reads_and_writes_every_element(model_of: MakeModel) -> None:
    (tanh,) = kernels_of(model_of(HISTORY, op("activation", input="history", function="tanh")))
    work = work_of(tanh, 2)
    assert (work.flop, work.bytes_read, work.bytes_written) == (2 * 40, 2 * 160, 2 * 160)


def test_softmax_normalises_a_row_for_each_vector(model_of: MakeModel) -> None:
    (softmax,) = kernels_of(model_of(HISTORY, op("softmax", input="history")))
    assert (softmax.rows_per_item, work_of(softmax).flop, work_of(softmax).bytes_read) == (5, 5 * 40, 160)


def test_local_activation_runs_one_shared_mlp_over_all_behaviours(model_of: MakeModel) -> None:
    unit = op("local_activation", behaviours="history", candidate="item", hidden_widths=[6])
    kernels = kernels_of(model_of(*MEMBERS, unit))
    assert families(kernels) == ["elementwise", "concat", "fc", "activation", "fc", "batch_matmul"]
    product, _, hidden, _, weight, weighted_sum = kernels
    assert work_of(product).flop == 5 * 8  # behaviour x candidate
    assert work_of(hidden).flop == 5 * 2 * 24 * 6
    assert work_of(weight).flop == 5 * 2 * 6 * 1
    assert work_of(weighted_sum).flop == 2 * 5 * 8


def test_units_of_their_own_make_their_calls_one_after_the_other(model_of: MakeModel) -> None:
    units = op("activation_units", behaviours="history", candidate="item", hidden_widths=[1])
    kernels = kernels_of(model_of(*MEMBERS, units))
    assert families(kernels) == ["sum", "concat", "fc", "activation", "fc", "activation", "sum"]
    assert [kernel.calls for kernel in kernels] == [5, 5, 5, 5, 5, 5, 1]
    added, joined, weight, _, weighed, _, total = kernels
    assert (work_of(added).flop, work_of(added).bytes_moved) == (5 * 8, 5 * 4 * 3 * 8)
    assert (joined.pieces, work_of(joined).flop, work_of(joined).bytes_moved) == (3, 0, 5 * 4 * 2 * 24)
    assert (work_of(weight).flop, work_of(weighed).flop) == (5 * 2 * 24 * 1, 5 * 2 * 1 * 8)
    assert (total.pieces, work_of(total).flop) == (5, 4 * 8)


def test_attention_scores_project_the_candidate_once(model_of: MakeModel) -> None:
    scores = op("attention_scores", states="history", candidate="item")
    fc, dot, softmax = kernels_of(model_of(*MEMBERS, scores))
    assert work_of(fc).flop == 2 * 8 * 8
    assert work_of(dot).flop == 5 * 2 * 8
    assert (softmax.family, softmax.rows_per_item) == ("softmax", 1)


def test_attention_projects_scores_and_weighs_by_head(model_of: MakeModel) -> None:
    kernels = kernels_of(model_of(HISTORY, op("attention", query="history", num_heads=2)))
    assert families(kernels) == ["fc", "fc", "fc", "batch_matmul", "softmax", "batch_matmul", "fc"]
    query, key, value, scores, softmax, weighted, output = kernels
    for projection in (query, key, value, output):
        assert work_of(projection).flop == 5 * 2 * 8 * 8
    assert work_of(scores).flop == 2 * (2 * 5 * 4 * 5)  # 2 heads: (5 x 4) x (4 x 5)
    assert work_of(weighted).flop == 2 * (2 * 5 * 5 * 4)
    assert (scores.rows_per_item, softmax.rows_per_item) == (2, 2 * 5)


def test_attention_without_projections_has_no_products_with_weights(model_of: MakeModel) -> None:
    model = model_of(HISTORY, op("attention", query="history", projected=False))
    assert families(kernels_of(model)) == ["batch_matmul", "softmax", "batch_matmul"]
    assert gemm_flop_per_item(model) == 0.0


def test_fused_attention_keeps_its_scores_to_itself(model_of: MakeModel) -> None:
    model = model_of(HISTORY, op("attention", query="history", projected=False, fused=True))
    (fused,) = kernels_of(model)
    # five queries of 8 elements against five keys, and the weighted sums of five values
    assert work_of(fused).flop == 2 * (5 * 8 * 5) + 2 * (5 * 5 * 8)
    assert (work_of(fused).bytes_read, work_of(fused).bytes_written) == (4 * 3 * 5 * 8, 4 * 5 * 8)


def test_a_gated_layer_is_three_products_and_what_joins_two_of_them(model_of: MakeModel) -> None:
    kernels = kernels_of(model_of(HISTORY, op("swiglu", input="history", hidden_width=6)))
    assert sorted(families(kernels)) == ["activation", "elementwise", "fc", "fc", "fc"]
    assert [work_of(kernel).flop for kernel in kernels if kernel.family == "fc"] == [5 * 2 * 8 * 6] * 3
    (silu,) = (kernel for kernel in kernels if kernel.family == "activation")
    (gate,) = (kernel for kernel in kernels if kernel.family == "elementwise")
    assert (work_of(silu).bytes_read, work_of(silu).bytes_written) == (4 * 5 * 6, 4 * 5 * 6)
    assert (work_of(gate).flop, work_of(gate).bytes_read) == (5 * 6, 2 * 4 * 5 * 6)


@pytest.mark.parametrize(("inputs", "operations"), [(1, 1), (2, 1), (3, 2)])
def test_elements_are_joined_two_at_a_time(model_of: MakeModel, inputs: int, operations: int) -> None:
    given = [USER, ITEM][:inputs]
    (kernel,) = kernels_of(
        model_of(*given, op("elementwise", inputs=["user", "item", "user"][:inputs], function="add"))
    )
    assert work_of(kernel).flop == operations * 8
    assert work_of(kernel).bytes_read == inputs * 4 * 8


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("gru", 3)])
def test_a_recurrent_layer_projects_all_steps_and_then_goes_step_by_step(
    model_of: MakeModel, kind: str, gates: int
) -> None:
    model = model_of(HISTORY, op(kind, input="history", hidden_size=6))
    projected, hidden = kernels_of(model)
    assert (projected.calls, projected.steps, hidden.calls, hidden.steps) == (1, 0, 5, 5)
    assert work_of(projected).flop == 5 * 2 * 8 * 6 * gates
    assert work_of(hidden).flop == 5 * (2 * 6 * 6 * gates + 10 * 6 * gates)
    # the hidden weights are read anew at each step, the input's once
    assert work_of(projected, 2).bytes_read == 4 * (2 * 5 * 8 + 8 * 6 * gates)
    assert work_of(projected, 2).bytes_written == 4 * 2 * 5 * 6 * gates
    assert work_of(hidden, 2).bytes_written == 5 * 4 * 2 * (6 + 6 * gates)
    assert work_of(hidden, 2).bytes_read == 5 * 4 * (2 * (6 + 6 * gates) + 6 * 6 * gates)
    assert gemm_flop_per_item(model) == 5 * 2 * (8 + 6) * 6 * gates


def test_an_augru_costs_what_a_gru_costs(model_of: MakeModel) -> None:
    scores = {"name": "scores", "kind": "attention_scores", "states": "history", "candidate": "item"}
    augru = op("augru", input="history", hidden_size=6, attention="scores")
    gru = op("gru", input="history", hidden_size=6)
    with_scores = kernels_of(model_of(*MEMBERS, scores, augru))
    plain = kernels_of(model_of(HISTORY, gru))
    assert [replace(kernel, variant="") for kernel in with_scores] == [
        replace(kernel, variant="") for kernel in plain
    ]


@pytest.mark.parametrize(("rank", "flop"), [(None, 2 * 8 * 8), (2, 2 * 8 * 2 + 2 * 2 * 8)])
def test_a_cross_layer_is_its_products_and_an_elementwise_step(
    model_of: MakeModel, rank: int | None, flop: int
) -> None:
    model = model_of(op("cross", input="dense", num_layers=3, rank=rank), dense_features=8)
    kernels = kernels_of(model)
    assert gemm_flop_per_item(model) == 3 * flop
    steps = [kernel for kernel in kernels if kernel.family == "elementwise"]
    assert len(steps) == 3
    assert work_of(steps[0]).flop == 2 * 8  # x0 * y + x
    assert (work_of(steps[0]).bytes_read, work_of(steps[0]).bytes_written) == (3 * 32, 32)


def test_input_has_two_tensors_a_table_and_one_for_dense_features(model_of: MakeModel) -> None:
    model = model_of(TABLES, op("concat", inputs=["dense", "tables"]), dense_features=6)
    dense, indices = kernels_of(model, "input")
    assert (dense.pieces, dense.read_bytes_per_item) == (1, 24)
    assert (indices.calls, indices.pieces, indices.read_bytes_per_item) == (4, 2, 8)


def test_work_of_an_input_touches_no_rows(model_of: MakeModel) -> None:
    assert work_of(kernels_of(model_of(TABLES), "input")[0], 7).random_rows == 0


def test_a_signature_tells_sizes_apart_and_names_alike(model_of: MakeModel) -> None:
    def signature(name: str, width: int) -> str:
        layer = {"name": name, "kind": "fc", "input": "dense", "widths": [8, width], "activation": "none"}
        return kernels_of(model_of(layer, dense_features=8), name)[0].signature

    assert signature("top", 4) == signature("bottom", 4) == "fc:1x8x4"
    assert signature("top", 4) != signature("top", 5)


TWICE = {
    "name": "twice",
    "unread": ["again"],
    "operators": [
        {"name": "ids", "kind": "ids"},
        {"name": "once", "kind": "embedding_bag"}
        | {"tables": [{"num_rows": 9, "dim": 8, "indices": "ids", "memory": "one"}]},
        {"name": "again", "kind": "embedding_bag", "only_on": "cpu"}
        | {"tables": [{"num_rows": 9, "dim": 8, "indices": "ids", "memory": "one"}]},
        {"name": "seen", "kind": "view", "input": "once", "width": 8},
        {"name": "top", "kind": "fc", "input": "seen", "widths": [8, 1], "activation": "none"},
    ],
}


def test_what_only_cores_run_is_no_kernel_of_a_card() -> None:
    model = RecModel.model_validate_json(json.dumps(TWICE))
    shared = ["input", "once"]
    assert [kernel.operator for kernel in lower(model)] == [*shared, "again", "top"]
    assert [kernel.operator for kernel in lower(model, "gpu")] == [*shared, "top"]
    # the view's time goes to the kernel before it, which a card does not have: to the one before that
    cores, card = walk_over(model), walk_over(model, "gpu")
    assert [(call.operator, call.kernels) for call in cores.calls] == [
        ("once", (1,)),
        ("again", (2,)),
        ("seen", (2,)),
        ("top", (3,)),
    ]
    assert [(call.operator, call.kernels) for call in card.calls] == [
        ("once", (1,)),
        ("seen", (1,)),
        ("top", (2,)),
    ]
    kept = [call.writes for call in cores.calls if call.operator != "again"]
    assert [call.writes for call in card.calls] == kept
    assert cores.num_slots == card.num_slots


def test_one_memory_that_is_read_twice_counts_once_and_its_rows_twice() -> None:
    model = RecModel.model_validate_json(json.dumps(TWICE))
    assert (model.num_tables, model.embedding_bytes) == (1, 9 * 32)
    counts = model_counts(model)
    # on cores: two rows of 32 bytes and their indices of 8 read, two of 32 written; the layer's 8 and 1
    assert (counts.lookups_per_item, counts.bytes_per_item) == (2, 2 * (32 + 8 + 32) + 4 * (8 + 1))
    assert counts.flop_per_item == 2 * 8 + 2 * 8
