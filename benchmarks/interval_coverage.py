"""How often do the 95 % confidence intervals hold the truth? Prints a table.

    python -m benchmarks.interval_coverage --repetitions 1000

Two systems: M/M/8, whose truth is a closed form, and a split-join of heavy-tailed queries over 40 cores,
whose truth comes from a run of 100 million queries. "naive" is the interval for independent samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s, mmc_mean_wait_s
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import (
    Interval,
    mean_interval,
    order_statistic,
    percentile_interval,
    warm_up_queries,
)
from perfmodel.sim.textbook import TextbookQueue, exponential_queue
from perfmodel.sim.traffic import TrafficSource

PERCENTILES = (0.5, 0.95, 0.99)
TRUTH_RUNS, TRUTH_QUERIES = 10, 10_000_000


@dataclass(frozen=True)
class System:
    """What is simulated, and the true mean (under the key 0) and percentiles."""

    name: str
    queue: TextbookQueue
    truth_s: dict[float, float]


def exponential_system(utilisation: float) -> System:
    """M/M/8."""
    load = (8 * utilisation, 1.0, 8)
    truth_s = {p: mmc_latency_percentile_s(p, *load) for p in PERCENTILES}
    return System("M/M/8", exponential_queue(utilisation, 8), {0.0: 1.0 + mmc_mean_wait_s(*load), **truth_s})


def split_join_system(utilisation: float) -> System:
    """Log-normal sizes (sigma 1.2, up to 4,000 items) in batches of 128 over 40 cores."""
    law = pmf_of(LogNormalSizes(mu=4.5, sigma=1.2, max_items=4000))
    cpu_s = np.repeat((1e-3 + 2e-5 * np.arange(1, 129))[:, None], 40, axis=1)
    mean_s = law.expect(lambda items: 1e-3 * -(-items // 128) + 2e-5 * items)
    queue = TextbookQueue(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=utilisation * 40 / mean_s), sizes=law),
        service=ServiceTimes(cpu_s=cpu_s),
        policy=SplitAndOffload(batch_size=128),
    )
    runs = [stationary(queue, TRUTH_QUERIES, seed=99, replication=run)[0] for run in range(TRUTH_RUNS)]
    truth_s = {p: float(np.mean([order_statistic(np.sort(run), p) for run in runs])) for p in PERCENTILES}
    return System("split-join", queue, {0.0: float(np.mean([run.mean() for run in runs])), **truth_s})


def stationary(
    queue: TextbookQueue, num_queries: int, *, seed: int, replication: int
) -> tuple[FloatArray, float]:
    """Latencies of one run, without the warm-up, and how far they are rounded. [s]"""
    queries = queue.traffic.draw(num_queries, seed=seed, replication=replication)
    record = simulate(queries, queue.service, queue.policy)
    return record.latency_s[warm_up_queries(num_queries) :], record.rounding_s


def naive_interval(latency_s: FloatArray, percentile: float) -> Interval:
    """The interval for independent samples, to compare with."""
    sorted_s = np.sort(latency_s)
    error = 1.96 * sqrt(percentile * (1 - percentile) / len(latency_s))
    low_s, value_s, high_s = (order_statistic(sorted_s, percentile + x) for x in (-error, 0.0, error))
    return Interval(value_s, low_s, high_s)


def fixed_length(system: System, num_queries: int, replication: int) -> dict[str, Interval]:
    """Intervals of one run of fixed length, by what they estimate."""
    latency_s, rounding_s = stationary(system.queue, num_queries, seed=7, replication=replication)
    sorted_s = np.sort(latency_s)
    found = {"mean": mean_interval(latency_s), "naive p95": naive_interval(latency_s, 0.95)}
    for p in PERCENTILES:
        interval = percentile_interval(latency_s, p, sorted_s=sorted_s, rounding_s=rounding_s)
        found[f"p{100 * p:g}"] = interval
    return found


def until_precise(system: System, precision: float, replication: int) -> dict[str, Interval]:
    """Intervals of one run that stopped itself at the given precision of p95."""
    settings = SimulationSettings(seed=8, precision=precision)
    queue = system.queue
    result = run_until_precise(
        queue.traffic, queue.service, queue.policy, settings, percentile=0.95, replication=replication
    )
    assert result.mean_latency is not None
    found = {f"p{100 * p:g}": interval for p, interval in result.percentiles.items()}
    return found | {"mean": result.mean_latency}


def coverage_row(system: System, run: Callable[[int], dict[str, Interval]], repetitions: int) -> str:
    """One line: for each estimate the share of runs that held the truth, and the mean half-width."""
    truth_s = {"mean": system.truth_s[0.0], "naive p95": system.truth_s[0.95]}
    truth_s |= {f"p{100 * p:g}": system.truth_s[p] for p in PERCENTILES}
    held: dict[str, list[bool]] = {name: [] for name in truth_s}
    widths: dict[str, list[float]] = {name: [] for name in truth_s}
    for replication in range(repetitions):
        for name, interval in run(replication).items():
            # Time stamps are rounded: a latency of a single request is equal to the truth up to 1e-9.
            slack_s = 1e-9 * truth_s[name]
            held[name].append(interval.low_s - slack_s <= truth_s[name] <= interval.high_s + slack_s)
            widths[name].append(interval.relative_half_width)
    return "".join(
        f"  {100 * np.mean(held[name]):5.1f} % ±{100 * np.median(widths[name]):4.1f}"
        if held[name]
        else " " * 15
        for name in truth_s
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=300_000)
    parser.add_argument(
        "--precision", type=float, default=None, help="stop each run at this precision of p95"
    )
    parser.add_argument("--utilisations", type=float, nargs="+", default=[0.5, 0.7, 0.9])
    options = parser.parse_args()
    print(f"{'system':<18}" + "".join(f"  {name:<13}" for name in ("mean", "naive p95", "p50", "p95", "p99")))
    for utilisation in options.utilisations:
        for build in (exponential_system, split_join_system):
            system = build(utilisation)

            def run(replication: int, system: System = system) -> dict[str, Interval]:
                if options.precision is None:
                    return fixed_length(system, options.queries, replication)
                return until_precise(system, options.precision, replication)

            row = coverage_row(system, run, options.repetitions)
            print(f"{system.name:<10} {utilisation:>6.0%} " + row, flush=True)


if __name__ == "__main__":
    main()
