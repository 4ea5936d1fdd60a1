"""Every command's answer is what its schema says: all of its keys, and no others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from calibration import documents
from perfmodel.cli.main import main
from perfmodel.cli.schema import MEASURING
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import shipped_names
from perfmodel.planning.deeprecsys.climb import published_climbs
from perfmodel.planning.deeprecsys.controlled import Effort
from perfmodel.planning.deeprecsys.shortcuts import compare_shortcuts
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.deeprecsys import deeprecsys_document
from perfmodel.report.documents.schemas import KINDS, document_schema, schema_of
from tests.golden.scenarios import EACH_KIND, QUICK

FEW = [part for setting in QUICK for part in ("--set", setting)]
RM3 = ["-s", "rm3_skylake", *FEW]
CARD = ["-s", "rm1_broadwell_gtx1080ti", *FEW]
RATE = "traffic.arrivals.rate_qps="
SHORT = [
    *["--set", "simulation.min_queries=5000", "--set", "simulation.max_queries=5000"],
    *["--set", "simulation.precision=0.5"],
]
BEYOND = [
    *["--set", "policy.batch_size=4096"],
    *["--set", "traffic.query_sizes={distribution: fixed, num_items: 4096}"],
]

TOPICS = {"models", "profiles", "scenarios", "fleets", "policies", "arrivals", "distributions"}

PREDICTIONS: dict[str, tuple[int, Sequence[str]]] = {
    "an overload": (4, [*RM3, "--set", f"{RATE}9000"]),
    "an overload of a card": (4, [*CARD, "--set", f"{RATE}90000"]),
    "too slow": (3, [*RM3, "--set", "sla.latency_ms=1"]),
    "not to be told": (6, [*RM3, "--set", f"{RATE}1400"]),
    "decided all the same": (0, [*RM3, "--set", f"{RATE}1400", "--accept-uncertain"]),
    "an SLA at another percentile": (0, [*RM3, "--set", "sla.percentile=0.9"]),
    "SimPy": (0, ["-s", "rm3_skylake", *SHORT, "--engine", "simpy"]),
    "beyond the calibrated range": (
        0,
        [*RM3, *BEYOND, "--set", f"{RATE}1", "--set", "sla.latency_ms=5000", "--extrapolate"],
    ),
}
"""Exit code, and what asks for it."""
OTHERS: dict[str, tuple[str, int, Sequence[str]]] = {
    "a capacity": ("capacity", 0, RM3),
    "a capacity with a card": ("capacity", 0, CARD),
    "no capacity": ("capacity", 3, [*RM3, "--set", "sla.latency_ms=1"]),
    "a capacity at another percentile": ("capacity", 0, [*RM3, "--set", "sla.percentile=0.999"]),
    "a tuning": ("tune", 0, [*RM3, "--batch-sizes", "128", "--sla-levels"]),
    "a tuning with a card": ("tune", 0, [*CARD, "--batch-sizes", "128", "--thresholds", "1,300"]),
    "nothing to tune": ("tune", 3, [*RM3, "--batch-sizes", "128", "--set", "sla.latency_ms=0.1"]),
    "one device": ("latency", 0, ["-m", "din", "--on", "broadwell", "--without", "input"]),
    "two devices": ("latency", 0, ["-m", "wnd", "--on", "broadwell", "--on", "skylake", "-b", "16"]),
    "stages": ("predict", 0, ["ranking_two_stages", *FEW]),
    "too much for a stage": ("predict", 4, ["ranking_two_stages", *FEW, "--set", f"{RATE}3000"]),
    "a capacity of stages": ("capacity", 0, ["ranking_two_stages", *FEW]),
    "a map": ("map", 0, ["-m", "dlrm-v2,wnd", "--on", "broadwell,gtx1080ti"]),
    "a map by efficiency": ("map", 0, ["-m", "wnd", "--on", "broadwell,skylake", "--by", "efficiency"]),
    "a run of LoadGen": ("mlperf", 6, ["mlperf_dlrm_v2_skylake", *FEW, "--target-qps", "40"]),
    "a run that is too short": ("mlperf", 3, ["mlperf_dlrm_v2_skylake", *FEW, "--target-qps", "0.5"]),
    "all samples at once": ("mlperf", 3, ["mlperf_dlrm_v2_skylake", "--loadgen-scenario", "Offline"]),
    "a fleet": ("fleet", 0, [*RM3, "-n", "3", "--also", "rm3_broadwell=2"]),
    "a fleet over a day": ("fleet", 6, ["-s", "rm1_broadwell_diurnal", *FEW, "-n", "3", "--windows", "4"]),
    "a fleet with cards": ("fleet", 0, [*CARD, "-n", "3"]),
    "a comparison": ("diff", 0, ["rm3_skylake", "rm3_broadwell", *FEW]),
    "a sweep": ("sweep", 0, [*RM3, "--over", "policy.batch_size=64,0", "--pareto", "latency", "--jobs", "1"]),
    "a plan": ("plan", 0, ["two_services"]),
    "an infeasible plan": ("plan", 3, ["two_services", "--set", "provision.power_cap_w=20000"]),
    "an overloaded fleet": ("fleet", 4, [*RM3, "-n", "3", "--qps", "30000"]),
}
"""Command, exit code, and what asks for it."""


@cache
def adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[name].type)


def no_number(text: str) -> float:
    pytest.fail(f"not JSON: {text}")


def follows(name: str, text: str) -> dict[str, Any]:
    """Hold an answer against its schema."""
    document: dict[str, Any] = json.loads(text, parse_constant=no_number)
    assert document["schema"] == {"name": name, "version": KINDS[name].version}
    adapter(name).validate_json(text)
    return document


@pytest.mark.by_default("wnd_skylake")
@pytest.mark.parametrize(
    "name",
    [
        name if name in EACH_KIND else pytest.param(name, marks=pytest.mark.slow)
        for name in shipped_names("scenario")
    ],
)
def test_predictions_of_the_shipped_scenarios_follow_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", "-s", name, *FEW, "--json"])
    follows("predict", capsys.readouterr().out)


@pytest.mark.by_default("too slow")
@pytest.mark.parametrize("case", PREDICTIONS)
def test_predictions_of_every_kind_follow_it(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, arguments = PREDICTIONS[case]
    assert main(["predict", *arguments, "--json"]) == code
    follows("predict", capsys.readouterr().out)


@pytest.mark.by_default("one device")
@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=pytest.mark.slow) if name == "a tuning" else name for name in OTHERS]
)
def test_answers_of_the_other_commands_follow_it(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, code, arguments = OTHERS[case]
    assert main([command, *arguments, "--json"]) == code
    follows(command, capsys.readouterr().out)


@pytest.mark.thorough
def test_a_tuning_of_stages_follows_one_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "ranking_two_stages", *FEW, "--sub-batches", "4", "--json"]) == 0
    follows("tune-stages", capsys.readouterr().out)


@pytest.mark.thorough
def test_the_published_controller_beside_the_exact_answer_follows_it() -> None:
    little = Effort(probe_queries=10_000, long_runs=2, short_probe_queries=5_000, short_runs=2)
    loaded = load_scenario("rm3_broadwell_gtx1080ti", ["node.stack=deeprecsys-isca2020"])
    asked = prepare(loaded)
    shortcuts = compare_shortcuts(asked, effort=little)
    document = deeprecsys_document(shortcuts, published_climbs(asked, num_climbs=1, effort=little))
    assert follows("deeprecsys", json.dumps(document))["rows"] != []


@pytest.mark.thorough
def test_a_key_too_many_or_too_few_at_any_depth_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", *RM3, "--json"])
    document = follows("predict", capsys.readouterr().out)
    for section in (document, document["sla"], document["operators"][0], document["latency_ms"]):
        section["news"] = 1.0
        with pytest.raises(ValidationError, match="news"):
            adapter("predict").validate_json(json.dumps(document))
        del section["news"]
        key, value = section.popitem()
        with pytest.raises(ValidationError, match=key):
            adapter("predict").validate_json(json.dumps(document))
        section[key] = value
    document["sensitivity"]["p95"] = 1.0
    with pytest.raises(ValidationError, match="p95"):
        adapter("predict").validate_json(json.dumps(document))


@pytest.mark.parametrize("name", KINDS)
def test_the_command_prints_a_schema_that_allows_no_other_keys(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "--of", name]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == document_schema(name)
    definitions = printed.get("$defs", {})
    sections = [each for each in (printed, *definitions.values()) if "properties" in each]
    assert len(sections) > 2
    for section in sections:
        assert section["additionalProperties"] is False
        optional = {"perfplan list, version 1": TOPICS, "ListedDocument": {"stacks", "work"}}
        left_out = set(section["properties"]) - set(section["required"])
        assert left_out == optional.get(section["title"], set())


@pytest.mark.by_default("arguments2")
@pytest.mark.parametrize("arguments", [[], ["profiles"], ["arrivals"]])
def test_lists_follow_it(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *arguments, "--json"]) == 0
    listed = follows("list", capsys.readouterr().out)
    assert listed.keys() == {"schema", "perfplan", "date", "inputs", *(arguments or TOPICS)}


@pytest.mark.thorough
def test_answers_of_what_measures_follow_theirs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert set(MEASURING) == set(documents.KINDS)
    for name, kind in documents.KINDS.items():
        assert main(["schema", "--of", name]) == 0
        assert json.loads(capsys.readouterr().out) == schema_of(kind)
    main(["doctor", "--json"])
    checked = json.loads(capsys.readouterr().out)
    assert checked["schema"] == {"name": "doctor", "version": documents.VERSION}
    TypeAdapter(documents.DoctorDocument).validate_python(checked)
    assert main(["reproduce", "hpca", "--out", str(tmp_path / "page.html"), "--json"]) == 0
    TypeAdapter(documents.ReproductionDocument).validate_json(capsys.readouterr().out)


def test_of_and_a_kind_of_file_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "model", "--of", "predict"]) == 2
    assert capsys.readouterr().err == "schema: expected a kind of file, or --of an answer, got both\n"
