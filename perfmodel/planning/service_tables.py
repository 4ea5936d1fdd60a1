"""Service times of one node for whatever batch size and threshold is tried."""

from __future__ import annotations

from perfmodel.planning.node import ServingNode
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes


class ServiceTables:
    """Tables made once: one for all policies, or where calls were measured one for each.

    Measured calls take longer the more of the caches the requests before have taken, and those are of
    other sizes under every policy.

    Parameters
    ----------
    node : ServingNode
        What serves.
    law : SizePmf
        Sizes of the queries.
    """

    def __init__(self, node: ServingNode, law: SizePmf) -> None:
        self._node, self._law = node, law
        self._every: ServiceTimes | None = None
        self._own: dict[SplitAndOffload, ServiceTimes] = {}

    def of(self, policy: SplitAndOffload) -> ServiceTimes:
        """The table to serve a policy's requests by."""
        if self._node.cpu.surfaces:
            if policy not in self._own:
                self._own[policy] = self._node.service_times(policy, self._law.max_items, self._law)
            return self._own[policy]
        if self._every is None:
            self._every = service_of(self._node, self._law.max_items)
        return self._every


def service_of(node: ServingNode, max_items: int) -> ServiceTimes:
    """Tabulate a node's service times for requests of all sizes up to `max_items`, on every pool."""
    return node.service_times(SplitAndOffload(batch_size=max_items), max_items)
