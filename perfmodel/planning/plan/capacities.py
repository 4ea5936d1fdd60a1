"""What one node of a type serves of a service: tuned, or with the scenario's settings, and at the low end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.planning.capacity.computation import capacity
from perfmodel.planning.node import ServingNode
from perfmodel.planning.plan.kept import Kept, digest_of
from perfmodel.planning.plan.question import Pair, PairCapacity
from perfmodel.planning.prepare import PreparedPair, Question, checksums_now, prepare_pairs
from perfmodel.planning.tune.computation import tune
from perfmodel.planning.tune.question import TuneOptions
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.threads import Tell, side_by_side, untold


class PairAsked(NamedTuple):
    """A service on a node type, whose capacity is to be found.

    Attributes
    ----------
    pair : (str, str)
        Service and node type, by name.
    loaded : LoadedScenario
        The service's scenario with the type's node.
    tune : bool
        Whether batch size and threshold are to be found too.
    """

    pair: Pair
    loaded: LoadedScenario
    tune: bool


class Found(NamedTuple):
    """What was found of a pair: a capacity, or why there is none."""

    capacity: PairCapacity | None
    why_not: str


class Capacities(NamedTuple):
    """What was found of all pairs: capacities, why others have none, and the questions behind them."""

    found: dict[Pair, PairCapacity]
    refused: dict[Pair, str]
    prepared: dict[Pair, PreparedPair]


def find_capacities(
    asked: Sequence[PairAsked],
    *,
    confidence: float,
    mixed_stacks: bool,
    extrapolate: bool,
    tell: Tell = untold,
) -> Capacities:
    """Find the capacity of each pair, as many at a time as there are cores; of those without one, why.

    Raises
    ------
    InputError
        At the place in a file that cannot be used.
    ExtrapolationError
        If batches of a pair lie outside the calibrated range and `extrapolate` is not set.
    """
    prepared = prepare_pairs([each.loaded for each in asked], mixed_stacks=mixed_stacks)
    return capacities_of(asked, prepared, confidence=confidence, extrapolate=extrapolate, tell=tell)


def capacities_of(
    asked: Sequence[PairAsked],
    prepared: Sequence[PreparedPair],
    *,
    confidence: float,
    extrapolate: bool,
    tell: Tell = untold,
) -> Capacities:
    """Find the capacity of each pair, prepared before; as `find_capacities`."""
    kept = Kept()
    found = side_by_side(
        lambda each: _found(*each, kept, confidence=confidence, extrapolate=extrapolate),
        zip(asked, prepared, strict=True),
        tell,
    )
    capacities, refused = {}, {}
    for each, (rates, why_not) in zip(asked, found, strict=True):
        if rates is None:
            refused[each.pair] = f"{each.pair[0]}: {why_not}"
        else:
            capacities[each.pair] = rates
    questions = {each.pair: pair for each, pair in zip(asked, prepared, strict=True)}
    return Capacities(capacities, refused, questions)


def _found(
    asked: PairAsked,
    pair: PreparedPair,
    kept: Kept,
    *,
    confidence: float,
    extrapolate: bool,
) -> Found:
    """What is kept of a pair, else found and kept: unless a file has changed meanwhile."""
    if pair.misfit is not None:
        return Found(None, pair.misfit)
    digest = _digest(asked, pair, confidence, extrapolate)
    if (known := _read(kept.get(digest))) is not None:
        return known
    with asked.loaded.places():
        question = pair.question()
        found = capacity_of(question, tuned=asked.tune, confidence=confidence, extrapolate=extrapolate)
    if checksums_now(pair.paths) == pair.checksums:
        capacity = None if found.capacity is None else found.capacity._asdict()
        kept.keep(digest, {"capacity": capacity, "why_not": found.why_not})
    return found


def _read(entry: dict[str, Any] | None) -> Found | None:
    """What an entry says; None where it does not say that."""
    try:
        capacity = None if entry is None else entry["capacity"]
        known = None if capacity is None else PairCapacity(**capacity)
        return None if entry is None else Found(known, entry["why_not"])
    except (KeyError, TypeError):
        return None


def _digest(asked: PairAsked, pair: PreparedPair, confidence: float, extrapolate: bool) -> str:
    return digest_of(
        {**said_of(pair), "tune": asked.tune, "confidence": confidence, "extrapolate": extrapolate}
    )


def said_of(pair: PreparedPair) -> dict[str, Any]:
    """All that what is found of a pair depends on; rate, price and description do not count."""
    scenario = pair.loaded.source.data()
    assert isinstance(scenario, dict), "the top level of a scenario is a section"
    said: dict[str, Any] = {key: value for key, value in scenario.items() if key != "description"}
    arrivals = {key: value for key, value in said["traffic"]["arrivals"].items() if key != "rate_qps"}
    said["traffic"] = {**said["traffic"], "arrivals": arrivals}
    said["node"] = {key: value for key, value in said["node"].items() if key != "price_usd_per_h"}
    return {"scenario": said, "files": pair.checksums, "stacks": pair.stacks}


def capacity_of(question: Question, *, tuned: bool, confidence: float, extrapolate: bool) -> Found:
    """Find what a node serves: tuned first where that is asked for and its policy has what tune sets."""
    sla = question.sla.model_copy(update={"confidence": confidence})
    question = replace(question, sla=sla)
    source = "capacity"
    if tuned and isinstance(question.policy, SplitAndOffload) and question.policy.shedding is None:
        best = tune(question, TuneOptions(extrapolate=extrapolate)).tuning
        question = replace(question, node=best.node, policy=best.exhaustive.configuration.policy)
        source = "tune"
    answer = capacity(question, extrapolate=extrapolate)
    rate_qps, low_qps = answer.latency_bounded_qps, answer.plan_for_qps
    if rate_qps is None:
        return Found(None, answer.reason or "no load meets the SLA")
    if low_qps is None:
        return Found(
            None, f"no load meets the SLA with {100 * confidence:g} %, {rate_qps:.4g} queries/s without"
        )
    policy = question.policy
    settings = policy if isinstance(policy, SplitAndOffload) else None
    return Found(
        PairCapacity(
            qps=rate_qps,
            low_qps=min(low_qps, rate_qps),
            batch_size=None if settings is None else settings.batch_size,
            offload_threshold_items=None if settings is None else settings.offload_threshold_items,
            source=source,
            threads=question.node.threads if isinstance(question.node, ServingNode) else 1,
        ),
        "",
    )
