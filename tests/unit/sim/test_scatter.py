"""Factors on service times: their law, and who gets which."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest

from perfmodel.domain.unsteady import ListedScatter, LogNormalScatter
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.scatter import (
    MOST_CLASSES,
    NUM_FACTORS,
    Luck,
    ScatterTable,
    even_scatter,
    factor_index,
    log_normal_factors,
    scatter_by_size,
    scatter_of,
)
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries, TrafficSource


@pytest.mark.parametrize(("sigma", "lacking"), [(0.1, 1e-6), (0.3, 1e-5), (0.7, 1e-3)])
def test_log_normal_factors_have_the_law_s_moments_and_percentiles(sigma: float, lacking: float) -> None:
    factors = log_normal_factors(sigma)
    assert factors.mean() == pytest.approx(1.0, abs=1e-12)
    assert (factors**2).mean() == pytest.approx(
        exp(sigma**2), rel=lacking
    )  # less what the last interval hides
    assert factors[int(0.99 * NUM_FACTORS)] == pytest.approx(exp(2.3263 * sigma - sigma**2 / 2), rel=2e-3)
    assert (np.diff(factors) > 0).all()


def test_listed_factors_are_divided_by_their_mean_and_drawn_equally_often() -> None:
    table = scatter_of(ListedScatter(factors=(4.0, 2.0, 2.0, 2.0)))
    row = table.factors[0]
    assert row.mean() == pytest.approx(1.0)
    assert row[-1] / row[0] == pytest.approx(2.0)
    assert (row == row[0]).mean() == pytest.approx(0.625, abs=1e-3)  # to the middle of the third of four


@pytest.mark.thorough
def test_the_hash_spreads_queries_and_requests_evenly_and_independently() -> None:
    # 2^18 requests over 2^14 factors: counts are Poisson of mean 16, so their variance is 16 as well.
    found = np.array([factor_index(77, query, left) for query in range(2**16) for left in (1, 64, 128, 300)])
    counts = np.bincount(found, minlength=NUM_FACTORS)
    assert counts.var() == pytest.approx(16.0, rel=0.1)
    centred = found / NUM_FACTORS - 0.5
    for lag in (1, 2, 3, 4, 8):
        assert abs(np.mean(centred[lag:] * centred[:-lag])) * 12 < 5 / np.sqrt(len(found))


def test_a_request_keeps_its_factor_at_any_rate_and_gets_another_in_another_run() -> None:
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([5, 9]))
    table = scatter_of(LogNormalScatter(relative_std=0.3))
    service, policy = (
        ServiceTimes(cpu_s=np.full((9, 1), 1e-6), cpu_scatter=table),
        SplitAndOffload(batch_size=9),
    )

    def idle_latencies_s(rate_qps: float, replication: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        queries = traffic.at_rate(rate_qps).draw(500, seed=3, replication=replication)
        return simulate(queries, service, policy).latency_s

    np.testing.assert_allclose(idle_latencies_s(1.0, 0), idle_latencies_s(10.0, 0), rtol=1e-4)
    assert (idle_latencies_s(1.0, 0) != idle_latencies_s(1.0, 1)).mean() > 0.9


def test_a_run_that_goes_on_draws_what_the_whole_run_draws() -> None:
    table = scatter_of(LogNormalScatter(relative_std=0.3))
    service = ServiceTimes(cpu_s=np.full((1, 1), 1.0), cpu_scatter=table)
    whole = Queries(np.arange(100) * 1e3, np.ones(100, dtype=np.int64), Luck(seed=5))
    rest = Queries(np.arange(60) * 1e3, np.ones(60, dtype=np.int64), Luck(seed=5, first=40))
    policy = SplitAndOffload(batch_size=1)
    np.testing.assert_allclose(
        simulate(whole, service, policy).latency_s[40:], simulate(rest, service, policy).latency_s, rtol=1e-9
    )


def test_scatter_by_size_has_a_few_laws_near_those_asked_for() -> None:
    asked = np.linspace(0.0, 0.6, 500)
    table = scatter_by_size(asked)
    assert len(table.factors) <= MOST_CLASSES
    found = np.sqrt(np.maximum(0.0, table.mean_square[table.class_of] - 1.0))
    assert np.abs(found - asked).max() < 0.04


def test_one_width_for_all_sizes_is_one_law() -> None:
    assert len(scatter_by_size(np.full(100, 0.2)).factors) == 1


def test_tables_that_are_none_are_refused() -> None:
    row = np.ones((1, NUM_FACTORS))
    for factors, class_of in ((row[:, 1:], [0]), (row, [1]), (row, []), (-row, [0])):
        with pytest.raises(InputError, match="scatter: expected"):
            ScatterTable(factors, np.array(class_of, dtype=np.int64))
    assert even_scatter(row[0]).factor(Luck(), 0, 5, 5) == 1.0
