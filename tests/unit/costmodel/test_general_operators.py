"""Products of activations, norms and functions of elements: which measured calls they are like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Kernel, is_stand_in, measured_as, surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.model import RecModel
from perfmodel.planning.prepare import find_device

OLD = (
    *(f"batch_matmul.{of}" for of in ("weigh", "match", "scores", "values")),
    "elementwise.mul",
    "activation.tanh",
)
"""Surfaces of calibrations from before general operators were measured."""


def product_model(rows: int, inner: int, outer: int, products: int = 2) -> RecModel:
    return RecModel.model_validate(
        {
            "name": "product",
            "dense_features": 4,
            "operators": (
                mlp("left", products * rows * inner),
                mlp("right", products * inner * outer),
                {
                    "name": "product",
                    "kind": "batch_matmul",
                    "left": "left",
                    "right": "right",
                    "inner": inner,
                    "products": products,
                },
            ),
        }
    )


def product(rows: int, inner: int, outer: int) -> Kernel:
    return next(each for each in lower(product_model(rows, inner, outer)) if each.family == "batch_matmul")


def mlp(name: str, width: int) -> dict[str, object]:
    return {"name": name, "kind": "mlp", "input": "dense", "widths": (4, width), "activation": "none"}


def function(name: str) -> RecModel:
    last = {"name": "last", "kind": "elementwise", "inputs": ("wide",), "function": name}
    return RecModel.model_validate(
        {"name": "function", "dense_features": 4, "operators": (mlp("wide", 512), last)}
    )


@pytest.mark.parametrize(
    ("sizes", "kin"),
    [
        ((1, 50, 8), "weigh"),  # weights of 50 vectors
        ((50, 8, 1), "match"),  # one vector against 50
        ((50, 8, 50), "scores"),  # queries against keys
        ((50, 50, 8), "values"),  # weights of 50 against values
    ],
)
def test_a_product_takes_the_measured_one_of_its_sizes(sizes: tuple[int, int, int], kin: str) -> None:
    kernel = product(*sizes)
    assert kernel.shape == sizes
    assert measured_as(kernel, OLD) == f"batch_matmul.{kin}"
    assert not is_stand_in(kernel, f"batch_matmul.{kin}")
    assert measured_as(kernel, (*OLD, "batch_matmul.products")) == "batch_matmul.products"
    assert measured_as(kernel, ()) is None


@pytest.mark.parametrize(
    ("name", "own", "kin"),
    [
        ("layer_norm", "elementwise.vector_norm", "elementwise.mul"),
        ("gelu", "elementwise.gelu", "activation.tanh"),
        ("silu", "elementwise.silu", "activation.tanh"),
        ("hardswish", "elementwise.hardswish", "elementwise.mul"),
    ],
)
def test_a_function_stands_for_what_bounds_it(name: str, own: str, kin: str) -> None:
    kernel = next(each for each in lower(function(name)) if each.family == "elementwise")
    assert surface_key(kernel) == own
    assert measured_as(kernel, OLD) == kin
    assert is_stand_in(kernel, kin)
    assert measured_as(kernel, (*OLD, own)) == own
    assert not is_stand_in(kernel, own)


@pytest.mark.parametrize("name", ["add", "batch_norm"])
def test_a_product_of_elements_is_one_of_the_calls_that_memory_bounds(name: str) -> None:
    kernel = next(each for each in lower(function(name)) if each.family == "elementwise")
    assert surface_key(kernel) == "elementwise.pointwise"
    assert measured_as(kernel, OLD) == "elementwise.mul"
    assert not is_stand_in(kernel, "elementwise.mul")


@pytest.mark.parametrize(
    ("name", "older"), [("log", "elementwise.transcendental"), ("rms_norm", "elementwise.norm")]
)
def test_where_functions_were_measured_together_that_is_no_stand_in(name: str, older: str) -> None:
    kernel = next(each for each in lower(function(name)) if each.family == "elementwise")
    assert measured_as(kernel, (*OLD, older, "elementwise.exp")) == older
    assert not is_stand_in(kernel, older)


@pytest.mark.parametrize(
    ("name", "like"), [("log", "exp"), ("rsqrt", "sqrt"), ("cos", "softplus"), ("pow", "tanh")]
)
def test_a_function_that_was_not_measured_takes_the_time_of_one_as_slow(name: str, like: str) -> None:
    kernel = next(each for each in lower(function(name)) if each.family == "elementwise")
    measured = [f"elementwise.{each}" for each in ("exp", "sqrt", "softplus", "tanh", "mul")]
    assert measured_as(kernel, measured) == f"elementwise.{like}"
    assert is_stand_in(kernel, f"elementwise.{like}")


def test_products_by_heads_are_no_longer_priced_as_those_of_one_row() -> None:
    """Of the shipped profile: 39 fields of 16 elements by 2 heads take the time of scores of that size."""
    model = product_model(39, 16, 39)
    device, batch = find_device("amd-epyc-turin-2c@pytorch", model), np.array([64.0])
    surfaces = {key: each for key, each in device.surfaces.items() if key != "batch_matmul.weigh"}
    own = batch_time(model, device, batch).family_s("batch_matmul")
    assert own == batch_time(model, replace(device, surfaces=surfaces), batch).family_s("batch_matmul")


def test_what_stands_in_is_an_extrapolation_where_it_matters() -> None:
    model = function("layer_norm")
    device = find_device("amd-epyc-turin-2c@pytorch", model)
    time = batch_time(model, device, np.array([512.0]))
    (norm,) = (each for each in time.kernels if each.kernel.family == "elementwise")
    assert norm.seconds[0] > 0.05 * time.seconds[0]
    assert norm.basis is Basis.EXTRAPOLATED


def test_fewer_vectors_than_routed_groups_cost_a_row_each() -> None:
    """Two vectors an item for eight experts: at one item they are eight calls of one row, and no less."""
    operators = (
        {"name": "two", "kind": "view", "input": "dense", "length": 2, "width": 32},
        {"name": "experts", "kind": "mlp", "input": "two", "widths": (32, 64), "groups": 8, "routed": True},
    )
    model = RecModel.model_validate({"name": "routed", "dense_features": 64, "operators": operators})
    device = find_device("amd-epyc-turin-2c@pytorch", model)
    one, four = (batch_time(model, device, np.array([items])).family_s("fc")[0] for items in (1.0, 4.0))
    assert one == pytest.approx(four, rel=0.01)  # 4 x 2 vectors are one for each; copies on the way are more
