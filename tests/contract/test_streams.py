"""Streams that are closed, full, of another encoding or that end: one behaviour for every command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import perfmodel
from perfmodel.cli.commands import COMMANDS

CHECKOUT = Path(perfmodel.__file__).parent.parent
COMMAND = f"{sys.executable} -m perfmodel.cli.main"
ANSWERS = [
    "list",
    "list scenarios",
    "list profiles --json",
    "schema profile",
    "latency --model ncf --on skylake@hpca2020",
    "latency --model ncf --on skylake@hpca2020 --json",
    "predict --scenario rm3_skylake --set simulation.precision=0.2",
    "predict --scenario rm3_skylake --set simulation.precision=0.2 --json",
    "--help",
    "--version",
    *(f"{name} --help" for name in COMMANDS if name in ("calibrate", "validate", "tune")),
]
# Each is a process of its own: by default one of a third of a second, among the thorough tests one that reads
# all files, and one that simulates.
QUICK = "list scenarios"
THOROUGH = ("list", "predict --scenario rm3_skylake --set simulation.precision=0.2 --json")
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")


def by_answer(answers: list[str], *by_default: str) -> pytest.MarkDecorator:
    """One test for each answer, of which those not named here are thorough or slow."""
    marks = dict.fromkeys(answers, pytest.mark.slow) | dict.fromkeys(THOROUGH, pytest.mark.thorough)
    return pytest.mark.parametrize(
        "answer",
        [each if each in by_default else pytest.param(each, marks=marks[each]) for each in answers],
    )


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a line, in which {} is the command."""
    exports = "".join(f"export {name}={value}; " for name, value in environment.items())
    return subprocess.run(
        ["bash", "-c", exports + line.replace("{}", COMMAND)],
        cwd=CHECKOUT,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=120,
    )


@pytest.mark.thorough_cases("list scenarios")
@full
@by_answer(ANSWERS, QUICK)
def test_a_full_stdout_is_one_line_and_2(answer: str) -> None:
    done = shell(f"{{}} {answer} > /dev/full")
    assert (done.returncode, done.stderr) == (2, "stdout: cannot be written: No space left on device\n")


@by_answer(["list scenarios", "predict --scenario rm3_skylake", "calibrate --out x.yaml", ""], QUICK, "")
def test_a_closed_stdout_is_one_line_and_2_before_anything_is_done(answer: str) -> None:
    done = shell(f"{{}} {answer} >&-")
    assert done.returncode == 2
    assert done.stderr == "stdout is closed, where the answer goes; > /dev/null runs without one\n"


@by_answer(ANSWERS)
def test_a_pipe_that_ends_is_silent_and_as_a_shell_reports_it(answer: str) -> None:
    done = shell(f"{{}} {answer} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (141, "")


UNTOLD = ["2>&-", pytest.param("2>/dev/full", marks=[full, pytest.mark.thorough])]


@pytest.mark.parametrize("stderr", UNTOLD)
@pytest.mark.parametrize(
    "wrong",
    [
        "predict --scenario nobody",
        *(pytest.param(line, marks=pytest.mark.slow) for line in ("lst", "latency --model ncf --on nothing")),
    ],
)
def test_an_error_that_cannot_be_told_still_ends_with_2(wrong: str, stderr: str) -> None:
    done = shell(f"{{}} {wrong} {stderr}")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("stderr", UNTOLD)
def test_a_note_never_lands_in_the_answer(stderr: str, tmp_path: Path) -> None:
    module = tmp_path / "noisy.py"
    module.write_text(
        "import warnings\nfrom perfmodel.cli import commands\n"
        "from perfmodel.cli.main import main\nfrom perfmodel.errors import CalibrationWarning\n"
        "def noisy() -> None:\n"
        "    warnings.warn('a note', CalibrationWarning)\n    print('{}')\n"
        "commands.COMMANDS = {'noisy': commands.LazyCommand('', lambda: noisy)}\n"
        "raise SystemExit(main())\n"
    )
    told = shell(f"PYTHONPATH=. {sys.executable} {module} noisy")
    assert (told.stdout, told.stderr) == ("{}\n", "note: a note\n")
    done = shell(f"PYTHONPATH=. {sys.executable} {module} noisy {stderr}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}\n", "")


@pytest.mark.thorough_cases("list scenarios-ascii")
@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.slow)])
@by_answer(ANSWERS[:8], QUICK)
def test_what_the_terminal_cannot_show_is_replaced(answer: str, encoding: str) -> None:
    done = shell(f"{{}} {answer}", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    if "json" in answer:
        assert json.loads(done.stdout)


def test_too_little_address_space_is_one_line_and_2() -> None:
    done = shell("ulimit -v 500000; {} capacity --scenario rm3_skylake")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("out of memory: this process may map 0.48 GiB (ulimit -v)")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"NUMBA_NUM_THREADS": "0"}, "NUMBA_NUM_THREADS: expected a whole number >= 1"),
        ({"NUMBA_NUM_THREADS": "many"}, "NUMBA_NUM_THREADS: expected a whole number >= 1"),
        ({"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT: expected no such variable"),
    ],
)
def test_settings_of_the_compiler_that_cannot_work_are_one_line(setting: dict[str, str], says: str) -> None:
    done = shell("{} capacity --scenario rm3_skylake", **setting)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == 1
