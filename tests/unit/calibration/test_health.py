"""What disturbs a measurement, on trees and clocks written for the test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from calibration import health
from calibration.health import Finding, examine, scheduling_noise, shared_cache
from perfmodel.cli.main import main
from perfmodel.domain.fingerprint import Machine

QUIET = {
    "proc/loadavg": "0.05 0.1 0.1 1/93 100\n",
    "proc/stat": "cpu  100 0 100 1000 0 0 0 1 0 0\n",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n",
}
MACHINE = Machine(
    cores=4, threads=4, memory_gib=32.0, governor="performance", huge_pages="madvise", turbo=False
)


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_l3_lifetime_s", lambda: float("inf"))


def found(tmp_path: Path, machine: Machine = MACHINE, **changed: str) -> dict[str, Finding]:
    for name, text in (QUIET | {key.replace("__", "/"): value for key, value in changed.items()}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return {finding.name: finding for finding in examine(tmp_path, spin_s=0.001, machine=machine)}


def test_a_quiet_machine_has_nothing_to_fix(tmp_path: Path) -> None:
    findings = found(tmp_path)
    noisy = {
        "timer",
        "torch",
        "power",
        "scheduling noise",
        "last-level cache",
    }  # of the real machine, whatever it is
    assert all(finding.status == "ok" for name, finding in findings.items() if name not in noisy)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("frequency governor", {"governor": "powersave"}),
        ("turbo", {"turbo": True}),
        ("hyper-threads", {"threads": 8}),
        ("processor quota", {"quota_cores": 1.5}),
        ("virtualisation", {"hypervisor": "KVM"}),
        ("huge pages", {"huge_pages": "never"}),
    ],
)
def test_each_setting_that_disturbs_says_what_helps(
    tmp_path: Path, name: str, change: dict[str, object]
) -> None:
    finding = found(tmp_path, MACHINE.model_copy(update=change))[name]
    assert finding.status != "ok"
    assert finding.consequence
    assert finding.remedy
    assert finding.to_dict()["status"] == "warn"


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("load", "proc__loadavg", "1.5 1.0 1.0 3/93 100\n"),
        ("steal time", "proc__stat", "cpu  100 0 100 1000 0 0 0 50 0 0\n"),
        ("swap", "proc__swaps", "Filename Type Size Used Priority\n/swap file 2048 1024 -2\n"),
        ("free memory", "proc__meminfo", "MemAvailable: 1048576 kB\n"),
    ],
)
def test_each_thing_that_is_busy_or_short_is_found(tmp_path: Path, name: str, file: str, text: str) -> None:
    assert found(tmp_path, **{file: text})[name].status != "ok"


@pytest.mark.parametrize(("given_s", "is_ok"), [(1.0, True), (0.9, False)])
def test_time_that_a_spinning_thread_did_not_get_is_noise(given_s: float, is_ok: bool) -> None:
    wall, own = iter([0.0, 0.5, 1.0]), iter([0.0, given_s])
    finding = scheduling_noise(0.8, wall=lambda: next(wall), own=lambda: next(own))
    assert (finding.status == "ok") is is_ok


@pytest.mark.thorough
def test_without_torch_the_doctor_says_so_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(health, "find_spec", lambda _: None)
    assert main(["doctor", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    (check,) = [check for check in answer["checks"] if check["status"] == "blocks"]
    assert not answer["ready"]
    assert (check["name"], check["remedy"]) == ("torch", "pip install 'perfplan[calibration]'")


@pytest.mark.parametrize(("lifetime_s", "is_ok"), [(float("inf"), True), (0.004, False)])
def test_a_cache_that_neighbours_fill_is_found(lifetime_s: float, is_ok: bool) -> None:
    finding = shared_cache(lambda: lifetime_s)
    assert (finding.status == "ok") is is_ok
    assert ("4.0 ms" in finding.value) is not is_ok


@pytest.mark.parametrize("name", ["frequency governor", "turbo", "huge pages"])
def test_a_setting_that_is_not_shown_is_unknown_and_not_fine(tmp_path: Path, name: str) -> None:
    hidden = MACHINE.model_copy(update={"governor": None, "turbo": None, "huge_pages": None})
    finding = found(tmp_path, hidden)[name]
    assert finding.status == finding.to_dict()["status"] == "unknown"
    assert finding.status != "ok"


@pytest.mark.parametrize("name", ["load", "steal time", "swap", "free memory"])
def test_a_file_that_is_not_there_is_unknown_and_not_fine(tmp_path: Path, name: str) -> None:
    (finding,) = [one for one in examine(tmp_path, spin_s=0.001, machine=MACHINE) if one.name == name]
    assert finding.status == "unknown"


@pytest.mark.thorough
def test_the_page_shows_what_to_install_and_counts_what_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(health, "find_spec", lambda _: None)
    assert main(["doctor"]) == 2
    page = capsys.readouterr().out
    assert "pip install 'perfplan[calibration]'" in page
    assert "BLOCKS  torch" in page
    assert "1 of 15 checks would stop a calibration" in page
    assert "could not be made: this system does not show it" in page  # the cache needs torch
