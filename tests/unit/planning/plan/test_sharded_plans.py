"""Services whose tables lie on nodes of their own: a plan counts the main node and its shards as one unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.node import ServingNode
from perfmodel.planning.plan import capacities
from perfmodel.planning.plan.capacities import Found
from perfmodel.planning.plan.check import Placement, violations
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.question import PairCapacity
from perfmodel.planning.question import Question
from perfmodel.report.documents.plan import plan_document

FLEET = """\
services:
  big: {{scenario: {big}, demand: {{qps: {qps}}}, tune: false}}
  small: {{scenario: rm3_skylake, demand: {{qps: 1000}}, tune: false}}
node_types:
  skylake:
    node:
      cpu: skylake@hpca2020
      shards: {{count: {count}, by: {by}, replicas: {replicas}, network: {{latency_us: 50, gb_per_s: 12.5}}}}
    available: {available}
    price_usd_per_h: 1.5
{capacities}
provision: {{objective: nodes{provision}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def fleet(folder: Path, **changes: Any) -> str:
    said = {
        **{"big": "five_terabytes_sharded", "qps": 300, "count": "auto", "by": "table", "replicas": 1},
        **{"available": 400, "capacities": "", "provision": "", **changes},
    }
    path = folder / "fleet.yaml"
    path.write_text(FLEET.format(**said), encoding="utf-8")
    return str(path)


def serving(monkeypatch: pytest.MonkeyPatch, rate_qps: dict[int, float | None]) -> list[int]:
    """Units that serve these rates by their number of shards, in place of a search; which were asked."""
    asked: list[int] = []

    def capacity_of(question: Question, **_: Any) -> Found:
        node = question.node
        assert isinstance(node, ServingNode)
        shards = 0 if node.shards is None else node.shards.num_shards
        asked.append(shards)
        qps = rate_qps[shards]
        if qps is None:
            return Found(None, "no load meets the SLA")
        nodes = {"num_nodes": node.num_machines, "num_shards": shards, "source": "capacity"}
        return Found(PairCapacity(qps=qps, low_qps=qps, **nodes), "")  # type: ignore[arg-type]

    monkeypatch.setattr(capacities, "capacity_of", capacity_of)
    return asked


def planned(path: str) -> dict[str, Any]:
    return dict(plan_document(plan(plan_question(load_fleet(path)))))


def test_a_given_capacity_is_of_a_unit_whose_nodes_are_all_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = "capacities: {big: {skylake: 55}, small: {skylake: 600}}"
    path = fleet(folder, capacities=rates, provision=", failures: {nodes: 1}")
    assert main(["plan", path, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    # big: 300 / 55 in 6 units, one more that may be lost, each of 20 shards and a main node; small: 2 and 1.
    assert answer["static"]["nodes"] == {"big": {"skylake": 7 * 21}, "small": {"skylake": 3}}
    assert answer["objective_value"] == answer["static"]["num_nodes"] == 150
    assert answer["static"]["power_w"] == 150 * 250
    assert answer["static"]["price_usd_per_h"] == pytest.approx(150 * 1.5)
    assert answer["capacity_qps"]["big"]["skylake"]["num_nodes"] == 21
    assert answer["capacity_qps"]["small"]["skylake"]["num_nodes"] == 1, "it fits: no shards"
    (unit,) = answer["sharded"]
    assert (unit["service"], unit["shards"], unit["num_nodes"]) == ("big", 20, 21)
    lost = {each["service"]: each for each in answer["after_failure"]}
    assert lost["big"]["lost_nodes"] == {"skylake": 21}
    assert lost["big"]["capacity_before_qps"] - lost["big"]["capacity_left_qps"] == pytest.approx(55)
    assert (lost["big"]["num_nodes"], lost["small"]["lost_nodes"]) == (147, {"skylake": 1})
    safety = next(each for each in answer["safeties"] if each["safety"] == "failures.nodes")
    assert safety["num_nodes"] == 21 + 1
    assert any("lost with any of them" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("provision", "units"),
    [
        ("", 6),
        (", headroom: 0.1", 7),  # 300 / (55 x 0.9) is 6.06
        (", failures: {zones: 3}", 9),  # 9 - 3 = 6 units are left
        (", maintenance: 0.2", 8),  # of 8 units two are drained
    ],
)
def test_units_are_lost_and_drained_whole(folder: Path, provision: str, units: int) -> None:
    rates = "capacities: {big: {skylake: 55}, small: {skylake: 1e6}}"
    answer = planned(fleet(folder, capacities=rates, provision=provision))
    assert answer["static"]["nodes"]["big"] == {"skylake": units * 21}


def test_copies_of_shards_are_nodes_of_the_unit(folder: Path) -> None:
    rates = "capacities: {big: {skylake: 55}, small: {skylake: 600}}"
    answer = planned(fleet(folder, capacities=rates, count=19, by="row", replicas=2))
    assert answer["capacity_qps"]["big"]["skylake"]["num_nodes"] == 1 + 2 * 19
    assert answer["static"]["nodes"]["big"] == {"skylake": 6 * 39}
    # A number of shards is kept to, in a model that would fit too.
    assert answer["capacity_qps"]["small"]["skylake"]["num_nodes"] == 39


def test_the_fewest_shards_are_weighed_against_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serving(monkeypatch, {0: 600.0, 20: 100.0, 30: 180.0, 60: 200.0})
    answer = planned(fleet(folder))
    assert sorted(asked) == [0, 20, 30, 60]
    # 300: 3 x 21 = 63 nodes; 2 x 31 = 62 are fewer, and serve more each; 2 x 61 = 122.
    assert answer["static"]["nodes"]["big"] == {"skylake": 62}
    (unit,) = answer["sharded"]
    assert (unit["shards"], unit["by"], unit["num_nodes"]) == (30, "table", 31)
    assert unit["fullest_gib"] == pytest.approx(4 * 200e6 * 256 / 2**30)  # 100 tables over 30 nodes
    assert 0.0 < unit["network_share"] < 1.0
    assert [(each["shards"], each["low_qps"]) for each in unit["tried"]] == [(20, 100), (30, 180), (60, 200)]
    # Where one unit of the fewest is enough, it is the least, though a node of the others serves more.
    one = planned(fleet(folder, qps=90))
    assert one["static"]["nodes"]["big"] == {"skylake": 21}
    assert all(hour["nodes"]["big"] == {"skylake": 21} for hour in one["hours"])


def test_more_shards_where_the_fewest_miss_the_sla(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serving(monkeypatch, {0: 600.0, 20: None, 30: None, 60: 200.0})
    answer = planned(fleet(folder))
    assert answer["static"]["nodes"]["big"] == {"skylake": 2 * 61}
    assert answer["sharded"][0]["tried"][0]["why_not"] == "no load meets the SLA"
    # Units that the stock does not hold are not tried, and the refusal names those that were.
    short = planned(fleet(folder, available=50))
    assert short["verdict"] == "infeasible"
    refused = short["capacity_qps"]["big"]["skylake"]["source"]
    assert refused == "refused: big: no load meets the SLA, nor with 30 shards"


def test_too_few_nodes_for_a_unit_say_how_many_more(folder: Path) -> None:
    rates = "capacities: {big: {skylake: 55}, small: {skylake: 600}}"
    answer = planned(fleet(folder, capacities=rates, available=20))
    assert answer["binding"]["constraint"] == "stock of skylake"
    more = next(each for each in answer["binding"]["frees"] if each["change"] == "more nodes of skylake")
    assert more["amount"] == 6 * 21 + 2 - 20


def test_a_plan_of_part_units_is_found_out(folder: Path) -> None:
    rates = "capacities: {big: {skylake: 55}, small: {skylake: 600}}"
    question = plan_question(load_fleet(fleet(folder, capacities=rates)))
    whole = [Placement("skylake", ("big",), 126, unit_nodes=21), Placement("skylake", ("small",), 2)]
    demand = {"big": 300.0, "small": 1000.0}
    assert violations(question, demand, whole) == []
    for wrong in (whole[0]._replace(nodes=127), whole[0]._replace(unit_nodes=1)):
        assert violations(question, demand, [wrong, whole[1]])
    assert violations(question, demand, [whole[0]._replace(nodes=105), whole[1]]) == [
        "ordinary day: big: 275 of 300 queries/s are served"
    ]


def test_shared_nodes_leave_units_to_one_service(folder: Path) -> None:
    rates = "capacities: {big: {skylake: 55}, small: {skylake: 600}}"
    answer = planned(fleet(folder, capacities=rates, provision=", sharing: true"))
    assert answer["static"]["nodes"] == {"big": {"skylake": 126}, "small": {"skylake": 2}}
    assert any("serves one service" in note for note in answer["notes"])


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_shipped_fleet_of_terabytes_is_searched_simulated_and_served_as_predicted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "terabytes", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (unit,) = answer["sharded"]
    assert unit["shards"] == 20
    found = answer["capacity_qps"]["big"]["skylake"]
    assert main(["capacity", "five_terabytes_sharded", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert found["low_qps"] == pytest.approx(alone["plan_for_qps"], rel=0.05)
    assert {each["verdict"] for each in answer["checks"] if each["service"] == "big"} == {"meets_sla"}
