"""What the cores of a node serve: the sizes of the requests that a policy makes of the traffic's queries."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.moments import Mix
from perfmodel.sim.policies import Policy, Pool, PoolView, SizedPolicy, largest_cpu_launch_items
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
    shares: defaultdict[int, float] = defaultdict(float)
    for num_items, probability in zip(law.values.tolist(), law.probabilities.tolist(), strict=True):
        for items in _on_cores(policy, num_items, law.max_items):
            shares[items] += probability
    if not shares:
        return None
    sizes = np.array(sorted(shares), dtype=float)
    share: Floats = np.array([shares[int(size)] for size in sizes])
    return _grouped(sizes, share / share.sum(), workers)


def _on_cores(policy: Policy, num_items: int, max_items: int) -> list[int]:
    """Requests that a query makes of the cores. [items]"""
    if isinstance(policy, SizedPolicy):
        pool, requests = policy.place(num_items, {pool: PoolView(1) for pool in Pool})
        return [] if pool is Pool.ACCELERATOR else requests
    largest = largest_cpu_launch_items(policy, max_items)
    if largest == 0:
        return []
    full, rest = divmod(num_items, largest)
    return [largest] * full + ([rest] if rest else [])


def _grouped(sizes: Floats, share: Floats, workers: float) -> Mix:
    """A few groups of neighbouring sizes, each as large a share as the others, with its mean size."""
    group = np.minimum(_GROUPS * (np.cumsum(share) - 0.5 * share), _GROUPS - 1).astype(np.int64)
    weight = np.bincount(group, share).astype(np.float64)
    some = weight > 0.0
    means = np.bincount(group, share * sizes)[some] / weight[some]
    return Mix(batch_size=means, share=weight[some], workers=workers)
