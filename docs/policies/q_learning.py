"""A policy that learns where each query is served soonest: the example of writing one (docs/policies.md).

    perfplan predict --scenario rm1_broadwell_gtx1080ti --policy-file docs/policies/q_learning.py

In the spirit of AutoScale (Kim and Wu, MICRO 2020): tabular Q-learning over the size of the query and the
interference that it would meet, which here is how many cores are busy and how much waits for the
accelerator. A query ends the episode, so that Q(state, action) is just the latency to expect.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random

from perfmodel.sim.user_policy import OFFLOAD, NodeState, QueryView

ACTIONS = (32, 128, 512, OFFLOAD)  # items of a request on the cores, or the accelerator
EXPLORE = 0.02  # fraction of the queries that try any action
STEP = 0.1  # how far one latency moves the expectation


class QLearning:
    """Take the action with the least latency expected for such a query at such a load."""

    name = "q-learning"
    max_batch_items = 512

    def __init__(self) -> None:
        self.random = Random(1)
        self.expected_s: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0] * len(ACTIONS))
        self.tried: dict[int, tuple[tuple[int, ...], int]] = {}

    def decide(self, query: QueryView, node: NodeState) -> int:
        """Choose the best action known for the state, at times another one."""
        load = min(4 * (node.cores_busy + node.queued_requests) // node.cores, 12)
        waiting = min(node.offloaded_requests, 8) + node.streams_busy
        state = (query.num_items.bit_length(), load, waiting)
        actions = range(len(ACTIONS) if node.streams else len(ACTIONS) - 1)
        action = min(actions, key=self.expected_s[state].__getitem__)  # 0 s, so each is tried at least once
        if self.random.random() < EXPLORE:
            action = self.random.choice(actions)
        self.tried[query.number] = state, action
        return ACTIONS[action]

    def served(self, query: QueryView, latency_s: float) -> None:
        """Move the expectation towards what the query took."""
        state, action = self.tried.pop(query.number)
        expected_s = self.expected_s[state]
        first = expected_s[action] == 0.0
        expected_s[action] += (1.0 if first else STEP) * (latency_s - expected_s[action])
