"""Views, elementwise calls and products of results: shapes and work by hand, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import BatchMatmul, Elementwise, Operator, Shape, View


def model(*operators: Operator, dense_features: int = 12) -> RecModel:
    return RecModel(name="tiny", dense_features=dense_features, operators=operators)


def view(name: str, length: int, width: int) -> View:
    return View(name=name, kind="view", input="dense", length=length, width=width)


def work(made: RecModel) -> list[tuple[str, float, float, float]]:
    return [
        (kernel.family, kernel.flop_per_item, kernel.read_bytes_per_item, kernel.written_bytes_per_item)
        for kernel in lower(made)
        if kernel.family != "input"
    ]


def test_a_view_costs_nothing_and_has_the_shape_it_says() -> None:
    made = model(view("rows", 3, 4))
    assert made.shapes()["rows"] == Shape(3, 4)
    assert work(made) == []


def test_an_elementwise_call_repeats_its_inputs_and_reads_each_once() -> None:
    product = Elementwise(name="product", kind="elementwise", inputs=("rows", "weights"))
    made = model(view("rows", 3, 4), view("weights", 3, 1), product)
    assert made.shapes()["product"] == Shape(3, 4)
    assert work(made) == [("elementwise", 12, 4 * (12 + 3), 4 * 12)]


def test_products_of_results_multiply_what_they_say() -> None:
    product = BatchMatmul(name="scores", kind="batch_matmul", left="q", right="k", inner=2, products=2)
    made = model(view("q", 6, 2), view("k", 2, 8), product)
    # 2 products of (3, 2) x (2, 4).
    assert made.shapes()["scores"] == Shape(6, 4)
    assert work(made) == [("batch_matmul", 2 * 2 * 3 * 2 * 4, 4 * (12 + 16), 4 * 24)]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (
            {"name": "p", "kind": "elementwise", "inputs": ["rows", "other"]},
            "inputs that repeat to 5 x 4, but rows",
        ),
        (
            {"name": "p", "kind": "batch_matmul", "left": "rows", "right": "other", "inner": 5},
            "1 products of inner size 5, gets 12 elements from rows",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(last: dict[str, Any], message: str) -> None:
    views = [view("rows", 3, 4).model_dump(), view("other", 5, 4).model_dump()]
    with pytest.raises(ValidationError, match=message):
        RecModel.model_validate(
            {"name": "t", "dense_features": 12, "operators": (*views, last)}, strict=False
        )
