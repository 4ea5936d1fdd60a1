"""Which sizes of requests a policy sends to the cores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from perfmodel.sim.arrays import BoolArray
from perfmodel.sim.policies import (
    Lane,
    Policy,
    Pool,
    SizedPolicy,
    largest_cpu_launch_items,
    requests_by_size,
    sizes_by_lane,
)
from perfmodel.sim.query_sizes import SizePmf


def lanes_on_cores(policy: SizedPolicy, law: SizePmf) -> Iterator[tuple[Lane, BoolArray]]:
    """The lanes of the cores, and which sizes of queries each serves."""
    for lane, served in sizes_by_lane(policy.lanes, law.values):
        if lane.pool is not Pool.ACCELERATOR:
            yield lane, served


def sizes_on_cores(policy: Policy, law: SizePmf) -> npt.NDArray[np.float64]:
    """Sizes of the launches that can come to be, ascending; none where no query is served there. [items]

    Of requests that join others, the smallest alone and a full launch stand for all between. A policy that
    looks at more than a query's size may split it anywhere.

    Examples
    --------
    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> sizes_on_cores(SplitAndOffload(batch_size=128), pmf_of_list([300, 20])).tolist()
    [20.0, 44.0, 128.0]
    """
    if not isinstance(policy, SizedPolicy):
        return np.arange(1.0, largest_cpu_launch_items(policy, law.max_items) + 1)
    found: set[int] = set()
    for lane, served in lanes_on_cores(policy, law):
        own = {
            int(size)
            for sizes, times in requests_by_size(law.values[served], lane.request_items)
            for size in sizes[times > 0]
        }
        if own and lane.joining is not None:
            own |= {max(max(own), lane.joining.max_items)}
        found |= own
    return np.array(sorted(found), dtype=np.float64)
