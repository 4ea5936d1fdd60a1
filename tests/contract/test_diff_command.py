"""`perfplan diff`: the same random numbers for both, intervals that hold the truth, shares that add up."""

from __future__ import annotations

import json
import shutil
from math import hypot
from pathlib import Path
from typing import Any

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import shipped_directory
from perfmodel.planning.diff.saved import diff_saved
from perfmodel.planning.diff.side import difference, side
from perfmodel.planning.prepare import prepare

QUICK = ["simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.5"]
FEW = [part for setting in QUICK for part in ("--set", setting)]


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["diff", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def scenario(tmp_path: Path, name: str, base: str, *changes: tuple[str, str]) -> str:
    """A scenario file with some of its text changed."""
    text = (shipped_directory("scenario") / f"{base}.yaml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def by_metric(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {found["metric"]: found for found in document["differences"]}


@pytest.mark.thorough
def test_a_scenario_does_not_differ_from_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = scenario(tmp_path, "same", "ncf_skylake")
    document = ask(capsys, "ncf_skylake", same, *FEW)
    assert document["keys"] == []
    assert all(found["difference"] == 0.0 for found in document["differences"])
    assert not any(found["significant"] for found in document["differences"])


@pytest.mark.thorough
def test_another_seed_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = scenario(tmp_path, "other", "ncf_skylake", ("seed: 1", "seed: 2"))
    document = ask(capsys, "ncf_skylake", other)
    assert all(found["difference"] == 0.0 for found in document["differences"])


@pytest.mark.thorough
def test_one_key_is_all_of_the_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = scenario(tmp_path, "other", "rm3_skylake", ("batch_size: 128", "batch_size: 256"))
    document = ask(capsys, "rm3_skylake", other, *FEW)
    (key,) = document["keys"]
    assert (key["key"], key["a"], key["b"]) == ("policy.batch_size", 128, 256)
    for metric, found in by_metric(document).items():
        assert key["contribution"][metric] == key["from_b"][metric] == found["difference"]
        assert document["interaction"][metric] == 0.0
    rate = by_metric(document)["latency_bounded_qps"]
    assert rate["significant"]
    assert rate["ci95"][0] < rate["difference"] < rate["ci95"][1]
    assert by_metric(document)["power_w"]["ci95"] == [0.0, 0.0], "nothing about it is left to luck"


@pytest.mark.thorough
def test_shares_and_interaction_add_up_to_the_difference(capsys: pytest.CaptureFixture[str]) -> None:
    document = ask(capsys, "rm3_skylake", "rm3_broadwell", *FEW)
    names = [key["key"] for key in document["keys"]]
    assert names[:2] == ["node.cpu", "node.cores"]
    for metric, found in by_metric(document).items():
        shares = [key["contribution"][metric] for key in document["keys"]]
        assert sum(shares) + document["interaction"][metric] == pytest.approx(found["difference"], abs=1e-9)
    power = {key["key"]: key["contribution"]["power_w"] for key in document["keys"]}
    assert power["node.cpu"] == -10.0, "120 + 120 W of two sockets of Broadwell, 125 + 125 W of Skylake"
    assert power["node.cores"] == 0.0, "static power is that of the whole node"


@pytest.mark.thorough
def test_of_two_keys_the_one_in_a_is_b_without_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (("batch_size: 128", "batch_size: 256"), ("latency_ms: 100", "latency_ms: 50"))
    other = scenario(tmp_path, "other", "rm3_skylake", *changes)
    document = ask(capsys, "rm3_skylake", other, *FEW)
    first, second = document["keys"]
    for metric, found in by_metric(document).items():
        path = first["contribution"][metric] + second["from_b"][metric]
        assert path == pytest.approx(found["difference"], abs=1e-9)
        path = second["contribution"][metric] + first["from_b"][metric]
        assert path == pytest.approx(found["difference"], abs=1e-9)


@pytest.mark.thorough
def test_a_key_that_cannot_be_changed_alone_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    document = ask(capsys, "wnd_broadwell", "wnd_broadwell_gtx1080ti", *FEW, "--mixed-stacks")
    reasons = {key["key"]: key["reason"] for key in document["keys"]}
    threshold = next(key for key in document["keys"] if "threshold" in key["key"])
    assert "node.accelerators is empty" in reasons[threshold["key"]]
    assert all(value is None for value in threshold["contribution"].values())
    assert document["interaction"]["power_w"] is None, "what a part is missing of has no rest"


@pytest.mark.thorough
def test_luck_that_meets_both_is_no_part_of_the_difference() -> None:
    one, other = (
        side(
            prepare(load_scenario("rm3_skylake", [*QUICK, *rate, f"policy.batch_size={batch}"])),
            num_queries=50_000,
        )
        for rate, batch in (
            (["traffic.arrivals.rate_qps=1200"], 128),
            (["traffic.arrivals.rate_qps=1200"], 130),
        )
    )
    for metric in ("latency_ms.mean", "latency_bounded_qps"):
        found = difference(metric, one, other)
        alone = [sum(each.figures[metric].spread or ()) for each in (one, other)]
        assert found.ci95 is not None
        assert 0.0 < found.ci95[1] - found.ci95[0] < hypot(*alone), metric


@pytest.mark.slow
def test_intervals_hold_the_truth() -> None:
    # So far apart that 100,000 queries tell; of 1250 and 1330 some intervals are wider than the difference.
    rates = ("traffic.arrivals.rate_qps=1000", "traffic.arrivals.rate_qps=1150")

    def found(seed: int, num_queries: int) -> dict[str, Any]:
        sides = [
            side(
                prepare(load_scenario("rm3_skylake", [rate, f"simulation.seed={seed}"])),
                num_queries=num_queries,
            )
            for rate in rates
        ]
        return {metric: difference(metric, *sides) for metric in ("latency_ms.mean", "latency_ms.p99")}

    truth, held, runs = found(999, 2_000_000), 0, 30
    for seed in range(1, runs + 1):
        for metric, each in found(seed, 100_000).items():
            assert each.ci95 is not None
            held += each.ci95[0] <= truth[metric].value <= each.ci95[1]
            assert each.ci95[1] - each.ci95[0] < abs(each.value), "too vague to say anything"
    assert held >= 0.85 * 2 * runs


@pytest.mark.thorough
def test_saved_answers_are_compared_by_their_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ncf_skylake", "ncf_broadwell"):
        main(["predict", "-s", name, *FEW, "--json"])
        (tmp_path / f"{name}.json").write_text(capsys.readouterr().out)
    paths = [str(tmp_path / f"{name}.json") for name in ("ncf_skylake", "ncf_broadwell")]
    answers = [json.loads(Path(path).read_text()) for path in paths]
    document = ask(capsys, *paths)
    assert [key["key"] for key in document["keys"]][:1] == ["node.cpu"]
    assert not any(found["metric"].startswith("asked.") for found in document["differences"])
    p95 = by_metric(document)["latency_ms.p95"]
    assert [p95["a"], p95["b"]] == pytest.approx([answer["latency_ms"]["p95"] for answer in answers])
    assert p95["difference"] == pytest.approx(p95["b"] - p95["a"])
    halves = [0.5 * (high - low) for low, high in (answer["latency_ci95_ms"]["p95"] for answer in answers)]
    assert p95["ci95"][1] - p95["difference"] == pytest.approx(hypot(*halves), abs=1e-9)
    assert by_metric(document)["power_w"]["significant"] is None, "it has no interval"


@pytest.mark.thorough
def test_fleets_are_compared_by_their_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (shipped_directory("fleet") / "two_services.yaml").read_text(encoding="utf-8")
    paths = [str(tmp_path / f"{name}.yaml") for name in ("a", "b")]
    for path in paths:
        Path(path).write_text(text)
    document = ask(capsys, *paths)
    assert document["keys"] == []
    assert document["differences"] != []
    assert not any(found["significant"] for found in document["differences"])
    Path(paths[1]).write_text(text.replace("growth: 1.0", "growth: 1.2"))
    document = ask(capsys, *paths)
    (key,) = document["keys"]
    assert (key["key"], key["a"], key["b"]) == ("services.feed.demand.growth", 1.0, 1.2)
    nodes = by_metric(document)["static.num_nodes"]
    assert nodes["difference"] == key["contribution"]["static.num_nodes"] > 0.0
    assert nodes["significant"]
    assert main(["diff", paths[0], "rm3_skylake"]) == 2


def test_the_page_of_many_figures_counts_those_that_are_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / f"{name}.json") for name in ("a", "b")]
    for path, least in zip(paths, (2, 1), strict=True):
        figures = {f"type{index}": max(index, least) for index in range(25)}
        saved = {"schema": {"name": "plan", "version": 1}, "static": {"nodes_by_type": figures}}
        Path(path).write_text(json.dumps(saved))
    main(["diff", *paths])
    page = capsys.readouterr().out
    assert page.count("static.nodes_by_type.") == 2  # types 0 and 1
    assert "equal in both: 23 more figures; --json lists them" in page
    main(["diff", paths[0], paths[0]])
    page = capsys.readouterr().out
    assert "equal in both: all 25 figures; --json lists them" in page
    assert "B − A" not in page


PLAN = """{"schema": {"name": "plan", "version": 1}, "perfplan": "0.1.0", "objective": "power",
"objective_value": 500, "static": {"num_nodes": 2, "nodes": {"feed": {"old": 2}}},
"asked": {"services": {"feed": {"demand": {"qps": 100}}}}, "provision": {"headroom": 0.1}}"""


@pytest.mark.parametrize(
    ("b_seed", "has_interval", "expected"),
    [
        (1, True, "although seed 1 drew both: intervals are too wide as a rule"),
        (2, True, "taken to have nothing in common"),
        (1, False, ""),
    ],
)
def test_intervals_of_saved_answers_say_what_they_take_of_luck(
    b_seed: int, has_interval: bool, expected: str
) -> None:
    def saved(seed: int, p95: float) -> dict[str, Any]:
        interval = {"latency_ci95_ms": {"p95": [p95 - 1, p95 + 1]}} if has_interval else {}
        simulation = {"asked": {"simulation": {"seed": seed}}}
        return {
            "schema": {"name": "predict", "version": 1},
            "latency_ms": {"p95": p95},
            **interval,
            **simulation,
        }

    found = diff_saved((__file__, __file__), saved(1, 10.0), saved(b_seed, 20.0))
    (difference,) = found.differences
    assert (difference.ci95 is not None) == has_interval
    notes = " ".join(found.notes)
    assert expected in notes
    assert ("in common" in notes) == has_interval
    assert ("too wide" in notes) == (has_interval and b_seed == 1)


def test_saved_answers_of_other_versions_and_objectives_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    paths[0].write_text(PLAN)
    later = PLAN.replace("0.1.0", "0.2.0").replace('"version": 1', '"version": 2').replace("old", "new")
    paths[1].write_text(later.replace('"power"', '"price"').replace("100", "200"))
    document = ask(capsys, *map(str, paths))
    found = by_metric(document)
    assert found.keys() == {"static.num_nodes", "static.nodes.feed.old", "static.nodes.feed.new"}
    assert [found["static.nodes.feed.old"]["b"], found["static.nodes.feed.old"]["difference"]] == [0.0, -2.0]
    assert [found["static.nodes.feed.new"]["a"], found["static.nodes.feed.new"]["difference"]] == [0.0, 2.0]
    (key,) = document["keys"]
    assert (key["key"], key["a"], key["b"]) == ("services.feed.demand.qps", 100, 200)
    notes = " ".join(document["notes"])
    assert "A is of perfplan 0.1.0, B of 0.2.0" in notes
    assert "documents of versions 1 and 2" in notes


@pytest.mark.thorough
def test_a_demand_said_in_another_way_is_one_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (shipped_directory("fleet") / "two_services.yaml").read_text(encoding="utf-8")
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    paths[0].write_text(text)
    paths[1].write_text(text.replace("{peak_qps: 60000, shape: diurnal, trough: 0.5}", "{qps: 60000}"))
    document = ask(capsys, *map(str, paths))
    (key,) = document["keys"]
    assert key["key"] == "services.ads.demand"
    assert key["reason"] is None
    nodes = by_metric(document)["baselines.perfect_autoscaler.node_hours"]
    assert key["contribution"]["baselines.perfect_autoscaler.node_hours"] == nodes["difference"] > 0.0


@pytest.mark.thorough
def test_files_that_b_names_are_found_from_a(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(shipped_directory("model") / "ncf.yaml", folder / "mine.yaml")
    other = scenario(
        folder, "other", "ncf_skylake", ("model: ncf", "model: mine.yaml"), ("latency_ms: ", "latency_ms: 1")
    )
    document = ask(capsys, "ncf_skylake", other, *FEW)
    model = next(key for key in document["keys"] if key["key"] == "model")
    assert model["reason"] is None
    assert model["contribution"]["latency_ms.mean"] == 0.0, "it says the same"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rm3_skylake"], "Missing argument 'B'"),
        (["rm3_skylake", "rm3_skylak"], "unknown scenario 'rm3_skylak'"),
        (["rm3_skylake", "answer.json"], "got a scenario and a saved answer"),
        (["answer.json", "two_services"], "got a saved answer and a fleet"),
        (["answer.json", "answer.json"], "cannot read the file"),
        (["text.json", "text.json"], "text.json:1:1: not JSON: Expecting value"),
        (["deep.json", "deep.json"], "deep.json:1:1: not JSON that can be read: nested too deeply"),
        (["list.json", "list.json"], "it has no schema"),
        (["text.json", "text.json", "--set", "a=1"], "a saved answer cannot be changed"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.json").write_text("no JSON")
    Path("list.json").write_text("[1]")
    Path("deep.json").write_text("[" * 100_000)
    assert main(["diff", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.thorough
def test_python_gets_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    answer = perfmodel.diff("ncf_skylake", "ncf_broadwell", overrides=QUICK)
    assert json.loads(json.dumps(answer.to_dict())) == ask(capsys, "ncf_skylake", "ncf_broadwell", *FEW)
    assert "which key it comes from" in str(answer)


@pytest.mark.thorough
def test_what_is_set_in_b_alone_is_what_differs_and_what_is_set_in_both_is_said() -> None:
    found = perfmodel.diff(
        "rm3_skylake", "rm3_skylake", overrides=QUICK, overrides_b=["policy.batch_size=64"]
    )
    assert [share.key.key for share in found.keys] == ["policy.batch_size"]
    assert found.b.endswith("with policy.batch_size=64")
    assert found.notes[0] == f"set in A and in B: {', '.join(QUICK)}; --set-b sets it in B alone"


def test_a_saved_answer_has_nothing_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "a.json"
    saved.write_text("{}", encoding="utf-8")
    assert main(["diff", str(saved), str(saved), "--set-b", "policy.batch_size=64"]) == 2
    assert capsys.readouterr().err == "--set-b: expected scenarios; a saved answer cannot be changed\n"


def test_answers_of_two_commands_are_refused_at_the_second() -> None:
    of_plan, of_predict = ({"schema": {"name": kind}} for kind in ("plan", "predict"))
    with pytest.raises(
        InputError, match=r"^b\.json:1:1: expected an answer of plan, as a\.json is, got one of predict$"
    ):
        diff_saved(("a.json", "b.json"), of_plan, of_predict)
