"""Any model file runs: every kernel is carried out, inputs honour the tables, results can be checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from calibration.runtime import memory
from calibration.runtime import operators as calls
from calibration.runtime.memory import pooled_weights, random_weights, shrunk
from calibration.runtime.programme import CPU, build_programme, programme_with
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.shipped import shipped_names
from perfmodel.planning.prepare import find_model

ROWS = {"name": "rows", "kind": "embedding_bag", "pooling": "none"}
HISTORY = ROWS | {"tables": ({"num_rows": 50, "dim": 8, "pooling_factor": 6},)}
ITEM = {"name": "item", "kind": "embedding_bag", "tables": ({"num_rows": 50, "dim": 8},)}


def model_of(*operators: dict[str, Any], dense: int = 0) -> RecModel:
    return RecModel.model_validate({"name": "model", "dense_features": dense, "operators": operators})


@pytest.mark.thorough_cases("dlrm-v3")
@pytest.mark.parametrize("name", shipped_names("model"))
def test_every_shipped_model_runs_and_carries_out_every_kernel(name: str) -> None:
    programme = build_programme(shrunk(find_model(name), 1e-4))
    result = programme.run(programme.inputs(3, np.random.default_rng(0)))
    assert result.shape == (3, programme.model.output_width)
    carried_out = {kernel for call in programme.calls for kernel in call.kernels}
    assert carried_out == {i for i, kernel in enumerate(programme.kernels) if kernel.family != "input"}


@pytest.mark.parametrize(
    "operators",
    [
        (HISTORY, {"name": "gru", "kind": "gru", "input": "rows", "hidden_size": 4}),
        (HISTORY, {"name": "self", "kind": "attention", "query": "rows", "num_heads": 2}),
        (
            HISTORY,
            ITEM,
            {"name": "scores", "kind": "attention_scores", "states": "rows", "candidate": "item"},
            {"name": "end", "kind": "augru", "input": "rows", "hidden_size": 4, "attention": "scores"},
        ),
        (
            HISTORY,
            ITEM,
            {"name": "unit", "kind": "local_activation", "behaviours": "rows", "candidate": "item"},
        ),
    ],
)
def test_operators_over_sequences_give_the_shapes_that_the_model_promises(
    operators: tuple[dict[str, Any], ...],
) -> None:
    programme = build_programme(model_of(*operators))
    length, width = programme.model.shapes()[operators[-1]["name"]]
    result = programme.run(programme.inputs(5, np.random.default_rng(0)))
    assert result.numel() == 5 * length * width
    assert torch.isfinite(result).all()


def test_units_of_their_own_give_what_plain_pytorch_gives() -> None:
    layers = [[(torch.rand(1, 24), torch.rand(1)), (torch.rand(8, 1), torch.rand(8))] for _ in range(6)]
    candidate, rows = torch.rand(3, 8), torch.rand(3, 6, 8)
    expected = torch.zeros(3, 8)
    for row, unit in zip(rows.unbind(1), layers, strict=True):
        x = torch.cat([row, candidate, row + candidate], 1)
        for weight, bias in unit:
            x = torch.relu(x @ weight.T + bias)
        expected += x
    function = calls.activation_units(layers)
    for given in (rows.unbind(1), (rows,)):  # vectors of tables, or a sequence
        assert torch.allclose(function(candidate, *given), expected, rtol=1e-5, atol=1e-6)
    shared = function(candidate[:1], *rows.unbind(1))  # the query's candidate
    assert torch.allclose(shared[0], expected[0], rtol=1e-5, atol=1e-6)


def test_a_layer_multiplies_with_its_weights_adds_its_bias_and_cuts_off_below_zero() -> None:
    pool = torch.arange(-8.0, 56.0)
    layer = {"name": "top", "kind": "mlp", "input": "dense", "widths": (2, 3)}
    programme = programme_with(model_of(layer, dense=2), pooled_weights(pool, 0))
    inputs = programme.inputs(1, np.random.default_rng(0))
    inputs.tensors[0][1].copy_(torch.tensor([[1.0, 2.0]]))
    # weights are the first six values, -8 to -3 in rows of two; biases start at the next line of 16: 8, 9, 10
    expected = [[max(0.0, -8 - 14 + 8), max(0.0, -6 - 10 + 9), max(0.0, -4 - 6 + 10)]]
    assert programme.run(inputs).tolist() == expected


def test_bags_sum_the_rows_that_their_indices_name() -> None:
    pool = torch.arange(0.0, 64.0)
    table = {"num_rows": 4, "dim": 4, "pooling_factor": 3}
    bags = {"name": "bags", "kind": "embedding_bag", "tables": (table,)}
    programme = programme_with(model_of(bags), pooled_weights(pool, 0))
    inputs = programme.inputs(2, np.random.default_rng(1))
    indices = dict(inputs.tensors)[programme.lookups[0].indices]
    rows = pool[:16].view(4, 4)
    expected = [rows[indices[:3]].sum(0).tolist(), rows[indices[3:]].sum(0).tolist()]
    assert programme.run(inputs).tolist() == expected


def test_the_sum_of_a_single_vector_is_a_copy_of_it() -> None:
    vector = torch.rand(3, 4)  # Caffe2's Sum of one input copies, and is charged for it
    copied = calls.sum_vectors(vector)
    assert torch.equal(copied, vector)
    assert copied.data_ptr() != vector.data_ptr()


def test_all_weights_are_at_hand_to_touch_their_pages() -> None:
    model = find_model("ncf")
    programme = build_programme(model)
    held_bytes = sum(4 * weight.numel() for weight in programme.weights)
    assert held_bytes == pytest.approx(model.embedding_bytes + model.dense_parameter_bytes, rel=1e-3)
    programme.touch_pages()


def test_the_same_seed_gives_the_same_result_and_another_seed_another() -> None:
    model = shrunk(find_model("din"), 1e-4)
    results = [
        build_programme(model, seed=seed).run(
            build_programme(model, seed=seed).inputs(4, np.random.default_rng(7))
        )
        for seed in (1, 1, 2)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_fractional_pooling_factors_are_met_on_average() -> None:
    table = {"num_rows": 9, "dim": 4, "pooling_factor": 2.25}
    programme = build_programme(model_of({"name": "bags", "kind": "embedding_bag", "tables": (table,)}))
    inputs = programme.inputs(4000, np.random.default_rng(0))
    assert len(dict(inputs.tensors)[programme.lookups[0].indices]) == pytest.approx(9000, rel=0.02)


def test_skewed_indices_visit_few_rows_and_uniform_ones_all() -> None:
    tables = tuple({"num_rows": 1000, "dim": 4, "pooling_factor": 50, "zipf_exponent": s} for s in (0.0, 1.2))
    programme = build_programme(model_of({"name": "bags", "kind": "embedding_bag", "tables": tables}))
    slots = dict(programme.inputs(100, np.random.default_rng(0)).tensors)
    uniform, skewed = (slots[lookup.indices] for lookup in programme.lookups)
    assert len(uniform.unique()) > 950
    top = torch.bincount(skewed, minlength=1000).sort(descending=True).values
    assert top[:10].sum() > 0.4 * len(skewed)  # a Zipf law of 1.2 gives its first ten rows 54 %


@pytest.mark.parametrize("exponent", [0.0, 1.2])
def test_indices_fall_on_the_rows_in_use_alone(exponent: float) -> None:
    table = {"num_rows": 1000, "dim": 4, "pooling_factor": 50, "rows_in_use": 20, "zipf_exponent": exponent}
    programme = build_programme(model_of({"name": "bags", "kind": "embedding_bag", "tables": (table,)}))
    indices = dict(programme.inputs(100, np.random.default_rng(0)).tensors)[programme.lookups[0].indices]
    assert len(indices.unique()) == 20
    assert indices.max() > 500  # all over the table


def test_a_table_too_large_says_what_is_missing_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2.0**30)
    with pytest.raises(InputError, match=r"3.0 GiB are missing; --shrink-tables"):
        build_programme(find_model("dlrm-rmc1"))


def test_shrunk_tables_fit_and_the_programme_says_how_many_rows_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2e6)
    model = build_programme(find_model("ncf"), shrink_tables=True).model
    assert model.embedding_bytes + model.dense_parameter_bytes <= 2e6
    assert model.embedding_operators[0].tables[0].num_rows < 140_000


@pytest.mark.parametrize("pooling", ["sum", "none"])
@pytest.mark.parametrize(("element_bytes", "close"), [(1, 0.01), (2, 0.001)])
def test_tables_of_shorter_elements_give_nearly_the_same(
    element_bytes: int, close: float, pooling: str
) -> None:
    results = []
    for size in (element_bytes, 4):
        table = {"num_rows": 9, "dim": 4, "element_bytes": size, "pooling_factor": 3}
        model = model_of({"name": "x", "kind": "embedding_bag", "tables": (table,), "pooling": pooling})
        programme = programme_with(model, random_weights(0, CPU))
        results.append(programme.run(programme.inputs(5, np.random.default_rng(0))))
    assert results[0].dtype == results[1].dtype == torch.float32
    assert torch.allclose(*results, atol=close)


@pytest.mark.parametrize(("element_bytes", "pooling"), [(8, "sum"), (1, "mean")])
def test_tables_that_no_call_reads_are_refused(element_bytes: int, pooling: str) -> None:
    table = {"num_rows": 9, "dim": 4, "element_bytes": element_bytes}
    bags = {"name": "x", "kind": "embedding_bag", "tables": (table,), "pooling": pooling}
    with pytest.raises(InputError, match=r"x: the runtime (runs tables of 1, 2 or 4|sums rows of one byte)"):
        build_programme(model_of(bags))
