"""What import used to lose or mistake: the right counts of each module, worked out by hand."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from calibration.importing.factory import load_example
from calibration.importing.importer import Imported, import_example
from calibration.runtime.programme import build_programme
from perfmodel.cli.main import main
from perfmodel.costmodel.lowering import lower
from perfmodel.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*quantiz:{kind}") for kind in ("UserWarning", "DeprecationWarning")
]  # what PyTorch says of a quantisation that it will drop one day

MODULES = Path(__file__).with_name("lost.py")


class Counts(NamedTuple):
    """What a module does: FLOP of products and rows of an item and of the query; bytes of its tables."""

    flop: float
    rows: float = 0.0
    query_flop: float = 0.0
    query_rows: float = 0.0
    table_bytes: float = 0.0


TOWER = 2 * (32 * 24 + 24 * 8)
COUNTS = {
    "serving": Counts(0, 1, TOWER, table_bytes=4 * 8000),
    "serving_by_chance": Counts(0, 1, TOWER, table_bytes=4 * 8000),
    "expanded": Counts(2 * 16, 1, TOWER, table_bytes=4 * 8000),
    "history": Counts(2 * 16, 1, 0, 50, 4 * 4000),
    "history_by_chance": Counts(2 * 16, 1, 0, 50, 4 * 4000),
    "float_ids": Counts(2 * 25, 2, table_bytes=4 * (16000 + 1000)),
    # packed projection, then 4 heads of 10 x 4 x 10 twice, then the last vector's layer
    "packed": Counts(2 * 10 * 16 * 48 + 2 * 2 * 4 * 10 * 4 * 10 + 2 * 16),
    "jagged": Counts(2 * 16, 6, table_bytes=2 * 4 * 800),
    "chosen": Counts(2 * 8, 1, table_bytes=4 * 800),
    "convolution": Counts(2 * 8 * (6 * 3) * 4 + 2 * 32),
    **dict.fromkeys(("by_matmul", "by_einsum", "by_tensordot", "by_bmm"), Counts(2 * 8 * 16 * 4 + 2 * 4)),
    "fields": Counts(6 * 2 * 8 * 8),
    "masked": Counts(2 * 2 * 20 * 8 * 20 + 2 * 8, 20, table_bytes=4 * 800),
    "shared": Counts(2 * 16, 22, table_bytes=4 * (4000 + 500)),
    "tied": Counts(2 * 8 * 300, 20, table_bytes=4 * 2400),
    "unread": Counts(2 * 8 * (32 + 1 + 2)),
    "mean_bag": Counts(2 * 8, 5, table_bytes=4 * 800),
    "weighted_bag": Counts(2 * 8, 5, table_bytes=4 * 800),
    # 4 gates of 6 from 8 inputs and 6 states, 5 steps
    "lstm": Counts(5 * 2 * 4 * 6 * (8 + 6) + 2 * 6),
    "filled": Counts(2 * (2 * 4 * 3) + 2 * 6),
    "element_by_element": Counts(2 * 8),
    "spreads": Counts(2 * 8),
    "normalised": Counts(2 * 8, 1, table_bytes=4 * 4000),
    "some_biases": Counts(2 * (12 * 20 + 20 * 16 + 16 * 8 + 8)),
    "three_operands": Counts(2 * 6 * 4 * 5 + 2 * 6 * 5),
    "inner_product": Counts(2 * 16 * 32),
    "summed_products": Counts(2 * 4 * 16 * 32),
    "distances": Counts(2 * (20 + 40) * 16),
    # 4 gates of 6 from 8 inputs and 3 states, 5 steps, each projected to 3
    "gru_without_bias": Counts(5 * 2 * 3 * 6 * (8 + 6) + 2 * 6),
    "projected_lstm": Counts(5 * 2 * (4 * 6 * (8 + 3) + 6 * 3) + 2 * 3),
    "vmapped": Counts(6 * 2 * 8 * 5),
    "pairs_read_twice": Counts(2 * 10 * 10 * 8),
    "whole_numbers": Counts(2 * 16 * 32 + 2 * 32),
    "renormed": Counts(2 * 16, 5, table_bytes=4 * 1600),
    "segments": Counts(2 * 16, 5, table_bytes=4 * 1600),
    "through_numpy": Counts(2 * 8, 5, table_bytes=4 * 800),
    "positions": Counts(2 * 8, 5, table_bytes=4 * 800),
    "quantised": Counts(2 * (16 * 8 + 8)),
    "quantised_beside": Counts(2 * 12),
    "quantised_halves": Counts(2 * (16 * 8 + 8)),
    # two layers, two directions each: 4 gates of 6 from 8 inputs, then from 12, and from 6 states; 5 steps
    "quantised_lstm": Counts(5 * 2 * 2 * 4 * 6 * ((8 + 6) + (12 + 6)) + 2 * 12),
    "quantised_rows": Counts(2 * 16, 1, table_bytes=1600),
    "rows_of_halves": Counts(2 * 16, 1, table_bytes=3200),
    "unregistered": Counts(2 * 8, 1, table_bytes=4 * 800),
    "product_table": Counts(2 * 8, 1, 2 * 100 * 3 * 8, table_bytes=4 * 800),
    # the gate, two experts of four, the output layer
    **dict.fromkeys(
        ("experts_added", "experts_masked", "experts_sorted"),
        Counts(2 * 8 * 4 + 2 * 2 * (8 * 16 + 16 * 8) + 2 * 8),
    ),
    "experts_of_sequences": Counts(5 * (2 * 8 * 4 + 2 * 2 * (8 * 16 + 16 * 8) + 2 * 8)),
    "centred": Counts(2 * 16),
    "weight_norm": Counts(2 * 64 * 64 + 2 * 64),
    "positive_convolution": Counts(8 * 2 * 3 * 64 * 32),
    "pruned_layer": Counts(2 * 64 * 80 + 2 * 80),
    "turned": Counts(5 * 2 * 6 * 8 + 2 * 40),
    "once_each": Counts(2 * 8, 5 / 8, table_bytes=4 * 800),
    "gated": Counts(2 * 8 + 2 * 8 * 8 + 2 * 8),
    "layers_by_kind": Counts(2 * 8 * 16 + 2 * 16),
    # queries, keys and values, two products of attention, the output layer; then the last one
    "learned_queries": Counts(2 * 2 * 8 * 8 + 2 * 5 * 8 * 16 + 2 * 2 * 2 * 5 * 8 + 2 * 2 * 8 * 8 + 2 * 16),
    "windows": Counts(2 * 6 * 8 * 32 + 2 * 2 * 6 * 2 * 8 + 2 * 48),
    "best_of_all": Counts(2 * 8 * 100),
    "scaled_by_letters": Counts(0),
    "bilinear": Counts(2 * 4 * 8 * 6 + 2 * 4 * 6),
    # each of 3 x 3 places: 2 groups of 2 inputs, 3 outputs, 9 places that they are spread to
    "spread_out": Counts(2 * 9 * 2 * 2 * 3 * 9),
    "filled_in_place": Counts(2 * (8 * 4 + 4)),
    **dict.fromkeys(
        ("frozen", "frozen_by_product"), Counts(2 * (12 * 16 + 16), 2, table_bytes=4 * (800 + 100))
    ),
    "unregistered_lists": Counts(2 * 8, 4, table_bytes=4 * (400 + 480 + 50)),
    "sums_by_ones": Counts(2 * 20 * 20 * 8 + 2 * 8),
    "large_by_ones": Counts(2 * 8 * 128 + 2 * 128 * 128),
    "rows_of_ones": Counts(2 * 20 * 8),
    "weights_in_bytes": Counts(2 * 64 * 80),
    "weights_in_half_bytes": Counts(2 * 128 * 80),
    "causal": Counts(2 * 2 * 70 * 8 * 70 + 2 * 8, 70, table_bytes=4 * 800),
    "cosines": Counts(2 * 8 * 600, 5, table_bytes=4 * 4800),
    "read_twice": Counts(2 * 2 * 64 * 64),
    "made_of_few": Counts(2 * 64 * 80),
    "stacked": Counts(2 * 64 * 128),
    # the tables themselves are the copy's parameters; rows are looked up in the copy
    "joined_tables": Counts(0, 2, table_bytes=4 * 1100 * 8),
    "complex_vectors": Counts(0, 2, table_bytes=4 * 800),
    "product_of_bytes": Counts(2 * 64 * 80),
    "trained_for_bytes": Counts(2 * 64 * 80),
    "one_step": Counts(2 * 3 * 6 * (8 + 6)),
    # a vector of each book's 20 codes is looked up, which the table of each is; the ids' table beside them
    **dict.fromkeys(
        ("codes_in_turn", "codes_by_place"),
        Counts(3 * 2 * 8 * 20 + 2 * 8, 4, table_bytes=4 * 8 * (100 + 3 * 20)),
    ),
    "weights_of_lists": Counts(2 * 9, 3, table_bytes=4 * 800),
    **dict.fromkeys(("in_dataclass", "by_name", "over_candidates", "exported"), Counts(2 * 16)),
}


@functools.cache
def imported(factory: str) -> Imported:
    return import_example(load_example(f"{MODULES}:{factory}"), factory.replace("_", "-"))


def operators(factory: str) -> dict[str, dict[str, Any]]:
    model = imported(factory).model
    return {op.name: op.model_dump(exclude_defaults=True, exclude={"name"}) for op in model.operators}


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.thorough_cases("jagged", "convolution")
@pytest.mark.parametrize("factory", COUNTS)
def test_counts_are_those_worked_out_by_hand(factory: str) -> None:
    expected, result = COUNTS[factory], imported(factory)
    items = load_example(f"{MODULES}:{factory}").batch_size
    model = result.model
    assert result.product_flop_per_item == pytest.approx(expected.flop + expected.query_flop / items)
    assert result.counted_flop_per_item == pytest.approx(result.product_flop_per_item)
    assert model.lookups_per_item == expected.rows
    assert model.lookups_per_query == expected.query_rows
    assert model.embedding_bytes == expected.table_bytes
    assert result.unrecognised == ()
    assert model.unmodelled is None


@pytest.mark.parametrize("factory", COUNTS)
def test_what_was_imported_runs(factory: str) -> None:
    model = imported(factory).model
    programme = build_programme(model, seed=1)
    output = programme.run(programme.inputs(5, np.random.default_rng(1)))
    assert output.shape[0] == 5
    assert output[0].numel() == model.shapes()[model.operators[-1].name].elements


@pytest.mark.filterwarnings("ignore")  # what PyTorch says of calls that it keeps for old code, or tries out
@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("flexible", "its work cannot be counted"),
        ("items_by_number", r"lost.py:\d+: rows: rows are chosen by numbers that Python took out"),
        ("through_numpy_and_back", r"lost.py:\d+: what NumPy or Python makes of values of tensors, no call"),
        ("rows_from_a_dictionary", r"lost.py:\d+: what NumPy or Python makes of values of tensors, no call"),
        ("a_matrix_by_number", r"lost.py:\d+: domains: rows are chosen by numbers that Python took out"),
        ("rows_by_number", r"lost.py:\d+: table.weight: rows are chosen by numbers that Python took out"),
    ],
)
def test_what_nobody_can_look_into_is_refused(factory: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        imported(factory)


def test_packed_weights_keep_their_precision() -> None:
    for factory, precision, size in (("quantised", "int8", 1), ("quantised_halves", "fp16", 2)):
        layers = [op for op in operators(factory).values() if op["kind"] == "mlp"]
        assert [layer["precision"] for layer in layers] == [precision, precision]
        assert imported(factory).model.dense_parameter_bytes == size * (16 * 8 + 8 + 8 + 1)
    assert operators("quantised_rows")["table"]["tables"][0]["element_bytes"] == 1
    assert operators("rows_of_halves")["table"]["tables"][0]["element_bytes"] == 2
    assert [op["kind"] for op in operators("rows_of_halves").values()] == ["embedding_bag", "mlp"]
    beside = {op["kind"]: op.get("precision", "fp32") for op in operators("quantised_beside").values()}
    assert beside["mlp"] == "int8"
    assert beside["concat"] == "fp32"


@pytest.mark.parametrize(
    ("factory", "parameters"),
    [
        ("scaled_by_letters", 8),
        ("bilinear", 4 * 8 * 6 + 4),
        ("spread_out", 4 * 3 * 9 + 6),
        ("cosines", 0),  # all of them are the table's
        ("read_twice", 64 * 64),
        ("made_of_few", 10 * 8 + 8 * 8),
        ("stacked", 4 * 64 * 32),
        ("joined_tables", 1100 * 8),
        ("product_of_bytes", 64 * 80 / 4),
        ("frozen", (12 + 1) * 16 + 16 + (16 + 1)),  # the norm is in the layer; what is added; the output
        ("frozen_by_product", (12 + 1) * 16 + 16 + (16 + 1)),
        ("sums_by_ones", 8 + 1),
        ("large_by_ones", (8 + 1) * 128),
        ("rows_of_ones", 20 * 8),
        *((factory, 8 + 1) for factory in ("codes_in_turn", "codes_by_place")),  # all others are tables'
        ("weight_norm", 64 * 64 + 64 + 64 + 64 + 1),  # a weight, its rows' norms, biases
        ("positive_convolution", 32 * 64 * 3 + 32),
        ("experts_added", 4 * 8 + 4 * (8 * 16 + 16 + 16 * 8 + 8) + 8 + 1),
        ("layers_by_kind", 3 * (8 + 1) * 16 + 16 + 1),
        ("gru_without_bias", 3 * 6 * (8 + 6) + 6 + 1),
        ("projected_lstm", 4 * 6 * (8 + 3 + 2) + 6 * 3 + 3 + 1),  # not the input's weights once a step
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_each_parameter_is_held_once(factory: str, parameters: int) -> None:
    made = 4  # zeros to begin from are one element
    assert imported(factory).model.dense_parameter_bytes == pytest.approx(4 * parameters, abs=made)


def test_weights_of_lists_of_ids_are_the_items() -> None:
    model = imported("weights_of_lists").model
    assert (model.dense_features, model.query_dense_features) == (3 + 1, 0)


def test_experts_are_one_layer_whose_groups_are_routed() -> None:
    layers = [op for op in operators("experts_added").values() if op["kind"] == "mlp" and "groups" in op]
    assert [(op["widths"], op["groups"], op["routed"]) for op in layers] == [
        ((8, 16), 4, True),
        ((16, 8), 4, True),
    ]
    model = imported("experts_added").model
    assert model.shapes()[layers[1]["input"]].length == 2  # vectors an item, for the four of them


def test_weights_that_each_pass_makes_are_work_of_the_query() -> None:
    made = [op for op in operators("weight_norm").values() if op["kind"] == "elementwise"]
    assert [op.get("scope", "item") for op in made] == ["query", "item"]  # the weights, then the bias
    (product,) = [op for op in operators("weight_norm").values() if op["kind"] == "batch_matmul"]
    assert product["inner"] == 64


def test_what_each_pass_fills_is_work_of_the_query() -> None:
    kernels = [kernel for kernel in lower(imported("large_by_ones").model) if kernel.family == "elementwise"]
    assert [(kernel.scope, kernel.written_bytes_per_item) for kernel in kernels] == [
        ("query", 4 * 128 * 128),  # ones
        ("query", 4 * 128 * 128),  # their triangle
    ]


@pytest.mark.parametrize(
    ("factory", "makes"),
    [
        ("weights_in_bytes", [("to", 5120), ("mul", 5120)]),
        (
            "weights_in_half_bytes",
            [("and", 5120), ("to", 5120), ("rshift", 5120), ("to", 5120), ("mul", 2 * 5120)],
        ),
        ("causal", [("eq", 70 * 70)]),
        ("made_of_few", [("mul", 64 * 80)]),
    ],
)
def test_what_each_pass_makes_of_buffers_is_work_of_the_query(
    factory: str, makes: list[tuple[str, int]]
) -> None:
    model, shapes = imported(factory).model, imported(factory).model.shapes()
    made = [(op.function, shapes[op.name].elements) for op in model.operators if _is_made(op)]
    assert made == makes


def test_copies_of_weights_that_each_pass_makes_are_work_of_the_query() -> None:
    for factory, elements in (("stacked", 4 * 64 * 32), ("joined_tables", 1100 * 8)):
        model = imported(factory).model
        (copy,) = [op for op in model.operators if op.kind == "concat"]
        assert (copy.scope, model.shapes()[copy.name].elements) == ("query", elements)


def _is_made(operator: Any) -> bool:
    return operator.kind == "elementwise" and operator.scope == "query"


def test_weights_in_bytes_are_held_in_bytes_and_do_not_make_a_file_one_in_int8() -> None:
    model = imported("weights_in_half_bytes").model
    assert model.dense_parameter_bytes == 80 * 64
    assert model.reduced_precision == "fp32"
    assert model.in_other_precision("fp32") == ""


def test_what_chooses_reads_all_that_it_chooses_from() -> None:
    found = operators("best_of_all")
    assert found["topk"] == {"kind": "elementwise", "inputs": ("scores",), "function": "topk"}
    assert imported("best_of_all").model.shapes()["topk"].elements == 100


def test_the_line_is_that_of_the_call_in_whichever_method() -> None:
    (line,) = [
        place
        for place, text in enumerate(MODULES.read_text().splitlines(), start=1)
        if text.endswith("# the line that the error names")
    ]
    with pytest.raises(InputError, match=rf"^{re.escape(str(MODULES))}:{line}: no operator"):
        imported("in_a_helper")


def test_parameters_that_no_layer_holds_are_held() -> None:
    assert imported("positions").model.dense_parameter_bytes == 4 * (5 * 8 + 8 + 8 + 1)


def test_what_is_decided_by_computed_values_is_said() -> None:
    said = "what it computes decides what else it computes: as in the example"
    assert imported("branching").model.description.endswith(said)
    assert said not in imported("float_ids").model.description


def test_fractions_that_numpy_makes_of_ids_are_lost_and_that_is_an_error() -> None:
    lost = "what NumPy or Python makes of ids"
    with pytest.raises(InputError, match=rf"lost.py:\d+: no operator of a model file stands for {lost} x 1"):
        imported("edges_by_numpy")
    example = load_example(f"{MODULES}:edges_by_numpy")
    written = import_example(example, "m", allow_unmodelled=0.3)
    model = written.model
    assert model.unmodelled is not None
    assert model.unmodelled.calls == (lost,)
    assert written.product_flop_per_item == 2 * 5 * 5 * 8 + 2 * 8
    # By hand: 5 x 5 numbers of four bytes an item come back, beside all that is moved.
    moved = sum(row.bytes_per_item for row in written.recognised)
    assert model.unmodelled.bytes_share == pytest.approx(100 / (100 + moved), abs=1e-6)
    assert model.unmodelled.flop_share == 0.0


def test_ids_that_numpy_makes_of_ids_are_ids() -> None:
    assert imported("through_numpy").model.unmodelled is None


def test_a_composite_call_is_listed_by_its_own_name() -> None:
    assert [(row.call, row.kind) for row in imported("inner_product").recognised] == [("inner", "mlp")]


def test_functions_of_each_element_are_one_call_each_marked_or_not() -> None:
    calls = [op["function"] for op in operators("element_by_element").values() if op["kind"] == "elementwise"]
    assert sorted(calls) == ["abs", "floor_divide", "hardswish", "log_sigmoid", "mish", "threshold"]


def test_a_variance_and_its_mean_are_one_sum_over_the_elements() -> None:
    sums = [name for name, op in operators("spreads").items() if op["kind"] == "sum"]
    assert sums == ["var_mean", "aminmax"]


def test_the_user_is_the_querys_and_not_the_items() -> None:
    assert operators("serving") == operators("serving_by_chance")
    assert operators("serving")["user"]["scope"] == "query"
    assert imported("serving").model.query_dense_features == 32
    assert imported("serving").model.dense_features == 0


def test_ids_that_pass_through_floats_are_indices() -> None:
    found = operators("float_ids")
    assert found["table"]["tables"][0]["indices"] == "to"
    assert found["to"] == {"kind": "elementwise", "inputs": ("dense.view",), "function": "to"}
    assert imported("float_ids").model.dense_features == 7


def test_slices_of_one_projection_are_not_the_same() -> None:
    products = [op for op in operators("packed").values() if op["kind"] == "batch_matmul"]
    assert [product["products"] for product in products] == [4, 4]
    assert products[0]["left"] != products[0]["right"]


def test_layers_have_the_biases_that_they_have() -> None:
    weights = (12 + 1) * 20 + 20 * 16 + 16 * 8 + (8 + 1)
    assert imported("some_biases").model.dense_parameter_bytes == 4 * weights
    biases = [op.get("bias", True) for op in operators("some_biases").values() if op["kind"] == "mlp"]
    assert biases == [True, False, True]


def test_weights_of_their_own_are_groups_and_shared_ones_are_not() -> None:
    (layer,) = [op for op in operators("fields").values() if op["kind"] == "mlp"]
    assert (layer["groups"], layer["widths"]) == (6, (8, 8))
    for form in ("matmul", "einsum", "tensordot"):
        assert "groups" not in next(op for op in operators(f"by_{form}").values() if op["kind"] == "mlp")
    assert imported("by_einsum").model.dense_parameter_bytes == 4 * (16 * 32 + 4 + 1)


def test_masks_of_ids_are_no_input_of_the_request() -> None:
    model = imported("masked").model
    assert model.dense_features == 0
    assert operators("masked")["ids"] == {"kind": "ids", "count": 20}
    assert operators("masked")["table"]["tables"][0]["indices"] == "ids"


def test_one_table_read_twice_is_one_memory_and_its_ids_are_converted_once() -> None:
    found = operators("shared")
    assert found["items"]["tables"][0]["memory"] == found["items_2"]["tables"][0]["memory"]
    assert found["items_2"]["tables"][0]["indices"] == found["wide"]["tables"][0]["indices"] == "item"
    assert imported("shared").model.num_tables == 2


def test_tied_scores_hold_no_weights_of_their_own() -> None:
    model = imported("tied").model
    assert model.embedding_bytes == 4 * 300 * 8
    assert model.dense_parameter_bytes == 0


def test_what_nothing_reads_is_kept_and_named() -> None:
    model = imported("unread").model
    assert set(model.unread) == {"dropped", "second"}
    assert model.operators[-1].name == "first"


def test_pooling_is_kept() -> None:
    assert operators("mean_bag")["table"]["pooling"] == "mean"
    weighted = operators("weighted_bag")["table"]
    assert weighted["weights"] == "dense"


def test_the_file_does_not_depend_on_how_many_items_the_example_has() -> None:
    module, (user, items) = _made("expanded")
    assert operators("expanded")["top"]["widths"] == (16, 1)
    assert (module(user, items[:1]).shape[0], module(user, items).shape[0]) == (1, 10)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("sliced", "24000 bytes of tables, as a table is read in parts, the module 16000: expected"),
        ("each_with_each", "or on one item with the others (scores over the batch)"),
        ("cast_states", "casts of weights x 1"),
        ("one_by_one", "a loop runs one layer for parts of the items"),
        ("in_two_halves", "a loop runs one layer for parts of the items"),
        ("unequal_experts", "experts of different shapes, or that drop rows"),
        ("in_doubles", "expected weights in fp32, fp16, bf16 or int8, got fp64; module.float()"),
        ("statically_quantised", "expected the module before it was converted, or quantize_dynamic's"),
        (
            "keeps_results",
            "560 FLOP and elements looked up, the next on the same inputs 48: expected a module",
        ),
        ("grows", "expected a module that keeps no results from pass to pass"),
        (
            "user_first",
            "the outputs have 1 and 6 rows: expected one number of items; say it: --batch-example 6",
        ),
        ("sparse_bags", "what products of sparse tensors take is not known: expected rows looked up"),
        ("graph", "expected dense weights, got edges, which is torch.sparse_coo"),
    ],
)
def test_what_would_be_counted_wrong_is_refused_in_a_line(
    factory: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", f"{MODULES}:{factory}", "--out", str(tmp_path / "model.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    if "could not create a primitive" in error:
        pytest.skip("this processor has no such arithmetic")
    assert says in error


def _made(factory: str) -> Any:
    example = load_example(f"{MODULES}:{factory}")
    return example.module, example.inputs


def test_weights_that_each_pass_makes_in_another_precision_are_work_of_each_pass() -> None:
    found = operators("autocast")
    assert [(op["kind"], op.get("casts")) for op in found.values()] == [
        ("elementwise", None),  # x, to bf16
        ("mlp", True),
        ("mlp", True),
        ("mlp", True),
    ]
    model = imported("autocast").model
    assert model.dense_parameter_bytes == 4 * (4 * 12 + 12 + 12 * 8 + 8 * 3 + 3)
    casts = [kernel for kernel in lower(model) if kernel.family == "elementwise" and kernel.scope == "query"]
    assert [kernel.read_bytes_per_item for kernel in casts] == [4.0 * n for n in (48, 12, 96, 24, 3)]
    assert [kernel.written_bytes_per_item for kernel in casts] == [2.0 * n for n in (48, 12, 96, 24, 3)]


def test_precision_is_kept_and_is_not_guessed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = operators("half")
    assert {name: op["precision"] for name, op in found.items()} == dict.fromkeys(found, "bf16")
    assert found["table"]["tables"][0]["element_bytes"] == 2
    assert imported("half").model.dense_parameter_bytes == 2 * 13
    out = tmp_path / "half.yaml"
    assert main(["import", f"{MODULES}:half", "--out", str(out)]) == 0
    latency = ["latency", "--model", str(out), "--on", "broadwell", "--batch", "8"]
    assert main(latency) == 5
    assert "3 in bf16: costs are known of fp32 only" in capsys.readouterr().err
    assert main([*latency, "--extrapolate"]) == 0
    assert "times are those of fp32" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("factory", "elements"),
    [
        ("gru_twice", 3 * 12 * (8 + 12 + 2)),
        ("lstm_twice", 4 * 12 * (8 + 12 + 2)),
        ("convolution_twice", 12 * (3 * 8 + 1)),
        ("positions_by_layer", 3 * 5 * 8 + 8 * 8 + 8),
        ("positions_unbound", 2 * 5 * 8),
        ("weight_in_part", 8 * 8 + 8),
    ],
)
def test_what_several_calls_read_is_in_memory_once_and_slices_of_a_parameter_are_all_there(
    factory: str, elements: int
) -> None:
    assert imported(factory).model.dense_parameter_bytes == 4 * elements


def test_a_layer_packed_in_bytes_is_a_layer_in_int8() -> None:
    found = imported("packed_in_bytes")
    assert found.product_flop_per_item == found.counted_flop_per_item == 2 * 64 * 80
    assert [(op.kind, op.precision) for op in found.model.operators] == [("mlp", "int8")]
    assert found.model.dense_parameter_bytes == 80 * 64


def test_a_layer_packed_in_half_bytes_is_refused_with_its_share_of_the_flop() -> None:
    # 64 x 64 beside a head of 64 x 1: 64 of 65 parts, which 0.5 does not allow.
    with pytest.raises(InputError, match=r"_weight_int4pack_mm_for_cpu x 1: 98\.5 % of FLOP"):
        import_example(load_example(f"{MODULES}:packed_in_half_bytes"), "m", allow_unmodelled=0.5)
