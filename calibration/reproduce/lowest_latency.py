"""The lowest p95 that a node can reach: no load at all, and the batch size and threshold that suit it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from calibration.reproduce.evaluation import Compared, Section
from calibration.reproduce.scope import CARD, CPU, OTHER_CPU, Scope
from calibration.reproduce.study import production_sizes, study_node
from perfmodel.planning.tune.load_test import service_of
from perfmodel.planning.tune.question import Configuration, Grid, doubling_batch_sizes, share_thresholds
from perfmodel.sim.engines import simulate
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries
from perfmodel.units import MS

PERCENTILE = 0.95


def lowest_latency_section(scope: Scope) -> Section:
    """Each model on each node, beside its SLA targets."""
    law = production_sizes()
    grid = Grid(batch_sizes=doubling_batch_sizes(law.max_items), thresholds=share_thresholds(law))
    rows = []
    for model, target_ms in scope.targets_ms.items():
        for cpu, card in ((CPU, None), (CPU, CARD), (OTHER_CPU, None)):
            service = service_of(study_node(model, cpu, card), law.max_items)
            options = grid if card else Grid(batch_sizes=grid.batch_sizes)
            latency_s, best = lowest_latency_s(service, law, options.configurations)
            hardware = cpu if card is None else f"{cpu} with {card}"
            rows.append(
                Compared(
                    case=f"{model}, {hardware}",
                    quantity="lowest p95 [ms]",
                    predicted=latency_s / MS,
                    setting=f"{_shown(best)}; the medium SLA is {target_ms:g} ms",
                )
            )
    return Section(
        title="Lowest reachable p95",
        prose=(
            "Every query finds the node idle, and the batch size and threshold serve latency alone. No SLA "
            "below this can be met; exact, by the law of query sizes."
        ),
        rows=tuple(rows),
    )


def lowest_latency_s(
    service: ServiceTimes, law: SizePmf, configurations: Iterable[Configuration]
) -> tuple[float, Configuration]:
    """The lowest p95 of queries that find the node idle, and what reaches it. [s]"""
    found = [(idle_latency_s(service, law, configuration), configuration) for configuration in configurations]
    return min(found, key=lambda entry: entry[0])


def idle_latency_s(service: ServiceTimes, law: SizePmf, configuration: Configuration) -> float:
    """The p95 of queries that each find the node idle: exact, by the law of sizes. [s]"""
    longest_s = float(service.cpu_s.max()) * law.max_items
    if service.accelerator_s is not None:
        longest_s += float(service.accelerator_s.max())
    queries = Queries(longest_s * np.arange(len(law.values), dtype=np.float64), law.values)
    latency_s = simulate(queries, service, configuration.policy).latency_s
    order = np.argsort(latency_s)
    reached = np.cumsum(law.probabilities[order]) >= PERCENTILE - 1e-9
    return float(latency_s[order][int(np.argmax(reached))])


def _shown(configuration: Configuration) -> str:
    threshold = configuration.offload_threshold_items
    offload = "" if threshold is None else f", offload from {threshold} items"
    return f"batch {configuration.batch_size}{offload}"
