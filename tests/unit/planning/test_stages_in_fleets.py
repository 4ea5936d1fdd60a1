"""Several stages on many nodes: a unit is a machine for each stage, and behaves as the scenario alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.prepare import prepare, prepare_pairs
from perfmodel.sim.engines import simulate
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.traffic import Queries

TWO = "ranking_two_stages"
QUICK = ["simulation.min_queries=20000", "simulation.max_queries=20000", "simulation.precision=0.5"]


def fleet_of(**provision: Any) -> dict[str, Any]:
    """Two types, on which both stages of a service may be."""
    return {
        "services": {"feed": {"scenario": TWO, "demand": {"peak_qps": 3000, "trough": 0.5}}},
        "node_types": {
            name: {"node": {"cpu": f"{name}@hpca2020"}, "available": 40} for name in ("broadwell", "skylake")
        },
        "provision": {"objective": "power", **provision},
    }


def test_a_unit_behind_a_random_router_is_the_scenario_alone() -> None:
    one, many = perfmodel.predict(TWO, overrides=QUICK), perfmodel.fleet(TWO, 5, overrides=QUICK)
    for percentile in (0.5, 0.95, 0.99):
        alone_s = one.run.percentiles[percentile].value_s
        assert many.percentiles[percentile].value_s == pytest.approx(alone_s, rel=1e-9)
    assert many.windows[0].cpu_utilisation == pytest.approx(one.run.utilisation.cpu, rel=1e-12)
    assert many.tdp_w == 5 * 480.0
    (member,) = many.to_dict()["nodes"]
    assert member["stages"] == ["dlrm-rmc1", "dlrm-rmc3"]
    assert member["num_nodes"] == 5
    assert many.to_dict()["power_at_load_w"] is None


def test_taking_turns_waits_no_longer_than_drawing() -> None:
    drawn, in_turn = (
        perfmodel.fleet(TWO, 4, routing=routing, overrides=QUICK) for routing in ("random", "round-robin")
    )
    assert in_turn.percentiles[0.95].value_s < drawn.percentiles[0.95].value_s


def test_units_simulated_together_are_those_simulated_one_by_one() -> None:
    question = prepare(load_scenario(TWO, QUICK), stages=True)
    kind = NodeKind(service=question.times.table, policy=question.policy)
    queries = question.traffic.at_rate(800.0).draw(2000, seed=3)
    record = simulate_fleet(queries, Fleet((kind,), (2,)), Routing.ROUND_ROBIN, seed=3)
    for node in (0, 1):
        own = record.node == node
        alone = simulate(Queries(queries.arrival_s[own], queries.num_items[own]), kind.service, kind.policy)
        assert np.array_equal(record.finish_s[own], alone.finish_s)
    assert record.of_kind(0).num_executors == 2 * (28 + 28)
    assert record.of_kind(0).cpu_utilisation == pytest.approx(
        record.cpu_busy_s.sum() / record.of_kind(0).makespan_s / 112, rel=1e-9
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"routing": "join-shortest-queue"}, "routing: expected random or round-robin for several stages"),
        ({"routing": "power-of-two"}, "routing: expected random or round-robin for several stages"),
        (
            {"also": [("rm3_broadwell", 1)]},
            "expected nodes that serve one model, got dlrm-rmc1 then dlrm-rmc3, ",
        ),
    ],
)
def test_what_is_not_simulated_is_refused(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        perfmodel.fleet(TWO, 2, overrides=QUICK, **arguments)


def test_all_stages_of_a_pair_are_on_its_node_type() -> None:
    loaded = load_fleet(fleet_of())
    (pair,) = prepare_pairs([loaded.on_node_type("feed", "skylake")])
    question = pair.question()
    assert [stage.node.where for stage in question.stages] == ["40 cores of skylake (hpca2020)"] * 2
    assert question.num_machines == 2
    assert len(pair.stages) == 2
    assert set(pair.paths) == {path for stage in pair.stages for path in stage.paths}


@pytest.mark.thorough
def test_the_capacity_of_a_unit_is_that_of_the_scenario() -> None:
    asked = fleet_of()
    del asked["node_types"]["skylake"]
    pair = plan_question(load_fleet(asked)).capacities["feed", "broadwell"]
    alone = perfmodel.capacity(TWO)
    assert alone.plan_for_qps is not None
    assert (pair.num_nodes, pair.num_shards, pair.source, pair.batch_size) == (2, 0, "capacity", None)
    assert pair.qps == pytest.approx(alone.latency_bounded_qps, rel=0.005)
    assert pair.low_qps == pytest.approx(alone.plan_for_qps, rel=0.005)


@pytest.mark.slow
def test_a_plan_buys_units_of_a_node_for_each_stage_and_they_hold() -> None:
    answer = perfmodel.plan(fleet_of())
    assert answer.static is not None
    provisioned = answer.static.provisioned
    for name, nodes in provisioned.nodes["feed"].items():
        assert nodes == 2 * provisioned.units["feed"][name]
    assert answer.checks
    assert all(check.verdict == "meets_sla" for check in answer.checks)
    assert any("2 stages, which serve in units of 2 broadwell, 2 skylake" in note for note in answer.notes)


def test_a_given_capacity_is_of_a_unit() -> None:
    given = {**fleet_of(), "capacities": {"feed": {"broadwell": 500, "skylake": 800}}}
    question = plan_question(load_fleet(given))
    assert [question.unit_nodes("feed", name) for name in ("broadwell", "skylake")] == [2, 2]
    answer = perfmodel.plan(given)
    assert answer.static is not None
    assert answer.static.provisioned.num_nodes % 2 == 0


def test_nodes_that_services_share_have_no_stages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scenario: expected one stage with provision\.sharing"):
        perfmodel.plan(fleet_of(sharing=True))
    table = tmp_path / "table.csv"
    table.write_text("items,cpu_ms\n1,1\n128,9\n", encoding="utf-8")
    other = fleet_of()
    other["node_types"]["table"] = {"node": {"service_times": str(table), "executors": 4}, "available": 3}
    with pytest.raises(InputError, match="expected a model and hardware profiles, which feed has"):
        perfmodel.plan(other)


@pytest.mark.thorough
def test_a_fleet_says_how_full_each_stage_is() -> None:
    one = perfmodel.predict(TWO, overrides=QUICK).to_dict()
    many = perfmodel.fleet(TWO, 3, rate_qps=3 * one["offered_qps"], overrides=QUICK).to_dict()
    (said,) = (note for note in many["notes"] if "its stages are busy" in note)
    for stage in one["pipeline"]["stages"]:
        assert f"{stage['name']} {100 * stage['offered_utilisation']['cpu']:.3g} %" in said
    alone = perfmodel.fleet("rm3_broadwell", 2, overrides=QUICK).to_dict()
    assert not any("stages" in note for note in alone["notes"])
