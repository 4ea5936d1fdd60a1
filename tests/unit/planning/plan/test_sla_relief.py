"""The SLA with which an infeasible plan is feasible: asked with it the plan is, and just below it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan.answer import PlanAnswer, Relief
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question

SCENARIO = """\
node: {{service_times: table.csv, executors: 4}}
traffic:
  arrivals: {{process: poisson, rate_qps: 10}}
  query_sizes: {{distribution: fixed, num_items: 100}}
policy: {{name: split, batch_size: 100}}
sla: {{percentile: 0.95, latency_ms: {latency_ms}}}
simulation: {{min_queries: 20000, max_queries: 20000}}
"""
FLEET = """\
services: {{a: {{scenario: s.yaml, demand: {{qps: {qps}}}, tune: false}}}}
node_types:
  one: {{node: {{service_times: table.csv, executors: 4}}, available: 10, price_usd_per_h: 1}}
provision: {{objective: price}}
{capacities}
"""
SATURATED_QPS = 4 / 0.005


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("items,service_ms\n1,1\n100,5\n", encoding="utf-8")


def planned(*, latency_ms: float, load: float, capacities: str = "") -> PlanAnswer:
    Path("s.yaml").write_text(SCENARIO.format(latency_ms=latency_ms), encoding="utf-8")
    text = FLEET.format(qps=load * 10 * SATURATED_QPS, capacities=capacities)
    Path("fleet.yaml").write_text(text, encoding="utf-8")
    return plan(plan_question(load_fleet("fleet.yaml")))


def of_sla(answer: PlanAnswer) -> list[Relief]:
    assert answer.binding is not None
    return [each for each in answer.binding.frees if each.change.startswith("SLA of")]


@pytest.mark.thorough
def test_asked_with_the_sla_that_frees_it_a_plan_is_feasible_and_just_below_it_is_not() -> None:
    (relief,) = of_sla(planned(latency_ms=6.0, load=0.85))
    assert (relief.change, relief.unit) == ("SLA of a", "ms")
    assert relief.amount is not None
    assert 6.0 < relief.amount < 96.0
    assert planned(latency_ms=relief.amount, load=0.85).static is not None
    assert planned(latency_ms=relief.amount / 1.06, load=0.85).static is None


@pytest.mark.thorough
def test_more_than_the_nodes_can_ever_serve_no_sla_frees() -> None:
    (relief,) = of_sla(planned(latency_ms=6.0, load=1.2))
    assert relief.amount is None
    assert relief.note == "not even 96 ms is enough"


@pytest.mark.slow
def test_an_sla_that_no_load_meets_is_freed_by_one_that_some_do() -> None:
    answer = planned(latency_ms=4.0, load=0.3)
    assert answer.binding is not None
    assert answer.binding.constraint == "capacity: no node type serves a"
    (relief,) = of_sla(answer)
    assert relief.amount is not None
    assert 5.0 <= relief.amount < 8.0


def test_given_capacities_do_not_follow_an_sla_and_that_is_said() -> None:
    answer = planned(latency_ms=6.0, load=0.85, capacities="capacities: {a: {one: 100}}")
    assert not of_sla(answer)
    assert any("of a: capacities that are given do not follow it" in note for note in answer.notes)
