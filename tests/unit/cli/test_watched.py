"""The line that says how far long work is: when it shows, what it says, and that nothing is left of it."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.observed_cases import truth, write_log
from perfmodel.cli.watched import Unwatched, Watch, watched
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.planning.observe.computation import observe
from perfmodel.planning.observe.log import checked_log
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.simulation import simulated
from perfmodel.report.comparing import compare
from perfmodel.threads import side_by_side
from tests.golden.scenarios import QUICK


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that stands still until it is set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_nothing_is_said_before_two_seconds_and_then_the_time_left() -> None:
    stream, clock = Terminal(), Clock()
    watch = Watch(stream, clock)
    tell = watch.stage("windows")
    clock.now_s = 1.9
    tell(0.25)
    watch.draw()
    assert stream.getvalue() == ""
    clock.now_s = 5.0
    assert watch.line() == "windows ######..................  25 %, about 15 s left"
    tell(0.1)  # what is done stays done
    assert "25 %" in watch.line()


def test_a_stage_that_takes_a_known_time_counts_it_down() -> None:
    clock = Clock()
    watch = Watch(Terminal(), clock)
    watch.stage("measuring", of_s=100.0)
    clock.now_s = 30.0
    assert watch.line().endswith("30 %, about 70 s left")
    clock.now_s = 500.0  # longer than it should take: never done before it is
    assert watch.line().endswith("99 %, about 1 s left")


def test_a_new_stage_begins_anew_and_an_old_one_is_not_heard() -> None:
    clock = Clock()
    watch = Watch(Terminal(), clock)
    first = watch.stage("first")
    clock.now_s = 10.0
    watch.stage("second")
    first(0.9)
    clock.now_s = 12.0
    assert watch.line() == f"second {'.' * 24}   0 %, 2 s until now"


def test_the_line_is_taken_away() -> None:
    stream, clock = Terminal(), Clock()
    watch = Watch(stream, clock)
    watch.stage("hours")
    clock.now_s = 3.0
    watch.draw()
    width = len(stream.getvalue()) - 1
    watch.clear()
    assert stream.getvalue().endswith(f"\r{' ' * width}\r")


def test_where_stderr_is_no_terminal_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with watched() as watch:
        assert isinstance(watch, Unwatched)
        watch.stage("hours")(0.5)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with watched() as watch:
        assert isinstance(watch, Watch)


def test_work_side_by_side_tells_how_much_of_it_is_done() -> None:
    told: list[float] = []
    assert side_by_side(abs, [-1, -2, 3, -4], told.append) == [1, 2, 3, 4]
    assert told == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.thorough
def test_a_command_on_a_terminal_shows_its_bar_on_stderr_only() -> None:
    ours, theirs = pty.openpty()
    code = (
        "import perfmodel.cli.watched as w; w.SILENT_S = 0.0; w.EVERY_S = 0.01\n"
        "from perfmodel.cli.main import main\n"
        "few = ['--set', 'simulation.min_queries=5000', '--set', 'simulation.max_queries=5000']\n"
        "raise SystemExit(main(['capacity', 'rm3_skylake', *few, '--json']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.stdout is not None
        printed = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert printed.startswith(b"{")
    assert b"largest load #" not in printed
    assert b"largest load #" in shown
    assert shown.replace(b"\r\n", b"").endswith(b" \r")  # gone at the end


@pytest.mark.thorough
def test_a_comparison_and_an_observation_tell_how_much_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    compare("rm3_skylake", "rm3_broadwell", overrides=QUICK, tell=told.append)
    assert len(told) >= 3  # both sides, and each key alone
    _assert_grows(told)
    monkeypatch.chdir(tmp_path)
    write_log(truth(13), Path("log.csv"), num_queries=4000, seed=1)
    told.clear()
    observe(checked_log(read_recording(Path("log.csv"))), tell=told.append)
    _assert_grows(told)


@pytest.mark.thorough
def test_the_simulation_of_a_plan_tells_how_much_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))  # what an earlier run kept takes no time
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "services: {a: {scenario: ncf_skylake, demand: {qps: 60000}, tune: false}}\n"
        "node_types: {skylake: {node: {cpu: skylake}, available: 99}}\n",
        encoding="utf-8",
    )
    told: list[float] = []
    simulated(plan(plan_question(load_fleet(str(fleet)))), tell=told.append)
    assert len(told) >= 4  # both ends of the day, and a search
    _assert_grows(told)


def _assert_grows(told: list[float]) -> None:
    assert told == sorted(told)
    assert told[-1] >= 0.95  # what comes after is soon done
    assert any(0.0 < share < 1.0 for share in told)
