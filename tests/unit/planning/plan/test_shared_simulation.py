"""Nodes that several services share are simulated with all of them, and raised where an SLA does not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan import simulation
from perfmodel.planning.plan.answer import PlanAnswer
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.shared_simulation import SharedSimulator
from perfmodel.planning.plan.simulation import simulated

SCENARIO = """\
node: {{service_times: one.csv, executors: 4}}
traffic:
  arrivals: {{process: poisson, rate_qps: 10}}
  query_sizes: {{distribution: fixed, num_items: {items}}}
policy: {{name: split, batch_size: 100}}
sla: {{percentile: 0.95, latency_ms: {limit_ms}}}
simulation: {{min_queries: 12000, max_queries: 50000}}
"""
FLEET = """\
services:
  short: {{scenario: short.yaml, demand: {{peak_qps: {short}, trough: 0.2}}, tune: false}}
  long: {{scenario: long.yaml, demand: {{qps: {long}}}, tune: false}}
node_types:
  one: {{node: {{service_times: one.csv, executors: 4}}, available: 40, price_usd_per_h: 1}}
provision: {{objective: price, headroom: {headroom}, sharing: {sharing}}}
{more}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "short.yaml").write_text(SCENARIO.format(items=1, limit_ms=4), encoding="utf-8")
    (tmp_path / "long.yaml").write_text(SCENARIO.format(items=100, limit_ms=60), encoding="utf-8")
    (tmp_path / "one.csv").write_text("items,service_ms\n1,1\n100,15\n", encoding="utf-8")
    return tmp_path


def planned(
    folder: Path,
    *,
    short: float = 9000,
    long: float = 500,
    headroom: float = 0.1,
    sharing: str = "true",
    more: str = "",
) -> PlanAnswer:
    text = FLEET.format(short=short, long=long, headroom=headroom, sharing=sharing, more=more)
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    return plan(plan_question(load_fleet(str(folder / "fleet.yaml"))))


@pytest.mark.thorough
def test_a_short_service_beside_a_long_one_needs_more_than_its_share_of_the_time(folder: Path) -> None:
    """Behind requests of 15 ms, 4 ms do not hold on nodes that are as full as the capacities allow."""
    answer = simulated(planned(folder))
    assert answer.static is not None
    assert answer.simulated is not None
    by_name = {(check.service, check.hour): check for check in answer.checks}
    short = by_name["short", 20]
    assert short.verdict != "meets_sla"
    assert not short.verdict.startswith("not simulated")
    assert short.num_nodes_needed is not None
    assert short.num_nodes_needed > short.num_nodes == answer.static.provisioned.num_nodes
    assert answer.simulated.raised_by["short"] == short.num_nodes_needed - short.num_nodes
    assert answer.simulated.holds
    assert by_name["short", 8].num_nodes < short.num_nodes, "the quietest hour is simulated on its own nodes"

    enough = SharedSimulator(answer.question, extrapolate=False)
    rates_qps = {name: float(qps) for name, qps in zip(("short", "long"), (9000, 500), strict=True)}
    (placed,) = {(each.node_type, each.services) for each in answer.static.provisioned.placements}
    fewer = enough.outcomes({placed: short.num_nodes_needed - 1}, rates_qps)
    assert fewer["short"].verdict != "meets_sla", "one less does not do"
    apart = simulated(planned(folder, sharing="false"))
    assert {check.verdict for check in apart.checks} == {"meets_sla"}, "each by itself holds"


@pytest.mark.thorough
def test_services_of_one_kind_pool_and_hold(folder: Path) -> None:
    (folder / "long.yaml").write_text(SCENARIO.format(items=1, limit_ms=4), encoding="utf-8")
    answer = simulated(planned(folder, long=3000))
    assert {check.verdict for check in answer.checks} == {"meets_sla"}
    assert answer.simulated is not None
    assert set(answer.simulated.raised_by.values()) == {0}
    assert not any("counted as an error" in note for note in answer.notes), "they slow each other down alike"


@pytest.mark.thorough
def test_what_was_simulated_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = simulated(planned(folder))
    monkeypatch.setattr("perfmodel.planning.plan.shared_simulation.simulate_shared", None)
    again = simulated(planned(folder))
    assert again.checks == first.checks


@pytest.mark.thorough
def test_a_neighbour_with_a_given_capacity_is_named(folder: Path) -> None:
    answer = simulated(planned(folder, more="capacities: {long: {one: 200}}"))
    (verdict,) = {check.verdict for check in answer.checks}
    assert verdict == "not simulated: capacity given: long on one (of short, long, which share nodes)"
    assert answer.simulated is None


@pytest.mark.thorough
def test_neighbours_that_contend_otherwise_widen_the_error(folder: Path) -> None:
    rows = [f"{items},{busy},{ms}" for items, busy, ms in ((1, 1, 1), (1, 4, 1), (100, 1, 15), (100, 4, 30))]
    (folder / "one.csv").write_text("items,busy,service_ms\n" + "\n".join(rows) + "\n", encoding="utf-8")
    answer = simulation.simulated(planned(folder))
    (note,) = [note for note in answer.notes if "counted as an error" in note]
    # The long one takes twice as long beside others, the short one no longer: ln 2, by what is kept busy.
    percent = float(note.split("up to ")[1].split(" %")[0])
    assert 30.0 < percent < 69.4


POLICIES = {
    "size-priority": "{name: size-priority, batch_size: 100, ageing_items_per_s: 2000}",
    "separate-queues": "{name: separate-queues, large_from_items: 50, small_cores: 1, small_batch_size: 50, "
    "large_batch_size: 100}",
    "dynamic-batching": "{name: dynamic-batching, pool: cpu, max_batch_items: 100, timeout_ms: 5}",
    "shedding": "{name: split, batch_size: 100, shedding: {queue_limit_requests: 8}}",
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_simulated_beside_others(name: str, folder: Path) -> None:
    long = SCENARIO.format(items=100, limit_ms=60)
    text = long.replace("{name: split, batch_size: 100}", POLICIES[name])
    assert text != long
    (folder / "long.yaml").write_text(text, encoding="utf-8")
    answer = simulated(planned(folder, short=900, long=50, headroom=0.5))
    assert {check.verdict for check in answer.checks} <= {"meets_sla", "misses_sla", "within_error"}
    assert all(check.latency_s is not None for check in answer.checks)
    assert answer.simulated is not None


@pytest.mark.thorough
def test_a_trace_beside_other_arrivals_is_replayed_on_all_nodes(folder: Path) -> None:
    """Ten thousand arrivals of a Poisson process, recorded, need the nodes that the process itself needs."""
    drawn = np.cumsum(np.random.default_rng(1).exponential(0.1, 40_000))
    rows = "".join(f"{at:.6f},100\n" for at in drawn)
    (folder / "trace.csv").write_text(f"arrival_s,num_items\n{rows}", encoding="utf-8")
    of_law = simulated(planned(folder))
    long = SCENARIO.format(items=100, limit_ms=60)
    replayed = long.replace("{process: poisson, rate_qps: 10}", "{process: trace, file: trace.csv}")
    (folder / "long.yaml").write_text(replayed, encoding="utf-8")
    answer = simulated(planned(folder))
    for found, expected in zip(answer.checks, of_law.checks, strict=True):
        assert (found.service, found.hour) == (expected.service, expected.hour)
        assert found.latency_s == pytest.approx(expected.latency_s, rel=0.1)
        assert found.num_nodes_needed == pytest.approx(expected.num_nodes_needed, abs=2)


@pytest.mark.thorough
def test_pauses_of_a_shared_node_strike_all_of_its_services(folder: Path) -> None:
    steady = simulated(planned(folder, short=900, long=50, headroom=0.5))
    paused = "executors: 4, pauses: [{rate_per_s: 20, length_ms: 3, scope: node}]}"
    text = FLEET.format(short=900, long=50, headroom=0.5, sharing="true", more="")
    (folder / "fleet.yaml").write_text(text.replace("executors: 4}", paused), encoding="utf-8")
    answer = simulated(plan(plan_question(load_fleet(str(folder / "fleet.yaml")))))
    assert not any(check.verdict.startswith("not simulated") for check in answer.checks)
    for found, before in zip(answer.checks, steady.checks, strict=True):
        assert found.latency_s is not None
        assert before.latency_s is not None
        assert found.latency_s > before.latency_s
