"""`perfplan tune --deeprecsys-mode` from the command line."""

from __future__ import annotations

import json

import pytest

from perfmodel.cli.main import main

ISCA = ["--set", "node.stack=deeprecsys-isca2020"]
HOPELESS = ["tune", "-s", "rm3_broadwell", *ISCA, "--deeprecsys-mode", "--set", "sla.latency_ms=0.01"]


@pytest.mark.slow
def test_an_sla_that_no_load_meets_is_one_json_document_and_exit_code_3(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*HOPELESS, "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["latency_bounded_qps"] is None
    assert document["rows"] == []
    assert document["climb"]["climbs"] == 32


def test_options_of_the_other_search_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*HOPELESS, "--sla-levels"]) == 2
    assert capsys.readouterr().err.startswith("--deeprecsys-mode: ")


@pytest.mark.parametrize(
    ("scenario", "place", "wrong"),
    [
        ("rm3_skylake_bursty", "9:23: process", "expects process poisson"),
        ("wnd_broadwell_size_priority", "12:9: name", "knows policy split without shedding only"),
    ],
)
def test_what_the_controller_cannot_serve_is_told_at_its_place(
    scenario: str, place: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "-s", scenario, "--deeprecsys-mode"]) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"{scenario}.yaml:{place}: DeepRecSys mode {wrong}\n")
    assert error.count("\n") == 1
