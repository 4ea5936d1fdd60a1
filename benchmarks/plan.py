"""How long a large fleet takes to plan, its capacities known: 40 services, 12 node types, 24 hours.

    python -m benchmarks.plan [--seeds 3] [--each]

prints a table: seconds of the clock, and of all cores, which other load hardly changes: the middle of all
seeds, and the longest; the largest gap of all hours of all. `--each` names the seeds: how slow a fleet is
depends on how many of its types are scarce at once, and on what a failure costs a service of several types.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

from perfmodel.domain.provision import HOURS_OF_A_DAY, Demand, Provision
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.question import PairCapacity, PlanQuestion, Service, StockedType

SERVICES, TYPES = 40, 12
TARGET_S, TARGET_GAP = 2.0, 1e-3

CASES = {
    "headroom 10 %": {"headroom": 0.1},
    "and a node of each type lost": {"headroom": 0.1, "failures": {"nodes": 1}},
    "and a zone of three lost": {"headroom": 0.1, "failures": {"zones": 3}},
}


def large_fleet(seed: int, provision: dict[str, object], nodes_a_service: float = 100.0) -> PlanQuestion:
    """A fleet drawn from a seed: capacities that differ by service, type and pair, and stock that binds."""
    rng = np.random.default_rng(seed)
    rates = rng.lognormal(7, 0.8, (SERVICES, 1)) * rng.lognormal(0, 0.4, (1, TYPES))
    rates *= rng.lognormal(0, 0.3, (SERVICES, TYPES))
    peaks = rates.mean(axis=1) * rng.uniform(0.1, 1.9, SERVICES) * nodes_a_service
    stock = int(1.8 * float((peaks / rates.mean(axis=1)).sum()) / TYPES)
    hours = tuple(range(HOURS_OF_A_DAY))
    days = [Demand(peak_qps=float(peak), trough=0.4) for peak in peaks]
    return PlanQuestion(
        name="large",
        services=tuple(
            Service(f"s{row}", tuple(day.at_hour(hour) for hour in hours)) for row, day in enumerate(days)
        ),
        node_types=tuple(
            StockedType(name=f"t{column}", owned=stock, available=stock, tdp_w=float(rng.integers(150, 700)))
            for column in range(TYPES)
        ),
        hours=hours,
        capacities={
            (f"s{row}", f"t{column}"): PairCapacity(float(rates[row, column]), float(rates[row, column]))
            for row in range(SERVICES)
            for column in range(TYPES)
        },
        refused={},
        provision=Provision.model_validate({"objective": "power", **provision}),
    )


def main() -> None:
    """Print the seconds and the gaps of each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="fleets of each case [3]")
    parser.add_argument("--each", action="store_true", help="a line a fleet, too")
    asked = parser.parse_args()
    gap = f"largest gap ({100 * TARGET_GAP:g} % asked)"
    print(f"| case | nodes | s ({TARGET_S:g} asked), longest | CPU s, longest | {gap} |")
    print("|---|---|---|---|---|")
    for name, provision in CASES.items():
        taken = [_planned(seed, provision) for seed in range(asked.seeds)]
        nodes, seconds, cpu, gaps = zip(*taken, strict=True)
        print(
            f"| {name} | {median(nodes):,.0f} | {median(seconds):.1f}, {max(seconds):.1f} "
            f"| {median(cpu):.1f}, {max(cpu):.1f} | {100 * max(gaps):.2f} % |",
            flush=True,
        )
        if asked.each:
            told = (f"{seed}: {each[2]:.1f} s, {100 * each[3]:.2f} %" for seed, each in enumerate(taken))
            print(f"  CPU and gap by seed: {'; '.join(told)}", flush=True)


def _planned(seed: int, provision: dict[str, object]) -> tuple[int, float, float, float]:
    """Nodes of a fleet's plan, seconds of the clock and of all cores, the largest gap. [], [s], [s], [1]"""
    question = large_fleet(seed, provision)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    answer = plan(question)
    seconds, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    optima = [answer.static, *(hour.optimum for hour in answer.hours)]
    gap = max(optimum.gap for optimum in optima if optimum is not None)
    return answer.static.provisioned.num_nodes if answer.static else 0, seconds, cpu_s, gap


if __name__ == "__main__":
    main()
