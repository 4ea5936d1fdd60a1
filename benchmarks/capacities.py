"""How long the capacities of a fleet take to find, and a plan whose capacities are kept.

    python -m benchmarks.capacities [--models 8] [--types 6]

Each service is another shipped model, tuned on each of so many node types to 1 %, on all cores, with nothing
kept but compiled code: then the same plan again, with everything kept. Both by the command, its process start
included, without the simulation of the plan, timed by itself. Seconds of the clock, and of all cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "perfmodel.cli.main"]

COLD_TARGET_S = 30.0
KEPT_TARGET_S = 1.0

# A scenario of each model, and a rate of which some ten nodes are asked. [queries/s]
SERVICES = {
    "rm1_broadwell": 30_000,
    "rm3_broadwell": 10_000,
    "ncf_broadwell": 200_000,
    "wnd_broadwell": 10_000,
    "rm2_broadwell": 2_000,
    "mt_wnd_broadwell": 3_000,
    "din_broadwell": 100_000,
    "dien_broadwell": 10_000,
}

NODES = (
    "{cpu: broadwell@hpca2020}",
    "{cpu: skylake@hpca2020}",
    "{cpu: haswell@hpca2020}",
    "{cpu: broadwell@hpca2020, cores: 16}",
    "{cpu: skylake@hpca2020, cores: 20}",
    "{cpu: haswell@hpca2020, cores: 12}",
)


def fleet_text(models: int, types: int) -> str:
    """A fleet of the first models on the first node types, all capacities to be found."""
    services = [
        f"  {name}: {{scenario: {name}, demand: {{peak_qps: {rate_qps}, trough: 0.4}}}}"
        for name, rate_qps in list(SERVICES.items())[:models]
    ]
    nodes = [f"  type{index}: {{node: {node}, available: 1000}}" for index, node in enumerate(NODES[:types])]
    provision = "provision: {objective: power, confidence: 0.6}"
    return "\n".join(["services:", *services, "node_types:", *nodes, provision, ""])


def seconds(*arguments: str, cache: str) -> tuple[float, float]:
    """Of a command, by the clock and of all cores; what it found is kept in a folder. [s]"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start_s = time.perf_counter()
    found = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": cache}
    )
    wall_s = time.perf_counter() - start_s
    if found.returncode not in (0, 3):
        raise SystemExit(found.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s


def main() -> None:
    """Print the seconds of each, beside what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=len(SERVICES))
    parser.add_argument("--types", type=int, default=len(NODES))
    asked = parser.parse_args()
    pairs = asked.models * asked.types
    print(f"| {pairs} pairs of model and node type | s | CPU s | asked |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        fleet = Path(folder) / "fleet.yaml"
        fleet.write_text(fleet_text(asked.models, asked.types), encoding="utf-8")
        plain = ("plan", str(fleet), "--no-simulate", "--json")
        # Compile first, in the folder that keeps capacities too: another confidence finds others.
        one = Path(folder) / "one.yaml"
        one.write_text(fleet_text(1, 1).replace("0.6", "0.61"), encoding="utf-8")
        seconds("plan", str(one), "--json", cache=folder)
        row("capacities tuned, cold", seconds(*plain, cache=folder), f"{COLD_TARGET_S:g} s for 48")
        kept = min(seconds(*plain, cache=folder) for _ in range(3))
        row("plan, capacities kept", kept, f"{KEPT_TARGET_S:g} s")
        row("plan simulated, capacities kept", seconds("plan", str(fleet), "--json", cache=folder), "")
        again = min(seconds("plan", str(fleet), "--json", cache=folder) for _ in range(3))
        row("plan simulated, everything kept", again, f"{KEPT_TARGET_S:g} s")


def row(name: str, found: tuple[float, float], target: str) -> None:
    """Print what took how long, as soon as it is known."""
    print(f"| {name} | {found[0]:.1f} | {found[1]:.1f} | {target} |", flush=True)


if __name__ == "__main__":
    main()
