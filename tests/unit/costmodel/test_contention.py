"""What co-located work costs: shares of the L3, saturation of memory, hyper-threads, the stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.contention import conditions_alone, memory_slowdown, saturation_stretch
from perfmodel.costmodel.kernels import Gather, Kernel
from perfmodel.costmodel.timing import Conditions
from perfmodel.domain.hardware import Caches, Device

TABLE = Gather(rows_per_item=1.0, bags_per_item=1.0, row_bytes=1000.0, num_rows=10_000, zipf_exponent=0.0)
LOOKUPS = (Kernel(operator="bags", family="embedding_bag", calls=2, gather=TABLE),)  # 20 MB in two tables


def at(
    device: Device,
    busy: list[float],
    *,
    weight_bytes: float = 4e6,
    kernels: tuple[Kernel, ...] = (),
    copies: bool = False,
) -> Conditions:
    return conditions_alone(kernels, weight_bytes, device, np.array(busy), copies=copies)


def exclusive(cpu: Device) -> Device:
    return replace(cpu, caches=Caches(l2_bytes=1e6, l3_bytes=10e6, exclusive=True))


def test_workers_spread_over_sockets_share_an_l3_with_their_half(cpu: Device) -> None:
    # 4 MB of weights: 1 MB in L2, the rest in L3 shares of 10, 10, 5 and 2.5 MB, which repeat that 1 MB
    conditions = at(cpu, [1, 2, 4, 8])
    assert conditions.weights_in_l2.tolist() == [0.25] * 4
    assert conditions.weights_in_l3 == pytest.approx([0.75, 0.75, 0.75, 2.5 / 4 - 0.25])


def test_copies_share_the_l3_of_one_socket(cpu: Device) -> None:
    assert at(cpu, [1, 2, 4], copies=True).weights_in_l3 == pytest.approx([0.75, 0.75, 2.5 / 4 - 0.25])


def test_an_exclusive_l3_keeps_more_weights_with_many_workers(cpu: Device) -> None:
    shared = at(cpu, [8]).weights_in_l3[0]
    assert at(exclusive(cpu), [8]).weights_in_l3[0] == pytest.approx(2.5 / 4)
    assert at(exclusive(cpu), [8]).weights_in_l3[0] > shared


def test_a_gpu_keeps_nothing_in_caches(gpu: Device) -> None:
    conditions = at(gpu, [1], kernels=LOOKUPS)
    assert (conditions.weights_in_l2[0], conditions.weights_in_l3[0]) == (0.0, 0.0)
    assert conditions.row_hit_rates[TABLE].tolist() == [0.0]
    assert conditions.entries_in_l2.tolist() == [1.0]


def test_rows_get_what_weights_leave(cpu: Device) -> None:
    assert at(cpu, [1], kernels=LOOKUPS, weight_bytes=0.0).row_hit_rates[TABLE] == pytest.approx([10 / 20])
    assert at(cpu, [1], kernels=LOOKUPS, weight_bytes=4e6).row_hit_rates[TABLE] == pytest.approx([6 / 20])


def test_workers_of_a_socket_share_the_rows_that_its_l3_holds(cpu: Device) -> None:
    assert at(cpu, [8], kernels=LOOKUPS, weight_bytes=1e6).row_hit_rates[TABLE] == pytest.approx([6 / 20])


def test_copies_hold_rows_of_their_own(cpu: Device) -> None:
    conditions = at(cpu, [4], kernels=LOOKUPS, weight_bytes=1e6, copies=True)
    assert conditions.row_hit_rates[TABLE] == pytest.approx([1.5 / 20])


def test_page_entries_of_small_tables_stay_in_l2(cpu: Device) -> None:
    conditions = at(cpu, [1], kernels=LOOKUPS)  # 20 MB / 4 KiB x 8 B = 39 kB
    assert (conditions.entries_in_l2[0], conditions.entries_in_l3[0]) == (1.0, 0.0)


def test_page_entries_of_large_tables_spill_to_l3_and_memory(cpu: Device) -> None:
    huge = (replace(LOOKUPS[0], calls=1, gather=replace(TABLE, num_rows=10_240_000)),)  # 10.24 GB: 20 MB
    conditions = at(cpu, [1], kernels=huge, weight_bytes=0.0)
    assert conditions.entries_in_l2[0] == pytest.approx(1 / 20)
    assert conditions.entries_in_l3[0] == pytest.approx((1 - 1 / 20) * 10 / 20)


def test_a_lone_worker_is_not_slowed_down(cpu: Device) -> None:
    assert memory_slowdown(cpu, np.array([1.0]), np.array([1.0]), copies=True).tolist() == [1.0]
    assert memory_slowdown(cpu, np.array([2.0]), np.array([1.0]), copies=False).tolist() == [1.0]
    conditions = at(cpu, [1])
    assert (conditions.gemm_slowdown[0], conditions.lookup_slowdown[0]) == (1.0, 1.0)


def test_workers_that_leave_memory_alone_slow_nobody_down(cpu: Device) -> None:
    assert memory_slowdown(cpu, np.array([4.0]), np.array([0.0]), copies=True).tolist() == [1.0]


def test_a_saturated_memory_is_divided(cpu: Device) -> None:
    # each asks for half of what memory reaches: 16 workers ask for 8 times as much
    slow = memory_slowdown(cpu, np.array([8.0, 16.0, 32.0]), np.ones(3), copies=True)
    assert slow[1:] / slow[:-1] == pytest.approx([2.0, 2.0], rel=0.01)
    assert slow[1] == pytest.approx(8.0, rel=0.02)


def test_half_the_time_at_memory_is_half_the_demand(cpu: Device) -> None:
    half = memory_slowdown(cpu, np.array([9.0]), np.array([0.5]), copies=True)
    whole = memory_slowdown(cpu, np.array([5.0]), np.array([1.0]), copies=True)
    assert half == pytest.approx(whole)


def test_workers_that_are_idle_half_of_the_time_ask_for_half(cpu: Device) -> None:
    idle = memory_slowdown(cpu, np.array([9.0]), np.array([1.0]), copies=True, at_work=0.5)
    assert idle == pytest.approx(memory_slowdown(cpu, np.array([5.0]), np.array([1.0]), copies=True))


def test_page_entries_of_rows_in_use_take_a_line_each_until_they_share_them(cpu: Device) -> None:
    def entries(rows_in_use: int | None) -> float:
        table = Gather(
            rows_per_item=1.0,
            bags_per_item=1.0,
            row_bytes=128.0,
            num_rows=2_560_000,  # 10,000 lines of page-table entries, each of 256 rows
            zipf_exponent=0.0,
            rows_in_use=rows_in_use,
        )
        kernel = Kernel(operator="bags", family="embedding_bag", calls=1, gather=table)
        small = replace(cpu, caches=Caches(l2_bytes=64e2, l3_bytes=64e4, exclusive=False))
        found = at(small, [1], kernels=(kernel,))
        return 64e2 / float(found.entries_in_l2[0]) / 64.0  # lines, where L2 holds a hundred of them

    assert entries(200) == pytest.approx(200, rel=0.02)
    assert entries(10_000) == pytest.approx(10_000 * (1.0 - np.exp(-1.0)))
    assert entries(2_000_000) == pytest.approx(entries(None), rel=1e-9) == 10_000


def test_a_sharper_saturation_is_felt_later() -> None:
    assert saturation_stretch(0.5, 8.0) < saturation_stretch(0.5, 1.3)
    assert saturation_stretch(1.0, 2.0) == pytest.approx(2**0.5)
    assert saturation_stretch(100.0, 1.3) == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize(("busy", "paired"), [(8, 0.0), (12, 2 * 4 / 12), (16, 1.0)])
def test_hyper_threads_slow_down_those_who_share_a_core(cpu: Device, busy: int, paired: float) -> None:
    conditions = at(cpu, [busy])
    assert conditions.gemm_slowdown == pytest.approx([1 / (1 - paired + paired / 1.6)])
    assert conditions.lookup_slowdown == pytest.approx([1 / (1 - paired + paired / 1.3)])


def test_two_on_a_core_carry_more_than_one_whoever_works_on_the_other_cores(cpu: Device) -> None:
    # 8 cores: of 9 workers 7 have a core and 2 carry 2 / 1.6 = 1.25 of one on theirs.
    busy = [8, 9, 12, 15, 16]
    carried = np.array(busy) / at(cpu, busy).gemm_slowdown
    assert carried == pytest.approx([8.0, 7 + 1.25, 4 + 4 * 1.25, 1 + 7 * 1.25, 8 * 1.25])


def test_copies_pair_up_beyond_one_socket(cpu: Device) -> None:
    assert at(cpu, [4, 8], copies=True).gemm_slowdown == pytest.approx([1.0, 1.6])


def test_the_serving_stack_slows_down_linearly_with_the_other_cores(cpu: Device) -> None:
    loaded = replace(cpu, interference=replace(cpu.interference, node_factor=2.4))
    # 8 cores: 1 + 1.4 x others / 7, and no more beyond them but hyper-threading
    conditions = at(loaded, [1, 2, 8, 16])
    assert conditions.gemm_slowdown == pytest.approx([1.0, 1.2, 2.4, 2.4 * 1.6])
    assert conditions.lookup_slowdown == pytest.approx([1.0, 1.2, 2.4, 2.4 * 1.3])


@pytest.mark.parametrize(("cores", "busy"), [(2, [1.0, 2.4]), (1, [1.0, 1.0 + 1.4])])
def test_of_few_cores_the_last_makes_all_of_the_slow_down(cpu: Device, cores: int, busy: list[float]) -> None:
    few = replace(cpu, sockets=1, cores_per_socket=cores)
    loaded = replace(few, interference=replace(cpu.interference, node_factor=2.4))
    over_plain = at(loaded, [1, 2]).gemm_slowdown / at(few, [1, 2]).gemm_slowdown
    assert over_plain == pytest.approx(busy)


def test_equal_tables_with_other_pooling_have_their_own_hit_rates(cpu: Device) -> None:
    busy = replace(TABLE, rows_per_item=10.0)
    kernels = (replace(LOOKUPS[0], calls=1), replace(LOOKUPS[0], calls=1, gather=busy))
    rates = at(cpu, [1], kernels=kernels).row_hit_rates
    assert rates[busy][0] > rates[TABLE][0]


@pytest.mark.parametrize(("is_exclusive", "held_bytes"), [(False, 2.5e6), (True, 3.5e6)])
def test_caches_hold_no_more_weights_than_their_size(
    cpu: Device, is_exclusive: bool, held_bytes: float
) -> None:
    # 8 MB of weights, 4 workers a socket: 2.5 MB of L3 each, and 1 MB of L2, which an inclusive L3 repeats
    conditions = at(exclusive(cpu) if is_exclusive else cpu, [8], weight_bytes=8e6)
    held = 8e6 * (conditions.weights_in_l2 + conditions.weights_in_l3)
    assert held == pytest.approx([held_bytes])


def test_rows_of_an_exclusive_l3_also_find_the_own_l2(cpu: Device) -> None:
    # no weights: 10 MB of L3 and 1 MB of L2; with 4 workers a socket still one L2, not those of others
    conditions = at(exclusive(cpu), [1, 8], kernels=LOOKUPS, weight_bytes=0.0)
    assert conditions.row_hit_rates[TABLE] == pytest.approx([11 / 20, 11 / 20])


def test_rows_find_of_the_own_l2_what_weights_leave(cpu: Device) -> None:
    conditions = at(exclusive(cpu), [1], kernels=LOOKUPS, weight_bytes=0.5e6)
    assert conditions.row_hit_rates[TABLE] == pytest.approx([10.5 / 20])
