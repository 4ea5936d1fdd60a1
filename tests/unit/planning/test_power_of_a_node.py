"""What a node draws: idle devices, cores at their peak, and a card by what its launches do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.issue import BESIDE_CORES
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question


@pytest.fixture(scope="module")
def question() -> Question:
    return prepare(load_scenario("rm3_broadwell_gtx1080ti", []))


def with_energies(node: ServingNode) -> ServingNode:
    """The same node, whose card draws 60 W for launches, 10 pJ a FLOP and 100 pJ a byte."""
    assert node.accelerator is not None
    power = replace(node.accelerator.power, launched_w=60.0, joules_per_flop=10e-12, joules_per_byte=100e-12)
    return replace(node, accelerator=replace(node.accelerator, power=power))


def test_a_card_whose_energies_nobody_measured_draws_its_peak(question: Question) -> None:
    node = question.node
    assert node.accelerator is not None
    card, cpu = node.accelerator.power, node.cpu.power
    assert question.times.serving_w == card.peak_w
    assert question.power_w(0.0, 1.0) == pytest.approx(cpu.idle_w + node.num_accelerators * card.peak_w)
    half = node.num_accelerators * (card.idle_w + card.peak_w) / 2.0
    assert question.power_w(1.0, 0.5) == pytest.approx(cpu.peak_w + half)


def test_a_card_that_serves_draws_what_its_arithmetic_and_traffic_take(question: Question) -> None:
    node = with_energies(question.node)
    time = node.accelerator_time(512.0)
    assert time is not None
    works = [timed.kernel.work(np.array(512.0)) for timed in time.kernels if timed.kernel.family != "input"]
    joules = sum(float(10e-12 * work.flop + 100e-12 * work.bytes_moved) for work in works)
    expected_w = 60.0 + joules / float(time.seconds[0])
    assert 60.0 < expected_w < node.accelerator.power.peak_w
    assert node.serving_w(512.0) == pytest.approx(expected_w)
    answer = replace(question, node=node)
    assert 60.0 < answer.times.serving_w < node.accelerator.power.peak_w
    assert answer.power_w(0.3, 0.9) < question.power_w(0.3, 0.9)


def test_a_launch_that_takes_longer_takes_no_more_energy_for_its_arithmetic_and_traffic(
    question: Question,
) -> None:
    node = with_energies(question.node)
    time = node.accelerator_time(512.0)
    assert time is not None
    alone_s, longer_s = float(time.seconds[0]), 1.5 * float(time.seconds[0])
    alone_joules, joules = alone_s * node.serving_w(512.0), longer_s * node.serving_w(512.0, 1.5)
    assert joules - alone_joules == pytest.approx(60.0 * (longer_s - alone_s))


@pytest.mark.parametrize(
    ("change", "stretch"),
    [
        pytest.param("policy.offload_threshold_items=256", BESIDE_CORES, id="beside cores that serve"),
        pytest.param("policy.offload_threshold_items=1", 1.0, id="alone"),
    ],
)
def test_a_card_beside_busy_cores_is_charged_once_for_what_each_launch_does(
    change: str, stretch: float
) -> None:
    asked = prepare(load_scenario("rm1_emerald_h200", [change]))
    node, served = asked.node, asked.traffic.size_pmf
    assert node.accelerator is not None
    sent = served.values >= int(change.rpartition("=")[2])
    mean_items = float(served.probabilities[sent] @ served.values[sent] / served.probabilities[sent].sum())
    launched_w = node.accelerator.power.launched_w
    assert launched_w is not None
    work_w = node.serving_w(mean_items) - launched_w  # of launches one after the other, at their time alone
    assert work_w > 1.0
    assert asked.times.serving_w == pytest.approx(launched_w + work_w / stretch)
    twice = replace(asked, node=replace(node, level=2.0))  # as a load test may find
    assert twice.times.serving_w == pytest.approx(launched_w + work_w / stretch / 2.0)
