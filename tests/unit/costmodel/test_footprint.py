"""What fits where: models in memory, weights in caches, rows under LRU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from perfmodel.costmodel.footprint import (
    cached_fraction,
    l3_share_bytes,
    popularity_bins,
    require_fit,
    table_hit_rates,
)
from perfmodel.costmodel.kernels import Gather
from perfmodel.domain.hardware import Caches, Device
from perfmodel.errors import InputError
from tests.unit.costmodel.conftest import MakeModel

LARGE = {"num_rows": 3 * 2**20, "dim": 64}  # 0.75 GiB
SMALL = {"num_rows": 2**20, "dim": 64, "count": 2}  # 0.25 GiB each


def table(*, zipf: float = 0.0, rows: int = 1_000_000, lookups: float = 1.0) -> Gather:
    return Gather(
        rows_per_item=lookups, bags_per_item=1.0, row_bytes=128.0, num_rows=rows, zipf_exponent=zipf
    )


def hit_rate(gather: Gather, capacity_bytes: float) -> float:
    return float(table_hit_rates([(gather, 1)], np.array([capacity_bytes]))[0, 0])


def test_a_model_beyond_memory_is_refused_with_its_largest_table(cpu: Device, model_of: MakeModel) -> None:
    bags = {"name": "bags", "kind": "embedding_bag", "tables": [SMALL, LARGE]}
    with pytest.raises(InputError) as caught:
        require_fit(model_of(bags, name="big"), cpu)
    assert str(caught.value) == (
        "big does not fit cpu1: needs 1.2 GiB, memory has 1.0 GiB; largest table: bags.tables.1 with 0.75 GiB"
    )


def test_a_model_that_just_fits_is_accepted(cpu: Device, model_of: MakeModel) -> None:
    bags = {"name": "bags", "kind": "embedding_bag", "tables": [SMALL, {**SMALL}]}
    require_fit(model_of(bags), cpu)  # 1 GiB in 1 GiB, no weights


def test_weights_alone_beyond_memory_are_refused_too(cpu: Device, model_of: MakeModel) -> None:
    layer = {"name": "top", "kind": "fc", "input": "dense", "widths": [20_000, 20_000]}
    with pytest.raises(InputError) as caught:
        require_fit(model_of(layer, dense_features=20_000), cpu)
    assert str(caught.value) == "m does not fit cpu1: needs 1.5 GiB, memory has 1.0 GiB"


def test_an_inclusive_l3_is_divided_and_an_exclusive_one_adds_the_own_l2(cpu: Device) -> None:
    exclusive = replace(cpu, caches=Caches(l2_bytes=1e6, l3_bytes=10e6, exclusive=True))
    busy = np.array([1.0, 4.0])
    assert l3_share_bytes(cpu, busy).tolist() == [10e6, 2.5e6]
    assert l3_share_bytes(exclusive, busy).tolist() == [11e6, 3.5e6]


def test_a_gpu_has_no_cache_to_share(gpu: Device) -> None:
    assert l3_share_bytes(gpu, np.array([1.0])).tolist() == [0.0]


def test_a_cache_holds_at_most_everything() -> None:
    assert cached_fraction(4e6, np.array([0.0, 1e6, 4e6, 9e6])).tolist() == [0.0, 0.25, 1.0, 1.0]
    assert cached_fraction(0.0, np.array([0.0])).tolist() == [1.0]


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.9])
def test_uniform_lookups_hit_as_much_as_fits(fraction: float) -> None:
    assert hit_rate(table(), fraction * 128e6) == pytest.approx(fraction, rel=1e-6)


def test_tables_that_fit_always_hit_and_no_cache_never() -> None:
    assert hit_rate(table(zipf=1.0), 128e6) == 1.0
    assert hit_rate(table(zipf=1.0), 0.0) == 0.0


def test_skewed_lookups_hit_between_uniform_and_the_most_popular_rows() -> None:
    rows, cached = 100_000, 10_000
    weights = np.arange(1, rows + 1) ** -1.0
    best = weights[:cached].sum() / weights.sum()  # a cache that knew the popularities: 0.81
    hit = hit_rate(table(zipf=1.0, rows=rows), cached * 128.0)
    assert cached / rows < hit < best


def test_skewed_lookups_agree_with_an_exact_characteristic_time() -> None:
    rows = 2000
    chance = np.arange(1, rows + 1) ** -0.8
    chance /= chance.sum()
    time = 700.0
    capacity_bytes = 128.0 * float(np.sum(1 - np.exp(-chance * time)))
    exact = float(np.sum(chance * (1 - np.exp(-chance * time))))
    assert hit_rate(table(zipf=0.8, rows=rows), capacity_bytes) == pytest.approx(exact, rel=0.01)


def test_skewed_lookups_agree_with_a_simulated_lru_cache() -> None:
    rows, cached = 500, 50
    chance = np.arange(1, rows + 1) ** -1.0
    draws = np.random.default_rng(1).choice(rows, size=40_000, p=chance / chance.sum())
    lru: dict[int, None] = {}
    hits = 0
    for draw in draws.tolist():
        hits += draw in lru
        lru.pop(draw, None)
        lru[draw] = None
        if len(lru) > cached:
            del lru[next(iter(lru))]
    assert hit_rate(table(zipf=1.0, rows=rows), cached * 128.0) == pytest.approx(hits / len(draws), abs=0.015)


def test_a_larger_cache_hits_more() -> None:
    rates = [hit_rate(table(zipf=0.9), capacity) for capacity in np.geomspace(1e3, 127e6, 12)]
    assert rates == sorted(rates)
    assert len(set(rates)) == len(rates)


def test_more_skew_hits_more() -> None:
    rates = [hit_rate(table(zipf=skew), 1e6) for skew in (0.0, 0.4, 0.8, 1.2, 1.6)]
    assert rates == sorted(rates)
    assert rates[0] < 0.01 < 0.9 < rates[-1]


def test_tables_share_the_cache() -> None:
    assert table_hit_rates([(table(), 4)], np.array([32e6])) == pytest.approx(32 / 512)


def test_the_busier_of_two_tables_holds_more_of_the_cache() -> None:
    busy, quiet = table_hit_rates([(table(lookups=10.0), 1), (table(), 1)], np.array([64e6]))
    assert busy > quiet
    assert (busy + quiet) / 2 == pytest.approx(64 / 256)  # equal tables: their cached fractions


def test_many_tables_hit_as_each_of_them_does_by_che(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [
        (table(rows=1000 * (1 + index), lookups=1.0 + index, zipf=0.9 * (index % 2)), 1 + index % 3)
        for index in range(7)
    ]
    capacities = np.array([0.0, 3e5, 2e6, 1e9])
    found = table_hit_rates(tables, capacities)
    for column, capacity in enumerate(capacities[1:3], start=1):  # one by one, at the same time
        time = _characteristic_time(tables, float(capacity))
        for (gather, _), hits in zip(tables, found[:, column], strict=True):
            rows, rate = popularity_bins(gather)
            expected = np.sum(rows * rate * -np.expm1(-rate * time)) / np.sum(rows * rate)
            assert hits == pytest.approx(expected, rel=1e-9)
    assert found[:, 0].tolist() == [0.0] * 7
    assert found[:, 3].tolist() == [1.0] * 7
    monkeypatch.setattr("perfmodel.costmodel.footprint._MOST_AT_ONCE", 8)  # two bins of four cases
    np.testing.assert_allclose(table_hit_rates(tables, capacities), found, rtol=1e-11)


@pytest.mark.parametrize("zipf", [0.0, 0.9])
def test_rows_that_are_not_in_use_take_no_cache(zipf: float) -> None:
    used = replace(table(zipf=zipf), rows_in_use=5000)
    few = table(zipf=zipf, rows=5000)
    for capacity in (0.0, 1e5, 64_000.0, 5e5, 1e6):
        assert hit_rate(used, capacity) == pytest.approx(hit_rate(few, capacity), abs=1e-9)
    rows, rate = popularity_bins(used)
    assert rows.sum() == 1_000_000
    assert (rows[-1], rate[-1], rows @ rate) == (995_000, 0.0, pytest.approx(1.0))
    assert popularity_bins(replace(few, rows_in_use=5000))[0].sum() == 5000


def _characteristic_time(tables: list[tuple[Gather, int]], capacity_bytes: float) -> float:
    def excess(log_time: float) -> float:
        held = 0.0
        for gather, count in tables:
            rows, rate = popularity_bins(gather)
            held += count * gather.row_bytes * np.sum(rows * -np.expm1(-rate * np.exp(log_time)))
        return held - capacity_bytes

    return float(np.exp(brentq(excess, -50.0, 50.0, xtol=1e-13)))
