from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import product
from math import sqrt

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Gather, Kernel
from perfmodel.costmodel.near_memory import (
    ACTIVATE_J,
    CHANNEL_J_PER_BIT,
    INSTRUCTIONS_PER_BURST,
    host_row_j,
    host_row_s,
    looked_up,
    near_memory_j,
    near_row_s,
    require_pooled,
)
from perfmodel.costmodel.rank_cache import NearMemory, rank_cache_hit_rates, same_row_chances
from perfmodel.costmodel.rank_loads import fullest_rank
from perfmodel.domain.model import RecModel
from perfmodel.domain.near_memory import DRAMS, NearMemorySettings
from perfmodel.errors import InputError

DRAM = DRAMS["ddr4-2400"]
CLOCK_NS = 1e3 / 1200


def memory_of(channels: int = 1, **settings: object) -> NearMemory:
    return NearMemory(settings=NearMemorySettings.model_validate(settings), channels=channels)


def lookups(row_bytes: float = 64.0, pooling: float = 80.0, zipf: float = 0.0) -> Kernel:
    gather = Gather(
        rows_per_item=pooling, bags_per_item=1, row_bytes=row_bytes, num_rows=10**6, zipf_exponent=zipf
    )
    return Kernel(
        operator="e",
        family="embedding_bag",
        variant="pooled",
        gather=gather,
        written_bytes_per_item=row_bytes,
    )


@pytest.mark.parametrize(("rows", "ranks"), [(1, 2), (3, 2), (7, 2), (4, 4), (5, 4), (4, 8)])
def test_the_fullest_rank_of_few_rows_is_that_of_all_ways_to_throw_them(rows: int, ranks: int) -> None:
    fullest = [max(Counter(throw).values()) for throw in product(range(ranks), repeat=rows)]
    assert fullest_rank(np.array(float(rows)), ranks) == pytest.approx(np.mean(fullest), rel=1e-12)


@pytest.mark.parametrize(("rows", "ranks"), [(49, 2), (100, 8), (640, 8), (640, 64), (5000, 16)])
def test_the_fullest_rank_of_many_rows_is_that_of_random_throws(rows: int, ranks: int) -> None:
    draws = np.random.default_rng(1).multinomial(rows, [1 / ranks] * ranks, size=20_000).max(axis=1)
    assert fullest_rank(np.array(float(rows)), ranks) == pytest.approx(draws.mean(), rel=0.01)


def test_two_ranks_differ_by_the_mean_of_a_normal_draw() -> None:
    # The larger of two: n/2 + sqrt(n/2) / sqrt(pi), since E max of two standard normal draws is 1 / sqrt(pi).
    large = 1e8
    expected = large / 2 + sqrt(large / 2 / np.pi)
    assert float(fullest_rank(np.array(large), 2)) - large / 2 == pytest.approx(
        expected - large / 2, rel=1e-3
    )


@pytest.mark.parametrize(("num_rows", "exponent"), [(100_000, 0.88), (1000, 0.5), (3, 0.0), (20, 0.9)])
@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_the_same_row_again_meets_in_the_same_rank(num_rows: int, exponent: float, ranks: int) -> None:
    table = Gather(rows_per_item=1, bags_per_item=1, row_bytes=64, num_rows=num_rows, zipf_exponent=exponent)
    popularity = np.arange(1.0, num_rows + 1.0) ** -exponent
    popularity /= popularity.sum()
    repeats = same_row_chances(table)
    assert repeats.two == pytest.approx(float((popularity**2).sum()), rel=0.03)
    assert repeats.three == pytest.approx(float((popularity**3).sum()), rel=0.05)
    generator, below = np.random.default_rng(3), np.cumsum(popularity)
    fullest = []
    for _ in range(300):
        rows, of_row = np.unique(np.searchsorted(below, generator.random(640)), return_inverse=True)
        fullest.append(np.bincount(generator.integers(0, ranks, len(rows))[of_row]).max())
    assert fullest_rank(np.array(640.0), ranks, repeats) == pytest.approx(np.mean(fullest), rel=0.06)


def test_rows_take_what_the_data_sheet_says() -> None:
    assert near_row_s(DRAM, 64) == pytest.approx(6.5 * CLOCK_NS * 1e-9)  # four rows in 26 clocks
    assert near_row_s(DRAM, 256) == pytest.approx(16 * CLOCK_NS * 1e-9)  # four bursts of 4
    assert host_row_s(DRAM, 8, 64) == pytest.approx((4 + 7 / 8 * 2) * CLOCK_NS * 1e-9)
    assert host_row_s(DRAM, 1, 64) == near_row_s(DRAM, 64)  # one rank opens no more rows for a host


def test_one_rank_without_a_cache_is_never_faster_than_the_host_on_its_channel() -> None:
    for row_bytes in (64.0, 128.0, 256.0):
        kernel, batch = lookups(row_bytes), np.array([1.0, 64.0])
        looked = looked_up(kernel, memory_of(ranks=1), batch, np.zeros(2))
        host_s = looked.rows * host_row_s(DRAM, 1, row_bytes)
        assert (looked.seconds >= host_s).all()
        assert looked.seconds[1] == pytest.approx(host_s[1], rel=0.01)  # but for the first row


def test_a_packet_waits_for_its_fullest_rank() -> None:
    looked = looked_up(lookups(), memory_of(ranks=8), np.array([64.0]), np.zeros(1))
    # 8 packets of 640 rows: 93 in the fullest rank (6.5 clocks each); the first row waits 34 clocks.
    each = float(fullest_rank(np.array(640.0), 8, same_row_chances(lookups().gather))) * 6.5  # type: ignore[arg-type]
    assert looked.seconds[0] == pytest.approx((8 * each + 34) * CLOCK_NS * 1e-9)
    assert looked.rows[0] == 64 * 80
    assert looked.bags[0] == 64


def test_instructions_bound_what_many_ranks_and_caches_bring() -> None:
    looked = looked_up(
        lookups(pooling=800.0), memory_of(ranks=64, cache_kib=128), np.array([8.0]), np.full(1, 0.9)
    )
    instructions_s = 6400 * DRAM.burst_s / INSTRUCTIONS_PER_BURST
    assert looked.seconds[0] == pytest.approx(instructions_s + 8 * DRAM.burst_s + DRAM.first_s)


def test_energy_is_counted_bit_by_bit() -> None:
    kernel = lookups()
    looked = looked_up(kernel, memory_of(ranks=8), np.array([1.0]), np.zeros(1))
    # A row: opened, 512 bits read at 14 pJ, 16 additions, 79 bits of instruction; a vector of 512 bits back.
    row_nj = 2.1 + 0.512 * 14 + 16 * 7.89e-3 + 0.079 * 22
    assert float(near_memory_j(kernel, looked)[0]) == pytest.approx((80 * row_nj + 0.512 * 22) * 1e-9)
    assert host_row_j(64) == pytest.approx((2.1 + 0.512 * 36) * 1e-9)
    assert host_row_j(64) > ACTIVATE_J + 512 * CHANNEL_J_PER_BIT


def simulated_hit_rate(
    *, tables: int, num_rows: int, exponent: float, lookups: int, cached: int, order: str, passes: int = 24
) -> float:
    """LRU over passes of all tables in turn, hits counted in the later half."""
    generator = np.random.default_rng(1)
    popularity = np.arange(1.0, num_rows + 1.0) ** -exponent
    popularity /= popularity.sum()
    cache: OrderedDict[tuple[int, int], None] = OrderedDict()
    hits = asked = 0
    for turn in range(passes):
        draws = [generator.choice(num_rows, lookups, p=popularity).tolist() for _ in range(tables)]
        counts = [Counter(draw) for draw in draws]
        if order == "arrival":
            sequence = [(table, draws[table][place]) for place in range(lookups) for table in range(tables)]
        else:
            sequence = [(table, row) for table in range(tables) for row in draws[table]]
        for key in sequence:
            found = key in cache
            if turn >= passes // 2:
                hits, asked = hits + found, asked + 1
            if found:
                cache.move_to_end(key)
            elif order != "hot" or counts[key[0]][key[1]] > 1:
                cache[key] = None
                if len(cache) > cached:
                    cache.popitem(last=False)
    return hits / asked


ORDERS: dict[str, dict[str, object]] = {
    "arrival": {},
    "table": {"scheduling": "table"},
    "hot": {"scheduling": "table", "hot_entries": True},
}


@pytest.mark.parametrize("order", ["arrival", "table", "hot"])
@pytest.mark.parametrize(
    ("tables", "num_rows", "exponent", "lookups", "cached"),
    [(8, 20_000, 0.88, 400, 80), (8, 20_000, 0.88, 400, 320), (3, 50_000, 1.05, 2_000, 500)],
)
def test_caches_of_ranks_find_what_a_simulated_cache_finds(
    order: str, tables: int, num_rows: int, exponent: float, lookups: int, cached: int
) -> None:
    table = Gather(rows_per_item=1, bags_per_item=1, row_bytes=64, num_rows=num_rows, zipf_exponent=exponent)
    memory = memory_of(ranks=1, cache_kib=cached * 64 / 1024, **ORDERS[order])
    found = rank_cache_hit_rates([(table, tables)], memory, np.array([float(lookups)]))[0, 0]
    simulated = simulated_hit_rate(
        tables=tables,
        num_rows=num_rows,
        exponent=exponent,
        lookups=lookups,
        cached=cached,
        order=order,
    )
    assert found == pytest.approx(simulated, abs=0.03 if order == "hot" else 0.01)


def test_passes_too_short_to_find_themselves_lose_what_other_tables_flush() -> None:
    table = Gather(rows_per_item=1, bags_per_item=1, row_bytes=64, num_rows=20_000, zipf_exponent=0.88)
    hits = {
        order: rank_cache_hit_rates(
            [(table, 8)], memory_of(ranks=1, cache_kib=20, **ORDERS[order]), np.array([50.0])
        )[0, 0]
        for order in ("arrival", "table")
    }
    simulated = simulated_hit_rate(
        tables=8, num_rows=20_000, exponent=0.88, lookups=50, cached=320, order="table", passes=60
    )
    assert hits["table"] == pytest.approx(simulated, abs=0.01)
    assert hits["table"] < hits["arrival"]


def test_a_model_whose_rows_are_wanted_one_by_one_is_refused() -> None:
    model = RecModel.model_validate(
        {
            "name": "plain",
            "dense_features": 4,
            "operators": [{"name": "top", "kind": "mlp", "input": "dense", "widths": [4, 1]}],
        },
        strict=False,
    )
    with pytest.raises(InputError, match="plain has no lookups that are pooled"):
        require_pooled(model)
