"""What the cores of a node serve: the sizes of the requests that a policy makes of the traffic's queries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.moments import Mix
from perfmodel.sim.arrays import BoolArray
from perfmodel.sim.policies import (
    Policy,
    Pool,
    SizedPolicy,
    largest_cpu_launch_items,
    requests_by_size,
    sizes_by_lane,
)
from perfmodel.sim.query_sizes import SizePmf

_GROUPS = 8
"""Sizes that stand for all: a mean over the caches' contents needs no more."""


def request_mix(policy: Policy, law: SizePmf, *, workers: float) -> Mix | None:
    """Sizes of the requests on the cores and how often each comes; None where no query is served there.

    A policy that looks at more than a query's size is taken to split all queries at its largest request.

    Parameters
    ----------
    policy : Policy
        What splits and places queries.
    law : SizePmf
        Sizes of the queries.
    workers : float
        Cores that serve.

    Examples
    --------
    Queries of 300 items split at 128: two full requests, and one of 44 items.

    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> mix = request_mix(SplitAndOffload(batch_size=128), pmf_of_list([300]), workers=2)
    >>> mix.batch_size.tolist(), mix.share.round(3).tolist()
    ([44.0, 128.0], [0.333, 0.667])
    """
    shares = np.zeros(law.max_items + 1)
    for request_items, served in _on_cores(policy, law):
        for sizes, times in requests_by_size(law.values[served], request_items):
            some = times > 0
            shares += np.bincount(sizes[some], law.probabilities[served][some] * times[some], len(shares))
    occurring = np.flatnonzero(shares)
    if not len(occurring):
        return None
    share: Floats = shares[occurring]
    return _grouped(occurring.astype(np.float64), share / share.sum(), workers)


def _on_cores(policy: Policy, law: SizePmf) -> Iterator[tuple[int, BoolArray]]:
    """Largest request of each of the cores' lanes, and which sizes of queries it serves. [items]"""
    if not isinstance(policy, SizedPolicy):
        if largest := largest_cpu_launch_items(policy, law.max_items):
            yield largest, np.ones(len(law.values), dtype=np.bool_)
        return
    for lane, served in sizes_by_lane(policy.lanes, law.values):
        if lane.pool is not Pool.ACCELERATOR:
            yield lane.request_items, served


def _grouped(sizes: Floats, share: Floats, workers: float) -> Mix:
    """A few groups of neighbouring sizes, each as large a share as the others, with its mean size."""
    group = np.minimum(_GROUPS * (np.cumsum(share) - 0.5 * share), _GROUPS - 1).astype(np.int64)
    weight = np.bincount(group, share).astype(np.float64)
    some = weight > 0.0
    means = np.bincount(group, share * sizes)[some] / weight[some]
    return Mix(batch_size=means, share=weight[some], workers=workers)
