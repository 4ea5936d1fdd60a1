"""Answers say what is in their times, whose software, and what nobody measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from perfmodel.cli.main import main
from perfmodel.loading.derived_profile import measured_document
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.shipped import find_file
from perfmodel.loading.yaml_source import read_yaml

QUICK = [
    "--set",
    "simulation.min_queries=20000",
    "--set",
    "simulation.max_queries=20000",
    "--set",
    "simulation.precision=0.2",
]
PAGES: dict[tuple[str, ...], tuple[int, str]] = {}


def page(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and stdout and stderr as one text without line breaks; each question is asked once."""
    if arguments not in PAGES:
        code = main(list(arguments))
        printed = capsys.readouterr()
        PAGES[arguments] = code, " ".join((printed.out + printed.err).split())
    return PAGES[arguments]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main([*arguments, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.thorough
def test_the_second_line_says_what_is_in_the_times_and_how_to_leave_it_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["predict", "-s", "rm1_skylake", "--set", "node.stack=deeprecsys-repository", *QUICK]
    _, text = page(capsys, *asked)
    found = answer(capsys, *asked)
    words = found["service_times_of"]
    assert f"times: {words}" in text
    assert words.startswith("Caffe2 as DeepRecSys ran it, its conversion of inputs included: ")
    assert words.endswith("; `--set node.stack=hpca2020` leaves it out")
    # the share over the mix of requests is about that of the operator table's full batch
    converting = sum(row["share"] for row in found["operators"] if row["kind"] == "input")
    assert float(words.split(": ")[1].split(" %")[0]) == pytest.approx(100 * converting, abs=5)


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["capacity", pytest.param("tune", marks=pytest.mark.slow)])
def test_other_commands_say_it_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    extra = ["--batch-sizes", "128"] if command == "tune" else []
    found = answer(capsys, command, "-s", "ncf_skylake", *extra, *QUICK)
    assert found["service_times_of"].startswith("Caffe2 with MKL as the HPCA 2020 study ran it")


@pytest.mark.thorough
def test_a_fleet_of_two_kinds_has_one_stack(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["fleet", "-s", "rm3_skylake", "-n", "2", "--qps", "100", *QUICK]
    found = answer(capsys, *asked, "--also", "rm3_broadwell=1")
    assert {node["stack"] for node in found["nodes"]} == {"hpca2020"}
    code, text = page(capsys, *asked, "--also", "rm3_broadwell_gtx1080ti=1")
    assert code == 2
    assert "gtx1080ti@deeprecsys-isca2020 has deeprecsys-repository, deeprecsys-isca2020" in text
    _, text = page(capsys, *asked, "--also", "rm3_broadwell_gtx1080ti=1", "--mixed-stacks")
    assert "note: mixed stacks: hpca2020 on skylake, deeprecsys-isca2020 on broadwell" in text


@pytest.mark.thorough
def test_latency_on_two_devices_uses_one_stack_or_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["latency", "-m", "dlrm-rmc1", "-b", "64"]
    found = answer(capsys, *asked, "--on", "skylake", "--on", "gtx1080ti")
    assert [one["stack"] for one in found["devices"]] == ["deeprecsys-repository"] * 2
    code, text = page(capsys, *asked, "--on", "haswell", "--on", "gtx1080ti")
    assert code == 2
    assert "haswell has hpca2020; gtx1080ti has deeprecsys-repository, deeprecsys-isca2020" in text
    assert page(capsys, *asked, "--on", "haswell", "--on", "gtx1080ti", "--mixed-stacks")[0] == 0


@pytest.mark.thorough
def test_a_card_that_no_query_goes_to_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = page(capsys, "predict", "-s", "rm3_skylake", "--set", "node.accelerators=[gtx1080ti]", *QUICK)
    assert "no query is offloaded" in text
    assert "set policy.offload_threshold_items" in text


@pytest.mark.thorough
def test_cards_that_no_query_goes_to_are_said_of_points_and_plans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = "note: no query is offloaded: the accelerator is paid for and idle"
    card = ["--set", "node.accelerators=[gtx1080ti]", *QUICK]
    swept = ["sweep", "rm3_skylake", *card, "--over", "policy.batch_size=64,128", "--jobs", "1"]
    assert idle in page(capsys, *swept)[1]
    swept[-3] = "policy.offload_threshold_items=null,500"
    assert idle.replace("note: ", "note: at 1 of 2 points ") in page(capsys, *swept)[1]
    fleet = tmp_path / "cards.yaml"
    fleet.write_text(
        "services: {feed: {scenario: rm3_skylake, demand: {qps: 900}, tune: false}}\n"
        "node_types: {card: {node: {cpu: skylake, accelerators: [gtx1080ti]}, available: 40}}\n"
    )
    assert idle.replace("note: ", "note: feed on card: ") in page(capsys, "plan", str(fleet))[1]


@pytest.mark.thorough
def test_the_slow_down_that_is_assumed_comes_first_among_assumptions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, text = page(
        capsys, "predict", "-s", "rm1_skylake", "--set", "node.stack=deeprecsys-repository", *QUICK
    )
    assert "costs (conversion_slowdown, " in text


@pytest.mark.thorough
def test_profiles_are_listed_with_their_stacks_fits_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = page(capsys, "list", "profiles")
    for said in (
        "@hpca2020",
        "@deeprecsys-repository (default)",
        "fitted to dien, dlrm-rmc1",
        "% off on what",
    ):
        assert said in text
    found = answer(capsys, "list", "profiles")["profiles"]
    skylake = next(row for row in found if row["name"] == "skylake")
    assert [stack["name"] for stack in skylake["stacks"]] == ["hpca2020", "deeprecsys-repository"]
    assert all(stack["relative_error"] > 0 for stack in skylake["stacks"])
    modules = next(row for row in found if row["name"] == "amd-epyc-turin-2c-modules")
    alone, *ways = modules["stacks"]
    assert alone["name"] == "pytorch"
    names = ["eager", "eager-inference-mode", "eager-frozen", "eager-tuned", "eager-bf16", "eager-int8"]
    names += ["eager-fp16-tables", "eager-int8-tables"]
    assert [way["name"] for way in ways] == names
    assert all(way["relative_error"] > alone["relative_error"] for way in ways)
    assert "@eager: a PyTorch module as people serve it" in " ".join(text.split())


@pytest.mark.thorough
def test_an_edited_profile_answers_and_says_that_nobody_measured_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = find_file("profile", "gtx1080ti").read_text(encoding="utf-8")
    edited = tmp_path / "a100.yaml"
    edited.write_text(text.replace("{value: 484,", "{value: 1555,"), encoding="utf-8")
    asked = ["latency", "-m", "dlrm-rmc3", "-b", "256", "--on", str(edited)]
    code, said = page(capsys, *asked)
    assert code == 0
    assert "edited by hand since it was fitted" in said
    (row,) = answer(capsys, *asked)["rows"]
    assert row["basis"] == "extrapolated"
    assert {operator["basis"] for operator in row["operators"]} == {"extrapolated"}
    scenario = ["predict", "-s", "rm3_broadwell_gtx1080ti", "--set", f"node.accelerators=[{edited}]", *QUICK]
    found = answer(capsys, *scenario)
    assert found["basis"] == "extrapolated"
    assert any("nobody measured this machine" in note for note in found["notes"])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("skylake", r"batch_range: \[1, 1024\]", "batch_range: [1, 4096]"),
        (
            "skylake",
            r"relative_error_of_fitted_models: {value: 0\.",
            "relative_error_of_fitted_models: {value: 0.0",
        ),
        ("skylake", r"fitted_models: \[dien, ", "fitted_models: [ncf, dien, "),
        ("skylake", r"fitted_kinds: .*", ""),
        ("amd-epyc-turin-2c-modules", r"error_correlation: {value: 0\.", "error_correlation: {value: 0.0"),
        ("amd-epyc-turin-2c-modules", r"fitted_values: .*", ""),
    ],
)
def test_a_profile_whose_claims_were_edited_says_so(
    name: str, before: str, after: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = cast(dict[str, Any], measured_document(read_yaml(find_file("profile", name))).data())
    text = find_file("profile", name).read_text(encoding="utf-8")
    if "surfaces" in document["stacks"][document["default_stack"]]:
        text = profile_text(document)  # all of it in one file
    edited, count = tmp_path / "edited.yaml", 0
    for stated in (text, re.sub(before, after, text)):
        edited.write_text(stated, encoding="utf-8")
        main(["latency", "-m", "dlrm-rmc3", "-b", "256", "--on", str(edited)])
        said = " ".join(capsys.readouterr().out.split())
        count += "edited by hand since it was fitted" in said and "extrapolated" in said
    assert (count, re.sub(before, after, text) == text) == (1, False)
