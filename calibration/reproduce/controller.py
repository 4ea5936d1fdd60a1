"""What the published controller's shortcuts make of the gains: every capacity as that controller finds it."""

from __future__ import annotations

from collections.abc import Sequence

from calibration.reproduce.evaluation import Compared, Section
from calibration.reproduce.scope import CARD, CPU, Progress
from calibration.reproduce.study import Study, geometric_mean, production_sizes
from perfmodel.domain.serving import SimulationSettings, SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.planning.deeprecsys.controlled import ControlledNode
from perfmodel.planning.deeprecsys.settings import PUBLISHED
from perfmodel.planning.question import Question
from perfmodel.planning.tune.answer import OperatingPoint, Optimum
from perfmodel.planning.tune.question import Configuration
from perfmodel.sim.traffic import TrafficSource

LEVEL = "medium"


def controller_section(study: Study, progress: Progress) -> Section:
    """Static and tuned throughput of each model, exactly and as the published controller measures them."""
    rows = list[Compared]()
    ratios: dict[str | None, list[float | None]] = {None: [], CARD: []}
    for model in study.plan.targets_ms:
        progress(f"published controller: {model}")
        for card, gains in ratios.items():
            tuning = study.case(model, CPU, card, LEVEL)
            found = [_found_qps(tuning, point) for point in (tuning.static, tuning.exhaustive)]
            gain = None if found[0] is None or found[1] is None else found[1] / found[0]
            gains.append(gain)
            rows.append(_row(f"{model}, {_hardware(card)}", gain, tuning.gain, found))
    means = [
        _row(
            f"geometric mean, {_hardware(card)}",
            geometric_mean(gains),
            study.geometric_mean_gain(CPU, card, LEVEL),
            (),
        )
        for card, gains in ratios.items()
    ]
    return Section(
        title="What the published controller's shortcuts are worth",
        prose=(
            "The same configurations at the medium SLA, their throughput found by the published controller: "
            "gaps of whole milliseconds, a few sizes replayed, p95 over windows of 64 queries, log-spaced "
            "rates, bounded queues, the accelerator as one server. `perfplan tune --deeprecsys-mode` takes "
            "them apart one by one."
        ),
        rows=(*means, *rows),
    )


def _found_qps(tuning: Optimum, point: OperatingPoint) -> float | None:
    """What the controller finds for a configuration; its grid of rates is moved to where the answer lies."""
    if point.latency_bounded_qps is None:
        return None
    question = _question(tuning, point.configuration, point.latency_bounded_qps)
    controlled = ControlledNode.of(question, PUBLISHED.placed_around(point.latency_bounded_qps))
    found = controlled.capacity(controlled.shortcuts, near_qps=point.latency_bounded_qps)
    return None if found is None else found.mean_qps


def _question(tuning: Optimum, configuration: Configuration, rate_qps: float) -> Question:
    return Question(
        name="reproduce",
        node=tuning.node,
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=production_sizes()),
        policy=configuration.policy,
        sla=SlaTarget(percentile=tuning.sla.percentile, latency_ms=tuning.sla.latency_ms),
        simulation=SimulationSettings(),
    )


def _row(case: str, found: float | None, exact: float | None, qps: Sequence[float | None]) -> Compared:
    shown = " → ".join("–" if rate is None else f"{rate:,.0f}" for rate in qps)
    exactly = "" if exact is None else f"exactly {exact:.2f}"
    return Compared(
        case=case,
        quantity=f"gain over static as the controller finds it, {LEVEL} SLA",
        predicted=found,
        setting=f"{exactly}; {shown} queries/s" if shown else exactly,
        detail=bool(shown),
    )


def _hardware(card: str | None) -> str:
    return "cores alone" if card is None else "with the GPU"
