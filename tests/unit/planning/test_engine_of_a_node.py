"""A node's engines: what a scenario changes of them, and requests that are converted ahead."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.costmodel.engine import STORED_BATCH
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare
from perfmodel.sim.policies import SplitAndOffload

POLICY = SplitAndOffload(batch_size=64, offload_threshold_items=None)


def node_of(*settings: str) -> ServingNode:
    loaded = load_scenario("rm1_broadwell", overrides=["node.stack=deeprecsys-isca2020", *settings])
    return prepare(loaded).serving_node


def test_two_requests_in_flight_of_each_engine_complete_one_in_the_longer_of_both_parts() -> None:
    node = node_of("node.cores=4")
    table_s = node.service_times(POLICY, 64).cpu_s
    assert table_s.shape == (64, 8)
    time = node.cpu_times(POLICY, 64)
    converting_s, seconds = time.family_s("input")[-1, 3], time.seconds[-1, 3]
    assert table_s[-1, 3] == pytest.approx(seconds)
    assert table_s[-1, 7] == pytest.approx(2 * max(converting_s, seconds - converting_s))
    assert np.all(np.diff(table_s[-1, 3:]) > 0)


def test_without_an_input_queue_an_engine_takes_one_request_at_a_time() -> None:
    node = node_of("node.cores=4", "node.engine.input_queue_blobs=0")
    assert node.service_times(POLICY, 64).num_executors == 4


def test_a_fixed_engine_is_one_setting() -> None:
    shipped, fixed = node_of(), node_of("node.engine.stored_batch_items=0")
    rows = [{timed.kernel.operator for timed in node.cpu_time(64, 1).kernels} for node in (shipped, fixed)]
    assert STORED_BATCH in rows[0]
    assert STORED_BATCH not in rows[1]
    assert float(fixed.cpu_time(64, 1).seconds[0]) < 0.5 * float(shipped.cpu_time(64, 1).seconds[0])


def test_bare_stacks_have_no_engine() -> None:
    node = node_of("node.stack=hpca2020")
    assert node.service_times(POLICY, 64).num_executors == 28
    assert all(timed.kernel.operator != STORED_BATCH for timed in node.cpu_time(64, 1).kernels)
