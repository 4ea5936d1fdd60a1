"""What a user waits for: a prediction, a precise percentile; how time and memory grow with the queries."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.cases import SPLIT, node, once_s, traffic_at
from benchmarks.speed import Row
from perfmodel.domain.serving import SimulationSettings
from perfmodel.sim.engines import simulate
from perfmodel.sim.long_run import LongRun
from perfmodel.sim.run import run_until_precise

REPOSITORY = Path(__file__).parents[1]
PREDICT = [sys.executable, "-m", "perfmodel.cli.main", "predict", "--scenario", "scenarios/rm3_skylake.yaml"]


def predict_rows(repetitions: int = 5) -> Iterator[Row]:
    """Wall time of `perfplan predict`, process start included: numba's cache empty, then warm."""
    with TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        times_s = [once_s(lambda: _predict(environment)) for _ in range(1 + repetitions)]
    yield Row("predict rm3_skylake, first time", times_s[0], 3.0, "s", at_most=True)
    yield Row("predict rm3_skylake, warm", min(times_s[1:]), 1.0, "s", at_most=True)


def _predict(environment: dict[str, str]) -> None:
    subprocess.run(PREDICT, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, check=True)


def precision_rows(seeds: int = 3) -> Iterator[Row]:
    """Time until p99 of 40 cores is known to 1 %, half the width of the 95 % interval."""
    service = node()
    for utilisation, target_s in ((0.7, 0.5), (0.9, 6.0)):
        source = traffic_at(utilisation, service)
        run_until_precise(source, service, SPLIT, SimulationSettings(), percentile=0.99)  # loads the engine
        times_s, queries = [], []
        for seed in range(1, seeds + 1):
            settings = SimulationSettings(seed=seed, precision=0.01, max_queries=200_000_000)
            begin_s = perf_counter()
            found = run_until_precise(source, service, SPLIT, settings, percentile=0.99)
            times_s.append(perf_counter() - begin_s)
            queries.append(found.num_queries)
        median_s = sorted(times_s)[seeds // 2]
        name = f"p99 to 1 % at {utilisation:.0%}"
        yield Row(f"{name}, median of {seeds} seeds", median_s, target_s, "s", at_most=True)
        yield Row(f"{name}, worst of {seeds} seeds", max(times_s), None, "s")
        yield Row(f"{name}, queries of the longest run", max(queries) / 1e6, None, "M queries")


def memory_rows() -> Iterator[Row]:
    """Peak memory of a process that draws and simulates 10 million queries and computes their statistics."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield Row("10 M queries, peak memory", pool.apply(_peak_gib), 1.0, "GiB", at_most=True)


def _peak_gib() -> float:
    settings = SimulationSettings(min_queries=10_000_000, max_queries=10_000_000)
    service = node()
    run_until_precise(traffic_at(0.7, service), service, SPLIT, settings, percentile=0.99)
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # Linux hands `ru_maxrss` down from the parent.
    return next(int(row.split()[1]) for row in status.read_text().splitlines() if "VmHWM" in row) / 2**20


def linearity_rows() -> Iterator[Row]:
    """Time by the query of drawing and simulating, all stamps or latencies only: flat where it is linear."""
    service = node()
    source = traffic_at(0.8, service)

    def whole(num_queries: int) -> None:
        simulate(source.draw(num_queries, seed=1), service, SPLIT)

    def latencies(num_queries: int) -> None:
        LongRun(source, service, SPLIT, seed=1, replication=0, most=num_queries).latency_s(num_queries)

    for name, action in (("all stamps", whole), ("latencies only", latencies)):
        ns = []
        for num_queries in (100_000, 1_000_000, 10_000_000, 100_000_000):
            repetitions = max(1, min(20, 20_000_000 // num_queries))
            time_s = min(once_s(lambda: action(num_queries)) for _ in range(repetitions))  # noqa: B023  # called at once
            ns.append(1e9 * time_s / num_queries)
            yield Row(f"{name}, {num_queries:,} queries", ns[-1], None, "ns a query")
        yield Row(f"{name}, slowest over fastest", max(ns) / min(ns), None, "x")
