"""The level of a node's service times by one load test, and which of the test's percentiles then disagree.

One factor on all times is what a single load test can tell: its utilisation fixes it, or else its median,
which scatter and pauses touch least. What the queue then makes of the other percentiles is held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.scenario import LoadTestAnchor
from perfmodel.planning.node import AnyNode
from perfmodel.planning.service_times import times_of
from perfmodel.sim.backlog import overloaded_pool
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import Policy
from perfmodel.sim.records import RunRecord
from perfmodel.sim.statistics import order_statistic, warm_up_queries
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.units import MS, plain

TEST_QUERIES = 200_000
"""Simulated at each level that is tried: the median and the utilisation to 0.3 %."""

FARTHEST_LEVEL = 32.0
"""A load test that asks for more than so many times the service times, or less, is of another node. [1]"""

LEVEL_STEPS = 12
LEVEL_TOLERANCE = 0.001
"""Steps of the search for the level, and how close is enough, relatively. [1]"""

AGREES = 0.10
"""How far a percentile may be from the load test's and agree with it: what one run leaves open. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedPercentile:
    """A percentile of the load test, and what the anchored node has there. [s]"""

    percentile: float
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Prediction over measurement, less one. [1]"""
        return self.predicted_s / self.measured_s - 1.0

    @property
    def agrees(self) -> bool:
        """Whether it is within what one run leaves open."""
        return abs(self.error) <= AGREES


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestFit:
    """What a load test says of a node.

    Attributes
    ----------
    test : LoadTestAnchor
        The load test.
    level : float
        Factor on all service times. [1]
    level_from : {"utilisation", "p50"}
        What fixed it.
    utilisation : float
        Of the executors, with that level. [1]
    percentiles : tuple of TestedPercentile
        Those that the test gives.
    """

    test: LoadTestAnchor
    level: float
    level_from: Literal["utilisation", "p50"]
    utilisation: float
    percentiles: tuple[TestedPercentile, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """The level, and what disagrees, in a line each."""
        fixed = f"its {self.level_from}" if self.level_from == "utilisation" else "its median"
        rate = f"{plain(self.test.rate_qps)} queries/s"
        notes = [f"service times are {self.level:.4g} times those given: {fixed} at {rate} fixes their level"]
        others = [
            each for each in self.percentiles if not (self.level_from == "p50" and each.percentile == 0.5)
        ]
        off = [
            f"p{100 * each.percentile:g} {100 * each.error:+.0f} % "
            f"({each.predicted_s / MS:.4g} ms, measured {each.measured_s / MS:.4g})"
            for each in others
            if not each.agrees
        ]
        if off:
            notes.append(
                f"then disagrees with the load test by more than {100 * AGREES:.0f} %: {', '.join(off)}"
            )
        elif others:
            names = ", ".join(f"p{100 * each.percentile:g} {100 * each.error:+.1f} %" for each in others)
            notes.append(f"the load test's other percentiles agree: {names}")
        return tuple(notes)


def fit_level(
    test: LoadTestAnchor, node: AnyNode, policy: Policy, traffic: TrafficSource, *, seed: int
) -> LoadTestFit:
    """Find the factor on all service times with which a node does at a load what a test measured.

    Parameters
    ----------
    test : LoadTestAnchor
        The load test; its latencies are the node's, nothing outside of it included.
    node, policy : AnyNode, Policy
        What was tested, its times as given.
    traffic : TrafficSource
        What arrived, at the test's rate.

    Raises
    ------
    ValueErrorAt
        At `node.anchor`, if no level within a factor of 32 does it.
    """
    at_test = traffic.at_rate(test.rate_qps)
    service = times_of(node, policy, traffic.size_pmf).table
    recorded = traffic.num_recorded
    queries = at_test.draw(TEST_QUERIES if recorded is None else recorded, seed=seed)
    level_from: Literal["utilisation", "p50"] = "p50" if test.utilisation is None else "utilisation"

    def served(level: float) -> RunRecord:
        return simulate(queries, service.scaled(level, level), policy)

    def excess(level: float) -> float:
        record = served(level)
        if overloaded_pool(record) is not None:
            return np.inf
        if test.utilisation is not None:
            return log(record.cpu_utilisation / test.utilisation)
        assert test.p50_ms is not None, "one of the two is there"
        return log(_percentiles_s(record)(0.5) / (test.p50_ms * MS))

    level = _level(excess)
    loads = offered_utilisation(at_test, service.scaled(level, level), policy, contended=True)
    if max(loads) >= 1.0:
        raise ValueErrorAt(
            f"a load test of {plain(test.rate_qps)} queries/s with that {level_from} fills this node: with "
            f"all executors busy its utilisation would be {max(loads):.3g}, and no level can be told from it",
            ("node", "anchor"),
        )
    record = served(level)
    at = _percentiles_s(record)
    given: Mapping[float, float | None] = {0.5: test.p50_ms, 0.95: test.p95_ms, 0.99: test.p99_ms}
    return LoadTestFit(
        test=test,
        level=level,
        level_from=level_from,
        utilisation=record.cpu_utilisation,
        percentiles=tuple(
            TestedPercentile(percentile=each, measured_s=value_ms * MS, predicted_s=at(each))
            for each, value_ms in given.items()
            if value_ms is not None
        ),
    )


def _percentiles_s(record: RunRecord) -> Callable[[float], float]:
    """Latencies on the node after the warm-up, by percentile. [s]"""
    ordered_s = np.sort(record.node_latency_s[warm_up_queries(record.num_queries) :])
    return lambda percentile: order_statistic(ordered_s, percentile)


def _level(excess: Callable[[float], float]) -> float:
    """Where the excess, which rises with the level, is 0: by bisection of the logarithm, or nearly."""
    low, high = -log(FARTHEST_LEVEL), log(FARTHEST_LEVEL)
    at_low, at_high = excess(exp(low)), excess(exp(high))
    if at_low > 0.0 or at_high < 0.0:
        wrong = "fewer" if at_low > 0.0 else "more"
        raise ValueErrorAt(
            f"no level of the service times within a factor of {FARTHEST_LEVEL:g} does what the load test "
            f"measured: it would take {wrong} than that; is it of this node, policy and rate?",
            ("node", "anchor"),
        )
    for step in range(4 * LEVEL_STEPS):
        if high - low <= LEVEL_TOLERANCE:
            break
        part = 0.5
        if np.isfinite(at_high) and step % 3:
            part = min(0.95, max(0.05, -at_low / (at_high - at_low)))
        middle = low + part * (high - low)
        found = excess(exp(middle))
        if found <= 0.0:
            low, at_low = middle, found
        else:
            high, at_high = middle, found
    return exp(0.5 * (low + high))
