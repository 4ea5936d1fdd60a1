"""A node's service times by kind of query: lengths of histories, and whose work a launch does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.service_time import batch_time, query_work_time
from perfmodel.costmodel.threads import with_threads
from perfmodel.sim.policies import Policy, Pool
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.query_times import LaunchTimes, QueryTimes

if TYPE_CHECKING:
    from perfmodel.planning.node import ServingNode

_EDGES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.85, 0.92, 0.96, 0.98, 0.99, 1.0)
"""Lengths between two of these quantiles go as one kind, with their mean: finer where the longest are, since
they are what high percentiles are made of. [1]"""


def times_by_query(
    node: ServingNode, policy: Policy, max_items: int, sizes: SizePmf | None
) -> QueryTimes | None:
    """Times of a node by kind of query; None where the size of a request alone decides.

    Parameters
    ----------
    node, policy, max_items, sizes
        As of `ServingNode.service_times`.
    """
    joins = any(lane.joining is not None for lane in policy.lanes)
    several = node.model.has_query_work and (joins or policy.share_query_work)
    if not several and node.lengths is None:
        return None
    values, shares = (np.array([0]), np.ones(1)) if node.lengths is None else grouped_lengths(node.lengths)
    kinds = [
        replace(node, lengths=None, model=node.model.with_length(int(length)) if length else node.model)
        for length in values
    ]
    cores = [_on_cores(kind, policy, max_items, sizes) for kind in kinds]
    cards = [_on_accelerator(kind, policy, max_items) for kind in kinds if node.num_accelerators]
    return QueryTimes(
        shares=shares,
        cpu=_stacked(cores),
        accelerator=_stacked(cards) if cards else None,
        shares_work=policy.share_query_work,
    )


def grouped_lengths(lengths: SizePmf) -> tuple[Floats, Floats]:
    """Return a few lengths that stand for all [positions], and how often each comes [1]."""
    before = np.cumsum(lengths.probabilities) - 0.5 * lengths.probabilities
    group = np.searchsorted(_EDGES[1:-1], before, side="right")
    weight = np.bincount(group, lengths.probabilities).astype(np.float64)
    some = weight > 0.0
    means = np.bincount(group, lengths.probabilities * lengths.values)[some] / weight[some]
    return np.maximum(1.0, np.round(means)), np.asarray(weight[some])


def _stacked(times: list[LaunchTimes]) -> LaunchTimes:
    """One table for all kinds."""
    return LaunchTimes(
        with_s=np.concatenate([one.with_s for one in times]),
        without_s=np.concatenate([one.without_s for one in times]),
        more_s=np.concatenate([one.more_s for one in times]),
    )


def _most_joined(policy: Policy, *, on_accelerator: bool) -> int:
    """Requests that a launch joins at most: one an item."""
    return max(
        (
            lane.joining.max_items
            for lane in policy.lanes
            if lane.joining is not None and (lane.pool is Pool.ACCELERATOR) == on_accelerator
        ),
        default=1,
    )


def _on_cores(node: ServingNode, policy: Policy, max_items: int, sizes: SizePmf | None) -> LaunchTimes:
    """Of one kind of query, on the cores."""
    time = node.cpu_times(policy, max_items, sizes)
    with_s = node.in_flight_s(time)
    level = with_s / time.seconds
    sent_s = node.model.shared_bytes / node.cpu.stream_bytes_per_s
    without_s = level * (time.seconds - time.scope_s("query")) + sent_s
    queries = np.arange(1.0, _most_joined(policy, on_accelerator=False) + 1)
    more_s = np.zeros((len(queries), with_s.shape[1]))
    if len(queries) > 1:
        alone = query_work_time(node.model, node.cpu, queries[:, None], node.busy_cores[None, :])
        if alone is not None:
            work_s = with_threads(alone, node.cpu.thread_scaling, node.threads).seconds
            more_s = np.maximum(0.0, work_s - work_s[:1])
    return LaunchTimes(with_s=with_s[None], without_s=without_s[None], more_s=more_s[None])


def _on_accelerator(node: ServingNode, policy: Policy, max_items: int) -> LaunchTimes:
    """Of one kind of query, on a stream of an accelerator."""
    card = node.accelerator
    assert card is not None, "there is an accelerator"
    table_s = node.accelerator_times_s(policy, max_items)
    with_s = table_s.reshape(len(table_s), -1)
    launch = batch_time(node.model, card, np.arange(1.0, len(with_s) + 1))
    of_query = (launch.scope_s("query") / launch.seconds)[:, None]
    sent_s = node.model.shared_bytes / card.inputs.transfer_bytes_per_s
    queries = np.arange(1.0, _most_joined(policy, on_accelerator=True) + 1)
    more_s = np.zeros((len(queries), with_s.shape[1]))
    alone = query_work_time(node.model, card, queries) if len(queries) > 1 else None
    if alone is not None:
        beside = with_s[-1] / with_s[-1, 0]  # what launches beside it do to a launch
        more_s = np.maximum(0.0, alone.seconds - alone.seconds[0])[:, None] * beside
    return LaunchTimes(
        with_s=with_s[None], without_s=(with_s * (1.0 - of_query) + sent_s)[None], more_s=more_s[None]
    )
