"""`perfplan plan`: keys, exit codes, answers that can be checked by hand, and the place of each mistake."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.shipped import shipped_names

PLAN_KEYS = {
    *("verdict", "objective", "objective_value", "lower_bound", "gap", "optimal", "static", "simulated"),
    *("hours", "baselines", "capacity_qps", "checks", "not_chosen", "binding"),
}
STATIC_KEYS = {"nodes", "num_nodes", "bought", "power_w", "price_usd_per_h", "usd_per_million_queries"}
HOUR_KEYS = {"hour", "demand_qps", "nodes", "num_nodes", "power_w", "price_usd_per_h"}

FLEET = """\
services:
  feed:
    scenario: rm1_broadwell
    demand: {qps: 9000}
  ads: {scenario: rm3_broadwell, demand: {peak_qps: 1000, shape: diurnal, trough: 0.4, growth: 2.0}}
node_types:
  broadwell: {node: {cpu: broadwell@hpca2020}, owned: 4, available: 30, price_usd_per_h: 1.0}
  skylake:
    node: {cpu: skylake@hpca2020}
    available: 20
    price_usd_per_h: 1.5
capacities:
  feed: {broadwell: 1900, skylake: 2000}
  ads: {broadwell: 500, skylake: 900}
provision: {objective: price}
"""


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["plan", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET, encoding="utf-8")
    return str(path)


def test_a_plan_has_the_promised_keys_and_what_can_be_worked_out_by_hand(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = ask(capsys, fleet)
    assert code == 0
    assert answer.keys() >= PLAN_KEYS
    assert answer["static"].keys() >= STATIC_KEYS
    assert all(hour.keys() >= HOUR_KEYS for hour in answer["hours"])
    # feed: ceil(9000 / 1900) = 5 nodes of 1 USD; ads: 2000 by 2 x 900 and 1 x 500, 4 USD, as 4 x 500 are.
    assert answer["objective_value"] == pytest.approx(9.0)
    assert (answer["optimal"], answer["gap"], answer["lower_bound"]) == (True, 0.0, answer["objective_value"])
    assert answer["static"]["bought"]["broadwell"] == answer["static"]["nodes_by_type"]["broadwell"] - 4
    mean_qps = answer["mean_demand_qps"]
    assert mean_qps == pytest.approx(9000 + 2000 * (0.4 + 0.6 / 2))
    assert answer["static"]["usd_per_million_queries"] == pytest.approx(9.0 / (mean_qps * 3600) * 1e6)
    assert len(answer["hours"]) == 24
    assert answer["hours"][20]["demand_qps"] == {"feed": 9000.0, "ads": pytest.approx(2000.0)}
    assert answer["hours"][8]["demand_qps"]["ads"] == pytest.approx(800.0)
    assert answer["capacity_qps"]["feed"]["broadwell"] == {
        **{
            "qps": 1900.0,
            "low_qps": 1900.0,
            "batch_size": None,
            "offload_threshold_items": None,
            "timeout_ms": None,
        },
        **{"threads": 1, "num_nodes": 1, "nodes_by_type": {"broadwell": 1}},
        "source": "given",
    }


@pytest.mark.thorough
def test_a_forecast_with_an_error_is_provided_for_with_the_confidence(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, answer = ask(
        capsys, fleet, "--set", "services.feed.demand.error=0.2", "--set", "provision.confidence=0.9"
    )
    hour = answer["hours"][0]
    assert hour["demand_qps"]["feed"] == 9000.0
    assert hour["planned_qps"]["feed"] == pytest.approx(9000.0 * (1 + 0.2 * 1.2815515655))
    assert [each["safety"] for each in answer["safeties"]] == ["forecast error"]


def test_a_demand_beyond_any_fleet_is_not_blamed_on_failures(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond = ["--set", "provision.failures={nodes: 1}", "--set", "services.feed.demand.qps=1e11"]
    code, answer = ask(capsys, fleet, *beyond)
    assert (code, answer["verdict"]) == (3, "infeasible")
    assert answer["binding"]["constraint"].startswith("demand: 1,000,000 nodes of each type")


@pytest.mark.thorough
def test_infeasible_is_an_answer_that_says_what_would_free_it(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--set", "node_types.broadwell.available=4", "--set", "node_types.skylake.available=2"]
    code, answer = ask(capsys, fleet, *few)
    assert (code, answer["verdict"], answer["objective_value"], answer["static"]) == (
        3,
        "infeasible",
        None,
        None,
    )
    assert answer["binding"]["constraint"].startswith("stock")
    frees = {each["change"]: each["amount"] for each in answer["binding"]["frees"]}
    more = int(frees["more nodes of broadwell"])
    enough, short = 4 + more, 4 + more - 1
    again = ["--set", "node_types.skylake.available=2"]
    assert main(["plan", fleet, *again, "--set", f"node_types.broadwell.available={enough}"]) == 0
    assert main(["plan", fleet, *again, "--set", f"node_types.broadwell.available={short}"]) == 3
    less = frees["less traffic of every service"] / (9000 + 2000)
    for factor, expected in ((1 - less - 1e-3, 0), (1 - less + 1e-3, 3)):
        scaled = [
            "--set",
            f"services.feed.demand.growth={factor}",
            "--set",
            f"services.ads.demand.growth={2 * factor}",
        ]
        assert main(["plan", fleet, *few, *scaled]) == expected
    capsys.readouterr()


@pytest.mark.thorough
def test_a_type_is_chosen_from_the_price_on_that_is_said(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dear = ["--set", "node_types.skylake.price_usd_per_h=3"]
    _, answer = ask(capsys, fleet, *dear)
    (left_out,) = answer["not_chosen"]
    price = left_out["would_be_at_price_usd_per_h"]
    assert left_out["node_type"] == "skylake"
    assert 0 < price < 3
    for factor, used in ((0.999, True), (1.001, False)):
        _, answer = ask(capsys, fleet, "--set", f"node_types.skylake.price_usd_per_h={factor * price}")
        assert (answer["static"]["nodes_by_type"]["skylake"] > 0) == used


@pytest.mark.thorough
def test_baselines_hold_what_the_plan_holds_and_are_no_better(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, answer = ask(
        capsys, fleet, "--set", "provision.objective=power", "--set", "provision.failures={nodes: 1}"
    )
    for name in ("greedy", "oblivious"):
        baseline = answer["baselines"][name]
        assert baseline["feasible"]
        assert baseline["power_w"] >= answer["static"]["power_w"]
        rates = {"feed": {"broadwell": 1900, "skylake": 2000}, "ads": {"broadwell": 500, "skylake": 900}}
        for service, demand in (("feed", 9000), ("ads", 2000)):
            counts = baseline["nodes"][service]
            assert sum(max(0, n - 1) * rates[service][kind] for kind, n in counts.items()) >= demand
    perfect, simulated = (
        answer["baselines"]["perfect_autoscaler"],
        answer["baselines"]["simulated_autoscaler"],
    )
    assert perfect["node_hours"] == sum(hour["num_nodes"] for hour in answer["hours"])
    assert simulated["node_hours"] >= 0.9 * perfect["node_hours"]


def test_an_autoscaler_that_aims_too_high_misses_while_its_nodes_start(
    fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demand.csv").write_text("hour,qps\n0,1000\n1,9000\n2,1000\n", encoding="utf-8")
    steps = ["--set", "services.ads.demand={qps: 500}", "--set", "provision.autoscaler.target_utilisation=1"]
    text = FLEET.replace("{qps: 9000}", "{file: demand.csv}")
    Path(fleet).write_text(text, encoding="utf-8")
    _, answer = ask(capsys, fleet, *steps)
    missed = answer["baselines"]["simulated_autoscaler"]["sla_missed_share"]
    # Seen after a minute, started after five more: six minutes of the hour of 9000.
    assert missed == pytest.approx(0.1 * 9000 / (1000 + 9000 + 1000 + 3 * 500))
    assert len(answer["hours"]) == 3
    assert math.isclose(answer["mean_demand_qps"], 11_000 / 3 + 500)


def test_an_autoscaler_of_shared_nodes_scales_all_that_serve_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two services ask half a node each at 1000 queries/s of 2000, one for an hour four times that."""
    (tmp_path / "demand.csv").write_text("hour,qps\n0,1000\n1,4000\n2,1000\n", encoding="utf-8")
    text = """
services:
  feed: {scenario: rm3_skylake, demand: {file: demand.csv}}
  ads: {scenario: rm3_skylake, demand: {qps: 1000}}
node_types:
  skylake: {node: {cpu: skylake@hpca2020}, available: 9}
capacities: {feed: {skylake: 2000}, ads: {skylake: 2000}}
provision: {objective: nodes, sharing: true, autoscaler: {target_utilisation: 1}}
"""
    path = tmp_path / "shared.yaml"
    path.write_text(text, encoding="utf-8")
    _, answer = ask(capsys, str(path), "--no-simulate")
    assert answer["static"]["num_nodes"] == 3  # (4000 + 1000) / 2000, rounded up
    found = answer["baselines"]["simulated_autoscaler"]
    # One node carries 500 + 500 of 1000 in the quiet hours, three the busy one: after six minutes of it.
    assert found["num_nodes"] == 3
    assert found["node_hours"] == pytest.approx(1 + 3 + 1)
    assert found["sla_missed_share"] == pytest.approx(0.1 * 5000 / (1000 + 4000 + 1000 + 3 * 1000))


def test_an_autoscaler_starts_no_more_nodes_than_there_are(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan is 6 Broadwell and 2 Skylake; a target of a half asks for twice that at the peak."""
    stock = {"broadwell": 7, "skylake": 3}
    sets = [f"--set=node_types.{name}.available={count}" for name, count in stock.items()]
    _, answer = ask(capsys, fleet, *sets, "--set", "provision.autoscaler.target_utilisation=0.5")
    assert answer["static"]["nodes_by_type"] == {"broadwell": 6, "skylake": 2}
    found = answer["baselines"]["simulated_autoscaler"]
    used = {name: sum(of.get(name, 0) for of in found["nodes"].values()) for name in stock}
    assert used == stock
    assert found["num_nodes"] == 10
    assert found["sla_missed_share"] == 0.0


SEARCHED = {"terabytes", "terabytes_cheap_shards"}
"""Shipped fleets whose capacities are found, not given: half a minute of a core."""


@pytest.mark.thorough_cases("hercules", "two_services")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SEARCHED else [])
        for name in shipped_names("fleet")
    ],
)
def test_shipped_fleets_are_feasible(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", name]) == 0
    assert "feasible" in capsys.readouterr().out


MISTAKES = {
    "{qps: 9000}": [
        (
            "{qps: 9000, peak_qps: 1}",
            "4:35: peak_qps: expected one of qps, peak_qps and file, got qps and peak_qps",
        ),
        ("{}", "4:13: demand: expected one of qps, peak_qps and file, got none of them"),
        ("{qps: -1}", "4:19: qps: expected a number > 0 or null, got -1"),
        ("{qps: 1, trough: 0.4}", "4:30: trough: expected only with peak_qps, got it with qps"),
        ("{file: none.csv}", "4:20: file: expected a file, found none at"),
        ("{qps: 1, growht: 2}", "4:22: unknown key 'growht' in services.feed.demand; did you mean 'growth'?"),
    ],
    "owned: 4": [
        ("owned: 40", "7:55: owned: expected at most available, 30, which counts the owned, got 40")
    ],
    "available: 20": [
        ("owned: 20\n    available: 2.5", "11:16: available: expected a whole number >= 0 or null")
    ],
    "    available: 20\n": [("", "9:5: skylake: expected available: the nodes that there are")],
    "price_usd_per_h: 1.5": [
        ("power_cap_w: 1", "9:5: skylake: provision.objective is price: expected price")
    ],
    "rm1_broadwell": [("rm1", "3:15: scenario: unknown scenario 'rm1'")],
    "broadwell@hpca2020": [("brodwell", "7:27: cpu: unknown profile 'brodwell'; did you mean 'broadwell'?")],
    "  ads: {broadwell: 500": [("  adds: {broadwell: 500", "14:9: adds: expected a service (feed, ads)")],
    "skylake: 900": [("skyline: 900", "14:34: skyline: expected a node type (broadwell, skylake)")],
    "objective: price": [
        ("objective: prize", "15:24: objective: expected one of nodes, power, price, carbon, got 'prize'"),
        ("objective: carbon", "15:24: objective: carbon needs grid_g_per_kwh"),
        ("headroom: 1.0", "15:23: headroom: expected a number >= 0 and < 1, got 1.0"),
        ("failures: {zones: 0}", "15:31: zones: expected a whole number >= 1 or null, got 0"),
    ],
}


@pytest.mark.parametrize(
    ("right", "wrong", "said"), [(k, w, s) for k, each in MISTAKES.items() for w, s in each]
)
def test_a_mistake_is_told_with_its_place(
    right: str, wrong: str, said: str, fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in FLEET
    Path(fleet).write_text(FLEET.replace(right, wrong, 1), encoding="utf-8")
    assert main(["plan", fleet]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{fleet}:{said}"), captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.thorough
def test_growth_ends_where_the_stock_does(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, answer = ask(capsys, fleet, "--growth", "1:11:2")
    rows = {row["growth"]: row for row in answer["growth"]["rows"]}
    assert list(rows) == [1, 3, 5, 7, 9, 11]
    assert rows[1]["objective_value"] == answer["objective_value"]
    assert rows[3]["bought"]["broadwell"] > rows[1]["bought"]["broadwell"]
    last = answer["growth"]["gives_out_at"]
    assert answer["growth"]["gives_out"].startswith("stock")
    assert {growth for growth, row in rows.items() if row["num_nodes"] is None} == {
        g for g in rows if g > last
    }
    for factor, code in ((0.9999 * last, 0), (1.0001 * last, 3)):
        grown = (
            "--set",
            f"services.feed.demand.growth={factor}",
            "--set",
            f"services.ads.demand.growth={2 * factor}",
        )
        assert main(["plan", fleet, *grown]) == code
    capsys.readouterr()


def test_what_would_free_a_plan_frees_it_as_it_is_printed(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All demand times 0.87736 is the most that there are nodes for: to four digits 0.8774 is too much."""
    grown = ("--set", "services.feed.demand={qps: 106000}", "--no-simulate")
    assert main(["plan", fleet, *grown]) == 3
    said = capsys.readouterr().out
    factor = float(re.findall(r"all demand times ([0-9.]+)", said)[0])
    less = float(re.findall(r"less traffic of feed: ([0-9,.]+)", said)[0].replace(",", ""))
    for feed, ads in ((106000 * factor, 2.0 * factor), (106000 - less, 2.0)):
        sets = [f"services.feed.demand={{qps: {feed!r}}}", f"services.ads.demand.growth={ads!r}"]
        assert main(["plan", fleet, "--no-simulate", *(f"--set={each}" for each in sets)]) == 0
    capsys.readouterr()


@pytest.mark.thorough
def test_growth_says_that_simulation_raised_the_plan_and_not_its_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without headroom a retry storm outlasts the loss of a zone of three, unless there are more nodes."""
    asked = ["--set=provision.headroom=0", "--set=provision.failures={zones: 3}"]
    transient = "--set=provision.transient={detection_s: 60, timeout_ms: 500, retries: 3}"
    said = "these are plans before simulation, which raised the one above"
    assert main(["plan", "two_services", "--growth", "1:1.1:0.1", *asked, transient]) == 0
    assert said in capsys.readouterr().out
    assert main(["plan", "two_services", "--growth", "1:1.1:0.1", "--no-simulate"]) == 0
    assert said not in capsys.readouterr().out


def test_growth_says_which_factors_it_took_and_that_they_are_not_simulated(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", fleet, "--growth", "1:2:0.5", "--no-simulate", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["growth"] for row in document["growth"]["rows"]] == [1.0, 1.5, 2.0]
    (note,) = (note for note in document["notes"] if note.startswith("growth"))
    assert note.startswith("growth: 3 factors, 1 to 2, each 0.5 more; its rows are plans before simulation")


@pytest.mark.parametrize("text", ["2:1", "0:1", "1", "1:2:0", "1:2:5", "a:b", "1:2:3:4", "1:1e9", "1:2:1e-9"])
def test_a_growth_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "two_services", "--growth", text]) == 2
    assert capsys.readouterr().err.startswith("--growth: expected")


@pytest.mark.thorough
def test_nodes_known_by_their_service_times_are_planned_like_others(
    fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("items,service_ms\n1,1\n1000,20\n", encoding="utf-8")
    text = FLEET.replace("{cpu: broadwell@hpca2020}", "{service_times: table.csv, executors: 8}")
    text = text.replace("ads: {broadwell: 500, skylake: 900}", "ads: {broadwell: 0, skylake: 900}")
    text = text.replace("feed: {broadwell: 1900, skylake: 2000}", "feed: {skylake: 900}")
    Path(fleet).write_text(text.replace("qps: 9000", "qps: 3000"), encoding="utf-8")
    code, answer = ask(capsys, fleet)
    found = answer["capacity_qps"]["feed"]["broadwell"]
    assert code == 0
    assert found["source"] == "tune"
    assert 500 < found["low_qps"] <= found["qps"] < 3000
    assert answer["capacity_qps"]["ads"]["broadwell"]["source"] == "refused: ads: capacity given as 0"
    assert answer["static"]["power_w"] is None
    assert answer["static"]["price_usd_per_h"] == pytest.approx(answer["objective_value"])
    assert main(["plan", fleet, "--set", "provision.objective=power"]) == 2
    assert "7:21: node: provision.objective is power: expected tdp_w" in capsys.readouterr().err


def test_files_by_hour_that_disagree_are_refused(
    fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("hour,qps\n0,1000\n1,9000\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("hour,qps\n0,1000\n", encoding="utf-8")
    text = FLEET.replace("{qps: 9000}", "{file: a.csv}")
    text = text.replace("{peak_qps: 1000, shape: diurnal, trough: 0.4, growth: 2.0}", "{file: b.csv}")
    Path(fleet).write_text(text, encoding="utf-8")
    assert main(["plan", fleet]) == 2
    assert "expected the hours of feed, 2 from 0 to 1, found 1 from 0 to 0" in capsys.readouterr().err
    (tmp_path / "b.csv").write_text("hour,qps\n0,1000\n0,-3\n", encoding="utf-8")
    assert main(["plan", fleet]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'b.csv'}:3:1: hour 0 is given twice\n"


@pytest.mark.thorough
def test_the_comparison_with_greedy_gives_the_figures_of_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    for stock, plan, other in ((40, (84, 20_560), (101, 24_640)), (60, (69, 17_130), (79, 19_560))):
        _, answer = ask(capsys, "hercules", "--set", f"node_types.skylake.available={stock}")
        static, greedy = answer["static"], answer["baselines"]["greedy"]
        assert answer["optimal"]
        assert (static["num_nodes"], static["power_w"]) == plan
        assert (greedy["num_nodes"], greedy["power_w"]) == other


@pytest.mark.thorough
def test_power_by_utilisation_is_idle_and_a_share_of_the_swing(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (fleet, "--no-simulate", "--set", "provision.power=by-utilisation")
    _, busy = ask(capsys, *asked)
    _, half = ask(capsys, *asked, "--set", "services.feed.demand.qps=4500")
    assert busy["power_model"].startswith("by utilisation")
    assert half["static"]["power_w"] < busy["static"]["power_w"]
    mean_qps = busy["mean_demand_qps"]
    assert busy["static"]["joules_per_query"] < busy["static"]["power_w"] / mean_qps  # nights draw less


def test_power_by_utilisation_needs_idle_power(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text("items,service_ms\n1,1\n1024,40\n", encoding="utf-8")
    path = tmp_path / "fleet.yaml"
    path.write_text(
        FLEET.replace("{cpu: broadwell@hpca2020}", "{service_times: table.csv, executors: 8, tdp_w: 200}")
        + "  # drawn by load\n",
        encoding="utf-8",
    )
    assert main(["plan", str(path), "--set", "provision.power=by-utilisation"]) == 2
    assert "idle_w" in capsys.readouterr().err


@pytest.mark.slow
def test_a_capacity_at_another_sla_is_that_of_a_plan_with_that_sla(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    fleet = tmp_path / "fleet.yaml"
    scenario = tmp_path / "own.yaml"
    assert main(["show", "ncf_skylake"]) == 0
    scenario.write_text(capsys.readouterr().out, encoding="utf-8")
    fleet.write_text(
        f"services: {{own: {{scenario: {scenario}, tune: false, demand: {{qps: 30000}}}}}}\n"
        "node_types: {skylake: {node: {cpu: skylake}, available: 1000}}\n"
        "provision: {objective: nodes}\n",
        encoding="utf-8",
    )
    code, answer = ask(capsys, str(fleet), "--no-simulate", "--sla-curves")
    assert code == 0
    at = answer["capacity_at_sla"]["own"]
    factors = [point["latency_ms"] / at["latency_ms"] for point in at["node_types"]["skylake"]]
    assert factors == pytest.approx([0.5, 0.7, 1.0, 1.4, 2.0])
    looser = at["node_types"]["skylake"][-1]
    text = scenario.read_text(encoding="utf-8")
    changed = text.replace(f"latency_ms: {at['latency_ms']:g}", f"latency_ms: {looser['latency_ms']:g}")
    assert changed != text
    scenario.write_text(changed, encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))  # nothing kept: it is found anew
    code, again = ask(capsys, str(fleet), "--no-simulate")
    own = again["capacity_qps"]["own"]["skylake"]
    assert [own["qps"], own["low_qps"]] == [looser["qps"], looser["low_qps"]]


@pytest.mark.thorough
def test_the_minutes_after_a_failure_are_told_and_decide_only_where_the_file_says_how(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = ("--set", "provision.failures={zones: 3}")
    code, told = ask(capsys, fleet, *lost)
    assert code == 0
    assert told["transient"]["decides"] is False
    assert {each["service"] for each in told["after_failure"]} == {"feed", "ads"}
    feed = told["after_failure"][0]
    assert feed["timeout_ms"] == 10 * 100.0
    assert feed["capacity_before_qps"] > feed["capacity_left_qps"] >= feed["rate_qps"]
    storm = "provision.transient={detection_s: 60, timeout_ms: 500, retries: 5}"
    code, decided = ask(capsys, fleet, *lost, "--set", storm)
    assert decided["transient"]["decides"] is True
    assert decided["recovers"] is False
    # Raised until they recover, as for an SLA: there is stock for it.
    assert code == 0
    assert sum(decided["simulated"]["raised_by"].values()) > 0
    assert decided["simulated"]["lacks"] == []
    assert {"retry_storm"} <= {each["verdict"] for each in decided["after_failure"]}
    worst = next(each for each in decided["after_failure"] if each["verdict"] == "retry_storm")
    assert worst["num_nodes_needed"] is None or worst["num_nodes_needed"] > worst["num_nodes"]
    code, without = ask(capsys, fleet, *lost, "--set", storm, "--no-simulate")
    assert (code, without["recovers"], without["after_failure"]) == (0, None, [])


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{timeout_ms: 50}", "expected at least latency_ms of the SLA of feed, 100, got 50"),
        ("{retries: 1.5}", "retries"),
        ("{cold_speed: 0}", "cold_speed"),
    ],
)
def test_a_transient_that_cannot_be_is_refused_at_its_place(
    section: str, said: str, fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--set", "provision.failures={nodes: 1}", "--set", f"provision.transient={section}")
    assert main(["plan", fleet, *settings]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "transient" in error
    assert len(error.splitlines()) == 1


def test_a_transient_without_failures_is_refused(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", fleet, "--set", "provision.transient={}"]) == 2
    assert "expected failures beside it" in capsys.readouterr().err
