"""Norms, convolutions and gated layers: what they count, by hand, and that they compute what PyTorch does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from calibration.importing.factory import Example
from calibration.importing.importer import import_example
from calibration.runtime.memory import random_weights
from calibration.runtime.programme import CPU, build_programme
from calibration.runtime.tensor_operators import elementwise
from perfmodel.costmodel.kernels import is_stand_in, measured_as, surface_key
from perfmodel.costmodel.lowering import gemm_flop_per_item, lower
from perfmodel.domain.model import RecModel
from tests.unit.calibration.runtime.test_query_scope import ROWS, model_of, op

LENGTH, WIDTH = 6, 8
"""Of `ROWS`."""
CONVOLUTION = {"channels": 4, "kernel_size": 3, "stride": 2, "padding": 1, "groups": 2}


def over_rows(kind: str, **fields: Any) -> RecModel:
    return model_of((ROWS, op(kind, input="rows", **fields)))


def work(model: RecModel) -> list[tuple[str, float, float, float, float]]:
    """Family, FLOP, bytes read and written of one item, and bytes of weights, of each call of `out`."""
    return [
        (
            each.family,
            each.flop_per_item,
            each.read_bytes_per_item,
            each.written_bytes_per_item,
            each.weight_bytes,
        )
        for each in lower(model)
        if each.operator.split(".")[0] == "out"
    ]


def results(model: RecModel, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """What the rows are, and what the operator makes of them."""
    rows_alone = model_of((ROWS,))
    inputs = build_programme(model, seed=seed).inputs(5, np.random.default_rng(0))
    return build_programme(rows_alone, seed=seed).run(inputs), build_programme(model, seed=seed).run(inputs)


def weights_of(*shapes: tuple[int, ...], seed: int = 3) -> list[torch.Tensor]:
    """The weights that a programme of this seed holds after those of the table of `ROWS`."""
    made = random_weights(seed, CPU, torch.float32)
    made(50, WIDTH)
    return [made(*shape) for shape in shapes]


def test_routed_groups_share_the_vectors_of_all_items_and_read_all_weights() -> None:
    model = over_rows("mlp", widths=(WIDTH, 4), groups=5, routed=True, activation="none")
    (layer,) = [kernel for kernel in lower(model) if kernel.operator == "out"]
    assert (layer.calls, layer.calls * layer.flop_per_item) == (5, pytest.approx(LENGTH * 2 * WIDTH * 4))
    assert model.dense_parameter_bytes == 4 * 5 * (WIDTH + 1) * 4
    assert gemm_flop_per_item(model) == pytest.approx(LENGTH * 2 * WIDTH * 4)


def test_routed_groups_are_layers_over_runs_of_the_vectors() -> None:
    rows, result = results(over_rows("mlp", widths=(WIDTH, 4), groups=5, routed=True, activation="none"))
    weights, biases = weights_of((5, 4, WIDTH), (5, 4))
    runs = torch.tensor_split(rows.reshape(-1, WIDTH), 5)
    expected = [
        torch.nn.functional.linear(run, weight, bias)
        for run, weight, bias in zip(runs, weights, biases, strict=True)
    ]
    assert torch.allclose(result.reshape(-1, 4), torch.cat(expected), atol=1e-6)


def test_a_norm_moves_each_element_once_and_holds_two_weights_for_each_of_a_vector() -> None:
    model = over_rows("layer_norm")
    elements = LENGTH * WIDTH
    assert work(model) == [("elementwise", elements, 4 * elements, 4 * elements, 0)]
    assert model.dense_parameter_bytes == 4 * 2 * WIDTH
    assert surface_key(lower(model)[-1]) == "elementwise.vector_norm"


def test_a_norm_is_pytorch_s() -> None:
    rows, result = results(over_rows("layer_norm"))
    weight, bias = weights_of((WIDTH,), (WIDTH,))
    assert torch.allclose(result, torch.nn.functional.layer_norm(rows, (WIDTH,), weight, bias), atol=1e-6)


def test_a_convolution_multiplies_each_window_and_reads_its_vectors_once() -> None:
    model = over_rows("conv1d", **CONVOLUTION)
    # (6 + 2 x 1 - 3) // 2 + 1 = 3 places; a channel is made of 3 x 8 / 2 = 12 elements
    assert model.shapes()["out"] == (3, 4)
    flop = 2 * 3 * 12 * 4
    assert work(model) == [("fc", flop, 4 * LENGTH * WIDTH, 4 * 3 * 4, 4 * 12 * 4)]
    assert gemm_flop_per_item(model) == flop
    assert model.dense_parameter_bytes == 4 * 4 * (12 + 1)
    assert over_rows("conv1d", **CONVOLUTION, bias=False).dense_parameter_bytes == 4 * 4 * 12


def test_a_convolution_is_pytorch_s() -> None:
    rows, result = results(over_rows("conv1d", **CONVOLUTION))
    weight, bias = weights_of((4, WIDTH // 2, 3), (4,))
    expected = torch.nn.functional.conv1d(rows.transpose(1, 2), weight, bias, stride=2, padding=1, groups=2)
    assert torch.allclose(result, expected.transpose(1, 2), atol=1e-5)


def test_a_convolution_is_timed_as_a_layer_until_it_is_measured() -> None:
    kernel = lower(over_rows("conv1d", **CONVOLUTION))[-1]
    assert measured_as(kernel, ("fc",)) == "fc"
    assert is_stand_in(kernel, "fc")
    assert not is_stand_in(kernel, "fc.conv1d")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kernel_size": 7}, "expects at least 7 vectors with padding, gets 6 from rows"),
        ({"kernel_size": 4, "dilation": 2}, "expects at least 7 vectors"),
        ({"kernel_size": 3, "groups": 3}, "expects 3 groups to divide 4 channels and the 8 elements"),
    ],
)
def test_a_convolution_that_does_not_fit_is_refused(fields: dict[str, int], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        over_rows("conv1d", channels=4, **fields)


def test_a_gated_layer_is_three_products_a_silu_and_a_product_of_both() -> None:
    model = over_rows("swiglu", hidden_width=5)
    wide, narrow = LENGTH * WIDTH, LENGTH * 5
    product = 2 * LENGTH * WIDTH * 5
    weights = 4 * WIDTH * 5
    assert work(model) == [
        ("fc", product, 4 * wide, 4 * narrow, weights),
        ("activation", narrow, 4 * narrow, 4 * narrow, 0),
        ("fc", product, 4 * wide, 4 * narrow, weights),
        ("elementwise", narrow, 4 * 2 * narrow, 4 * narrow, 0),
        ("fc", product, 4 * narrow, 4 * wide, weights),
    ]
    assert model.dense_parameter_bytes == 4 * 3 * WIDTH * 5
    with_bias = over_rows("swiglu", hidden_width=5, bias=True)
    assert with_bias.dense_parameter_bytes == 4 * (3 * WIDTH * 5 + 2 * 5 + WIDTH)


def test_a_gated_layer_is_its_formula() -> None:
    rows, result = results(over_rows("swiglu", hidden_width=5))
    gate, gate_bias, up, up_bias, down, down_bias = weights_of(
        (5, WIDTH), (5,), (5, WIDTH), (5,), (WIDTH, 5), (WIDTH,)
    )
    linear = torch.nn.functional.linear
    hidden = torch.nn.functional.silu(linear(rows, gate, gate_bias)) * linear(rows, up, up_bias)
    assert torch.allclose(result, linear(hidden, down, down_bias), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_pytorch_s_modules_come_through_as_these(bias: bool) -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv1d(8, 4, 3, stride=2, padding=1, groups=2, bias=bias),
        torch.nn.Flatten(1),
        torch.nn.LayerNorm(12),
        torch.nn.Linear(12, 1),
    )
    made = import_example(
        Example(target="modules", module=module.eval(), inputs=(torch.rand(4, 8, 6),), batch_size=4),
        "modules",
    )
    found = {operator.kind: operator for operator in made.model.operators}
    held = {key: getattr(found["conv1d"], key) for key in CONVOLUTION}
    assert held == CONVOLUTION
    assert found["conv1d"].num_parameters(made.model.shapes()) == 4 * (12 + bias)
    assert found["layer_norm"].num_parameters(made.model.shapes()) == 24
    assert made.model.dense_parameter_bytes == 4 * sum(each.numel() for each in module.parameters())
    assert made.product_flop_per_item == made.counted_flop_per_item == 2 * (3 * 12 * 4 + 12)


@pytest.mark.parametrize("name", ["sqrt", "rsqrt", "log", "log2", "log1p", "pow"])
def test_roots_and_logarithms_are_of_positive_numbers(name: str) -> None:
    """Of negative ones they take many times as long, and so does what follows of NaN."""
    call = elementwise(3, 8, 1, name)
    for rows in (4, 5):
        assert torch.isfinite(call(-torch.ones(rows, 3, 8))).all()


@pytest.mark.parametrize(("name", "expected"), [("layer_norm", [-1.0, 1.0]), ("rms_norm", [0.0, 2.0**0.5])])
def test_norms_as_functions_have_weights(name: str, expected: list[float]) -> None:
    found = elementwise(1, 2, 1, name)(torch.tensor([[0.0, 4.0]]))
    assert found.tolist() == [pytest.approx(expected, abs=1e-4)]
