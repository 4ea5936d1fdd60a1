"""A plan is simulated on its own nodes; where an SLA does not hold, nodes are added, not one too many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan import simulation
from perfmodel.planning.plan.answer import PlanAnswer
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.simulation import Outcome, Simulator, simulated

SCENARIO = """\
node: {service_times: table.csv, executors: 4}
traffic:
  arrivals: {process: poisson, rate_qps: 10}
  query_sizes: {distribution: fixed, num_items: 100}
policy: {name: split, batch_size: 100}
sla: {percentile: 0.95, latency_ms: 20}
simulation: {min_queries: 50000, max_queries: 50000}
"""
FLEET = """\
services: {{a: {{scenario: s.yaml, demand: {{peak_qps: 6000, trough: 0.25}}, tune: false}}}}
node_types:
  one: {{node: {{service_times: one.csv, executors: 4}}, available: {stock}, price_usd_per_h: 1}}
  two: {{node: {{service_times: two.csv, executors: 8}}, available: 2, price_usd_per_h: 1}}
provision: {{objective: price, headroom: 0.1{more}}}
{capacities}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "s.yaml").write_text(SCENARIO, encoding="utf-8")
    for name in ("one", "two", "table"):
        (tmp_path / f"{name}.csv").write_text("items,service_ms\n1,1\n100,5\n", encoding="utf-8")
    return tmp_path


def planned(folder: Path, *, stock: int = 20, more: str = "", capacities: str = "") -> PlanAnswer:
    text = FLEET.format(stock=stock, more=more, capacities=capacities)
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    return plan(plan_question(load_fleet(str(folder / "fleet.yaml"))))


def test_a_plan_with_headroom_holds_and_both_kinds_of_nodes_serve(folder: Path) -> None:
    answer = simulated(planned(folder))
    assert answer.static is not None
    assert answer.simulated is not None
    assert answer.static.provisioned.by_type["one"] > 0
    assert answer.static.provisioned.by_type["two"] == 2
    busiest, quietest = answer.checks
    assert (busiest.hour, quietest.hour) == (20, 8)
    assert (busiest.verdict, quietest.verdict) == ("meets_sla", "meets_sla")
    assert busiest.latency_s is not None
    assert 0.005 <= busiest.latency_s <= 0.020
    assert busiest.num_nodes_needed == busiest.num_nodes == answer.static.provisioned.num_nodes
    assert answer.simulated.raised_by == {"a": 0}
    assert answer.simulated.holds


def test_nodes_are_added_until_it_holds_and_not_one_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = planned(folder, stock=40)
    before = answer.static.provisioned.num_nodes if answer.static else 0

    def run(_: Simulator, _service: str, counts: Mapping[str, int], rate_qps: float) -> Outcome:
        enough = sum(counts.values()) >= before + 3 or rate_qps < 5000
        return Outcome("meets_sla" if enough else "misses_sla", 0.01)

    monkeypatch.setattr(Simulator, "run", run)
    found = simulated(answer)
    assert found.simulated is not None
    assert found.simulated.raised_by == {"a": 3}
    assert found.simulated.provisioned.num_nodes == before + 3
    assert (found.checks[0].num_nodes, found.checks[0].num_nodes_needed) == (before, before + 3)
    assert found.simulated.holds
    scarce = simulated(planned(folder, stock=before - 2))
    assert scarce.simulated is not None
    assert scarce.simulated.lacks == (f"one: {before + 1} nodes of {before - 2} available",)
    assert not scarce.simulated.holds


@pytest.mark.thorough
def test_an_sla_that_no_nodes_mend_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = planned(folder)
    monkeypatch.setattr(Simulator, "run", lambda *_: Outcome("misses_sla", 0.03))
    found = simulated(answer)
    assert found.simulated is not None
    assert not found.simulated.holds
    assert found.checks[0].num_nodes_needed is None


@pytest.mark.thorough
def test_what_cannot_be_simulated_says_why(folder: Path) -> None:
    given = simulated(planned(folder, capacities="capacities: {a: {one: 500, two: 900}}"))
    assert {check.verdict for check in given.checks} == {"not simulated: capacity given"}
    assert given.simulated is None
    shared = simulated(planned(folder, more=", sharing: true"))
    assert {check.verdict for check in shared.checks} == {"not simulated: nodes are shared"}
    text = SCENARIO.replace("{process: poisson, rate_qps: 10}", "{process: constant, rate_qps: 10}")
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    regular = simulated(planned(folder))
    assert regular.checks[0].verdict == "not simulated: a fleet takes poisson arrivals; these are constant"


@pytest.mark.thorough
def test_what_was_simulated_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = simulated(planned(folder))
    monkeypatch.setattr(simulation, "predict_fleet", lambda *_, **__: pytest.fail("simulated again"))
    assert simulated(planned(folder)).checks == first.checks
