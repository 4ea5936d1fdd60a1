"""Simulated nodes whose logs `perfplan observe` is held against: drawn by number, each a truth of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perfmodel.domain.workload import Arrivals, BurstyArrivals, PoissonArrivals
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.scatter import even_scatter, log_normal_factors
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.units import MS

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A node and its traffic: what a log of it should be read as.

    Attributes
    ----------
    arrivals : Arrivals
        The process.
    sizes : SizePmf
        [items]
    service : ServiceTimes
        Of whole queries, by executors at work.
    scatter : float
        Relative standard deviation; 0: none. [1]
    named : bool
        Whether the log names executors.
    """

    arrivals: Arrivals
    sizes: SizePmf
    service: ServiceTimes
    scatter: float
    named: bool

    @property
    def executors(self) -> int:
        """Of the node."""
        return self.service.num_executors


def truth(number: int) -> Truth:
    """Draw a case: executors, sizes, times with or without contention and scatter, load, process."""
    rng = np.random.default_rng([number, 12])
    executors = int(rng.integers(1, 17))
    sizes = _sizes(rng)
    each_ms, item_ms = rng.uniform(0.5, 4.0), rng.uniform(0.005, 0.05)
    items = np.arange(1.0, sizes.max_items + 1)
    alone_s = MS * (each_ms + item_ms * items)
    slow = rng.uniform(0.1, 0.6) if executors > 2 and rng.random() < 0.4 else 0.0
    beside = 1.0 + slow * np.arange(executors) / max(1, executors - 1)
    scatter = float(rng.choice([0.0, 0.1, 0.3, 0.6]))
    service = ServiceTimes(
        cpu_s=alone_s[:, None] * beside[None, :],
        cpu_scatter=even_scatter(log_normal_factors(np.sqrt(np.log1p(scatter**2)))) if scatter else None,
    )
    mean_s = float(sizes.probabilities @ service.cpu_s[sizes.values - 1, -1])
    rate_qps = float(rng.uniform(0.3, 0.85)) * executors / mean_s
    arrivals: Arrivals = PoissonArrivals(rate_qps=rate_qps)
    if rng.random() < 0.3:
        arrivals = BurstyArrivals(
            rate_qps=0.6 * rate_qps,
            burst_factor=float(rng.uniform(2.0, 3.0)),
            burst_fraction=float(rng.uniform(0.1, 0.3)),
            mean_burst_s=60.0 / rate_qps,
        )
    return Truth(
        arrivals=arrivals, sizes=sizes, service=service, scatter=scatter, named=bool(rng.random() < 0.3)
    )


def _sizes(rng: np.random.Generator) -> SizePmf:
    kind = rng.integers(3)
    if kind == 0:  # few sizes, as MLPerf's
        return SizePmf(np.arange(100, 800, 100), np.array([0.1, 0.6, 0.1, 0.05, 0.05, 0.05, 0.05]))
    if kind == 1:
        return SizePmf(np.array([int(rng.integers(50, 500))]), np.array([1.0]))
    values, counts = np.unique(
        np.clip(np.rint(rng.lognormal(5.0, 0.7, 50_000)), 1, 1000).astype(np.int64), return_counts=True
    )
    return SizePmf(values, counts / counts.sum())


def write_log(case: Truth, path: Path, *, num_queries: int, seed: int, clock_s: float = 1e-6) -> None:
    """Serve queries whole on the node, and write their log: CSV, stamps in steps of a clock."""
    traffic = TrafficSource(arrivals=case.arrivals, sizes=case.sizes)
    queries = traffic.draw(num_queries, seed=seed)
    policy = SplitAndOffload(batch_size=case.sizes.max_items)
    record = simulate(queries, case.service, policy, engine="simpy", log_requests=True)
    log = record.requests
    assert log is not None
    order = np.argsort(log.query, kind="stable")
    stamps = [queries.arrival_s, log.start_s[order], log.finish_s[order]]
    arrival, start, end = (np.floor(each / clock_s) * clock_s for each in stamps)
    columns = [arrival, queries.num_items, start, end]
    names, formats = "arrival_s,size,start_s,end_s", "%.6f,%d,%.6f,%.6f"
    if case.named:
        columns, names, formats = [*columns, log.executor[order]], names + ",executor", formats + ",%d"
    np.savetxt(path, np.column_stack(columns), formats, header=names, comments="")
