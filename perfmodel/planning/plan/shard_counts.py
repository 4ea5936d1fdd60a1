"""In how many parts the tables of a service are tried on a node type, where the file says `count: auto`."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from perfmodel.domain.scenario import NodeChoice, Scenario
from perfmodel.domain.shards import MOST_SHARDS
from perfmodel.loading.scenario_file import LoadedScenario, overridden
from perfmodel.loading.validated import validate
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import PreparedPair

MORE = (1.0, 1.5, 3.0)
"""Shards that are tried, over the fewest that hold the tables: more answer sooner, and cost more. [1]"""

IN_THE_NODE = 0
"""Shards of a model that one node holds whole."""


def counts_tried(pair: PreparedPair, most_nodes: int | None) -> tuple[int | None, ...]:
    """How many shards are tried; None: what the file says is taken as it is.

    With `count: auto`: none where the model fits the node; else the fewest that hold the tables, and more, as
    far as there are nodes for the unit. Of several stages each takes the fewest.

    Parameters
    ----------
    pair : PreparedPair
        A service on a node type.
    most_nodes : int or None
        That a unit may have; None: any number.
    """
    choice = pair.loaded.scenario.node
    if (
        pair.stages
        or not isinstance(choice, NodeChoice)
        or choice.shards is None
        or choice.shards.count != "auto"
    ):
        return (None,)
    if pair.misfit is not None:
        return (None,)
    node = pair.question().node
    assert isinstance(node, ServingNode), "on profiles"
    assert node.shards is not None, "asked for"
    devices = [node.cpu, *([node.accelerator] if node.accelerator is not None else [])]
    needed = node.model.embedding_bytes + node.model.dense_parameter_bytes
    if needed <= min(device.memory.capacity_bytes for device in devices):
        return (IN_THE_NODE,)
    fewest, copies = node.shards.num_shards, node.shards.replicas
    counts = sorted({ceil(factor * fewest) for factor in MORE})
    most = MOST_SHARDS if most_nodes is None else min(MOST_SHARDS, (most_nodes - 1) // copies)
    return tuple(count for count in counts if count == fewest or count <= most)


def with_count(loaded: LoadedScenario, count: int | None) -> LoadedScenario:
    """The scenario with its tables in so many parts, or in the node itself; None: as it is."""
    if count is None:
        return loaded
    change = "node.shards=null" if count == IN_THE_NODE else f"node.shards.count={count}"
    source = overridden(loaded.source, change)
    return replace(loaded, scenario=validate(source, Scenario), source=source)
