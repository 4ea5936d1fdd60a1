"""How often does the backlog test call a run overloaded? Prints a table of alarm rates by load.

    python -m benchmarks.backlog_alarms --repetitions 150

M/M/8, 300,000 queries a run: alarms up to a load of 100 % are false, beyond it they are wanted.
"""

from __future__ import annotations

import argparse

from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.engines import simulate
from tests.textbook import exponential_queue

NUM_QUERIES = 300_000
LOADS = (0.9, 0.98, 0.995, 1.0, 1.01, 1.02, 1.05)


def alarm_rate(load: float, repetitions: int) -> float:
    """Fraction of independent runs at this load that are called overloaded. [1]"""
    queue = exponential_queue(0.5, 8)
    traffic = queue.traffic.at_rate(8.0 * load)
    alarms = 0
    for replication in range(repetitions):
        queries = traffic.draw(NUM_QUERIES, seed=1, replication=replication)
        alarms += overloaded_pool(simulate(queries, queue.service, queue.policy)) is not None
    return alarms / repetitions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=150)
    repetitions = parser.parse_args().repetitions
    print("load     called overloaded")
    for load in LOADS:
        print(f"{load:<8.1%} {alarm_rate(load, repetitions):.1%}", flush=True)


if __name__ == "__main__":
    main()
