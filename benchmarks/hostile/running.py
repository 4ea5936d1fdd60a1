"""Cases run in processes forked off one that has imported everything; each is timed and weighed."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perfmodel.cli.main import main

LIMIT_S = 180.0
"""Of processor time: what takes longer hangs. Batches of one item take a minute of two cores."""

WAITS = 20
"""How many times as long a case may last by the clock: beyond, it waits for something that never comes."""

MOST_MB = 1000.0
"""Of memory beyond what the libraries take."""

_ADDRESS_SPACE = 16 * 2**30
_TRACEBACK = 97
_PROCESSES = 2
_LONGEST_LINE = 800
_ANSWERS = {0, 2, 3, 4, 5, 6, 7}

_PLACE = re.compile(r"\S+:\d+:\d+: .")
"""`file:line:column: …`, which the refusal of what stands in a file begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call: what is asked, with which arguments, and what has to be there first."""

    group: str
    what: str
    arguments: tuple[str, ...]
    files: Callable[[Path], None] = lambda _: None
    placed: bool = False
    """Whether what is refused stands in a file, and so has a place there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended."""

    case: Case
    ending: str
    is_offence: bool
    seconds: float
    mb: float
    said: str

    def row(self) -> dict[str, str | float]:
        """As a line of a file of outcomes."""
        told = {"group": self.case.group, "what": self.case.what, "ending": self.ending, "said": self.said}
        return {**told, "seconds": round(self.seconds, 2), "mb": round(self.mb)}


def run_all(cases: Iterable[Case], *, limit_s: float = LIMIT_S) -> Iterator[Outcome]:
    """Run cases, two at a time, and say how each ended."""
    waiting, running = iter(cases), dict[int, _Running]()
    with tempfile.TemporaryDirectory() as root:
        number = 0
        while True:
            while len(running) < _PROCESSES and (case := next(waiting, None)) is not None:
                number += 1
                started = _start(case, Path(root) / str(number), limit_s)
                running[started.pid] = started
            if not running:
                return
            for pid in list(running):
                ended, status, usage = os.wait4(pid, os.WNOHANG)
                if ended:
                    yield running.pop(pid).outcome(status, usage)
                elif time.monotonic() - running[pid].began_s > WAITS * limit_s:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)


@dataclass(frozen=True, slots=True)
class _Running:
    case: Case
    pid: int
    folder: Path
    began_mb: float
    began_s: float

    def outcome(self, status: int, usage: resource.struct_rusage) -> Outcome:
        out, err = ((self.folder / name).read_text(errors="replace") for name in ("out", "err"))
        mb = max(0.0, usage.ru_maxrss / 1024 - self.began_mb)
        ending = _ending(status, out, err, arguments=self.case.arguments, placed=self.case.placed)
        is_offence = not ending.startswith("exit ")
        if not is_offence and mb > MOST_MB:
            ending, is_offence = "memory", True
        seconds = usage.ru_utime + usage.ru_stime
        for name in self.folder.iterdir():
            if name.is_file():
                name.unlink()
        said = (err.strip().splitlines() or [""])[-1][:300]
        return Outcome(
            case=self.case, ending=ending, is_offence=is_offence, seconds=seconds, mb=mb, said=said
        )


def _ending(status: int, out: str, err: str, *, arguments: tuple[str, ...], placed: bool) -> str:
    """The exit code, or what is wrong with the end."""
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        return "hang" if ended_by in (signal.SIGXCPU, signal.SIGKILL) else f"signal {ended_by}"
    code = os.WEXITSTATUS(status)
    notes = [line for line in err.splitlines() if not line.startswith("note: ")]
    if code == _TRACEBACK or "Traceback" in err:
        return "traceback"
    if "Warning" in err:
        return "warning"
    if code not in _ANSWERS:
        return f"code {code}"
    if code == 2 and (len(notes) != 1 or out):
        return f"{len(notes)} lines"
    if max(map(len, notes), default=0) > _LONGEST_LINE:
        return "long line"
    if code == 2 and placed and not _PLACE.match(notes[0]):
        return "no place"
    asked = " ".join(arguments)  # names are said again
    if any(word in out and word.strip() not in asked for word in ("NaN", "Infinity", " nan", " inf ")):
        return "not a number"
    return f"exit {code}"


def _start(case: Case, folder: Path, limit_s: float) -> _Running:
    folder.mkdir()
    case.files(folder)
    began_mb = _resident_mb()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_the_case(case, folder, limit_s)
    return _Running(case, pid, folder, began_mb, time.monotonic())


def _be_the_case(case: Case, folder: Path, limit_s: float) -> None:
    """Run the call in this process, which ends with it."""
    code = _TRACEBACK
    try:
        os.chdir(folder)
        for name, number in (("out", 1), ("err", 2)):
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        sys.stdout, sys.stderr = (
            os.fdopen(1, "w", errors="replace"),
            os.fdopen(2, "w", errors="backslashreplace"),
        )
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        code = main(case.arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _resident_mb() -> float:
    """Memory of this process, which a forked one begins with."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
