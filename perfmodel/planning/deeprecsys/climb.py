"""DeepRecSys's climb over batch sizes, then thresholds, mistakes included, beside exact capacities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.planning.deeprecsys.controlled import THOROUGH, ControlledNode, Effort
from perfmodel.planning.deeprecsys.settings import PUBLISHED, ControllerSettings, Shortcut
from perfmodel.planning.question import Question
from perfmodel.planning.tune.question import Configuration
from perfmodel.sim.deeprecsys import WalkRules
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.threads import Tell, untold
from perfmodel.units import MS

CLIMBS = 32
"""Climbs with random numbers of their own."""

SEARCHES_IN_A_CLIMB = 1000
"""More than any climb makes: each search has a replication of its own."""


class Attempt(NamedTuple):
    """One configuration of one climb.

    Attributes
    ----------
    named : Configuration
        What the controller believes that it measures.
    measured : Configuration
        What it measures: where the two differ, it has forgotten to set the threshold.
    qps : float
        The rate that it found. [queries/s]
    """

    named: Configuration
    measured: Configuration
    qps: float


class Climb(NamedTuple):
    """One climb: what was tried, what it chose, and the rate that it reports. [queries/s]"""

    attempts: tuple[Attempt, ...]
    chosen: Configuration
    qps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClimbReport:
    """Many climbs of the published controller, and the exact capacity of what each chose.

    Attributes
    ----------
    settings : ControllerSettings
        The controller's constants.
    climbs : tuple of Climb
        With random numbers of their own.
    exact_qps : dict of Configuration to float
        Exact capacity of each configuration on the controller's lists, 0 where no load meets the SLA.
        [queries/s]
    """

    settings: ControllerSettings
    climbs: tuple[Climb, ...]
    exact_qps: dict[Configuration, float]

    @property
    def best(self) -> Configuration:
        """The configuration on the lists with the greatest exact capacity."""
        return max(self.exact_qps, key=lambda configuration: self.exact_qps[configuration])

    @property
    def first_threshold_chosen(self) -> int:
        """Climbs that chose a threshold that they had never set."""
        return sum(
            any(each.named == climb.chosen and each.measured != climb.chosen for each in climb.attempts)
            for climb in self.climbs
        )

    @property
    def chosen(self) -> tuple[tuple[Configuration, int], ...]:
        """What the climbs chose and how many of them, the most frequent first."""
        return tuple(Counter(climb.chosen for climb in self.climbs).most_common())

    @property
    def reported_qps(self) -> float:
        """Mean rate that the climbs report. [queries/s]"""
        return float(np.mean([climb.qps for climb in self.climbs]))

    @property
    def true_qps(self) -> float:
        """Mean exact capacity of what the climbs chose. [queries/s]"""
        return float(np.mean([self.exact_qps[climb.chosen] for climb in self.climbs]))


def published_climbs(
    question: Question,
    settings: ControllerSettings | None = None,
    *,
    num_climbs: int = CLIMBS,
    effort: Effort = THOROUGH,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> ClimbReport:
    """Let the published controller tune a scenario, many times, and compute what its choices are worth.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        As `compare_shortcuts` does.
    """
    if not isinstance(question.policy, SplitAndOffload):
        raise ValueErrorAt("DeepRecSys mode knows policy split without shedding only", ("policy", "name"))
    plain = settings or PUBLISHED
    accelerated = question.node.num_accelerators > 0
    # Without a threshold the tables cover every batch and, on an accelerator, every query.
    largest = replace(question.policy, batch_size=max(plain.batch_sizes), offload_threshold_items=None)
    controlled = ControlledNode.of(
        replace(question, policy=largest), plain, effort=effort, extrapolate=extrapolate
    )
    thresholds = (*plain.thresholds, plain.threshold_before) if accelerated else (None,)
    lists = [Configuration(batch, threshold) for batch in plain.batch_sizes for threshold in thresholds]
    exact_qps, steps = {}, len(lists) + num_climbs
    for each in lists:
        exact_qps[each] = _exact_qps(controlled, each)
        tell(len(exact_qps) / steps)
    greatest_qps = max(exact_qps.values())
    if settings is None and greatest_qps > 0.0:
        controlled = replace(controlled, settings=PUBLISHED.placed_around(greatest_qps))
    climbs = []
    for index in range(num_climbs):
        climbs.append(climb_once(controlled, accelerated=accelerated, replication=index))
        tell((len(lists) + len(climbs)) / steps)
    return ClimbReport(settings=controlled.settings, climbs=tuple(climbs), exact_qps=exact_qps)


def climb_once(controlled: ControlledNode, *, accelerated: bool, replication: int) -> Climb:
    """Climb once, as `scheduler.py` does.

    Batch sizes in the order of their list, until the gap found is longer than that of the one before, which
    is then chosen; else the one of the shortest gap. Thresholds after that, in the same way; but the first
    threshold of the list is never set, so that its attempt measures `threshold_before`.
    """
    settings = controlled.settings
    before = settings.threshold_before if accelerated else None

    def searched_qps(configuration: Configuration, order: int) -> float:
        search = replication * SEARCHES_IN_A_CLIMB + order
        return _search_qps(controlled, configuration, replication=search, size_replication=replication)

    by_batch: list[Attempt] = []
    for order, batch_size in enumerate(settings.batch_sizes):
        configuration = Configuration(batch_size, before)
        by_batch.append(Attempt(configuration, configuration, searched_qps(configuration, order)))
        if _fell(by_batch):
            break
    best = _choice(by_batch)
    if not accelerated:
        return Climb(tuple(by_batch), best.named, best.qps)
    by_threshold: list[Attempt] = []
    for order, threshold in enumerate(settings.thresholds):
        named = Configuration(best.named.batch_size, threshold)
        measured = named if by_threshold else best.named
        qps = searched_qps(measured, len(settings.batch_sizes) + order)
        by_threshold.append(Attempt(named, measured, qps))
        if _fell(by_threshold):
            break
    chosen = _choice(by_threshold)
    return Climb((*by_batch, *by_threshold), chosen.named, chosen.qps)


def _fell(attempts: Sequence[Attempt]) -> bool:
    """Whether the last attempt found a lower rate than the one before; equal is not lower."""
    return len(attempts) >= 2 and attempts[-1].qps < attempts[-2].qps


def _choice(attempts: Sequence[Attempt]) -> Attempt:
    """The attempt before the one that fell; where none did, the first of the highest rate."""
    return attempts[-2] if _fell(attempts) else max(attempts, key=lambda attempt: attempt.qps)


def _search_qps(
    controlled: ControlledNode, configuration: Configuration, *, replication: int, size_replication: int
) -> float:
    """The published search of one configuration: all shortcuts on, a climb's sizes the same. [queries/s]"""
    settings = controlled.settings
    rules = WalkRules(
        mean_gaps_s=settings.gaps_s,
        first_gap_s=settings.first_gap_ms * MS,
        window=settings.window,
        num_readings=settings.timeout + 1,
        num_kept=settings.num_gaps,
        margin=settings.margin,
        whole_ms=True,
        num_sizes=settings.num_sizes,
    )
    return _configured(controlled, configuration).walked_qps(
        rules, frozenset(Shortcut), replication, size_replication=size_replication
    )


def _exact_qps(controlled: ControlledNode, configuration: Configuration) -> float:
    found = _configured(controlled, configuration).capacity(frozenset(), repetitions=1)
    return 0.0 if found is None else found.mean_qps


def _configured(controlled: ControlledNode, configuration: Configuration) -> ControlledNode:
    """The node with another policy; its service times cover every configuration on the lists."""
    policy = SplitAndOffload(
        batch_size=configuration.batch_size, offload_threshold_items=configuration.offload_threshold_items
    )
    return replace(controlled, policy=policy)
