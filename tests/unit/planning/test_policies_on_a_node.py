"""What a policy needs of a node: service times for every launch, and streams that share an accelerator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.serving import DynamicBatchingPolicy, FusionPolicy
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare
from perfmodel.planning.service_times import NodeTimes
from perfmodel.sim.builtin_policies import DynamicBatching, Fusion
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list


def fusion(streams: int) -> Fusion:
    return Fusion(
        FusionPolicy(batch_size=64, offload_threshold_items=100, max_fused_items=600, streams=streams)
    )


FUSION = fusion(streams=3)


@pytest.fixture(scope="module")
def node() -> ServingNode:
    return replace(prepare(load_scenario("wnd_broadwell_gtx1080ti")).node, cores=2)


def test_streams_share_all_but_the_fixed_part_of_a_launch(node: ServingNode) -> None:
    table_s = node.service_times(FUSION, 300).accelerator_s
    assert table_s is not None
    assert table_s.shape == (600, 3)
    assert node.accelerator is not None
    alone = batch_time(node.model, node.accelerator, np.array([600.0]))
    fixed_s = sum(float(timed.parts.overhead_s[0]) for timed in alone.kernels)
    shared_s = float(alone.seconds[0]) - fixed_s
    assert 0 < fixed_s < float(alone.seconds[0])
    np.testing.assert_allclose(table_s[-1], [fixed_s + n * shared_s for n in (1, 2, 3)])
    # Two launches side by side take less than one after the other, and more than one alone.
    assert np.all((table_s[:, 0] < table_s[:, 1]) & (table_s[:, 1] < 2 * table_s[:, 0]))


def test_one_stream_is_the_accelerator_alone_one_query_at_a_time(node: ServingNode) -> None:
    one = node.service_times(fusion(streams=1), 300).accelerator_s
    three = node.service_times(FUSION, 300).accelerator_s
    assert one is not None
    assert three is not None
    assert one.ndim == 1
    np.testing.assert_allclose(one, three[:, 0], rtol=1e-14)  # but for rounding


def test_streams_side_by_side_are_assumed(node: ServingNode) -> None:
    one, several = (NodeTimes(node, policy, pmf_of_list([300])) for policy in (fusion(streams=1), FUSION))
    assert one.basis < Basis.ASSUMED
    assert several.basis is Basis.ASSUMED


@pytest.mark.parametrize(
    ("policy", "cpu_rows", "accelerator_rows"),
    [
        (FUSION, 64, 600),
        (SplitAndOffload(batch_size=64, offload_threshold_items=50), 49, 300),
        (DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=512, timeout_ms=0.0)), 512, 300),
        (
            DynamicBatching(DynamicBatchingPolicy(pool="accelerator", max_batch_items=512, timeout_ms=0.0)),
            1,
            512,
        ),
    ],
)
def test_tables_cover_every_launch(
    node: ServingNode, policy: SplitAndOffload, cpu_rows: int, accelerator_rows: int
) -> None:
    service = node.service_times(policy, 300)
    assert (service.max_batch_items, service.max_offload_items) == (cpu_rows, accelerator_rows)
