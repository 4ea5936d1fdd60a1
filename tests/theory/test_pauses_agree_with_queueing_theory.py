"""Pauses: whom they strike, and that noise of the same mean and variance does not stand in for them."""

from __future__ import annotations

from math import exp, log1p, sqrt

import numpy as np
import pytest

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.pauses import Pauses
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.scatter import NUM_FACTORS, ScatterTable, even_scatter, log_normal_factors
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.traffic import TrafficSource

SERVICE_S = 0.010


def latencies_s(
    utilisation: float,
    cores: int,
    number: int,
    *,
    node: tuple[Pauses, ...] = (),
    core: tuple[Pauses, ...] = (),
    scatter: ScatterTable | None = None,
) -> FloatArray:
    """Of queries of one request of 10 ms."""
    arrivals = PoissonArrivals(rate_qps=utilisation * cores / SERVICE_S)
    traffic = TrafficSource(arrivals=arrivals, sizes=pmf_of_list([1]))
    service = ServiceTimes(
        cpu_s=np.full((1, cores), SERVICE_S), node_pauses=node, core_pauses=core, cpu_scatter=scatter
    )
    return simulate(traffic.draw(number, seed=4), service, SplitAndOffload(batch_size=1)).latency_s


@pytest.mark.thorough_cases("0.5")
@pytest.mark.parametrize("rate_per_s", [0.5, 5.0])
def test_an_idle_core_s_request_is_struck_as_often_as_a_pause_begins_in_its_time(rate_per_s: float) -> None:
    # One core of many, hardly any load: nobody waits, and a paused idle core takes nobody.
    found_s = latencies_s(0.01, 50, 200_000, core=(Pauses(rate_per_s=rate_per_s, length_s=0.002),))
    struck = (found_s > SERVICE_S + 0.001).mean()
    expected = 1.0 - exp(-rate_per_s * SERVICE_S)  # pauses go on while another one lasts: a little more
    assert struck == pytest.approx(expected, abs=4.0 * sqrt(expected / len(found_s)) + 0.02 * expected)


@pytest.mark.thorough
def test_a_query_of_an_idle_node_is_delayed_where_it_meets_a_pause() -> None:
    rate_per_s, length_s = 2.0, 0.05
    found_s = latencies_s(0.02, 50, 400_000, node=(Pauses(rate_per_s=rate_per_s, length_s=length_s),))
    paused = rate_per_s * length_s / (1.0 + rate_per_s * length_s)
    expected = paused + (1.0 - paused) * (1.0 - exp(-rate_per_s * SERVICE_S))
    assert (found_s > SERVICE_S * 1.0001).mean() == pytest.approx(expected, rel=0.05)
    # Within a pause arrivals are uniform: half its length in the mean, and the service.
    late_s = found_s[found_s > SERVICE_S * 1.0001] - SERVICE_S
    in_pause = paused / expected
    assert late_s.mean() == pytest.approx(in_pause * 0.5 * length_s + (1.0 - in_pause) * length_s, rel=0.05)


@pytest.mark.thorough
def test_noise_of_the_same_mean_and_variance_does_not_stand_in_for_pauses_that_last() -> None:
    rate_per_s, length_s, cores = 0.05, 0.1, 8
    struck = rate_per_s * SERVICE_S  # of services, each by so much
    pauses_s = latencies_s(0.6, cores, 3_000_000, node=(Pauses(rate_per_s=rate_per_s, length_s=length_s),))

    # Independent: as many services are longer by as much, each on its own.
    factors = np.ones(NUM_FACTORS)
    factors[-round(struck * NUM_FACTORS) :] += length_s / SERVICE_S
    independent_s = latencies_s(0.6, cores, 3_000_000, scatter=even_scatter(factors))

    # Evened out: log-normal noise.
    mean, variance = factors.mean(), factors.var()
    assert mean == pytest.approx(1.0 + struck * length_s / SERVICE_S, rel=1e-3)
    assert variance == pytest.approx(struck * (length_s / SERVICE_S) ** 2, rel=0.05)
    smooth = mean * log_normal_factors(sqrt(log1p(variance / mean**2)))
    smooth_s = latencies_s(0.6, cores, 3_000_000, scatter=even_scatter(smooth))

    lasting, single, even = (
        order_statistic(np.sort(found_s), 0.999) for found_s in (pauses_s, independent_s, smooth_s)
    )
    assert lasting > 4.0 * single
    assert lasting > 4.0 * even
