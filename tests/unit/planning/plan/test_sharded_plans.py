"""Services whose tables lie on nodes of their own: a plan counts the main node and its shards as one unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.loading.shipped import find_file
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


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_cheaper_machines_with_few_cores_hold_the_tables_of_the_shipped_fleet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "terabytes_cheap_shards", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["static"]["nodes"]["big"]) == {"skylake + small"}
    by_type = answer["static"]["nodes_by_type"]
    assert by_type["small"] == 20 * by_type["skylake"]
    assert main(["plan", "terabytes_cheap_shards", "--json", "--set", "node_types.skylake.shards_on=[]"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert answer["objective_value"] < alone["objective_value"]


TWO_KINDS = """\
services:
  big: {{scenario: five_terabytes_sharded, demand: {{qps: {qps}}}, tune: false}}
  small: {{scenario: rm3_skylake, demand: {{qps: 1000}}, tune: false}}
node_types:
  fast:
    node:
      cpu: skylake@hpca2020
      shards: {{count: {count}, by: table, network: {{latency_us: 50, gb_per_s: 12.5}}{more}}}
    shards_on: {on}
    available: {fast}
    price_usd_per_h: 3.0
  cheap: {{node: {{cpu: broadwell@hpca2020, cores: 4}}, available: {cheap}, price_usd_per_h: 0.5}}
  card: {{node: {{cpu: broadwell@hpca2020, accelerators: [gtx1080ti]}}, available: 1, price_usd_per_h: 5}}
capacities: {{big: {{{given}card: 0, cheap: 0}}, small: {{fast: 600, cheap: 0, card: 0}}}}
provision: {{objective: price{provision}}}
"""


def two_kinds(folder: Path, **changes: Any) -> str:
    said = {"qps": 300, "count": "auto", "more": "", "on": "[cheap]", "fast": 40, "cheap": 400}
    said |= {"given": "", "provision": "", **changes}
    path = folder / "fleet.yaml"
    path.write_text(TWO_KINDS.format(**said), encoding="utf-8")
    return str(path)


def test_shards_of_another_type_are_counted_lost_and_paid_by_their_type(folder: Path) -> None:
    given = "fast + cheap: 55, "
    answer = planned(two_kinds(folder, given=given, provision=", failures: {nodes: 1}"))
    # 300 / 55 in 6 units; one node of each type lost in units of their own: 2 more. small: 2, and one more.
    assert answer["static"]["nodes"] == {"big": {"fast + cheap": 8 * 21}, "small": {"fast": 3}}
    assert answer["static"]["nodes_by_type"] == {"fast": 8 + 3, "cheap": 8 * 20, "card": 0}
    assert answer["static"]["price_usd_per_h"] == pytest.approx(11 * 3.0 + 160 * 0.5)
    profiles = {name: read_profile(find_file("profile", name)).hardware for name in ("skylake", "broadwell")}
    tdp_w = {name: each.tdp_w.value for name, each in profiles.items()}
    assert answer["static"]["power_w"] == pytest.approx(11 * tdp_w["skylake"] + 160 * tdp_w["broadwell"])
    assert answer["capacity_qps"]["big"]["fast + cheap"]["nodes_by_type"] == {"fast": 1, "cheap": 20}
    assert answer["capacity_qps"]["big"]["fast"]["source"].startswith(
        "refused: big: five-terabytes does not fit"
    )
    assert "without shards" in answer["capacity_qps"]["small"]["fast + cheap"]["source"]
    (unit,) = answer["sharded"]
    assert (unit["node_type"], unit["shards"], unit["num_nodes"]) == ("fast + cheap", 20, 21)
    # No longer enough of either type: the plan says which.
    short = planned(two_kinds(folder, given=given, cheap=100))
    assert short["binding"]["constraint"] == "stock of cheap"


def test_the_plan_chooses_the_type_and_the_number_of_shards(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def capacity_of(question: Question, **_: Any) -> Found:
        node = question.node
        assert isinstance(node, ServingNode)
        shards = 0 if node.shards is None else node.shards.num_shards
        asked.append((node.shard_cpu.name, shards))
        qps = {0: 600.0, 20: 100.0, 30: 160.0, 60: 200.0}[shards]
        nodes = {"num_nodes": node.num_machines, "num_shards": shards, "source": "capacity"}
        return Found(PairCapacity(qps=qps, low_qps=qps, **nodes), "")  # type: ignore[arg-type]

    monkeypatch.setattr(capacities, "capacity_of", capacity_of)
    answer = planned(two_kinds(folder, on="[fast, cheap]"))
    assert sorted(set(asked)) == [
        *[("broadwell", shards) for shards in (20, 30, 60)],
        *[("skylake", shards) for shards in (20, 30)],  # 40 there are
    ]
    # 3 x (3 + 20 x 0.5) = 39; 2 x (3 + 30 x 0.5) = 36; 2 x (3 + 60 x 0.5) = 66; of fast alone 3 x 21 x 3.
    assert answer["static"]["nodes"]["big"] == {"fast + cheap": 2 * 31}
    assert answer["static"]["price_usd_per_h"] == pytest.approx(36.0 + 2 * 3.0)
    units = {each["node_type"]: each for each in answer["sharded"]}
    assert units["fast + cheap"]["shards"] == 30
    assert [each["shards"] for each in units["fast + cheap"]["tried"]] == [20, 30, 60]
    assert all(hour["nodes"]["big"] == {"fast + cheap": 62} for hour in answer["hours"])
    # Enough with one of fast alone's, and none of the cheap ones there.
    alone = planned(two_kinds(folder, on="[fast, cheap]", qps=90, cheap=0))
    assert alone["static"]["nodes"]["big"] == {"fast": 21}


def test_so_many_shards_of_another_type_are_kept_to(folder: Path) -> None:
    given = "fast + cheap: 55, "
    answer = planned(two_kinds(folder, given=given, count=25))
    assert answer["static"]["nodes"]["big"] == {"fast + cheap": 6 * 26}
    said = answer["capacity_qps"]["small"]["fast"]["source"]
    assert said == "refused: small: its tables lie on 25 shards of cheap"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"on": "[nope]"}, r"shards_on.0: expected node types \(fast, cheap, card\), each once, got nope"),
        ({"on": "[cheap, cheap]"}, "shards_on.1: expected node types .*, each once, got cheap"),
        ({"on": "[card]"}, "expected a node type with a profile and no accelerators, got card"),
        ({"more": ", node: {cpu: broadwell}"}, "node: expected none in a fleet, where shards_on names"),
        ({"given": "fast + card: 5, "}, "expected a node type"),
        (
            {"provision": ", power: by-utilisation"},
            "shards_on: expected this type alone with provision.power",
        ),
    ],
)
def test_types_that_hold_no_tables_are_refused_in_a_line(
    folder: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says) as error:
        plan_question(load_fleet(two_kinds(folder, **changes)))
    assert "\n" not in str(error.value)


def test_a_capacity_of_shards_for_what_fits_the_main_node_is_refused(folder: Path) -> None:
    path = Path(two_kinds(folder, given="fast + cheap: 55, "))
    path.write_text(path.read_text().replace("small: {fast: 600", "small: {fast + cheap: 600"))
    with pytest.raises(InputError, match="expected none: small fits the main node without shards"):
        plan_question(load_fleet(str(path)))


def test_shards_on_needs_shards(folder: Path) -> None:
    path = Path(two_kinds(folder))
    path.write_text(
        path.read_text()
        .replace("    shards_on: [cheap]\n", "")
        .replace("cores: 4}, available", "cores: 4}, shards_on: [fast], available")
    )
    with pytest.raises(InputError, match=r"shards_on: expected only with node\.shards"):
        load_fleet(str(path))
