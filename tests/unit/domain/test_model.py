"""The graph of a model: every name known, used once and read; and what is counted over all operators."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.model import RecModel

BAGS = {
    "name": "bags",
    "kind": "embedding_bag",
    "tables": [
        {"num_rows": 1000, "dim": 8, "pooling_factor": 4, "count": 2},
        {"num_rows": 10, "dim": 8, "element_bytes": 2},
    ],
}
JOINED = {"name": "joined", "kind": "concat", "inputs": ["dense", "bags"]}
TOP = {"name": "top", "kind": "mlp", "input": "joined", "widths": [28, 1]}


def model_of(*operators: dict[str, Any], dense_features: int = 4, name: str = "m") -> RecModel:
    document = {"name": name, "dense_features": dense_features, "operators": list(operators)}
    return RecModel.model_validate_json(json.dumps(document))


def error_of(*operators: dict[str, Any], **fields: Any) -> ValueErrorAt:
    with pytest.raises(ValidationError) as caught:
        model_of(*operators, **fields)
    error = caught.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, ValueErrorAt)
    return error


def test_counts_go_over_all_tables() -> None:
    model = model_of(BAGS, JOINED, TOP)
    assert model.num_tables == 3
    assert model.lookups_per_item == 2 * 4 + 1
    assert model.embedding_bytes == 2 * 1000 * 32 + 10 * 16
    assert model.embedding_bytes_per_item == 2 * 4 * 32 + 16
    assert model.output_width == 1


def test_an_unknown_input_lists_what_is_known() -> None:
    error = error_of(BAGS, {**JOINED, "inputs": ["dense", "bag"]}, TOP)
    assert error.message == "joined: reads bag, which no earlier operator gives; known here: dense, bags"
    assert error.path == ("operators", 1)


def test_a_later_operator_is_no_input() -> None:
    error = error_of(TOP, BAGS, JOINED, dense_features=0)
    assert error.message == "top: reads joined, which no earlier operator gives; known here: nothing yet"


def test_dense_is_unknown_in_a_model_without_dense_features() -> None:
    error = error_of(BAGS, JOINED, dense_features=0)
    assert error.message == "joined: reads dense, which no earlier operator gives; known here: bags"


@pytest.mark.parametrize("taken", ["bags", "dense"])
def test_a_name_is_used_once(taken: str) -> None:
    error = error_of(BAGS, {**JOINED, "name": taken}, TOP)
    assert error.message == f"{taken}: name is used twice"
    assert error.path == ("operators", 1, "name")


def test_dense_is_reserved_where_the_model_has_none() -> None:
    error = error_of({**BAGS, "name": "dense"}, dense_features=0)
    assert error.message == "dense: name is used twice"


def test_a_result_that_nothing_reads_is_refused() -> None:
    error = error_of(BAGS, {**BAGS, "name": "forgotten"}, JOINED, TOP)
    assert error.message == "forgotten: no operator reads it, and only the last one is the output"
    assert error.path == ("operators", 1)


def test_a_result_that_only_cores_have_is_read_by_nothing() -> None:
    on_cores = {**BAGS, "only_on": "cpu"}
    error = error_of(on_cores, JOINED, TOP)
    assert error.message == (
        "bags: expected a result that nothing reads, not the output either, since other devices do without "
        "it; got one that is needed on all"
    )
    assert error.path == ("operators", 0, "only_on")
    again = {**on_cores, "name": "again"}
    assert error_of(BAGS, JOINED, TOP, again).path == ("operators", 3, "only_on")
    assert error_of(BAGS, again, JOINED, TOP).message.startswith("again: no operator reads it")
    with pytest.raises(ValidationError, match="cpu"):
        model_of(BAGS, {**again, "only_on": "gpu"}, JOINED, TOP)


def test_a_dense_input_that_nothing_reads_is_refused() -> None:
    error = error_of(BAGS)
    assert error.message == "dense: no operator reads it, and only the last one is the output"
    assert error.path == ("dense_features",)


def test_a_shape_error_names_the_operator_and_leads_to_it() -> None:
    bottom = {"name": "bottom", "kind": "mlp", "input": "dense", "widths": [320, 320]}
    top = {"name": "top", "kind": "mlp", "input": "concat", "widths": [352, 1]}
    concat = {"name": "concat", "kind": "concat", "inputs": ["bottom"]}
    error = error_of(bottom, concat, top, dense_features=320)
    assert error.message == "top: expects 352 inputs, gets 320 from concat"
    assert error.path == ("operators", 2)


@pytest.mark.parametrize("name", ["RMC1", "", "-rmc1", "rmc 1"])
def test_a_model_name_is_one_lower_case_word(name: str) -> None:
    with pytest.raises(ValidationError):
        model_of(BAGS, JOINED, TOP, name=name)


def test_a_model_has_operators() -> None:
    with pytest.raises(ValidationError):
        model_of()


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValidationError):
        model_of(BAGS, JOINED, {**TOP, "kind": "mpl"})


@pytest.mark.parametrize("field", ["num_rows", "dim", "pooling_factor", "count"])
def test_a_table_has_no_zeros(field: str) -> None:
    table = {"num_rows": 10, "dim": 4, field: 0}
    with pytest.raises(ValidationError):
        model_of({**BAGS, "tables": [table]}, dense_features=0)


@pytest.mark.parametrize(("bias", "parameter_bytes"), [(True, 4 * 1000), (False, 0)])
def test_scores_tied_to_a_table_have_a_bias_of_their_own_and_no_weights(
    bias: bool, parameter_bytes: int
) -> None:
    items = {"num_rows": 1000, "dim": 8, "memory": "items"}
    bags = {"name": "bags", "kind": "embedding_bag", "tables": [items]}
    scores = {"name": "scores", "kind": "mlp", "input": "bags", "widths": [8, 1000], "memory": "items"}
    assert model_of(bags, scores | {"bias": bias}, dense_features=0).dense_parameter_bytes == parameter_bytes


def test_weights_are_cast_to_a_lower_precision() -> None:
    error = error_of(BAGS, JOINED, TOP | {"casts": True})
    assert str(error) == "casts: expected precision bf16 or fp16 beside it, got fp32"
