"""The DeepRecSched study: many models on many nodes, tuned at several SLA levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import exp, log

from calibration.reproduce.rate_grid import RateEnds
from calibration.reproduce.scope import Progress, silent
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.planning.deeprecsys.controlled import with_interpolation
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import find_devices, find_model
from perfmodel.planning.tune.answer import Optimum
from perfmodel.planning.tune.computation import Tuner
from perfmodel.planning.tune.load_test import FINAL_QUERIES, LoadTest, SharedTraffic, service_of
from perfmodel.planning.tune.question import (
    SLA_LEVELS,
    Configuration,
    Grid,
    Objective,
    doubling_batch_sizes,
    share_thresholds,
)
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource
from perfmodel.threads import side_by_side

PUBLISHED_STATIC_BATCH = 25
"""The published baseline, on every node: the largest query over Skylake's cores, 1000 / 40. [items]"""

CARD_BATCHES = (1, 4, 16, 64, 256, 1024)
"""Of the card's measured times; between them the study's engine is linear in log(batch). [items]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What the study covers.

    Attributes
    ----------
    targets_ms : mapping of str to float
        Models by shipped name or path, each with its medium latency bound. [ms]
    cpus : tuple of str
        Profiles.
    accelerators : tuple of (str or None)
        One accelerator of this profile in the node; None: CPU only.
    levels : mapping of str to float
        SLA levels, ascending: bound over the medium one. [1]
    percentile : float
        Of latency. [1]
    sizes : SizePmf or None
        Law of the query sizes; None: DeepRecSys' production list.
    static_batch : int
        Batch size of the static baseline. [items]
    grid : Grid or None
        What is searched; None: doubling batch sizes, and thresholds by equal steps of the share of items.
    objective : {"qps", "qps-per-watt"}
        What is best.
    climbs : bool
        Whether to find where the hill climb ends too: each `StudyCase.tuning` is then a `Tuning`.
    curves : bool
        Whether to find QPS along both axes through each optimum: `by_batch` and `by_threshold`; climbs too.
    final_queries : int
        Behind every final rate.
    """

    targets_ms: Mapping[str, float]
    cpus: tuple[str, ...] = ("broadwell", "skylake")
    accelerators: tuple[str | None, ...] = (None, "gtx1080ti")
    levels: Mapping[str, float] = field(default_factory=lambda: SLA_LEVELS)
    percentile: float = 0.95
    sizes: SizePmf | None = None
    static_batch: int = PUBLISHED_STATIC_BATCH
    grid: Grid | None = None
    objective: Objective = "qps"
    climbs: bool = False
    curves: bool = False
    final_queries: int = FINAL_QUERIES
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCase:
    """One model on one node at one SLA level, tuned.

    Attributes
    ----------
    model, cpu : str
        Names, as in the plan.
    accelerator : str or None
        The profile; None: CPU only.
    level : str
        Of the SLA.
    tuning : Optimum
        Static baseline and exhaustive search; a `Tuning` where the plan climbs.
    """

    model: str
    cpu: str
    accelerator: str | None
    level: str
    tuning: Optimum


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All cases: by model, CPU, level, and then without and with an accelerator."""

    plan: StudyPlan
    cases: tuple[StudyCase, ...]

    def case(self, model: str, cpu: str, accelerator: str | None, level: str) -> Optimum:
        """Return what was found for one case.

        Raises
        ------
        InputError
            If the plan has no such case.
        """
        wanted = (model, cpu, accelerator, level)
        for case in self.cases:
            if (case.model, case.cpu, case.accelerator, case.level) == wanted:
                return case.tuning
        raise InputError(f"the study has no case {wanted}")

    def gains(
        self,
        cpu: str,
        accelerator: str | None,
        level: str,
        *,
        per_w: bool = False,
        ends: RateEnds | None = None,
    ) -> dict[str, float | None]:
        """Gain over the static baseline of each model. [1]

        Parameters
        ----------
        ends : RateEnds, optional
            Of the grid of rates that a search reports. Without, any rate: None where the baseline carries
            nothing.
        """
        found = {model: self.case(model, cpu, accelerator, level) for model in self.plan.targets_ms}
        return {model: gain_of(tuning, per_w=per_w, ends=ends) for model, tuning in found.items()}

    def geometric_mean_gain(
        self,
        cpu: str,
        accelerator: str | None,
        level: str,
        *,
        per_w: bool = False,
        ends: RateEnds | None = None,
    ) -> float | None:
        """Geometric mean of the gains over those models that have one. [1]"""
        return geometric_mean(self.gains(cpu, accelerator, level, per_w=per_w, ends=ends).values())

    @property
    def simulated_queries(self) -> int:
        """Queries simulated in all probes."""
        return sum(case.tuning.simulated_queries for case in self.cases)


def gain_of(optimum: Optimum, *, per_w: bool, ends: RateEnds | None) -> float | None:
    """Gain over the static baseline, at any rate or as a search on a grid of rates reports it. [1]"""
    if ends is None:
        return optimum.gain_per_w if per_w else optimum.gain
    return ends.gain_per_w(optimum) if per_w else ends.gain(optimum)


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Geometric mean of the values that exist; None where none does.

    Examples
    --------
    >>> round(geometric_mean([1.0, 4.0, None]), 6)
    2.0
    """
    logs = [log(value) for value in values if value is not None]
    return exp(sum(logs) / len(logs)) if logs else None


def run_study(plan: StudyPlan, progress: Progress = silent) -> Study:
    """Tune every case; all see the same arrivals and sizes.

    Parameters
    ----------
    progress : callable
        Told what comes next, node by node.
    """
    law = plan.sizes or production_sizes()
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=law)
    traffic = SharedTraffic(source, seed=plan.seed, final_queries=plan.final_queries)
    nodes = [(model, cpu) for model in plan.targets_ms for cpu in plan.cpus]

    def tuned(names: tuple[str, str]) -> list[StudyCase]:
        progress("tuning {} on {}".format(*names))
        return _tune_node(plan, traffic, *names)

    found = side_by_side(tuned, nodes)
    return Study(plan=plan, cases=tuple(case for cases in found for case in cases))


def production_sizes() -> SizePmf:
    """Law of the published production list of query sizes."""
    sizes = named_sizes("deeprecsys-production")
    return SizePmf(sizes.num_items, sizes.probabilities)


STUDIED_STACKS = {"broadwell": "deeprecsys-isca2020", "skylake": "deeprecsys-repository"}
"""What the DeepRecSys study ran on each CPU, as published: software differs with the machine."""


def study_node(model: str, cpu: str, accelerator: str | None) -> ServingNode:
    """All cores of a CPU, perhaps with one accelerator, in the stack that the study ran on that CPU."""
    rec_model = find_model(model)
    stack = STUDIED_STACKS.get(cpu)
    names = [cpu if stack is None else f"{cpu}@{stack}", *([] if accelerator is None else [accelerator])]
    device, *cards = find_devices(names, rec_model)
    card = cards[0] if cards else None
    return ServingNode(
        model=rec_model,
        cpu=device,
        cores=device.engine.engines or device.num_cores,
        accelerator=card,
        num_accelerators=0 if card is None else 1,
    )


def study_service(node: ServingNode, max_items: int) -> ServiceTimes:
    """Service times as the study had them: the card's from six batches, a query at a time."""
    return with_interpolation(node, service_of(node, max_items), CARD_BATCHES)


def _tune_node(plan: StudyPlan, traffic: SharedTraffic, model: str, cpu: str) -> list[StudyCase]:
    """Tune a model on a CPU with each accelerator, from the tightest SLA to the loosest."""
    law = traffic.source.size_pmf
    grid = plan.grid or Grid(
        batch_sizes=doubling_batch_sizes(law.max_items), thresholds=share_thresholds(law)
    )
    static = Configuration(plan.static_batch)
    # Without an accelerator first: a node that has one is no different until it offloads.
    accelerators = sorted(plan.accelerators, key=lambda name: name is not None)
    nodes = {accelerator: study_node(model, cpu, accelerator) for accelerator in accelerators}
    services = {accelerator: study_service(node, law.max_items) for accelerator, node in nodes.items()}
    cases: list[StudyCase] = []
    optima: dict[str | None, list[Configuration]] = {accelerator: [] for accelerator in accelerators}
    for level, factor in plan.levels.items():
        sla = SlaTarget(percentile=plan.percentile, latency_ms=factor * plan.targets_ms[model])
        tuner: Tuner | None = None
        for accelerator, node in nodes.items():
            test = LoadTest(node, traffic, sla, service=services[accelerator])
            thresholds = () if accelerator is None else grid.thresholds
            cpu_only = tuner
            tuner = Tuner(test, replace(grid, thresholds=thresholds), static, plan.objective)
            if cpu_only is not None:
                tuner.knows_from(cpu_only)
            promising = optima[accelerator]
            climbs = plan.climbs or plan.curves
            tuning = tuner.tune(curves=plan.curves, promising=promising) if climbs else tuner.best(promising)
            optima[accelerator] = [tuning.exhaustive.configuration]
            cases.append(StudyCase(model=model, cpu=cpu, accelerator=accelerator, level=level, tuning=tuning))
    return cases
