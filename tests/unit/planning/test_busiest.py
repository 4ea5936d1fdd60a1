"""Where the rate changes, it is the day's peak and the bursts that fill a node, not the mean."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning import load_curve
from perfmodel.planning.busiest import Busiest, busiest
from perfmodel.planning.capacity.answer import Capacity
from perfmodel.planning.explain import computation
from perfmodel.planning.explain.places import places_of
from perfmodel.planning.load_curve import LoadPoint
from perfmodel.planning.node_view import NodeView
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.planning.sensitivity import LatencyBudget
from perfmodel.report.error_budget import sensitivity
from perfmodel.sim.statistics import Interval
from perfmodel.sim.utilisation import PoolLoads

DAY = "{process: diurnal, rate_qps: 500, amplitude: 0.8}"


def _asked(arrivals: str, *more: str, scenario: str = "wnd_broadwell") -> Question:
    return prepare(load_scenario(scenario, [f"traffic.arrivals={arrivals}", *more]), stages=True)


def _bursts(mean_burst_s: float, factor: float = 10, fraction: float = 0.1) -> str:
    return (
        f"{{process: mmpp, rate_qps: 400, burst_factor: {factor}, burst_fraction: {fraction}, "
        f"mean_burst_s: {mean_burst_s}}}"
    )


def test_the_peak_of_a_day_decides_and_the_mean_of_a_steady_load() -> None:
    assert busiest(_asked(DAY)) == Busiest(1.8, "at the day's peak")
    assert busiest(_asked("{process: poisson, rate_qps: 500}")) is None
    assert busiest(_asked(DAY[:-1] + ", period_s: 200}")) is None  # no five minutes of it are alike


def test_bursts_decide_where_they_last_and_hold_what_the_sla_counts() -> None:
    burst = busiest(_asked(_bursts(6.0)))
    assert burst is not None
    assert burst.factor == pytest.approx(10 / 1.9)  # 0.9 of the time 1, 0.1 of it 10
    assert busiest(_asked(_bursts(0.01))) is None  # over within the SLA's 25 ms
    # 0.01 / 1.009 of the queries are in bursts: 1 %, where p95 lets 5 % be late.
    assert busiest(_asked(_bursts(6.0, fraction=0.001))) is None


def test_work_binds_a_day_whose_peak_fills_the_node() -> None:
    loaded = load_scenario("wnd_broadwell", [f"traffic.arrivals={DAY}"])
    question = prepare(loaded, stages=True)
    busy = computation._Busy(next(iter(places_of(loaded, question))), PoolLoads(1.0 / 1418.0, 0.0))
    found = computation._binds(busy, 721.0, [], busiest(question))
    assert found.resource == "cores"
    assert "92 % full at the day's peak" in found.why  # 1.8 x 721 / 1418; in the mean 51 %
    assert computation._binds(busy, 721.0, []).resource == "sla"


def test_the_cliff_of_a_day_is_that_of_its_peak_first() -> None:
    budget = LatencyBudget(bands_s={}, sla_band_s=None, sure_s=None, responses={}, to_saturation=0.725)
    [(_, said)] = sensitivity(budget, None, busiest=Busiest(1.8, "at the day's peak"))
    assert said.startswith("none at the day's peak; in the mean 72.5 % longer")  # 1.725 / 1.8 < 1
    [(_, said)] = sensitivity(budget, None, busiest=Busiest(1.5, "in a burst"))
    assert said.startswith("15 % longer service times in a burst")


def test_a_load_curve_knows_of_the_bursts_or_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run at a high rate is over before the first burst, and took 1,400 queries/s to be served."""
    monkeypatch.setattr(load_curve, "MOST_CURVE_QUERIES", 400_000)
    question = _asked(_bursts(3.0), scenario="rm3_skylake")
    curve = load_curve.load_curve(question, 420.0)
    assert [point.rate_qps for point in curve] == pytest.approx(
        [0.1 * question.saturation_qps, 361.5, 420.0], 1e-3
    )
    cycle_s = 3.0 / 0.1
    for point in curve:
        assert point.num_queries >= 30 * cycle_s * point.rate_qps
        # The cores serve 1446 queries/s: in a burst, 5.26 times the mean, those of 275.
        assert (point.percentiles[0.95].value_s > 0.1) == (point.rate_qps > 275)


def test_beyond_its_last_rate_a_curve_that_bursts_end_tells_nothing() -> None:
    def view(*rates_qps: float) -> NodeView:
        points = (
            LoadPoint(rate_qps=each, percentiles={}, cpu_utilisation=0.5, num_queries=1) for each in rates_qps
        )
        return NodeView(curve=tuple(points), cliff_qps=1000.0)

    assert view(100.0, 980.0).far_qps == 1000.0
    assert view(100.0, 400.0).far_qps == 400.0
    assert view().far_qps == 1000.0


def test_at_the_largest_load_of_a_day_it_is_the_worst_minutes_that_are_at_the_limit() -> None:
    """The whole day's p95 never is, and the page said of every day that its run may lie on either side."""

    def notes(low_s: float, high_s: float) -> tuple[str, ...]:
        worst = SimpleNamespace(percentiles={0.95: Interval(0.0251, low_s, high_s)}, of_asked=None)
        run = SimpleNamespace(percentiles={0.95: Interval(0.017, 0.0169, 0.0171)}, of_asked=None, worst=worst)
        answer = SimpleNamespace(
            question=_asked(DAY),
            greatest=SimpleNamespace(rate_qps=721.0),
            at_capacity=SimpleNamespace(run=run, notes=()),
            saturation_qps=1418.0,
            users=None,
        )
        return cast(Any, Capacity.notes).fget(answer)

    assert notes(0.0249, 0.0253) == ()
    assert any("within the interval of the largest load" in each for each in notes(0.02505, 0.0253))
