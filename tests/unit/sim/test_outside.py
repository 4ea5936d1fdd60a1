"""Laws of the time outside the node: what is drawn is what their tails say."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from perfmodel.domain.workload import DiurnalArrivals, PoissonArrivals
from perfmodel.sim.engines import simulate
from perfmodel.sim.outside import (
    ConstantOutside,
    ListedOutside,
    NormalOutside,
    OutsideLaw,
    draw_outside_s,
    outside_sampler,
)
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

LOG_NORMAL = NormalOutside(mean=log(0.010), std=0.5, is_log=True, least_s=0.002, most_s=0.05)
NORMAL = NormalOutside(mean=0.010, std=0.004, is_log=False, least_s=0.0, most_s=1.0)
LISTED = ListedOutside(np.array([0.030, 0.001, 0.001, 0.020]))
LAWS: list[OutsideLaw] = [ConstantOutside(0.015), LOG_NORMAL, NORMAL, LISTED]


@pytest.mark.parametrize("law", LAWS)
def test_tails_and_means_are_those_of_what_is_drawn(law: OutsideLaw) -> None:
    drawn_s = draw_outside_s(law, 200_000, seed=3)
    assert drawn_s is not None
    assert law.mean_s == pytest.approx(drawn_s.mean(), rel=0.01)
    at_s = np.array([0.0, 0.0005, 0.001, 0.009, 0.02, 0.0499, 0.05, 2.0])
    found = [(drawn_s > time_s).mean() for time_s in at_s]
    assert law.exceeds(at_s) == pytest.approx(found, abs=0.005)


def test_a_longer_draw_begins_with_the_same_and_other_replications_differ() -> None:
    few, many = (draw_outside_s(LOG_NORMAL, count, seed=3) for count in (10, 1000))
    other = draw_outside_s(LOG_NORMAL, 10, seed=3, replication=1)
    assert few is not None
    assert many is not None
    assert other is not None
    assert many[:10].tolist() == few.tolist() != other.tolist()
    draw = outside_sampler(LOG_NORMAL, seed=3)
    assert [*draw(4), *draw(6)] == few.tolist()


def test_the_mean_of_a_log_normal_is_known() -> None:
    wide = NormalOutside(mean=log(0.010), std=0.5, is_log=True, least_s=0.0, most_s=1e6)
    assert wide.mean_s == pytest.approx(0.010 * exp(0.125), rel=1e-3)


@pytest.mark.parametrize(
    "arrivals", [PoissonArrivals(rate_qps=50.0), DiurnalArrivals(rate_qps=50.0, amplitude=0.5)]
)
def test_it_is_added_in_both_engines_and_delays_nobody(arrivals: PoissonArrivals | DiurnalArrivals) -> None:
    service = ServiceTimes(cpu_s=np.full((4, 2), 0.030))
    plain = TrafficSource(arrivals=arrivals, sizes=pmf_of_list([4]))
    outside = TrafficSource(arrivals=arrivals, sizes=pmf_of_list([4]), outside=LOG_NORMAL)
    policy = SplitAndOffload(batch_size=4)
    alone = simulate(plain.draw(2000, seed=1), service, policy)
    one, other = (
        simulate(outside.draw(2000, seed=1), service, policy, engine=engine)
        for engine in ("compiled", "simpy")
    )
    assert one.latency_s.tolist() == other.latency_s.tolist()
    assert one.node_latency_s.tolist() == alone.latency_s.tolist()
    assert one.latency_s - one.node_latency_s == pytest.approx(draw_outside_s(LOG_NORMAL, 2000, seed=1))
