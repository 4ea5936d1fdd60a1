"""Service times of a calibrated node: they know the traffic, the policy, and how busy the workers are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.planning.tune.load_test import ServiceTables
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list

SIZES = pmf_of_list([8, 128, 128, 128])
POLICY = SplitAndOffload(batch_size=128)


@pytest.fixture(scope="module")
def node() -> ServingNode:
    model = find_model("dlrm-rmc3")
    return ServingNode(model=model, cpu=find_device("amd-epyc-turin-2c", model), cores=2)


@pytest.mark.thorough
def test_small_requests_take_longer_among_large_ones_than_among_their_like(node: ServingNode) -> None:
    among, alike = node.service_times(POLICY, 128, SIZES).cpu_s, node.service_times(POLICY, 128).cpu_s
    assert among[7, 0] > 1.2 * alike[7, 0]
    assert among[127, 0] == pytest.approx(alike[127, 0], rel=0.05)


@pytest.mark.thorough
def test_a_worker_beside_idle_ones_has_paused_and_finds_less_in_a_cache_that_others_fill(
    node: ServingNode,
) -> None:
    def first_over_last(lifetime_s: float) -> float:
        free = replace(node.cpu, co_located={}, memory=replace(node.cpu.memory, bandwidth_bytes_per_s=1e15))
        here = replace(node, cpu=free.with_l3_lifetime(lifetime_s))
        times_s = here.service_times(SplitAndOffload(batch_size=8), 8, pmf_of_list([8])).cpu_s[7]
        return float(times_s[0] / times_s[1])

    assert first_over_last(np.inf) == pytest.approx(1.0)
    assert first_over_last(2e-3) > 1.02


@pytest.mark.thorough
def test_a_table_is_of_its_policy(node: ServingNode) -> None:
    tables = ServiceTables(node, SIZES)
    narrow, wide = (tables.of(SplitAndOffload(batch_size=size)) for size in (8, 128))
    assert narrow.cpu_s.shape[0] == 8
    assert wide.cpu_s[7, 0] > 1.1 * narrow.cpu_s[7, 0]  # 8 items, after ones of 8 and after ones of 128
    assert tables.of(SplitAndOffload(batch_size=128)) is wide


def test_the_least_time_on_a_core_is_that_of_its_fastest_state(node: ServingNode) -> None:
    service = replace(node.service_times(POLICY, 128, SIZES), cpu_s=np.array([[3.0, 2.0], [1.0, 4.0]]))
    assert service.core_times_s(contended=False).tolist() == [2.0, 1.0]
    assert service.core_times_s(contended=True).tolist() == [2.0, 4.0]
