"""Scenarios that differ in their rate alone have one largest load, and it is searched for once."""

from __future__ import annotations

import pytest

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.diff import computation
from perfmodel.planning.diff.keys import all_but_load
from perfmodel.planning.diff.side import Figure, largest_load
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question

QUICK = [f"simulation.{key}" for key in ("min_queries=50000", "max_queries=50000", "precision=0.5")]


@pytest.mark.by_default("rm3_skylake")
@pytest.mark.parametrize(
    "name",
    [
        "rm3_skylake",
        "rm3_skylake_bursty",
        "rm1_broadwell_diurnal",
        "rm1_broadwell_overloaded_shedding",
        "ranking_two_stages",
    ],
)
def test_the_largest_load_does_not_hang_on_the_offered_one(name: str) -> None:
    quick = load_scenario(name, [] if "bursty" in name else QUICK)
    rate_qps = quick.scenario.traffic.arrivals.rate_qps
    other = load_scenario(quick, [f"traffic.arrivals.rate_qps={0.37 * rate_qps}"])
    assert all_but_load(quick) == all_but_load(other)
    one, found = (largest_load(prepare(each, stages=True)) for each in (quick, other))
    assert one is not None
    assert found is not None
    assert one.value == found.value
    assert one.spread == found.spread


def test_each_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two keys, one of them the rate, there are three scenarios and two largest loads."""
    searched: list[Question] = []

    def largest(question: Question) -> Figure:
        searched.append(question)
        return Figure(value=question.sla.latency_s)

    monkeypatch.setattr(computation, "largest_load", largest)
    a = load_scenario("ncf_skylake", QUICK)
    b = load_scenario(a, ["traffic.arrivals.rate_qps=500", "sla.latency_ms=7"])
    found = computation.diff(a, b)
    assert len(searched) == 2
    loads = next(each for each in found.differences if each.metric == "latency_bounded_qps")
    assert loads.b == 0.007
    by_key = {share.key.key: share for share in found.keys}
    assert {
        key: next(each.value for each in share.from_a if each.metric == "latency_bounded_qps")
        for key, share in by_key.items()
    } == {"traffic.arrivals.rate_qps": 0.0, "sla.latency_ms": loads.value}
