"""Work of the query: what may read what, and whose the counts are."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.model import RecModel

USER = {
    "name": "user",
    "kind": "embedding_bag",
    "scope": "query",
    "tables": [{"num_rows": 100, "dim": 8, "pooling_factor": 5}],
}
ITEM = {"name": "item", "kind": "embedding_bag", "tables": [{"num_rows": 50, "dim": 8}]}
TOWER = {"name": "tower", "kind": "mlp", "input": "user", "widths": [8, 4], "scope": "query"}
JOINED = {"name": "joined", "kind": "concat", "inputs": ["tower", "item"]}
TOP = {"name": "top", "kind": "mlp", "input": "joined", "widths": [12, 1]}


def model_of(*operators: dict[str, Any], **inputs: int) -> RecModel:
    return RecModel.model_validate({"name": "m", "operators": operators, **inputs}, strict=False)


def error_of(*operators: dict[str, Any], **inputs: int) -> ValueErrorAt:
    with pytest.raises((ValidationError, ValueErrorAt)) as caught:
        model_of(*operators, **inputs)
    error = caught.value
    if isinstance(error, ValidationError):
        (only,) = error.errors()
        error = only["ctx"]["error"]
    assert isinstance(error, ValueErrorAt)
    return error


def test_an_item_reads_the_query_by_broadcast() -> None:
    model = model_of(USER, ITEM, TOWER, JOINED, TOP)
    assert model.shapes()["joined"] == (1, 12)
    assert model.scopes == {
        "dense": "item",
        "query_dense": "query",
        **{"user": "query", "item": "item", "tower": "query", "joined": "item", "top": "item"},
    }


def test_lookups_are_counted_of_whom_they_belong_to() -> None:
    model = model_of(USER, ITEM, TOWER, JOINED, TOP)
    assert (model.lookups_per_item, model.lookups_per_query) == (1, 5)
    assert (model.embedding_bytes_per_item, model.embedding_bytes_per_query) == (32, 160)
    assert model.embedding_bytes == (100 + 50) * 32


def test_the_query_does_not_read_an_item() -> None:
    error = error_of(
        USER, ITEM, {**JOINED, "inputs": ["user", "item"], "scope": "query"}, {**TOP, "widths": [16, 1]}
    )
    assert error.message.startswith("joined: is computed once a query, but reads item, which each item")
    assert error.path == ("operators", 2, "scope")


def test_the_query_does_not_read_the_dense_input_of_items() -> None:
    layer = {"name": "layer", "kind": "mlp", "input": "dense", "widths": [4, 8], "scope": "query"}
    error = error_of(
        layer, ITEM, {**JOINED, "inputs": ["layer", "item"]}, {**TOP, "widths": [16, 1]}, dense_features=4
    )
    assert "layer: is computed once a query, but reads dense" in error.message


def test_the_query_has_a_dense_input_of_its_own() -> None:
    layer = {"name": "layer", "kind": "mlp", "input": "query_dense", "widths": [4, 8], "scope": "query"}
    joined = {**JOINED, "inputs": ["layer", "item"]}
    model = model_of(layer, ITEM, joined, {**TOP, "widths": [16, 1]}, query_dense_features=4)
    assert model.has_query_work


def test_the_output_is_an_items() -> None:
    error = error_of(USER, TOWER)
    assert error.message.startswith("tower: the last operator is the output")
    assert error.path == ("operators", 1, "scope")


@pytest.mark.parametrize("scope", ["user", "Query", "", 1])
def test_there_are_two_scopes(scope: object) -> None:
    with pytest.raises(ValidationError):
        model_of({**USER, "scope": scope}, ITEM, TOWER, JOINED, TOP)
