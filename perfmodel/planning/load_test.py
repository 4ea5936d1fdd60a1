"""Load tests of one node: at what rate does a batch size with an offload threshold stop meeting an SLA?

Everything that is tuned is tried on the same arrivals and sizes (common random numbers), drawn once: two
configurations then differ by what they do and not by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import ConstantArrivals, PoissonArrivals
from perfmodel.planning.node import ServingNode
from perfmodel.planning.service_tables import ServiceTables
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import mean_requests
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource

PILOT_QUERIES = 100_000
"""Queries of a comparison: with common random numbers, 0.3 % between neighbouring configurations."""

FINAL_QUERIES = 1_000_000
"""Queries behind a reported rate."""

PILOT_REQUESTS = 1_500_000
LEAST_PILOT_QUERIES = 20_000

PILOT_TOLERANCE = 0.004
FINAL_TOLERANCE = 0.002
FINAL_WINDOW = (-0.015, -0.005, 0.005, 0.015)
"""Where the long sample looks first, relative to what the pilot found."""

LEAST_FRACTION = 1e-3
"""Of the saturating rate: where that little load misses the SLA, every load does."""

RATES_AT_A_TIME = 4
"""Rates that share one compiled loop."""


@dataclass(frozen=True, slots=True, order=True)
class Configuration:
    """What tuning chooses.

    Attributes
    ----------
    batch_size : int
        Largest request of a core. [items]
    offload_threshold_items : int or None
        Queries of at least this size go whole to the accelerator; None: none does. [items]
    """

    batch_size: int
    offload_threshold_items: int | None = None

    @property
    def policy(self) -> SplitAndOffload:
        """The policy that does it."""
        return SplitAndOffload(
            batch_size=self.batch_size, offload_threshold_items=self.offload_threshold_items
        )


class SharedTraffic:
    """Traffic drawn once, for any number of nodes and rates.

    Parameters
    ----------
    source : TrafficSource
        What arrives; its rate plays no part.
    seed : int
        Of all random numbers.
    final_queries : int
        The longest test; shorter ones use its first queries.
    """

    def __init__(self, source: TrafficSource, *, seed: int, final_queries: int = FINAL_QUERIES) -> None:
        self.source, self._seed = source, seed
        recorded = source.num_recorded
        self.num_queries = final_queries if recorded is None else min(final_queries, recorded)
        self._recorded = recorded is not None
        # Other processes have a time scale of their own, which a rate does not stretch.
        self._rescales = isinstance(source.arrivals, PoissonArrivals | ConstantArrivals)
        self._unit = source.at_rate(1.0).draw(self.num_queries, seed=seed)

    @property
    def num_items(self) -> IntArray:
        """Sizes in order of arrival. [items]"""
        return self._unit.num_items

    def arrivals(self, rate_qps: float, num_queries: int) -> tuple[FloatArray, float]:
        """Return points and a rate: query i of the first `num_queries` arrives at `points[i] / rate`."""
        if self._rescales:
            return self._unit.arrival_s[:num_queries], rate_qps
        drawn: Queries = self.source.at_rate(rate_qps).draw(num_queries, seed=self._seed)
        return drawn.arrival_s, 1.0

    def warm_up(self, num_queries: int) -> int:
        """First queries of a test that do not count: none of a recorded trace."""
        return 0 if self._recorded else warm_up_queries(num_queries)


class LoadTest:
    """One node under one traffic and one SLA, asked about configurations; service times tabulated once.

    Parameters
    ----------
    node : ServingNode
        What serves.
    traffic : SharedTraffic
        What arrives.
    sla : SlaTarget
        What has to hold.
    service : ServiceTimes or callable, optional
        The node's, for requests of any size that occurs, or what gives them for a policy: by default those
        of `ServiceTables`.
    rates_at_a_time : int
        Rates of a probe; more than four are shared out over the machine's cores.
    """

    def __init__(
        self,
        node: ServingNode,
        traffic: SharedTraffic,
        sla: SlaTarget,
        *,
        service: ServiceTimes | Callable[[SplitAndOffload], ServiceTimes] | None = None,
        rates_at_a_time: int = RATES_AT_A_TIME,
    ) -> None:
        self.node, self.sla = node, sla
        self._traffic = traffic
        self._law = traffic.source.size_pmf
        self._service_of = _by_policy(ServiceTables(node, self._law).of if service is None else service)
        self._rates_at_a_time = rates_at_a_time
        longer = min(5.0, max(1.0, 0.05 / (1.0 - sla.percentile)))
        self._pilot_queries = min(ceil(PILOT_QUERIES * longer), traffic.num_queries)
        self.simulated_queries = 0

    @property
    def final_queries(self) -> int:
        """Queries of the long sample."""
        return self._traffic.num_queries

    def saturation_qps(self, configuration: Configuration, *, contended: bool) -> float:
        """Rate that fills the busier pool: exact, by the law of sizes; no rate above is carried. [queries/s]

        Parameters
        ----------
        configuration : Configuration
            Batch size and threshold.
        contended : bool
            Whether every request finds all executors busy, or none.
        """
        sizes, weights = self._law.values, self._law.probabilities
        threshold = configuration.offload_threshold_items
        on_cpu = np.ones(len(sizes), dtype=np.bool_) if threshold is None else sizes < threshold
        service = self._service_of(configuration.policy)
        batch_size = min(configuration.batch_size, self._law.max_items)
        full, rest = np.divmod(sizes[on_cpu], batch_size)
        request_s = np.concatenate([[0.0], service.core_times_s(contended=contended)])
        cpu_s = float(weights[on_cpu] @ (full * request_s[batch_size] + request_s[rest]))
        loads = [cpu_s / service.num_executors]
        if not on_cpu.all():
            launch_s = service.accelerator_by_streams_s[sizes[~on_cpu] - 1, -1 if contended else 0]
            loads.append(float(weights[~on_cpu] @ launch_s) / service.num_streams)
        return 1.0 / max(loads)

    def pilot_qps(self, configuration: Configuration, *, above_qps: float = 0.0) -> float | None:
        """Greatest rate that meets the SLA, to 0.4 % of one short sample. [queries/s]

        Parameters
        ----------
        configuration : Configuration
            What to try.
        above_qps : float
            Only a rate above this one is of interest: mostly a single probe then says that there is none.

        Returns
        -------
        float or None
            None: no rate above `above_qps` meets the SLA.
        """
        limit_qps = self.saturation_qps(configuration, contended=False)
        low = max(above_qps, LEAST_FRACTION * limit_qps)
        if low >= limit_qps:
            return None
        count = self._pilot_length(configuration)
        first = _from_low_on(low, self.saturation_qps(configuration, contended=True), limit_qps)
        index = self._first_failing(configuration, first, count)
        if index == 0:
            return None
        high = limit_qps if index == len(first) else first[index]
        return self._narrow(configuration, (first[index - 1], high), count, PILOT_TOLERANCE)

    def final_qps(self, configuration: Configuration, about_qps: float) -> float | None:
        """Greatest rate that meets the SLA, to 0.2 % of the long sample. [queries/s]

        Parameters
        ----------
        configuration : Configuration
            What to try.
        about_qps : float
            What a pilot found. [queries/s]

        Returns
        -------
        float or None
            None: the long sample has no rate that meets the SLA.
        """
        count = self._traffic.num_queries
        limit_qps = self.saturation_qps(configuration, contended=False)
        least_qps = LEAST_FRACTION * limit_qps
        window = [about_qps * (1.0 + offset) for offset in FINAL_WINDOW]
        index = self._first_failing(configuration, window, count)
        low = window[index - 1] if index else least_qps
        high = window[index] if index < len(window) else max(limit_qps, window[-1])
        found = self._narrow(configuration, (low, high), count, FINAL_TOLERANCE)
        return None if found <= least_qps else found

    def _pilot_length(self, configuration: Configuration) -> int:
        """Queries of a pilot; fewer where each makes very many requests, as only bad configurations do."""
        requests = mean_requests(self._law, configuration.batch_size)
        return min(self._pilot_queries, max(LEAST_PILOT_QUERIES, int(PILOT_REQUESTS / requests)))

    def _narrow(
        self, configuration: Configuration, bracket: tuple[float, float], count: int, tolerance: float
    ) -> float:
        """Shrink a bracket by as many equal parts as a probe has rates, plus one. [queries/s]"""
        low, high = bracket
        while high - low > tolerance * high:
            rates = np.linspace(low, high, self._rates_at_a_time + 2)
            inner = [float(rate) for rate in rates[1:-1]]
            index = self._first_failing(configuration, inner, count)
            low, high = float(rates[index]), float(rates[index + 1])
        return low

    def _first_failing(
        self, configuration: Configuration, rates_qps: Sequence[float], num_queries: int
    ) -> int:
        """Index of the first ascending rate that misses the SLA; their number where none does."""
        # Imported on use, as the engines are: numba takes a third of a second.
        from perfmodel.sim.compiled_engine import is_fifo
        from perfmodel.sim.probes import LateLimit, Probe, count_late

        warm_up = self._traffic.warm_up(num_queries)
        counted = num_queries - warm_up
        allowed = counted - ceil(self.sla.percentile * counted)
        service = self._service_of(configuration.policy)
        if not is_fifo(service, configuration.policy):
            search = self._one_by_one(configuration, num_queries, warm_up, allowed)
            return next((i for i, rate in enumerate(rates_qps) if not search(rate)), len(rates_qps))
        probes = [Probe(*self._traffic.arrivals(rate, num_queries)) for rate in rates_qps]
        limit = LateLimit(self.sla.latency_s, warm_up, allowed)
        sizes = self._traffic.num_items[:num_queries]
        late = count_late(probes, sizes, service, configuration.policy, limit)
        self.simulated_queries += num_queries * len(rates_qps)
        return next((index for index, number in enumerate(late) if number > allowed), len(rates_qps))

    def _one_by_one(
        self, configuration: Configuration, num_queries: int, warm_up: int, allowed: int
    ) -> Callable[[float], bool]:
        """Say what meets the SLA at a rate on a node that no side-by-side loop knows."""

        service = self._service_of(configuration.policy)

        def meets(rate_qps: float) -> bool:
            points, per_s = self._traffic.arrivals(rate_qps, num_queries)
            queries = Queries(points / per_s, self._traffic.num_items[:num_queries])
            self.simulated_queries += num_queries
            latency_s = simulate(queries, service, configuration.policy).latency_s
            return int(np.count_nonzero(latency_s[warm_up:] > self.sla.latency_s)) <= allowed

        return meets


def _by_policy(
    service: ServiceTimes | Callable[[SplitAndOffload], ServiceTimes],
) -> Callable[[SplitAndOffload], ServiceTimes]:
    """Service times as a function of the policy, also where they are the same for all."""
    return (lambda _: service) if isinstance(service, ServiceTimes) else service


def _from_low_on(low: float, contended: float, limit: float) -> list[float]:
    """Return rates from `low` on, where the answer is likely: below what fills the loaded node.

    Where `low` is already close to that, or beyond, close above it: what is tried is mostly about as good.
    """
    if low < 0.6 * contended:
        return [low, 0.7 * contended, 0.88 * contended, min(0.99 * contended, limit)]
    return [low + (limit - low) * step for step in (0.0, 0.02, 0.1, 0.3)]
