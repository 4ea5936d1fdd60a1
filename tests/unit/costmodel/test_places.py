"""Each term and coordinate of each law, for calls small enough to work them out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Gather, Kernel, Product, surface_key
from perfmodel.costmodel.moments import Moment
from perfmodel.costmodel.places import place, place_of
from perfmodel.domain.surface import LAW_NAMES, law_names

SINCE, BEFORE, REUSE = 32e6, 3e6, 256e6
MOMENT = {
    "reuse_bytes": [REUSE],
    "evicted": [[0.5], [0.25]],
    "since_bytes": [SINCE],
    "before_bytes": [BEFORE],
    "missed": [[0.5], [0.2]],
    "entries_missed": [[0.1], [0.05]],
    "pages_missed": [[0.4], [0.3]],
}
COLD_TERMS = {
    "code_beyond_private": 32 / 33,  # of 32 MB and the 1 MB that evict half of a private cache
    "code_beyond_shared": 0.5,  # of 32 MB and the 32 MB that evict half of a shared one
    "framework_beyond_private": 0.75,
}
COLD_COORDINATES = {
    # with 64 kB more than were touched, level from 256 MB on
    "log_since_bytes": log(32.064e6 / (1 + 32.064 / 256)),
    "log_before_bytes": log(3.064e6 / (1 + 3.064 / 256)),
}
LOG_REUSE = {"log_reuse_bytes": log(128e6)}


def at(**changes: Any) -> Moment:
    return Moment(**{key: np.array(value) for key, value in (MOMENT | changes).items()})


def named(kernel: Kernel, batch_size: float, moment: Moment | None = None) -> tuple[dict[str, float], ...]:
    """Amounts and coordinates of a call by name, without those of coldness, which all calls share."""
    found = place(kernel, np.array([batch_size]), moment or at())
    names = law_names(surface_key(kernel))
    assert found.terms == tuple(names.terms)
    amounts = dict(zip(found.terms, found.amounts[:, 0].tolist(), strict=True))
    coordinates = dict(zip(names.coordinates, found.coordinates[:, 0].tolist(), strict=True))
    assert {name: amounts.pop(name) for name in COLD_TERMS} == pytest.approx(COLD_TERMS)
    assert {name: coordinates.pop(name) for name in COLD_COORDINATES} == pytest.approx(COLD_COORDINATES)
    return amounts, coordinates


def layer(inner: int, outer: int, rows_per_item: float = 1) -> Kernel:
    product = Product(rows_per_item=rows_per_item, inner=inner, outer=outer)
    return Kernel(operator="layer", family="fc", product=product)


def lookup(row_bytes: float) -> Kernel:
    gather = Gather(rows_per_item=10, bags_per_item=2, row_bytes=row_bytes, num_rows=50, zipf_exponent=0.0)
    return Kernel(operator="rows", family="embedding_bag", variant="pooled", gather=gather)


def test_a_layer_of_six_rows_8_inputs_and_20_outputs() -> None:
    amounts, coordinates = named(layer(8, 20, rows_per_item=2), 3)
    assert amounts == {
        "call": 1,
        "row": 6,
        "multiply_add": 6 * 8 * 20,
        "row_strip": 6 * 8 * 2,  # 20 outputs: 16 and 4
        "block_output": 2 * 8 * 20,  # 6 rows: 4 and 2
        "block_strip": 2 * 8 * 2,
        "weight": 8 * 20,
        "weight_beyond_l2": 80,
        "weight_beyond_l3": 40,
        "input": 6 * 8,
        "output": 6 * 20,
        "thin_call": 0,
        "thin_row": 0,
        "thin_multiply_add": 0,
        "thin_multiply_add_beyond_l2": 0,
        "thin_multiply_add_beyond_l3": 0,
        "column_call": 0,
        "column_multiply_add": 0,
    }
    assert coordinates == pytest.approx(
        {
            "log_rows": log(6),
            "log_inner": log(8),
            "log_outer": log(20),
            **LOG_REUSE,
            "thin": 0,
            "column": 0,
            "log_output_tail": log(32 / 20),
            "log_row_tail": log(8 / 6),
        }
    )


def test_a_layer_of_fewer_rows_than_a_block_reads_its_weights_for_each() -> None:
    amounts, coordinates = named(layer(8, 20), 3)
    assert {name: value for name, value in amounts.items() if value} == {
        "call": 1,
        "row": 3,
        "input": 3 * 8,
        "output": 3 * 20,
        "thin_call": 1,
        "thin_row": 3,
        "thin_multiply_add": 3 * 8 * 20,
        "thin_multiply_add_beyond_l2": 240,
        "thin_multiply_add_beyond_l3": 120,
    }
    assert (coordinates["thin"], coordinates["column"]) == (1, 0)
    assert coordinates["log_row_tail"] == pytest.approx(log(8 / 3))  # 3 rows: 2 and 1


def test_four_rows_are_a_block_and_one_output_is_a_column() -> None:
    amounts, coordinates = named(layer(8, 1), 4)
    assert {name: value for name, value in amounts.items() if value} == {
        "call": 1,
        "row": 4,
        "multiply_add": 4 * 8,
        "row_strip": 4 * 8,
        "block_output": 8,
        "block_strip": 8,
        "weight": 8,
        "weight_beyond_l2": 4,
        "weight_beyond_l3": 2,
        "input": 4 * 8,
        "output": 4,
        "column_call": 1,
        "column_multiply_add": 4 * 8,
    }
    assert (coordinates["thin"], coordinates["column"]) == (0, 1)
    assert coordinates["log_output_tail"] == pytest.approx(log(16))
    assert named(layer(8, 2), 4)[0]["column_call"] == 0


def test_lookups_of_30_rows_in_6_bags() -> None:
    amounts, coordinates = named(lookup(row_bytes=100), 3)
    assert amounts == pytest.approx(
        {
            "call": 1,
            "bag": 6,
            "row": 30,
            "line": 60,  # 100 bytes: two lines of 64
            "line_beyond_l2_least_1": 0.5 * 60,
            "line_beyond_l2_least_2": 0.5 * 60,
            "line_beyond_l2_least_4": 0.5 * 120,
            "line_beyond_l3_least_1": 0.2 * 60,
            "line_beyond_l3_least_2": 0.2 * 60,
            "line_beyond_l3_least_4": 0.2 * 120,
            "entry_beyond_l2": 0.1 * 30,
            "entry_beyond_l3": 0.05 * 30,
            "page_beyond_tlb1": 0.4 * 30,
            "page_beyond_tlb2": 0.3 * 30,
            "bag_beyond_l3": 0.2 * 6,
        }
    )
    assert coordinates == pytest.approx(
        {
            "log_bags": log(6),
            "log_rows_per_bag": log(5),
            "log_row_bytes": log(100),
            "rows_beyond_l2": 0.5,
            "rows_beyond_l3": 0.2,
            "entries_beyond_l2": 0.1,
            "entries_beyond_l3": 0.05,
            "pages_beyond_tlb1": 0.4,
            "pages_beyond_tlb2": 0.3,
            "log_table_bytes": log(5000),
            **LOG_REUSE,
        }
    )


@pytest.mark.parametrize(("row_bytes", "lines"), [(64, (1, 2, 4)), (65, (2, 2, 4)), (300, (5, 5, 5))])
def test_short_rows_wait_for_their_first_line(row_bytes: float, lines: tuple[int, ...]) -> None:
    amounts, _ = named(lookup(row_bytes), 3)
    for level, missed in (("l2", 0.5), ("l3", 0.2)):
        waits = [amounts[f"line_beyond_{level}_least_{least}"] for least in (1, 2, 4)]
        assert waits == pytest.approx([30 * missed * count for count in lines])


def test_joining_three_tensors_of_five_items() -> None:
    joined = Kernel(operator="c", family="concat", variant="features", pieces=3, written_bytes_per_item=24)
    amounts, coordinates = named(joined, 5)
    assert amounts == {"call": 1, "piece": 3, "byte": 120, "item_piece": 15}
    logs = {"log_items": log(5), "log_pieces": log(3), "log_piece_bytes": log(8)}
    assert coordinates == pytest.approx(logs | LOG_REUSE)


def test_a_concat_of_unknown_pieces_is_one_of_one() -> None:
    copied = Kernel(operator="c", family="concat", variant="features", written_bytes_per_item=24)
    amounts, coordinates = named(copied, 5)
    assert amounts == {"call": 1, "piece": 1, "byte": 120, "item_piece": 5}
    assert coordinates["log_piece_bytes"] == pytest.approx(log(24))


@pytest.mark.parametrize(("variant", "pieces"), [("tensors", 7), ("rows", 3)])
def test_a_sum_counts_its_tensors_or_the_rows_that_it_adds_up(variant: str, pieces: int) -> None:
    """48 bytes read for 16 written are three rows, however many tensors hold them."""
    added = Kernel(
        operator="s",
        family="sum",
        variant=variant,
        pieces=7,
        read_bytes_per_item=48,
        written_bytes_per_item=16,
    )
    amounts, coordinates = named(added, 5)
    assert amounts == {"call": 1, "piece": pieces, "byte": 5 * 64, "written_byte": 5 * 16}
    logs = {"log_written_bytes": log(80), "log_pieces": log(pieces)}
    assert coordinates == pytest.approx(logs | LOG_REUSE)


def test_layers_side_by_side_share_the_cost_of_their_one_call() -> None:
    alone = layer(8, 16)
    one, four = (
        place(each, np.array([5.0]), at()) for each in (alone, replace(alone, calls=4, variant="grouped"))
    )
    once = {"call", *COLD_TERMS}
    for term, of_one, of_four in zip(one.terms, one.amounts[:, 0], four.amounts[:, 0], strict=True):
        assert 4 * of_four == (1 if term in once else 4) * of_one, term
    assert four.coordinates.tolist() == one.coordinates.tolist()


@pytest.mark.parametrize("family", ["activation", "elementwise"])
def test_an_elementwise_call_counts_what_it_writes(family: Any) -> None:
    call = Kernel(operator="e", family=family, read_bytes_per_item=99, written_bytes_per_item=40)
    amounts, coordinates = named(call, 3)
    assert amounts == {"call": 1, "element": 30}
    assert coordinates == pytest.approx({"log_elements": log(30)} | LOG_REUSE)


@pytest.mark.parametrize("variant", ["pointwise", "exp", "softplus"])
def test_a_call_of_any_number_of_inputs_counts_half_of_what_it_moves(variant: str) -> None:
    """Three items of 160 bytes read and 40 written: 600 bytes, half of them 75 elements of four."""
    call = Kernel(
        operator="e",
        family="elementwise",
        variant=variant,
        read_bytes_per_item=160,
        written_bytes_per_item=40,
    )
    amounts, coordinates = named(call, 3)
    assert amounts == {"call": 1, "element": 75}
    assert coordinates == pytest.approx({"log_elements": log(75)} | LOG_REUSE)


def test_a_norm_counts_its_vectors_and_on_an_older_surface_its_elements() -> None:
    """Three items of two vectors of ten elements."""
    call = Kernel(
        operator="n",
        family="elementwise",
        variant="vector_norm",
        rows_per_item=2,
        read_bytes_per_item=80,
        written_bytes_per_item=80,
    )
    amounts, coordinates = named(call, 3)
    counts = {name: amounts[name] for name in ("call", "row", "element", "vector", "short_element")}
    assert counts == {"call": 1, "row": 6, "element": 60, "vector": 6, "short_element": 60}
    assert coordinates == pytest.approx({"log_rows": log(6), "log_width": log(10)} | LOG_REUSE)
    older = place(call, np.array([3.0]), at(), "elementwise.norm")
    assert dict(zip(older.terms, older.amounts[:, 0], strict=True))["element"] == 60


@pytest.mark.parametrize(
    ("width", "vectors", "short"), [(10, 1, True), (15, 1, True), (16, 1, False), (17, 2, False)]
)
def test_a_softmax_of_six_rows(width: int, vectors: int, *, short: bool) -> None:
    call = Kernel(operator="s", family="softmax", rows_per_item=2, read_bytes_per_item=2 * width * 4)
    amounts, coordinates = named(call, 3)
    moved = 6 * width * 4
    assert amounts == pytest.approx(
        {
            "call": 1,
            "row": 6,
            "element": 6 * width,
            "vector": 6 * vectors,
            "short_element": 6 * width if short else 0,
            "byte_beyond_private": moved * moved / (moved + 1e6),
            "byte_beyond_shared": moved * moved / (moved + 32e6),
        }
    )
    assert coordinates == pytest.approx({"log_rows": log(6), "log_width": log(width)} | LOG_REUSE)


def test_twenty_small_products_of_2_rows_3_inner_and_20_outer() -> None:
    call = Kernel(operator="b", family="batch_matmul", variant="pairs", rows_per_item=5, shape=(2, 3, 20))
    amounts, coordinates = named(call, 4)
    moved = 4 * 20 * (2 * 3 + 3 * 20 + 2 * 20)
    assert amounts == pytest.approx(
        {
            "call": 1,
            "product": 20,
            "multiply_add": 20 * 2 * 3 * 20,
            "row_strip": 20 * 2 * 3 * 2,
            "operand": 20 * (2 * 3 + 3 * 20),
            "result": 20 * 2 * 20,
            "byte_beyond_private": moved * moved / (moved + 1e6),
            "byte_beyond_shared": moved * moved / (moved + 32e6),
        }
    )
    logs = {"log_products": log(20), "log_rows": log(2), "log_inner": log(3), "log_outer": log(20)}
    assert coordinates == pytest.approx(logs)


@pytest.mark.parametrize(("variant", "gates", "strips"), [("rnn", 1, 1), ("gru", 3, 2), ("augru", 3, 2)])
@pytest.mark.parametrize(("items", "several"), [(6, 1), (2, 1), (1, 0)])
def test_a_step_of_a_layer_of_three_inputs_and_four_states(
    variant: str, gates: int, strips: int, items: int, several: int
) -> None:
    call = Kernel(operator="r", family="recurrent", variant=variant, shape=(5, 3, 4))
    amounts, coordinates = named(call, items)
    assert amounts == pytest.approx(
        {
            "call": 1 / 5,
            "step": 1,
            "several": several,
            "state_multiply_add": items * 4 * 4,
            "input_multiply_add": items * 3 * 4,
            "state_strip": items * 4 * strips,  # 12 outputs: 8 and 4
            "input_strip": items * 3 * strips,
            "state": items * 4,
            "state_weight": 16,
            "several_state_weight": 16 * several,
            "input": items * 3,
        }
    )
    assert coordinates == pytest.approx(
        {
            "log_items": log(items),
            "log_steps": log(5),
            "log_width": log(3),
            "log_hidden": log(4),
            "log_output_tail": log(16 * strips / (4 * gates)),
        }
    )


def test_equal_calls_share_what_was_touched_between_them() -> None:
    twice = Kernel(operator="e", family="elementwise", calls=2, written_bytes_per_item=4)
    named(twice, 3, at(since_bytes=[2 * SINCE], before_bytes=[2 * BEFORE]))


def test_every_size_of_many_is_where_it_is_alone() -> None:
    """Constants are spread over the sizes too."""
    call = Kernel(operator="c", family="concat", variant="features", pieces=3, written_bytes_per_item=24)
    twice = {
        key: [np.repeat(row, 2) for row in value] if isinstance(value[0], list) else value * 2
        for key, value in MOMENT.items()
    }
    both = place(call, np.array([5.0, 7.0]), at(**twice))
    for column, size in enumerate((5.0, 7.0)):
        alone = place(call, np.array([size]), at())
        assert both.amounts[:, column].tolist() == alone.amounts[:, 0].tolist()
        assert both.coordinates[:, column].tolist() == alone.coordinates[:, 0].tolist()


def test_lookups_of_many_tables_are_each_where_it_is_alone() -> None:
    tables = [
        Gather(rows_per_item=rows, bags_per_item=1.0, row_bytes=dim * 4.0, num_rows=size, zipf_exponent=0.0)
        for rows, dim, size in ((1.0, 8, 10), (20.0, 64, 10**6), (3.0, 33, 5000))
    ]
    lookups = [
        Kernel(operator="t", family="embedding_bag", variant="pooled", gather=table, calls=calls, scope=scope)
        for table, calls, scope in zip(tables, (1, 4, 2), ("item", "item", "query"), strict=True)
    ]
    columns = [(index, size) for index in range(3) for size in (5.0, 7.0)]
    each = {
        key: [np.array(row * 6) * np.arange(1.0, 7.0) / 6 for row in value]
        if isinstance(value[0], list)
        else np.array(value * 6) * np.arange(1.0, 7.0)
        for key, value in MOMENT.items()
    }
    together = place_of(lookups, np.array([5.0, 7.0]), at(**each), "embedding_bag.pooled")
    for column, (index, size) in enumerate(columns):
        own = {
            key: [[row[column]] for row in value] if isinstance(value, list) else [value[column]]
            for key, value in each.items()
        }
        alone = place(lookups[index], np.array([size]), at(**own))
        assert together.amounts[:, column].tolist() == pytest.approx(alone.amounts[:, 0].tolist(), rel=1e-15)
        assert together.coordinates[:, column].tolist() == pytest.approx(
            alone.coordinates[:, 0].tolist(), rel=1e-15
        )


def test_names_are_told_apart_and_explained() -> None:
    for family, names in LAW_NAMES.items():
        for kind in names:
            assert all(kind.values()), family
            assert all(name.isidentifier() for name in kind), family
        assert "weight" not in names.coordinates  # the column that a profile adds to them
