"""Rows found in a cache: limits, and an LRU cache simulated line by line."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Gather, Kernel, Product
from perfmodel.costmodel.residency import Lookups, missed_rows


def lookup(rows: int, *, lookups: float = 20.0, skew: float = 0.0) -> Kernel:
    gather = Gather(
        rows_per_item=lookups, bags_per_item=1.0, row_bytes=64.0, num_rows=rows, zipf_exponent=skew
    )
    return Kernel(operator="rows", family="embedding_bag", gather=gather)


def layer(weight_bytes: int) -> Kernel:
    return Kernel(
        operator="layer", family="fc", product=Product(rows_per_item=1, inner=weight_bytes // 4, outer=1)
    )


def missed(
    kernels: list[Kernel],
    batch_size: float,
    capacity_bytes: float,
    *,
    earlier_size: float | None = None,
    others_bytes: float = 0.0,
) -> float:
    """Rows of the first kernel's table that a pass does not find in a plain LRU cache."""
    size, others = np.array([float(batch_size)]), np.array([others_bytes])
    earlier = size if earlier_size is None else np.array([float(earlier_size)])
    lookups = Lookups.of(kernels)
    found = missed_rows(lookups, size, capacity_bytes, others, earlier, unused_share=1.0)
    gather = kernels[0].gather
    assert gather is not None
    return float(found.rows[lookups.tables[gather], 0])


def test_tables_that_fit_are_found_and_tables_far_larger_are_not() -> None:
    assert missed([lookup(1_000)], 4, 1e6) == pytest.approx(0.0, abs=1e-6)
    assert missed([lookup(10_000_000)], 4, 1e6) == pytest.approx(1.0, abs=0.01)


def test_weights_that_pass_through_a_cache_leave_no_rows_of_the_last_pass() -> None:
    alone = missed([lookup(4_000)], 4, 1e6)
    assert alone < 0.01
    assert missed([lookup(4_000), layer(8_000_000)], 4, 1e6) > 0.95


def test_rows_looked_up_again_in_the_same_call_are_found_whatever_else_the_pass_reads() -> None:
    many = missed([lookup(4_000), layer(8_000_000)], 4_000, 1e6)  # each row 20 times
    assert many == pytest.approx(1.0 / 20.0, rel=0.05)


def test_popular_rows_are_found_more_often() -> None:
    rates = [missed([lookup(100_000, skew=skew)], 16, 1e6) for skew in (0.0, 0.6, 1.2)]
    assert rates[0] > rates[1] > rates[2]


@pytest.mark.parametrize(
    ("rows", "batch_size", "weight_lines", "skew", "others_lines"),
    [
        (3_000, 10, 0, 0.0, 0),
        (3_000, 10, 500, 0.0, 0),
        (3_000, 200, 1_500, 0.0, 0),
        (600, 50, 0, 0.0, 0),
        (600, 50, 0, 0.0, 300),
        (3_000, 10, 200, 0.0, 400),
        (5_000, 40, 200, 0.9, 0),
    ],
)
def test_agrees_with_an_lru_cache_simulated_line_by_line(
    rows: int, batch_size: int, weight_lines: int, skew: float, others_lines: int
) -> None:
    capacity_lines, rng = 1_000, np.random.default_rng(0)
    weights = np.arange(1, rows + 1, dtype=float) ** -skew
    cached: OrderedDict[int, None] = OrderedDict()
    lookups = misses = 0
    for number in range(30):
        drawn = rng.choice(rows, size=20 * batch_size, p=weights / weights.sum()).tolist()
        # indices are read, and nobody reads them again: 8 in a line, as the model counts them
        once = [-1 - rows - number * 10_000_000 - line for line in range(len(drawn) // 8 + others_lines)]
        for line in [*drawn, *once, *(-1 - line for line in range(weight_lines))]:
            hit = line in cached
            cached[line] = None
            cached.move_to_end(line)
            if len(cached) > capacity_lines:
                cached.popitem(last=False)
            if line >= 0 and number >= 10:
                lookups, misses = lookups + 1, misses + (not hit)
    kernels = [lookup(rows, skew=skew), layer(64 * weight_lines)]
    expected = missed(kernels, batch_size, 64.0 * capacity_lines, others_bytes=64.0 * others_lines)
    assert expected == pytest.approx(misses / lookups, abs=0.08)


@pytest.mark.thorough_cases("1200-5-100-0")
@pytest.mark.parametrize(
    ("rows", "batch_size", "earlier_size", "weight_lines"),
    [(3_000, 5, 50, 0), (600, 5, 50, 300), (1_200, 5, 100, 0), (3_000, 100, 10, 0), (1_200, 60, 5, 100)],
)
def test_a_pass_among_passes_of_another_size_agrees_with_a_simulated_cache(
    rows: int, batch_size: int, earlier_size: int, weight_lines: int
) -> None:
    capacity_lines, rng = 1_000, np.random.default_rng(0)
    cached: OrderedDict[int, None] = OrderedDict()
    lookups = misses = 0
    for number in range(300):
        is_probe = number % 10 == 9
        drawn = rng.integers(0, rows, 20 * (batch_size if is_probe else earlier_size)).tolist()
        once = [-1 - rows - number * 10_000_000 - line for line in range(len(drawn) // 8)]
        for line in [*drawn, *once, *(-1 - line for line in range(weight_lines))]:
            hit = line in cached
            cached[line] = None
            cached.move_to_end(line)
            if len(cached) > capacity_lines:
                cached.popitem(last=False)
            if line >= 0 and is_probe and number > 20:
                lookups, misses = lookups + 1, misses + (not hit)
    kernels = [lookup(rows), layer(64 * weight_lines)]
    expected = missed(kernels, batch_size, 64.0 * capacity_lines, earlier_size=earlier_size)
    assert expected == pytest.approx(misses / lookups, abs=0.08)


def entries_missed(kernels: list[Kernel], capacity_bytes: float, *, others_bytes: float = 0.0) -> float:
    """Page-table entries of the first kernel's table that a pass of 100 items does not find."""
    size = np.array([100.0])
    lookups = Lookups.of(kernels)
    found = missed_rows(lookups, size, capacity_bytes, np.array([others_bytes]), size)
    gather = kernels[0].gather
    assert gather is not None
    return float(found.entries[lookups.tables[gather], 0])


def test_page_table_entries_of_a_table_beyond_the_cache_are_kept_until_something_else_fills_it() -> None:
    table = lookup(20_000_000)  # 1.3 GB, 2.5 MB of entries
    assert entries_missed([table], 8e6) < 0.05
    assert entries_missed([table, layer(16_000_000)], 8e6) > 0.9
    assert entries_missed([table], 8e6, others_bytes=16e6) > 0.9


def test_entries_of_popular_rows_are_kept() -> None:
    crowded = [entries_missed([lookup(20_000_000, skew=skew), layer(16_000_000)], 8e6) for skew in (0.0, 1.2)]
    assert crowded[1] < 0.5 * crowded[0]


def test_rows_read_once_take_little_from_a_table_that_is_read_again() -> None:
    small, large = lookup(30_000, lookups=100.0), lookup(100_000_000, lookups=300.0)

    def missed_beside_a_scan(unused_share: float) -> float:
        size, nothing = np.array([100.0]), np.array([0.0])
        lookups = Lookups.of([small, large])
        found = missed_rows(lookups, size, 4e6, nothing, size, unused_share=unused_share)
        assert small.gather is not None
        return float(found.rows[lookups.tables[small.gather], 0])

    assert missed_beside_a_scan(0.2) < 0.6 * missed_beside_a_scan(1.0)
