"""How well do 6 nodes show the latency distribution of 300? Prints the table of docs/fleet.md.

    python -m benchmarks.handful

Largest error of p50, p75, p90, p95 and p99, the worse of two fleets: all Skylake, and half of it Broadwell.
"""

from __future__ import annotations

import numpy as np

from perfmodel.domain.fleet import Routing
from tests.validation.test_fleet_subsample import errors

LOADS = (0.6, 0.8, 0.9)
MIXES = (("rm3_skylake",), ("rm3_skylake", "rm3_broadwell"))
# A router that deals out in turn overloads the slower nodes of a mixed fleet.
CASES = (
    (Routing.RANDOM, False, MIXES),
    (Routing.JOIN_SHORTEST_QUEUE, True, MIXES),
    (Routing.JOIN_SHORTEST_QUEUE, False, MIXES),
    (Routing.POWER_OF_TWO, False, MIXES),
    (Routing.ROUND_ROBIN, False, MIXES[:1]),
)


def main() -> None:
    """Measure and print."""
    print("| routing | 6 nodes | " + " | ".join(f"{load:.0%}" for load in LOADS) + " of capacity |")
    print("| --- | --- |" + " --- |" * len(LOADS))
    for routing, watched, mixes in CASES:
        worst = [
            max(np.abs(errors(names, load, routing, watched_in_the_fleet=watched)).max() for names in mixes)
            for load in LOADS
        ]
        only = ", all Skylake" if len(mixes) == 1 else ""
        seen = "watched in the fleet" if watched else "alone"
        cells = " | ".join(f"{100 * error:.0f} %" for error in worst)
        print(f"| {routing.value}{only} | {seen} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
