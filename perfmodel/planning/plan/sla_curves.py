"""What a node would carry at other SLAs, its settings kept: the curves behind a page's control."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
from perfmodel.planning.plan.capacities import PairAsked, find_capacities
from perfmodel.planning.plan.question import Pair, PairCapacity, PlanQuestion
from perfmodel.threads import Tell, part_of, untold
from perfmodel.units import MS

FACTORS = (0.5, 0.7, 1.4, 2.0)
"""Other SLAs, as parts of the service's own. [1]"""


class SlaPoint(NamedTuple):
    """What a node carries at an SLA.

    Attributes
    ----------
    latency_s : float
        The SLA's bound. [s]
    qps, low_qps : float or None
        By the central estimate, and with the confidence asked for; None: no load meets it. [queries/s]
    """

    latency_s: float
    qps: float | None
    low_qps: float | None


SlaCurves = dict[Pair, tuple[SlaPoint, ...]]


def sla_curves(
    question: PlanQuestion,
    *,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> SlaCurves:
    """Find the capacity of each pair at some other SLAs, with the batch size and threshold that it has.

    What is found is kept as all capacities are, so that a plan that asks for the same has the same numbers.
    Pairs whose capacity the file gives have no curve: it holds for an SLA that nobody here knows.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.
    """
    pairs = {
        pair: found
        for pair, found in question.capacities.items()
        if found.source != "given" and pair in question.prepared
    }
    points: dict[Pair, list[SlaPoint]] = {
        pair: [SlaPoint(question.slas[pair[0]].latency_s, found.qps, found.low_qps)]
        for pair, found in pairs.items()
    }
    for done, factor in enumerate(FACTORS if pairs else ()):
        bounds_ms = {pair: _bound_ms(question, pair, factor) for pair in pairs}
        asked = [
            PairAsked(pair, _at(question, pair, found, bounds_ms[pair]), tune=False)
            for pair, found in pairs.items()
        ]
        at = find_capacities(
            asked,
            confidence=question.provision.confidence,
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
            tell=part_of(tell, done / len(FACTORS), (done + 1) / len(FACTORS)),
        ).found
        for pair in pairs:
            latency_s = MS * bounds_ms[pair]
            found_at = at.get(pair)
            points[pair].append(
                SlaPoint(latency_s, None, None)
                if found_at is None
                else SlaPoint(latency_s, found_at.qps, found_at.low_qps)
            )
    return {pair: tuple(sorted(own)) for pair, own in points.items()}


def _bound_ms(question: PlanQuestion, pair: Pair, factor: float) -> float:
    """An SLA as people write it: six digits."""
    return float(f"{factor * question.slas[pair[0]].latency_s / MS:.6g}")


def _at(question: PlanQuestion, pair: Pair, found: PairCapacity, latency_ms: float) -> LoadedScenario:
    """The pair's scenario with another bound, and with the settings that its capacity is of."""
    changes = [f"sla.latency_ms={latency_ms!r}"]
    if found.source == "tune":
        threshold = found.offload_threshold_items
        changes += [
            f"policy.batch_size={found.batch_size}",
            f"policy.offload_threshold_items={'null' if threshold is None else threshold}",
        ]
        if found.timeout_ms is not None:
            changes[1:] = [
                f"policy.max_batch_items={found.batch_size}",
                f"policy.timeout_ms={found.timeout_ms!r}",
            ]
        if found.threads > 1:
            changes.append(f"node.threads={found.threads}")
    return load_scenario(question.prepared[pair].loaded, changes)
