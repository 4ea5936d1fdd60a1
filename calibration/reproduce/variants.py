"""What stays apart from the published gains: the gains again, with one part of the prediction changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.published.loaded import ENGINES, slowed
from calibration.reproduce.evaluation import Compared, Section
from calibration.reproduce.gains import GAINS, published_gains
from calibration.reproduce.rate_grid import published_ends
from calibration.reproduce.scope import CARD, CPU, Progress, Scope
from calibration.reproduce.study import PUBLISHED_STATIC_BATCH, geometric_mean, study_node, study_service
from perfmodel.domain.hardware import EngineCosts
from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.node import ServingNode
from perfmodel.planning.tune.computation import Tuner
from perfmodel.planning.tune.load_test import LoadTest, SharedTraffic
from perfmodel.planning.tune.question import (
    SLA_LEVELS,
    Configuration,
    Grid,
    doubling_batch_sizes,
    share_thresholds,
    static_batch_size,
)
from perfmodel.sim.service import ServiceTimes
from perfmodel.threads import side_by_side

LARGEST_QUERY_ITEMS = 1000
THRESHOLD_STEP = 0.1
"""Of the share of items offloaded: twice the study's, since only differences count. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The prediction with one part changed.

    Attributes
    ----------
    name : str
        What is changed.
    part : str
        Which part of the prediction: service times, contention, the study's definitions.
    static_batch : int
        Of the baseline. [items]
    node : callable
        Changes the node.
    service : callable
        Changes its service times, given the node too.
    """

    name: str
    part: str
    static_batch: int = PUBLISHED_STATIC_BATCH
    node: Callable[[ServingNode], ServingNode] = lambda node: node
    service: Callable[[ServingNode, ServiceTimes], ServiceTimes] = lambda _, service: service


def variants(cores: int) -> tuple[Variant, ...]:
    """Everything that is changed, on a node with so many cores; the first changes nothing."""
    own_static = static_batch_size(LARGEST_QUERY_ITEMS, cores)
    return (
        Variant(name="as shipped", part=""),
        Variant(
            name=f"baseline of {own_static} items, 1000 over this node's {cores} cores",
            part="baseline",
            static_batch=own_static,
        ),
        Variant(name="no slow-down by the serving stack", part="contention", node=_without_slowdown),
        Variant(name="no contention at all", part="contention", service=_uncontended),
        Variant(name="engines that do nothing beside the network", part="engine", node=_fixed_engine),
        Variant(name=f"{ENGINES[-1]} engines, one a core", part="engine", node=_an_engine_a_core),
        Variant(name="cores slower by the profile's error", part="service times", service=_cpu_scaled(+1.0)),
        Variant(name="cores faster by the profile's error", part="service times", service=_cpu_scaled(-1.0)),
        Variant(name="card faster by the profile's error", part="service times", service=_card_faster),
    )


Gains = dict[tuple[str, str], float | None]
"""By key of the published file and SLA level: geometric mean over the models, as a search reports it. [1]"""


def variants_section(scope: Scope, traffic: SharedTraffic, progress: Progress) -> Section:
    """The geometric means under each variant, beside the published ones."""
    rows = list[Compared]()
    progress("the gains again: service times")
    shipped = shipped_nodes(scope.targets_ms, traffic)
    for variant in variants(shipped[0].node.cpu.num_cores):
        progress(f"the gains again: {variant.name}")
        rows += _rows(variant, gains_of(variant, shipped, traffic))
    return Section(
        title="What stays apart",
        prose=(
            "The geometric means again, each time with one part of the prediction changed: the differences "
            f"to the first rows say what that part is worth. {traffic.num_queries:,} queries behind a rate."
        ),
        rows=tuple(rows),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A model on Broadwell with the card, before anything is changed: `sla_ms` is the medium one. [ms]"""

    node: ServingNode
    service: ServiceTimes
    sla_ms: float


def shipped_nodes(targets_ms: Mapping[str, float], traffic: SharedTraffic) -> list[Shipped]:
    """All models, their service times tabulated once for the variants that leave the node as it is."""
    max_items = traffic.source.size_pmf.max_items

    def of_model(entry: tuple[str, float]) -> Shipped:
        node = study_node(entry[0], CPU, CARD)
        return Shipped(node=node, service=study_service(node, max_items), sla_ms=entry[1])

    return side_by_side(of_model, targets_ms.items())


def gains_of(variant: Variant, shipped: Sequence[Shipped], traffic: SharedTraffic) -> Gains:
    """Tune every model at every SLA level on Broadwell under a variant."""
    found = side_by_side(lambda model: dict(_gains_of_model(variant, model, traffic)), shipped)
    return {key: geometric_mean(gains[key] for gains in found) for key in found[0]}


def _gains_of_model(
    variant: Variant, shipped: Shipped, traffic: SharedTraffic
) -> Iterator[tuple[tuple[str, str], float | None]]:
    law = traffic.source.size_pmf
    node = variant.node(shipped.node)
    alone = replace(node, accelerator=None, num_accelerators=0)
    sizes, thresholds = doubling_batch_sizes(law.max_items), share_thresholds(law, step=THRESHOLD_STEP)
    as_it_is = shipped.service if node is shipped.node else study_service(node, law.max_items)
    service = variant.service(node, as_it_is)
    cores_only = ServiceTimes(cpu_s=service.cpu_s)
    static, ends = Configuration(variant.static_batch), published_ends()
    # What was best at the tighter SLA is tried first.
    found: dict[str, list[Configuration]] = {"cpu": [], "both": []}
    for level, factor in SLA_LEVELS.items():
        sla = SlaTarget(percentile=0.95, latency_ms=factor * shipped.sla_ms)
        cpu = Tuner(LoadTest(alone, traffic, sla, service=cores_only), Grid(batch_sizes=sizes), static)
        both = Tuner(
            LoadTest(node, traffic, sla, service=service),
            Grid(batch_sizes=sizes, thresholds=thresholds),
            static,
        )
        on_cores = cpu.best(found["cpu"])
        both.knows_from(cpu)
        with_card = both.best([*found["both"], on_cores.exhaustive.configuration])
        found = {"cpu": [on_cores.exhaustive.configuration], "both": [with_card.exhaustive.configuration]}
        yield ("qps_gain_cpu", level), ends.gain(on_cores)
        yield ("qps_gain_gpu", level), ends.gain(with_card)
        yield ("qps_per_w_gain_gpu", level), ends.gain_per_w(with_card)


def _rows(variant: Variant, gains: Gains) -> list[Compared]:
    """The rows of a variant, cores alone first; of the SLA levels only the medium one is no detail."""
    published = published_gains()
    return [
        Compared(
            case=variant.name,
            quantity=f"{name}, {level} SLA",
            predicted=gains[key, level],
            setting=f"published {published[key, level]:g}",
            cause=variant.part,
            detail=level != "medium",
        )
        for key, name, _, _ in GAINS
        for level in SLA_LEVELS
    ]


def _without_slowdown(node: ServingNode) -> ServingNode:
    return replace(node, cpu=slowed(node.cpu, 1.0, 1.0))


def _fixed_engine(node: ServingNode) -> ServingNode:
    """A request converts its own inputs, and is handed over and fed for nothing."""
    return replace(node, cpu=replace(node.cpu, engine=EngineCosts(queue_blobs=node.cpu.engine.queue_blobs)))


def _an_engine_a_core(node: ServingNode) -> ServingNode:
    return replace(node, cores=ENGINES[-1])


def _uncontended(_: ServingNode, service: ServiceTimes) -> ServiceTimes:
    alone_s = service.cpu_s[:, :1]
    return replace(service, cpu_s=np.repeat(alone_s, service.num_executors, axis=1))


def _cpu_scaled(sign: float) -> Callable[[ServingNode, ServiceTimes], ServiceTimes]:
    def scaled(node: ServingNode, service: ServiceTimes) -> ServiceTimes:
        return replace(service, cpu_s=service.cpu_s * (1.0 + sign * node.cpu.relative_error))

    return scaled


def _card_faster(node: ServingNode, service: ServiceTimes) -> ServiceTimes:
    assert node.accelerator is not None
    assert service.accelerator_s is not None
    return replace(service, accelerator_s=service.accelerator_s * (1.0 - node.accelerator.relative_error))
