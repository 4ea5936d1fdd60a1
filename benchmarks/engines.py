"""Everything about speed in one run, as ratios where there is something to compare with. Prints tables.

    python -m benchmarks.engines                     all sections, a few minutes
    python -m benchmarks.engines rivals probes       some of them

Each time is the least of several; run it on an idle machine.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.capacity import capacity_rows
from benchmarks.scale import linearity_rows, memory_rows, precision_rows, predict_rows
from benchmarks.speed import Row, policy_rows, probe_rows, rival_rows, unsteady_rows

SECTIONS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "rivals": rival_rows,
    "policies": policy_rows,
    "unsteady": unsteady_rows,
    "probes": probe_rows,
    "predict": predict_rows,
    "capacity": capacity_rows,
    "precision": precision_rows,
    "memory": memory_rows,
    "linearity": linearity_rows,
}


def main(names: list[str]) -> int:
    """Measure and print the sections of these names, all without any; 1 where a target is missed."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        print(f"unknown: {', '.join(unknown)}; expected {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    print(f"{cpu_model()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    missed = 0
    for name in names or list(SECTIONS):
        print(f"\n{name}")
        for row in SECTIONS[name]():
            missed += not row.meets
            print(line(row), flush=True)
    return int(missed > 0)


def line(row: Row) -> str:
    """Format a figure with its target."""
    text = f"  {row.name:<52} {row.measured:10,.2f} {row.unit:<12}"
    if row.target is None:
        return text
    sign = "<=" if row.at_most else ">="
    return f"{text} {sign} {row.target:<7g} {'met' if row.meets else 'MISSED'}"


def cpu_model() -> str:
    """Name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for entry in information.read_text().splitlines():
            if entry.startswith("model name"):
                return entry.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
