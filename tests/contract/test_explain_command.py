"""`perfplan explain`: what binds, against cases where that is known; a change is what `capacity` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

import perfmodel
from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.explain.changes import changes_of
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.schemas import KINDS

QUICK = ["simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.5"]
FEW = [part for setting in QUICK for part in ("--set", setting)]
LONG = ["--set", "simulation.max_queries=2000000"]  # thirty bursts, without which nothing can be told


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture(scope="module")
def skylake() -> dict[str, Any]:
    """What `explain rm3_skylake` answers; the last test holds that Python and the command say the same."""
    answer: dict[str, Any] = json.loads(
        json.dumps(perfmodel.explain("rm3_skylake", overrides=QUICK).to_dict())
    )
    return answer


def gains(document: dict[str, Any]) -> dict[str, float]:
    return {change["change"]: change["gain_percent"] for change in document["changes"]}


@pytest.mark.thorough
def test_arithmetic_binds_where_products_take_the_time(skylake: dict[str, Any]) -> None:
    document = skylake
    assert document["binds"]["resource"] == "cores"
    assert document["binds"]["operator"] == "bottom"
    assert "compute" in document["binds"]["why"]
    found = [change["gain_percent"] for change in document["changes"] if change["gain_percent"] is not None]
    assert found == sorted(found, reverse=True)
    step = {change["resource"]: change for change in document["changes"] if change["kind"] == "step"}
    assert step["compute"]["gain_percent"] > step["memory"]["gain_percent"] > step["calls"]["gain_percent"]
    assert 0.0 < step["compute"]["gain_percent"] < 10.0, "a tenth more of one part is no tenth more of all"
    assert step["compute"]["qps_per_w"] is None, "no data sheet says what it would draw"
    cliff = document["cliff"]
    assert cliff["percent_to_largest_load"] == pytest.approx(
        100 * (document["latency_bounded_qps"] / 400 - 1)
    )


@pytest.mark.thorough
def test_a_hyper_thread_brings_less_than_a_core_but_something(skylake: dict[str, Any]) -> None:
    step = {change["resource"]: change for change in skylake["changes"] if change["kind"] == "step"}
    assert step["cores"]["change"] == "cores +10 %: 40 to 44, 4 as hyper-threads"
    # Four pairs among 44 workers carry 36 + 4 x 2 / 1.6 = 41 at most, where products take all the time.
    assert 0.5 < step["cores"]["gain_percent"] < 3.5
    assert step["physical cores"]["change"] == "physical cores +10 %: 40 to 44"
    assert 7.0 < step["physical cores"]["gain_percent"] < 10.0
    assert step["physical cores"]["qps_per_w"] is None
    assert any("two on a core take 1.6 times as long" in note for note in skylake["notes"])


def test_no_core_is_tried_that_no_socket_has() -> None:
    loaded = load_scenario("rm3_skylake", ["node.cores=80"])
    changes = changes_of(loaded, prepare(loaded), mixed_stacks=False)
    more = next(change for change in changes if change.resource == "cores")
    with pytest.raises(InputError, match="40 cores of skylake, two threads each"):
        more.make()


def test_a_core_of_one_thread_has_no_hyper_threads_to_try(tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    one.write_text("name: one\nbase: skylake\nchanges: {threads_per_core: 1}\n")
    loaded = load_scenario("rm3_skylake", [f"node.cpu={one}", "node.cores=null"])
    changes = {change.resource: change for change in changes_of(loaded, prepare(loaded), mixed_stacks=False)}
    assert changes["cores"].name == "cores +10 %: 40 to 44"
    with pytest.raises(InputError, match="40 cores of one, one thread each"):
        changes["cores"].make()
    assert changes["physical cores"].make().node.cores == 44


@pytest.mark.thorough
def test_a_whole_option_brings_what_capacity_says_of_it(
    skylake: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    larger = next(change for change in skylake["changes"] if change["change"] == "batch_size 128 to 256")
    assert larger["set"] == ["policy.batch_size=256"]
    rates = [
        ask(capsys, "capacity", "rm3_skylake", *FEW, *settings)["latency_bounded_qps"]
        for settings in ([], ["--set", "policy.batch_size=256"])
    ]
    assert larger["latency_bounded_qps"] == pytest.approx(rates[1], rel=0.02)
    assert larger["gain_percent"] == pytest.approx(100 * (rates[1] / rates[0] - 1), abs=2.0)
    low, high = larger["gain_percent_ci95"]
    assert low < larger["gain_percent"] < high < low + 2.0
    assert larger["qps_per_w"] == pytest.approx(larger["latency_bounded_qps"] / 250)


@pytest.mark.thorough
def test_memory_binds_where_lookups_take_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    stack = ["--set", "node.stack=hpca2020"]
    document = ask(capsys, "explain", "rm2_skylake", *FEW, *stack)
    assert document["binds"]["resource"] == "memory"
    step = {change["resource"]: change["gain_percent"] for change in document["changes"]}
    assert step["memory"] > 5.0 > step["compute"]
    assert step["table precision"] > 0.0


@pytest.mark.thorough
def test_the_sla_binds_where_a_node_is_far_from_full(capsys: pytest.CaptureFixture[str]) -> None:
    document = ask(capsys, "explain", "rm3_skylake", *FEW, "--set", "sla.latency_ms=13")
    assert document["binds"]["resource"] == "sla"
    step = {change["resource"]: change["gain_percent"] for change in document["changes"]}
    assert step["sla"] > 1.0, "ten per cent more of it bring some"


@pytest.mark.thorough
def test_conversion_of_a_card_binds_and_more_cores_bring_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    all_on_the_card = ["--set", "policy.offload_threshold_items=1"]
    document = ask(capsys, "explain", "rm1_broadwell_gtx1080ti", *all_on_the_card, *FEW)
    assert document["binds"]["resource"] == "conversion"
    change = next(change for change in document["changes"] if change["resource"] == "cores")
    assert abs(change["gain_percent"]) < 0.5
    refused = next(change for change in document["changes"] if "without input" in change["change"])
    assert refused["latency_bounded_qps"] is None
    assert "one software stack" in refused["reason"]
    more = gains(document)["one more gtx1080ti"]
    assert more > 10.0


@pytest.mark.slow
def test_every_shipped_scenario_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for name in perfmodel.scenarios():
        settings = [*FEW[:2], *LONG, *FEW[4:]] if name.endswith("_bursty") else FEW
        code = main(["explain", name, *settings, "--json"])
        out = capsys.readouterr().out
        assert code in (0, 3, 4), name
        assert json.loads(out)["binds"]["why"], name


@pytest.mark.thorough_cases("1460-3", "2000-4")
@pytest.mark.parametrize(("rate_qps", "code"), [(1416, 0), (1460, 3), (2000, 4)])
def test_the_exit_code_says_how_the_offered_load_fares(
    rate_qps: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It carries 1470 within its SLA, and 1489 fill it; `predict` ends alike by the central estimate."""
    rate = ["--set", f"traffic.arrivals.rate_qps={rate_qps}"]
    assert main(["explain", "rm3_skylake", *FEW, *rate]) == code
    page = capsys.readouterr().out
    said = {0: "above the", 3: "what is offered is too much for the SLA", 4: "is more than they can serve"}
    assert said[code] in page
    assert main(["predict", "rm3_skylake", *FEW, *rate, "--accept-uncertain"]) == code


@pytest.mark.thorough
def test_no_load_at_all_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    document = ask(capsys, "explain", "rm3_skylake", *FEW, "--set", "sla.latency_ms=1", code=3)
    assert document["binds"]["resource"] == "sla"
    assert document["latency_bounded_qps"] is None
    assert all(change["gain_percent"] is None for change in document["changes"])


@pytest.mark.thorough
def test_python_gets_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    answer = perfmodel.explain("ncf_skylake", overrides=QUICK)
    printed = ask(capsys, "explain", "ncf_skylake", *FEW)
    assert json.loads(json.dumps(answer.to_dict())) == printed
    TypeAdapter(KINDS["explain"].type).validate_json(json.dumps(printed))
    assert printed["schema"] == {"name": "explain", "version": KINDS["explain"].version}
    assert "the largest load within the SLA is" in str(answer)
