"""Shapes and parameter counts of every operator, and what each says where inputs do not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import EmbeddingTable, Shape

DENSE_WIDTH = 8
USER = {"name": "user", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": 8}]}
ITEM = {"name": "item", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": 8}]}
WIDE = {"name": "wide", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": 16}]}
PAIR = {"name": "pair", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": 8, "count": 2}]}
HISTORY = {
    "name": "history",
    "kind": "embedding_bag",
    "pooling": "none",
    "tables": [{"num_rows": 100, "dim": 8, "pooling_factor": 5}],
}
SCORES = {"name": "scores", "kind": "attention_scores", "states": "history", "candidate": "item"}


def model_of(*operators: dict[str, Any]) -> RecModel:
    """A model whose last operator is the one in question; `dense` is there where it is read."""
    reads_dense = "dense" in json.dumps(operators)
    document = {
        "name": "m",
        "dense_features": DENSE_WIDTH if reads_dense else 0,
        "operators": list(operators),
    }
    return RecModel.model_validate_json(json.dumps(document))


def shape_of(*operators: dict[str, Any]) -> Shape:
    return model_of(*operators).shapes()[operators[-1]["name"]]


def error_of(*operators: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        model_of(*operators)
    error = caught.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, ValueErrorAt)
    return error.message


def op(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "out", "kind": kind, **fields}


def test_an_mlp_gives_its_last_width() -> None:
    assert shape_of(op("mlp", input="dense", widths=[8, 4, 2])) == Shape(1, 2)


def test_an_mlp_runs_over_every_vector_of_a_sequence() -> None:
    assert shape_of(HISTORY, op("mlp", input="history", widths=[8, 2])) == Shape(5, 2)


def test_an_mlp_counts_weights_and_a_bias_for_each_layer() -> None:
    model = model_of(op("mlp", input="dense", widths=[8, 4, 2]))
    assert model.dense_parameter_bytes == 4 * (8 * 4 + 4 + 4 * 2 + 2)


def test_the_last_activation_of_an_mlp_is_the_others_unless_named() -> None:
    same = model_of(op("mlp", input="dense", widths=[8, 4, 2])).operators[0]
    own = model_of(op("mlp", input="dense", widths=[8, 4, 2], final_activation="sigmoid")).operators[0]
    assert [layer[2] for layer in same.layers] == ["relu", "relu"]
    assert [layer[2] for layer in own.layers] == ["relu", "sigmoid"]


def test_an_mlp_names_the_widths_that_do_not_fit() -> None:
    joined = {"name": "concat", "kind": "concat", "inputs": ["user", "item"]}
    assert error_of(USER, ITEM, joined, op("mlp", input="concat", widths=[352, 1])) == (
        "out: expects 352 inputs, gets 16 from concat"
    )


def test_an_mlp_hints_at_a_missing_concat() -> None:
    assert error_of(PAIR, op("mlp", input="pair", widths=[16, 1])) == (
        "out: expects 16 inputs, gets 8 from pair (it gives 2 vectors; concat or sum them first)"
    )


def test_pooled_tables_give_one_vector_each() -> None:
    assert shape_of(op("embedding_bag", tables=[{"num_rows": 9, "dim": 8, "count": 3}])) == Shape(3, 8)


def test_pooled_tables_of_different_dim_stand_side_by_side() -> None:
    tables = [{"num_rows": 9, "dim": 8, "count": 2}, {"num_rows": 9, "dim": 4}]
    assert shape_of(op("embedding_bag", tables=tables)) == Shape(1, 2 * 8 + 4)


def test_unpooled_lookups_give_a_vector_each() -> None:
    tables = [{"num_rows": 9, "dim": 8, "pooling_factor": 5, "count": 2}]
    assert shape_of(op("embedding_bag", pooling="none", tables=tables)) == Shape(10, 8)


def test_a_sequence_needs_one_dim() -> None:
    tables = [{"num_rows": 9, "dim": 8}, {"num_rows": 9, "dim": 4}]
    assert error_of(op("embedding_bag", pooling="none", tables=tables)) == (
        "out: expects one dim for a sequence, gets [4, 8]"
    )


def test_a_sequence_needs_whole_lookups() -> None:
    tables = [{"num_rows": 9, "dim": 8, "pooling_factor": 2.5}]
    assert error_of(op("embedding_bag", pooling="none", tables=tables)) == (
        "out: expects whole pooling factors for a sequence"
    )


def test_embedding_tables_are_no_dense_parameters() -> None:
    model = model_of(op("embedding_bag", tables=[{"num_rows": 100, "dim": 8, "element_bytes": 2}]))
    assert (model.dense_parameter_bytes, model.embedding_bytes) == (0, 100 * 8 * 2)


def test_a_table_counts_bytes_by_element() -> None:
    table = EmbeddingTable(num_rows=1000, dim=64, pooling_factor=2.5, element_bytes=2)
    assert (table.row_bytes, table.size_bytes, table.bytes_per_item) == (128, 128_000, 320.0)


def test_concat_joins_all_elements_into_one_vector() -> None:
    assert shape_of(PAIR, WIDE, op("concat", inputs=["dense", "pair", "wide"])) == Shape(1, 8 + 16 + 16)


def test_concat_along_length_keeps_the_width() -> None:
    assert shape_of(PAIR, USER, op("concat", along="length", inputs=["pair", "user"])) == Shape(3, 8)


def test_concat_along_length_needs_one_width() -> None:
    assert error_of(USER, WIDE, op("concat", along="length", inputs=["user", "wide"])) == (
        "out: expects inputs of one width, but user has 8, wide has 16"
    )


def test_sum_of_several_keeps_their_shape() -> None:
    assert shape_of(USER, ITEM, op("sum", inputs=["user", "item"])) == Shape(1, 8)


def test_sum_of_one_adds_its_vectors() -> None:
    assert shape_of(PAIR, op("sum", inputs=["pair"])) == Shape(1, 8)


def test_sum_needs_one_width() -> None:
    assert error_of(USER, WIDE, op("sum", inputs=["user", "wide"])) == (
        "out: expects inputs of one width, but user has 8, wide has 16"
    )


def test_sum_needs_one_length() -> None:
    assert error_of(PAIR, USER, op("sum", inputs=["pair", "user"])) == (
        "out: expects inputs of one length, gets [1, 2]"
    )


@pytest.mark.parametrize(("with_self", "pairs"), [(False, 6), (True, 10)])
def test_dot_interaction_gives_an_element_for_each_pair(with_self: bool, pairs: int) -> None:
    inputs = op("dot_interaction", inputs=["dense", "pair", "user"], with_self=with_self)
    assert shape_of(PAIR, USER, inputs) == Shape(1, pairs)  # 4 vectors


def test_dot_interaction_needs_two_vectors() -> None:
    assert error_of(USER, op("dot_interaction", inputs=["user"])) == (
        "out: expects at least 2 vectors to interact, gets 1"
    )


def test_dot_interaction_needs_one_width() -> None:
    assert error_of(USER, WIDE, op("dot_interaction", inputs=["user", "wide"])) == (
        "out: expects inputs of one width, but user has 8, wide has 16"
    )


@pytest.mark.parametrize("elementwise", [op("activation", function="tanh"), op("softmax")])
def test_elementwise_operators_keep_the_shape(elementwise: dict[str, Any]) -> None:
    assert shape_of(HISTORY, {**elementwise, "input": "history"}) == Shape(5, 8)


def test_local_activation_sums_behaviours_to_one_vector() -> None:
    unit = op("local_activation", behaviours="history", candidate="item", hidden_widths=[36])
    assert shape_of(HISTORY, ITEM, unit) == Shape(1, 8)
    # [behaviour, product, candidate] of 24 -> 36 -> 1, shared by all units
    assert model_of(HISTORY, ITEM, unit).dense_parameter_bytes == 4 * (24 * 36 + 36 + 36 * 1 + 1)


def test_units_of_their_own_have_weights_of_their_own_and_give_one_vector() -> None:
    units = op("activation_units", behaviours="history", candidate="item")
    assert shape_of(HISTORY, ITEM, units) == Shape(1, 8)
    # five units: [behaviour, candidate, sum] of 24 -> 1 -> 8
    assert model_of(HISTORY, ITEM, units).dense_parameter_bytes == 4 * 5 * (24 * 1 + 1 + 1 * 8 + 8)
    wide = op("activation_units", behaviours="history", candidate="wide")
    assert error_of(HISTORY, WIDE, wide) == (
        "out: expects candidate and behaviours of one width, gets 16 from wide and 8 from history"
    )


def test_no_more_rows_are_in_use_than_a_table_has() -> None:
    assert EmbeddingTable(num_rows=10, dim=4, rows_in_use=10).size_bytes == 160
    with pytest.raises(ValueError, match="rows_in_use: expected at most the table's 10 rows, got 11"):
        EmbeddingTable(num_rows=10, dim=4, rows_in_use=11)


def test_local_activation_needs_one_candidate() -> None:
    unit = op("local_activation", behaviours="history", candidate="pair")
    assert error_of(HISTORY, PAIR, unit) == "out: expects one candidate vector, gets 2 from pair"


def test_local_activation_needs_one_width() -> None:
    unit = op("local_activation", behaviours="history", candidate="wide")
    assert error_of(HISTORY, WIDE, unit) == (
        "out: expects candidate and behaviours of one width, gets 16 from wide and 8 from history"
    )


def test_attention_scores_give_a_weight_for_each_state() -> None:
    scores = op("attention_scores", states="history", candidate="wide")
    assert shape_of(HISTORY, WIDE, scores) == Shape(5, 1)
    assert model_of(HISTORY, WIDE, scores).dense_parameter_bytes == 4 * 8 * 16


def test_attention_scores_need_one_candidate() -> None:
    scores = op("attention_scores", states="history", candidate="pair")
    assert error_of(HISTORY, PAIR, scores) == "out: expects one candidate vector, gets 2"


def test_attention_gives_a_vector_for_each_query() -> None:
    heads = op("attention", query="history", num_heads=2)
    assert shape_of(HISTORY, heads) == Shape(5, 8)
    assert model_of(HISTORY, heads).dense_parameter_bytes == 4 * 4 * (8 * 8 + 8)  # four projections


def test_attention_over_other_keys_projects_their_width() -> None:
    heads = op("attention", query="history", key="wide", num_heads=2, head_dim=3)
    # query 8 -> 6, key and value 16 -> 6, output 6 -> 8
    expected = (8 * 6 + 6) + 2 * (16 * 6 + 6) + (6 * 8 + 8)
    assert model_of(HISTORY, WIDE, heads).dense_parameter_bytes == 4 * expected


def test_attention_without_projections_has_no_parameters() -> None:
    heads = op("attention", query="history", projected=False)
    assert model_of(HISTORY, heads).dense_parameter_bytes == 0


def test_attention_needs_a_width_that_its_heads_divide() -> None:
    assert error_of(HISTORY, op("attention", query="history", num_heads=3)) == (
        "out: expects a width divisible by 3 heads, gets 8"
    )


def test_attention_without_projections_needs_one_width() -> None:
    heads = op("attention", query="history", key="wide", projected=False)
    assert error_of(HISTORY, WIDE, heads) == (
        "out: expects query, key and heads of one width where nothing is projected, gets 8, 16 and 8"
    )


@pytest.mark.parametrize(("returns", "length"), [("sequence", 5), ("last", 1)])
def test_a_recurrent_layer_gives_all_states_or_the_last(returns: str, length: int) -> None:
    layer = op("rnn", input="history", hidden_size=3, returns=returns)
    assert shape_of(HISTORY, layer) == Shape(length, 3)


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("gru", 3)])
def test_a_recurrent_layer_counts_gates_with_two_biases(kind: str, gates: int) -> None:
    model = model_of(HISTORY, op(kind, input="history", hidden_size=3))
    assert model.dense_parameter_bytes == 4 * gates * (8 * 3 + 3 * 3 + 3 + 3)


def test_an_augru_reads_a_score_for_each_step() -> None:
    layer = op("augru", input="history", hidden_size=3, attention="scores", returns="last")
    model = model_of(HISTORY, ITEM, SCORES, layer)
    assert model.shapes()["out"] == Shape(1, 3)
    assert model.dense_parameter_bytes == 4 * (8 * 8 + 3 * (8 * 3 + 3 * 3 + 6))  # scores 8 x 8, three gates


def test_an_augru_needs_as_many_scores_as_steps() -> None:
    layer = op("augru", input="history", hidden_size=3, attention="pair")
    assert error_of(HISTORY, PAIR, layer) == "out: expects 5 scores, gets 2 x 8 from pair"


@pytest.mark.parametrize(("kind", "extra"), [("augru", {}), ("gru", {"attention": "scores"})])
def test_only_an_augru_takes_scores(kind: str, extra: dict[str, str]) -> None:
    layer = op(kind, input="history", hidden_size=3, **extra)
    expected = "an augru needs the scores to use, an rnn or a gru takes none"
    assert error_of(HISTORY, ITEM, SCORES, layer) == expected


@pytest.mark.parametrize(("rank", "parameters"), [(None, 8 * 8 + 8), (2, 8 * 2 + 2 * 8 + 8)])
def test_cross_layers_keep_the_shape_and_count_low_rank_weights(rank: int | None, parameters: int) -> None:
    layers = op("cross", input="dense", num_layers=3, rank=rank)
    assert shape_of(layers) == Shape(1, 8)
    assert model_of(layers).dense_parameter_bytes == 4 * 3 * parameters


def test_cross_layers_need_one_vector() -> None:
    assert error_of(PAIR, op("cross", input="pair", num_layers=1)) == (
        "out: expects one vector, gets 2 from pair; concat them first"
    )
