"""A profile that knows a model as a whole corrects that model's service times, and no other's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.domain.hardware import ModelAnchor
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.policies import SplitAndOffload

ANCHOR = ModelAnchor(batch_sizes=np.array([1.0, 16.0]), factors=np.array([1.0, 4.0]), all_busy=1.2)


def table_s(node: ServingNode) -> FloatArray:
    return node.service_times(SplitAndOffload(batch_size=32), 1000).cpu_s


@pytest.fixture(scope="module")
def node() -> ServingNode:
    return prepare(load_scenario("wnd_skylake", ["node.cores=3"])).node


def anchored(node: ServingNode, model: str) -> ServingNode:
    return replace(node, cpu=replace(node.cpu, anchors={model: ANCHOR}))


def test_an_anchor_corrects_each_batch_size_and_number_of_busy_workers(node: ServingNode) -> None:
    ratio = table_s(anchored(node, "wnd")) / table_s(node)
    assert ratio[[0, 3, 15, 31], 0] == pytest.approx([1.0, 2.0, 4.0, 4.0])
    assert ratio[0] == pytest.approx([1.0, 1.2**0.5, 1.2])  # alone, one of two others, both


def test_the_anchor_of_another_model_changes_nothing(node: ServingNode) -> None:
    np.testing.assert_array_equal(table_s(anchored(node, "ncf")), table_s(node))
