"""Memory shared by busy workers: what is read, and what waiting for it costs; numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Gather, Kernel, Product
from perfmodel.costmodel.moments import Moment
from perfmodel.costmodel.saturation import Traffic, memory_traffic, saturation_slowdowns
from perfmodel.domain.hardware import Device

ONE = np.ones(1)


def moment(*, evicted: float = 0.0, missed: float = 0.0, entries: float = 0.0) -> Moment:
    def both(share: float) -> np.ndarray:
        return np.full((2, 1), share)

    return Moment(
        reuse_bytes=ONE,
        evicted=both(evicted),
        since_bytes=ONE,
        before_bytes=ONE,
        missed=both(missed),
        entries_missed=both(entries),
        pages_missed=both(0.0),
    )


def test_a_layer_reads_the_weights_that_were_evicted_and_waits_as_long_as_reading_takes() -> None:
    layer = Kernel(operator="l", family="fc", product=Product(rows_per_item=1, inner=1000, outer=1000))
    traffic = memory_traffic([layer], ONE, moment(evicted=0.5), np.array([[1e-3]]), 10e9)
    assert traffic.bytes_read[0] == pytest.approx([2e6])
    assert traffic.waiting[0] == pytest.approx([0.2])  # 0.2 ms of 1 ms


def test_lookups_read_missed_rows_in_whole_lines_with_their_entries_and_indices() -> None:
    gather = Gather(rows_per_item=10.0, bags_per_item=1.0, row_bytes=100.0, num_rows=10**6, zipf_exponent=0.0)
    lookup = Kernel(operator="e", family="embedding_bag", gather=gather)
    traffic = memory_traffic(
        [lookup], np.array([8.0]), moment(missed=0.75, entries=0.5), np.array([[1e-3]]), 10e9
    )
    assert traffic.bytes_read[0] == pytest.approx([80 * (0.75 * 128 + 0.5 * 64 + 8)])
    assert traffic.waiting[0] == pytest.approx([0.75])


def test_a_kernel_waits_no_longer_than_it_takes() -> None:
    layer = Kernel(operator="l", family="fc", product=Product(rows_per_item=1, inner=1000, outer=1000))
    assert memory_traffic([layer], ONE, moment(evicted=1.0), np.array([[1e-4]]), 10e9).waiting == [1.0]


def one_socket(device: Device, gb_per_s: float, sharpness: float = 100.0) -> Device:
    memory = replace(
        device.memory,
        bandwidth_bytes_per_s=gb_per_s * 1e9,
        random_fraction=1.0,
        saturation_sharpness=sharpness,
    )
    return replace(device, sockets=1, memory=memory)


def slowdown(device: Device, *, demand_gb_per_s: float, waiting: float, busy: float) -> float:
    """Of a pass of one kernel of 1 s, beside its like."""
    traffic = Traffic(np.array([[demand_gb_per_s * 1e9]]), np.array([[waiting]]))
    (found,) = saturation_slowdowns(traffic, ONE[None], traffic.bytes_read[0], device, busy)
    return float(found[0])


def test_workers_that_do_nothing_but_read_share_out_the_memory(cpu: Device) -> None:
    node = one_socket(cpu, 20.0)
    assert slowdown(node, demand_gb_per_s=8.0, waiting=1.0, busy=2) == pytest.approx(1.0, abs=1e-3)
    assert slowdown(node, demand_gb_per_s=8.0, waiting=1.0, busy=5) == pytest.approx(2.0, rel=1e-3)  # 40 / 20


def test_only_the_waiting_is_stretched_and_who_waits_longer_is_found_waiting_more_often(cpu: Device) -> None:
    node = one_socket(cpu, 20.0)
    found = slowdown(node, demand_gb_per_s=8.0, waiting=0.5, busy=5)
    # waiting w = 0.5 x, the others found so 8 * x / (0.5 + 0.5 x): x = (8 + 4 * that) / 20
    x = 1.0
    for _ in range(200):
        x = (8.0 + 32.0 * x / (0.5 + 0.5 * x)) / 20.0
    assert found == pytest.approx(0.5 + 0.5 * x, rel=0.02)


def test_one_worker_is_not_slowed_and_more_sockets_slow_less(cpu: Device) -> None:
    node = one_socket(cpu, 20.0, sharpness=4.0)
    assert slowdown(node, demand_gb_per_s=15.0, waiting=1.0, busy=1) == 1.0
    two = replace(node, sockets=2)
    assert slowdown(two, demand_gb_per_s=15.0, waiting=1.0, busy=4) == pytest.approx(
        slowdown(node, demand_gb_per_s=15.0, waiting=1.0, busy=2)
    )
