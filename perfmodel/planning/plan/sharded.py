"""Units of several nodes: how the tables lie in them, what the network costs, and which others were tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfmodel.costmodel.shard_lookups import sent_bytes
from perfmodel.costmodel.table_groups import table_groups
from perfmodel.planning.node import ServingNode, request_mix
from perfmodel.planning.plan.question import Pair, PairCapacity, PlanQuestion, Tried
from perfmodel.planning.plan.tuned import tuned_question
from perfmodel.planning.question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What asking the shards takes of a request, in the mean over requests with all cores busy.

    Attributes
    ----------
    seconds : float
        Packing, sending, and the way there and back. [s]
    share : float
        Of the time that a request holds its core. [1]
    sent_bytes : float
        There and back. [bytes]
    """

    seconds: float
    share: float
    sent_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedUnit:
    """A service whose tables lie on nodes of their own, beside the main node that asks them.

    Attributes
    ----------
    service, node_type : str
        By name.
    capacity : PairCapacity
        Of the unit.
    by : {"row", "table"} or None
        What is shared out; None: its capacity is given, and nothing more is known of it.
    replicas : int or None
        Nodes that hold the same part.
    fullest_bytes : float or None
        Tables on the node that has most of them. [bytes]
    network : Network or None
        What asking costs; None: it costs nothing, or is not known.
    tried : tuple of Tried
        Numbers of shards that were tried, where the plan chose among several.
    """

    service: str
    node_type: str
    capacity: PairCapacity
    by: Literal["row", "table"] | None = None
    replicas: int | None = None
    fullest_bytes: float | None = None
    network: Network | None = None
    tried: tuple[Tried, ...] = ()


def sharded_units(question: PlanQuestion) -> tuple[ShardedUnit, ...]:
    """Describe all pairs that serve in units of several nodes.

    Parameters
    ----------
    question : PlanQuestion
        With one way for each pair.
    """
    return tuple(
        _unit(question, (service.name, name))
        for service in question.services
        for name in question.names_for(service.name)
        if (pair := question.capacities.get((service.name, name))) is not None and pair.num_shards > 0
    )


def _unit(question: PlanQuestion, pair: Pair) -> ShardedUnit:
    capacity = question.capacities[pair]
    if pair not in question.prepared:
        return ShardedUnit(service=pair[0], node_type=pair[1], capacity=capacity)
    asked = tuned_question(question, *pair)
    shards = asked.serving_node.shards
    assert shards is not None, "a unit of several nodes"
    return ShardedUnit(
        service=pair[0],
        node_type=pair[1],
        capacity=capacity,
        by="row" if shards.by_row else "table",
        replicas=shards.replicas,
        fullest_bytes=float(shards.held_bytes.max()),
        network=_network(asked, asked.serving_node),
        tried=question.tried.get(pair, ()),
    )


def _network(asked: Question, node: ServingNode) -> Network | None:
    """Of the requests that arrive, each as often as it comes."""
    mix = request_mix(asked.policy, asked.traffic.size_pmf, workers=node.num_workers)
    if node.shards is None or node.shards.network is None or mix is None:
        return None
    time = node.cpu_time(mix.batch_size, node.cores)
    seconds = float(mix.share @ time.family_s("network"))
    sent = np.add(*sent_bytes(table_groups(node.model), node.shards, mix.batch_size))
    return Network(
        seconds=seconds,
        share=seconds / float(mix.share @ time.seconds),
        sent_bytes=float(mix.share @ sent),
    )
