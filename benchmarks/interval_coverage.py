"""How often do the 95 % confidence intervals hold the truth? Prints a table.

    python -m benchmarks.interval_coverage --repetitions 1000

M/M/8, whose truth is a closed form; a split-join of heavy-tailed queries over 40 cores; and 28 cores beside
an accelerator that the largest queries fill as much as stated, so that latencies have a long memory. The
truth of these comes from runs of 100 million queries. "naive" is the interval for independent samples,
"plain" that of batch means, without what is known of the load. The last column is the share of queries later
than the true p95, as a search for the greatest rate asks for it. `--precision` has the runs stop themselves.
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
from perfmodel.sim.controls import load_controls
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import (
    NUM_BATCHES,
    Interval,
    SortedBatches,
    batch_span,
    controlled_mean,
    mean_interval,
    order_statistic,
    percentile_interval,
    warm_up_queries,
)
from perfmodel.sim.traffic import TrafficSource
from tests.textbook import TextbookQueue, exponential_queue

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


def offload_system(utilisation: float) -> System:
    """28 cores, half busy, and an accelerator that the largest tenth of log-normal queries fills."""
    law = pmf_of(LogNormalSizes(mu=4.8, sigma=0.8, max_items=1024))
    threshold = int(law.values[np.searchsorted(np.cumsum(law.probabilities), 0.9)])
    accelerator_s: FloatArray = np.linspace(2e-3, 6e-3, 1024)
    offloaded_s = float(law.probabilities @ (accelerator_s[law.values - 1] * (law.values >= threshold)))
    rate_qps = utilisation / offloaded_s
    batch_s = 1.0 + 0.02 * np.arange(1, 129)
    on_cores = law.expect(lambda items: (-(-items // 128) + 0.02 * items) * (items < threshold))
    alone_s = batch_s * 0.5 * 28 / (rate_qps * on_cores)
    queue = TextbookQueue(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=law),
        service=ServiceTimes(
            cpu_s=np.repeat(alone_s[:, None], 28, axis=1), accelerator_s=accelerator_s, num_accelerators=1
        ),
        policy=SplitAndOffload(batch_size=128, offload_threshold_items=threshold),
    )
    runs = [stationary(queue, TRUTH_QUERIES, seed=99, replication=run)[0] for run in range(TRUTH_RUNS)]
    truth_s = {p: float(np.mean([order_statistic(np.sort(run), p) for run in runs])) for p in PERCENTILES}
    return System("offload", queue, {0.0: float(np.mean([run.mean() for run in runs])), **truth_s})


def stationary(
    queue: TextbookQueue, num_queries: int, *, seed: int, replication: int
) -> tuple[FloatArray, float, FloatArray]:
    """Latencies of one run that count, how far they are rounded, and the controls of their batches. [s]"""
    queries = queue.traffic.draw(num_queries, seed=seed, replication=replication)
    record = simulate(queries, queue.service, queue.policy)
    counted = batch_span(num_queries, warm_up_queries(num_queries))
    known = load_controls(queue.traffic, queue.service, queue.policy)
    assert known is not None, "sizes are drawn"
    controls = known.by_batch(queries.first(counted.stop), counted.start, NUM_BATCHES)
    return record.latency_s[counted], record.rounding_s, controls


def naive_interval(latency_s: FloatArray, percentile: float) -> Interval:
    """The interval for independent samples, to compare with."""
    sorted_s = np.sort(latency_s)
    error = 1.96 * sqrt(percentile * (1 - percentile) / len(latency_s))
    low_s, value_s, high_s = (order_statistic(sorted_s, percentile + x) for x in (-error, 0.0, error))
    return Interval(value_s, low_s, high_s)


def fixed_length(system: System, num_queries: int, replication: int) -> dict[str, Interval]:
    """Intervals of one run of fixed length, by what they estimate."""
    latency_s, rounding_s, controls = stationary(system.queue, num_queries, seed=7, replication=replication)
    batches = SortedBatches(latency_s, NUM_BATCHES)
    found = {
        "mean": mean_interval(latency_s, controls),
        "naive p95": naive_interval(latency_s, 0.95),
        "plain p95": percentile_interval(latency_s, 0.95, batches=batches, rounding_s=rounding_s),
    }
    for p in PERCENTILES:
        found[f"p{100 * p:g}"] = percentile_interval(
            latency_s, p, controls=controls, batches=batches, rounding_s=rounding_s
        )
    late = controlled_mean(batches.shares_above(system.truth_s[0.95] + rounding_s), controls)
    found["late"] = Interval(late.mean, late.mean - late.half_width, late.mean + late.half_width)
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
    truth_s = {"mean": system.truth_s[0.0]}
    truth_s |= {f"{kind} p95": system.truth_s[0.95] for kind in ("naive", "plain")}
    truth_s |= {f"p{100 * p:g}": system.truth_s[p] for p in PERCENTILES}
    truth_s["late"] = 0.05
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


BUILDERS: dict[str, Callable[[float], System]] = {
    "mm8": exponential_system,
    "split-join": split_join_system,
    "offload": offload_system,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--systems", nargs="+", choices=list(BUILDERS), default=list(BUILDERS))
    parser.add_argument("--queries", type=int, default=300_000)
    parser.add_argument(
        "--precision", type=float, default=None, help="stop each run at this precision of p95"
    )
    parser.add_argument("--utilisations", type=float, nargs="+", default=[0.5, 0.7, 0.9, 0.97])
    options = parser.parse_args()
    names = ("mean", "naive p95", "plain p95", "p50", "p95", "p99", "late")
    print(f"{'system':<18}" + "".join(f"  {name:<13}" for name in names))
    for utilisation in options.utilisations:
        for name in options.systems:
            system = BUILDERS[name](utilisation)

            def run(replication: int, system: System = system) -> dict[str, Interval]:
                if options.precision is None:
                    return fixed_length(system, options.queries, replication)
                return until_precise(system, options.precision, replication)

            row = coverage_row(system, run, options.repetitions)
            print(f"{system.name:<10} {utilisation:>6.0%} " + row, flush=True)


if __name__ == "__main__":
    main()
