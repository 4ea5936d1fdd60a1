"""Reports of accuracy commands read back: what is one, what is none, and what they say without measuring."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure import accuracy, beside, device_accuracy
from calibration.measure.reports import guarded, kept_models
from perfmodel.errors import InputError
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.units import US

REPORTS = Path(__file__).parents[4] / "docs" / "reports"
HOST = "intel-xeon-emerald-16c"
ROW = {"workers": 2, "batch_size": 64, "measured_slow_down": 1.5}


def written(folder: Path, document: Any) -> Path:
    path = folder / "report.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("wrap", [lambda models: models, lambda models: {"models": models}])
def test_models_are_read_back_by_name(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    path = written(tmp_path, wrap([{"model": "ncf", "rows": [ROW | {"rounds_ms": [1, 2.5]}]}]))
    assert kept_models(path, ("workers", "rounds_ms"))["ncf"]["rows"][0]["measured_slow_down"] == 1.5


@pytest.mark.parametrize(
    "document",
    [
        3,
        [],
        {},
        {"models": {}},
        [3],
        [{"model": "ncf"}],
        [{"model": "ncf", "rows": []}],
        [{"model": 3, "rows": [ROW]}],
        [{"model": "ncf", "rows": [3]}],
        [{"model": "ncf", "rows": [ROW | {"workers": 0}]}],
        [{"model": "ncf", "rows": [ROW | {"workers": "2"}]}],
        [{"model": "ncf", "rows": [ROW | {"workers": True}]}],
        [{"model": "ncf", "rows": [ROW | {"workers": []}]}],
        [{"model": "ncf", "rows": [ROW | {"workers": float("nan")}]}],
    ],
)
def test_what_is_no_report_is_one_line(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InputError, match=r"^[^\n]*report\.json: expected a report that --json wrote[^\n]*$"):
        kept_models(written(tmp_path, document), ("workers",))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00"])
def test_what_is_no_json_is_one_line_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"^[^\n]*report\.json:[^\n]*$"):
        kept_models(path, ("workers",))


@pytest.mark.thorough_cases("arguments0-nowhere.json: -calibration.measure.accuracy")
@pytest.mark.parametrize("command", [accuracy, beside, device_accuracy])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--measured", "nowhere.json"], "nowhere.json: "),
        (["--measured", "nowhere.json", "--models", "nosuch"], "unknown model 'nosuch'"),
        (["--measured", "nowhere.json", "--profile", "nosuch"], "unknown profile 'nosuch'"),
    ],
)
def test_a_slip_is_one_line_before_anything_is_measured(
    command: Any,
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "--profile", "h200", *arguments])
    with pytest.raises(SystemExit, match="2"):
        guarded(command.main)
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


CHANGED = ("ncf", "din", "dien")
"""Models whose files follow the public code since these measurements: they ran the earlier ones."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("command", "report", "profile", "last"),
    [
        (
            accuracy,
            "accuracy-intel-xeon-emerald-16c.json",
            "intel-xeon-emerald-16c",
            "all: mean error percent",
        ),
        (beside, "beside-intel-xeon-emerald-16c.json", "intel-xeon-emerald-16c", "16 workers: mean error"),
        (
            accuracy,
            "accuracy-intel-xeon-emerald-16c-another-machine.json",
            "intel-xeon-emerald-16c",
            "all: mean error percent",
        ),
        (
            beside,
            "beside-intel-xeon-emerald-16c-another-machine.json",
            "intel-xeon-emerald-16c",
            "16 workers: mean error",
        ),
        (device_accuracy, "accuracy-h200.json", "h200", "power of the card: mean error"),
        (device_accuracy, "accuracy-h100-80gb.json", "h100-80gb", "power of the card: mean error"),
        (
            device_accuracy,
            "accuracy-h100-80gb-another-machine.json",
            "h100-80gb",
            "power of the card: mean error",
        ),
    ],
)
def test_kept_measurements_are_compared_with_the_shipped_profile_as_the_report_says(
    command: Any,
    report: str,
    profile: str,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A profile that was fitted anew without its reports would fail here."""
    out = tmp_path / "again.json"
    given = ["--profile", profile, "--measured", str(REPORTS / report), "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["command", *given])
    command.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith(last)
    errors = [
        [
            row["error_percent"]
            for name, model in kept_models(path, ("batch_size",)).items()
            if name not in CHANGED
            for row in model["rows"]
        ]
        for path in (out, REPORTS / report)
    ]
    assert errors[0] == pytest.approx(errors[1], abs=0.2)


H100 = (
    "accuracy-h100-80gb",
    "accuracy-unseen-h100-80gb",
    "crossover-h100-80gb",
    "accuracy-h100-80gb-another-machine",
    "accuracy-unseen-h100-80gb-another-machine",
)
"""Visits to three machines with an H100, each with probes of its host."""


def test_the_level_of_the_h100s_host_is_the_mean_over_all_visits() -> None:
    """Its own calibration met the host at its slow speed: 1.43."""
    means = []
    for name in H100:
        models = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
        means.append(
            np.mean([probe for model in models for row in model["rows"] for probe in row["probes_us"]])
        )
    launches = find_device("h100-80gb", find_model("ncf")).launches
    assert launches is not None
    assert launches.host_level * launches.quiet_probe_s / US == pytest.approx(np.mean(means), rel=1e-3)


def test_the_level_of_the_shipped_h100_is_that_of_its_five_reports_and_moves_little_without_one() -> None:
    names = (
        *("accuracy-h100-80gb", "accuracy-h100-80gb-another-machine", "accuracy-unseen-h100-80gb"),
        *("accuracy-unseen-h100-80gb-another-machine", "crossover-h100-80gb"),
    )
    launches = find_device("h100-80gb", find_model("ncf")).launches
    assert launches is not None
    levels = [
        device_accuracy.mean_level(
            list(kept_models(REPORTS / f"{name}.json", ("probes_us",)).values()), launches.quiet_probe_s
        )
        for name in names
    ]
    assert np.mean(levels) == pytest.approx(launches.host_level, abs=1e-3)
    # As docs/gpu.md prints them: the reports' own, and the mean of the others.
    assert np.round(levels, 3).tolist() == [1.187, 1.083, 1.172, 1.216, 1.216]
    without = [np.mean(levels[:at] + levels[at + 1 :]) for at in range(len(levels))]
    assert np.round(without, 3).tolist() == [1.172, 1.198, 1.176, 1.165, 1.165]
