"""The largest load within an SLA: how long the command takes, and how often its interval holds the truth.

    python -m benchmarks.engines capacity                    wall time, process start included
    python -m benchmarks.capacity --repetitions 200          errors and coverage

Systems: M/M/c and M/D/c, whose truth is a closed form, and variants of shipped scenarios, whose truth comes
from runs with other seeds, together fifty times as long as those of the usual answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cases import once_s
from benchmarks.speed import Row
from perfmodel.domain.serving import SlaTarget
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.capacity.computation import FIRST_QUERIES, MOST_QUERIES, PRECISION
from perfmodel.planning.prepare import prepare
from perfmodel.planning.rate.interval import FURTHER_RATES, GreatestRate, LateCurve, greatest_rate
from perfmodel.planning.rate.late import DrawnTraffic
from perfmodel.planning.rate.search import RateSearch
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s
from perfmodel.queueing.deterministic import solve_mdc
from perfmodel.units import MS
from tests.textbook import TextbookQueue, deterministic_queue, exponential_queue

REPOSITORY = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "perfmodel.cli.main", "capacity", "--json", "--scenario"]
SCENARIOS = ("rm3_skylake", "ncf_broadwell", "rm1_broadwell_gtx1080ti")
VARIANTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("rm3", "rm3_skylake", ()),
    ("rm3, p99 of 40 ms", "rm3_skylake", ("sla.percentile=0.99", "sla.latency_ms=40")),
    ("ncf", "ncf_broadwell", ()),
    ("wnd", "wnd_broadwell", ()),
    ("rm1, card", "rm1_broadwell_gtx1080ti", ()),
    ("rm1", "rm1_broadwell", ()),
    ("rm1, 200 ms", "rm1_broadwell", ("sla.latency_ms=200",)),
    ("din, median", "din_skylake", ("sla.percentile=0.5", "sla.latency_ms=60")),
    ("rm3, bursts", "rm3_skylake_bursty", ()),
    ("wnd, fusion", "wnd_broadwell_gtx1080ti_fusion", ()),
)
"""Name, scenario, what is changed in it: percentiles from p50 to p99, tight and loose, cards, bursts."""
TRUTH_RUNS, TRUTH_TIMES = 10, 5


def capacity_rows(repetitions: int = 5) -> Iterator[Row]:
    """Wall time of `perfplan capacity`, and half the width of the interval that it states."""
    for scenario in SCENARIOS:
        _ask(scenario)
        times_s = [once_s(lambda: _ask(scenario)) for _ in range(repetitions)]  # noqa: B023  # called at once
        yield Row(f"capacity {scenario}, warm", min(times_s), 1.0, "s", at_most=True)
        answer = json.loads(_ask(scenario))
        low, high = answer["latency_bounded_qps_ci95"]
        half_percent = 50.0 * (high - low) / answer["latency_bounded_qps"]
        yield Row(f"capacity {scenario}, known to +-", half_percent, 1.0, "%", at_most=True)


def _ask(scenario: str) -> bytes:
    path = f"scenarios/{scenario}.yaml"
    return subprocess.run([*COMMAND, path], cwd=REPOSITORY, capture_output=True, check=True).stdout


def textbook_search(queue: TextbookQueue, latency_s: float) -> RateSearch:
    """The search for the rate at which p95 is this latency."""
    return RateSearch(
        traffic=queue.traffic,
        service=queue.service,
        policy=queue.policy,
        sla=SlaTarget(percentile=0.95, latency_ms=latency_s / MS),
        seed=1,
    )


def systems() -> Iterator[tuple[str, RateSearch, float | None]]:
    """Name, search, and true rate; None where only long runs tell it. [queries/s]"""
    for executors, utilisation in ((4, 0.7), (40, 0.9)):
        rate_qps = utilisation * executors
        latency_s = mmc_latency_percentile_s(0.95, rate_qps, 1.0, executors)
        yield f"M/M/{executors}", textbook_search(exponential_queue(0.5, executors), latency_s), rate_qps
    for executors, utilisation in ((1, 0.7), (4, 0.9)):
        rate_qps = utilisation * executors
        latency_s = 1.0 + solve_mdc(rate_qps, 1.0, executors).wait_percentile_s(0.95)
        yield f"M/D/{executors}", textbook_search(deterministic_queue(0.5, executors), latency_s), rate_qps
    for name, scenario, overrides in VARIANTS:
        question = prepare(load_scenario(scenario, overrides))
        service = question.node.service_times(question.policy, question.max_items, question.traffic.size_pmf)
        search = RateSearch(
            traffic=question.traffic, service=service, policy=question.policy, sla=question.sla, seed=1
        )
        yield name, search, None


def coverage_row(name: str, search: RateSearch, truth_qps: float | None, repetitions: int) -> str:
    """One line: errors of the rate, the width of its interval, and how often that holds the truth."""
    found = [
        greatest_rate(
            replace(search, seed=seed),
            num_queries=FIRST_QUERIES,
            precision=PRECISION,
            most_queries=MOST_QUERIES,
        )
        for seed in range(1, repetitions + 1)
    ]
    known = [rate for rate in found if rate is not None and rate.ci95_qps is not None]
    if len(known) < 2:
        return f"{name:<24}{'':>10} an interval in {len(known)} of {repetitions} runs"
    if truth_qps is None:
        truth_qps = _truth_qps(search, known)
    errors = 100.0 * (np.array([rate.rate_qps for rate in known]) / truth_qps - 1.0)
    held = [rate.ci95_qps[0] <= truth_qps <= rate.ci95_qps[1] for rate in known if rate.ci95_qps is not None]
    return (
        f"{name:<24}{truth_qps:>10,.4g} {errors.mean():>+8.2f} {errors.std(ddof=1):>8.2f} "
        f"{np.abs(errors).max():>8.2f} {100 * np.mean(np.abs(errors) <= 1.0):>9.1f} "
        f"{100 * np.median([rate.relative_half_width for rate in known]):>10.2f} {100 * np.mean(held):>9.1f} "
        f"{np.median([rate.num_queries for rate in known]) / 1e6:>9.2f}"
    )


def _truth_qps(search: RateSearch, near: Sequence[GreatestRate]) -> float:
    """The mean over runs with other seeds, together fifty times as long as that of the median answer."""
    near_qps = float(np.median([rate.rate_qps for rate in near]))
    num_queries = TRUTH_TIMES * round(np.median([rate.num_queries for rate in near]))
    rates_qps = []
    for seed in range(1000, 1000 + TRUTH_RUNS):
        other = replace(search, seed=seed)
        late = other.late(DrawnTraffic(other.traffic, num_queries, seed=seed))
        curve = LateCurve(other, late, num_queries, rates=FURTHER_RATES)
        rates_qps.append(curve.crossing_qps(near_qps))
    return float(np.mean(rates_qps))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", nargs="+", help="names of systems")
    options = parser.parse_args()
    headings = ("queries/s", "bias %", "std %", "worst %", "within 1%", "half-width", "holds %", "M queries")
    print(f"{'system':<24}" + " ".join(f"{heading:>9}" for heading in headings))
    for name, search, truth_qps in systems():
        if not options.only or name in options.only:
            print(coverage_row(name, search, truth_qps, options.repetitions), flush=True)


if __name__ == "__main__":
    main()
