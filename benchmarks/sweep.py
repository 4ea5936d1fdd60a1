"""How well a sweep uses two cores, 1,000 points on one and on two in one run; how long a comparison takes.

    python -m benchmarks.sweep [--points 1000] [--rounds 2]

Efficiency is the time on one core over twice the time on two, both by the same command with its process
start, the start of its workers and the writing of its table. Beside it stand the seconds of CPU, which other
load hardly changes: those of one core over those of two say what the workers' starts and the handing over
cost, and are what efficiency comes to where no core ever waits. The one core is one by the system's own word
(`sched_setaffinity`), so that threads within a point have no second one either. The points are parted into
rounds, one and two cores by turns, so that what else happens on the machine meets both.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TARGET = 0.85
DIFF_TARGET_S = 2.0
COMMAND = [sys.executable, "-m", "perfmodel.cli.main"]

SETTINGS = ("simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.05")


class Taken(NamedTuple):
    """Of a command: by the clock, and of all cores. [s]"""

    wall_s: float
    cpu_s: float


def sweep_s(first: int, points: int, cores: list[int]) -> Taken:
    """Seconds of a sweep over so many arrival rates, on these cores."""
    last = first + points - 1
    with tempfile.TemporaryDirectory() as folder:
        command = [*COMMAND, "sweep", "ncf_skylake"]
        command += ["--over", f"traffic.arrivals.rate_qps={first}..{last}+1", "--jobs", str(len(cores))]
        command += [part for setting in SETTINGS for part in ("--set", setting)]
        command += ["--out", str(Path(folder) / "points.csv")]
        return taken(command, cores)


def plus(one: Taken, other: Taken) -> Taken:
    """Both, one after the other."""
    return Taken(one.wall_s + other.wall_s, one.cpu_s + other.cpu_s)


def taken(command: list[str], cores: list[int]) -> Taken:
    """Run a command on these cores, its process start included."""
    before, start_s = os.times(), time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    wall_s, after = time.perf_counter() - start_s, os.times()
    system_s = after.children_system - before.children_system
    return Taken(wall_s, after.children_user - before.children_user + system_s)


DIFF = [*COMMAND, "diff", "rm1_broadwell", "rm1_skylake"]
"""Two scenarios that differ in three keys."""


def main() -> int:
    """Print the times and the efficiency; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    sweep_s(1000, 2, cores)  # compiles what is not compiled yet
    one = two = Taken(0.0, 0.0)
    share = options.points // options.rounds
    for number in range(options.rounds):
        two = plus(two, sweep_s(1000 + number * share, share, cores))
        one = plus(one, sweep_s(1000 + number * share, share, cores[:1]))
    efficiency = one.wall_s / (len(cores) * two.wall_s)
    print(f"{options.points} points in {options.rounds} sweeps")
    for name, each in (("one core", one), ("two cores", two)):
        print(f"on {name}: {each.wall_s:.1f} s, {each.cpu_s:.1f} s of CPU")
    print(f"efficiency {efficiency:.2f} (target {TARGET}); by CPU {one.cpu_s / two.cpu_s:.2f}")
    compared = min(taken(DIFF, cores) for _ in range(5))
    print(f"diff of two scenarios: {compared.wall_s:.2f} s (target {DIFF_TARGET_S:g} s)")
    return 0 if efficiency >= TARGET and compared.wall_s <= DIFF_TARGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
