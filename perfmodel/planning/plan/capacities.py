"""What one node of a type serves of a service: tuned, or with the scenario's settings, and at the low end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from perfmodel.domain.base import ValueErrorAt
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.planning.node import ServingNode
from perfmodel.planning.plan.kept import Kept, digest_of
from perfmodel.planning.plan.question import Pair, PairCapacity, Tried, Way
from perfmodel.planning.plan.shard_counts import IN_THE_NODE, counts_tried, with_count
from perfmodel.planning.prepare import PreparedPair, checksums_now, prepare_pairs
from perfmodel.planning.question import Question
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.threads import Tell, side_by_side, untold
from perfmodel.units import plain


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
    most_nodes : int or None
        That a unit may have: what there is of the type; None: any number.
    in_shards : bool
        Whether tables are to lie on shards: what fits the main node is refused.
    """

    pair: Pair
    loaded: LoadedScenario
    tune: bool
    most_nodes: int | None = None
    in_shards: bool = False


class Found(NamedTuple):
    """What was found of a pair: a capacity, or why there is none."""

    capacity: PairCapacity | None
    why_not: str


class Capacities(NamedTuple):
    """What was found of all pairs: capacities, why others have none, and the questions behind them.

    Of a pair that can serve in several ways `found` and `prepared` have the one that serves most with each
    node; `ways` has all that serve, and `tried` what was found of each, by its number of shards.
    """

    found: dict[Pair, PairCapacity]
    refused: dict[Pair, str]
    prepared: dict[Pair, PreparedPair]
    ways: dict[Pair, tuple[Way, ...]]
    tried: dict[Pair, tuple[Tried, ...]]


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
    every, fitting = [], {}
    for each, pair in zip(asked, prepared, strict=True):
        for count in counts_tried(pair, each.most_nodes):
            if each.in_shards and count == IN_THE_NODE:
                fitting[each.pair] = f"{each.pair[0]}: it fits the main node without shards"
                continue
            every.append((each._replace(loaded=with_count(pair.loaded, count)), with_count_of(pair, count)))
    found = capacities_of(
        [each for each, _ in every],
        [pair for _, pair in every],
        confidence=confidence,
        extrapolate=extrapolate,
        tell=tell,
    )
    return found._replace(refused={**found.refused, **fitting})


def with_count_of(pair: PreparedPair, count: int | None) -> PreparedPair:
    """The pair with its tables in so many parts; None: as it is."""
    return pair if count is None else replace(pair, loaded=with_count(pair.loaded, count), misfit=None)


def capacities_of(
    asked: Sequence[PairAsked],
    prepared: Sequence[PreparedPair],
    *,
    confidence: float,
    extrapolate: bool,
    tell: Tell = untold,
) -> Capacities:
    """Find the capacity of each pair, prepared before; several of one pair are other ways for it to serve."""
    kept = Kept()
    found = side_by_side(
        lambda each: _found(*each, kept, confidence=confidence, extrapolate=extrapolate),
        zip(asked, prepared, strict=True),
        tell,
    )
    by_pair: dict[Pair, list[tuple[PreparedPair, Found]]] = {}
    for each, pair, of in zip(asked, prepared, found, strict=True):
        by_pair.setdefault(each.pair, []).append((pair, of))
    result = Capacities({}, {}, {}, {}, {})
    for name, ways in by_pair.items():
        _gather(result, name, ways)
    return result


def _gather(to: Capacities, pair: Pair, ways: Sequence[tuple[PreparedPair, Found]]) -> None:
    """Add what was found of the ways of one pair."""
    serving = [Way(of.capacity, prepared) for prepared, of in ways if of.capacity is not None]
    if len(ways) > 1:
        to.tried[pair] = tuple(Tried(_num_shards(prepared), of.capacity, of.why_not) for prepared, of in ways)
    if not serving:
        more = ", ".join(str(each.num_shards) for each in to.tried.get(pair, ())[1:])
        nor = f", nor with {more} shards" if more else ""
        to.refused[pair] = f"{pair[0]}: {ways[0][1].why_not}{nor}"
        to.prepared[pair] = ways[0][0]
        return
    best = max(serving, key=lambda way: way.capacity.low_qps_a_node)
    assert best.prepared is not None, "found of a question"
    to.found[pair], to.prepared[pair] = best.capacity, best.prepared
    if len(serving) > 1:
        to.ways[pair] = tuple(serving)


def _num_shards(prepared: PreparedPair) -> int:
    """As the scenario says it; ways differ in nothing else."""
    shards = prepared.loaded.profiled_node.shards
    assert shards is not None, "what has several ways has shards"
    assert shards.count != "auto", "a way has a number"
    return shards.count


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
    if question.traffic.is_closed:
        raise ValueErrorAt(
            "the demand of a plan is a rate, and closed users have none; expected an open process, such as "
            "poisson",
            ("traffic", "arrivals", "process"),
        )
    # On use: a plan whose capacities are kept needs none of it.
    from perfmodel.planning.capacity.answer import why_no_load
    from perfmodel.planning.capacity.computation import rates

    sla = question.sla.model_copy(update={"confidence": confidence})
    question = replace(question, sla=sla)
    source, near_qps = "capacity", None
    if (
        tuned
        and question.pipeline is None
        and isinstance(question.policy, SplitAndOffload | DynamicBatching)
        and question.policy.shedding is None
    ):
        from perfmodel.planning.tune.computation import settings_of

        best = settings_of(question, extrapolate=extrapolate)
        question = replace(question, node=best.node, policy=best.point.configuration.policy)
        source, near_qps = "tune", best.point.latency_bounded_qps
    rate_qps, low_qps = rates(question, extrapolate=extrapolate, near_qps=near_qps)
    if rate_qps is None:
        return Found(None, why_no_load(sla))
    if low_qps is None:
        return Found(
            None, f"no load meets the SLA with {100 * confidence:g} %, {plain(rate_qps)} queries/s without"
        )
    policy, node = question.policy, question.node
    settings = policy if isinstance(policy, SplitAndOffload) and question.pipeline is None else None
    joins = policy.settings if isinstance(policy, DynamicBatching) and question.pipeline is None else None
    batch_size = None if settings is None else settings.batch_size
    return Found(
        PairCapacity(
            qps=rate_qps,
            low_qps=min(low_qps, rate_qps),
            batch_size=batch_size if joins is None else joins.max_batch_items,
            offload_threshold_items=None if settings is None else settings.offload_threshold_items,
            source=source,
            threads=node.threads if isinstance(node, ServingNode) else 1,
            num_nodes=question.num_machines,
            num_shards=node.shards.num_shards
            if isinstance(node, ServingNode) and node.shards and question.pipeline is None
            else 0,
            timeout_ms=None if joins is None else joins.timeout_ms,
        ),
        "",
    )
