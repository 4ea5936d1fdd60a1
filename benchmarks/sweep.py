"""How well a sweep uses two cores, 1,000 points on one and on two in one run; how long a comparison takes.

    python -m benchmarks.sweep [--points 1000] [--rounds 2]

Efficiency is the time on one core over twice the time on two, both by the same command with its process
start, the start of its workers and the writing of its table. The one core is one by the system's own word
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

TARGET = 0.85
DIFF_TARGET_S = 2.0
COMMAND = [sys.executable, "-m", "perfmodel.cli.main"]

SETTINGS = ("simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.05")


def sweep_s(first: int, points: int, cores: list[int]) -> float:
    """Wall time of a sweep over so many arrival rates, on these cores. [s]"""
    last = first + points - 1
    with tempfile.TemporaryDirectory() as folder:
        command = [*COMMAND, "sweep", "ncf_skylake"]
        command += ["--over", f"traffic.arrivals.rate_qps={first}..{last}+1", "--jobs", str(len(cores))]
        command += [part for setting in SETTINGS for part in ("--set", setting)]
        command += ["--out", str(Path(folder) / "points.csv")]
        start_s = time.perf_counter()
        subprocess.run(
            command, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
        )
        return time.perf_counter() - start_s


def diff_s() -> float:
    """Wall time of a comparison of two scenarios that differ in three keys, process start included. [s]"""
    start_s = time.perf_counter()
    subprocess.run([*COMMAND, "diff", "rm1_broadwell", "rm1_skylake"], check=True, capture_output=True)
    return time.perf_counter() - start_s


def main() -> int:
    """Print the times and the efficiency; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    sweep_s(1000, 2, cores)  # compiles what is not compiled yet
    one_s = two_s = 0.0
    share = options.points // options.rounds
    for number in range(options.rounds):
        two_s += sweep_s(1000 + number * share, share, cores)
        one_s += sweep_s(1000 + number * share, share, cores[:1])
    efficiency = one_s / (len(cores) * two_s)
    print(
        f"{options.points} points in {options.rounds} sweeps: {one_s:.1f} s on one core, {two_s:.1f} s on two"
    )
    print(f"efficiency {efficiency:.2f} (target {TARGET})")
    compared_s = min(diff_s() for _ in range(5))
    print(f"diff of two scenarios: {compared_s:.2f} s (target {DIFF_TARGET_S:g} s)")
    return 0 if efficiency >= TARGET and compared_s <= DIFF_TARGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
