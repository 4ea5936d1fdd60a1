"""Time of each kernel, from work and the round numbers of `conftest`."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from perfmodel.costmodel import calls
from perfmodel.costmodel.kernel_time import kernel_time, kernel_times
from perfmodel.costmodel.kernels import Gather, Kernel
from perfmodel.costmodel.timing import Conditions
from perfmodel.domain.hardware import Device
from tests.unit.costmodel.conftest import MakeConditions

LAYER = calls.fc("top", 1, 1000, 100)  # 400 kB of weights, 200 kFLOP a row: 4 us at 50 GFLOP/s


def us(kernel: Kernel, device: Device, batch_size: float, at: Conditions) -> float:
    return float(kernel_time(kernel, device, np.array(batch_size), at).seconds) * 1e6


def lookup(rows: float = 10.0, *, row_bytes: float = 128.0, pooled: bool = True, count: int = 1) -> Kernel:
    gather = Gather(
        rows_per_item=rows,
        bags_per_item=1.0 if pooled else rows,
        row_bytes=row_bytes,
        num_rows=1000,
        zipf_exponent=0.0,
    )
    return Kernel(operator="bags", family="embedding_bag", calls=count, gather=gather)


def test_a_few_rows_stream_the_weights_for_each(cpu: Device, conditions: MakeConditions) -> None:
    # from L3: 400 kB at 50 GB/s = 8 us a row; packing would take (1 + 10) x 4 us
    assert us(LAYER, cpu, 1, conditions()) == pytest.approx(1 + 8)
    assert us(LAYER, cpu, 9, conditions()) == pytest.approx(1 + 9 * 8)


def test_many_rows_pack_the_weights_once(cpu: Device, conditions: MakeConditions) -> None:
    assert us(LAYER, cpu, 11, conditions()) == pytest.approx(1 + (11 + 10) * 4)
    assert us(LAYER, cpu, 1000, conditions()) == pytest.approx(1 + (1000 + 10) * 4)


def test_weights_stream_faster_from_l2(cpu: Device, conditions: MakeConditions) -> None:
    assert us(LAYER, cpu, 1, conditions(in_l2=1.0, in_l3=0.0)) == pytest.approx(1 + 5)
    assert us(LAYER, cpu, 1, conditions(in_l2=0.5, in_l3=0.5)) == pytest.approx(1 + 2.5 + 4)


def test_weights_from_memory_are_read_beside_the_arithmetic(cpu: Device, conditions: MakeConditions) -> None:
    in_memory = conditions(in_l3=0.0)  # 400 kB at 10 GB/s = 40 us; a row's 4.4 kB take 0.44 us
    assert us(LAYER, cpu, 1, in_memory) == pytest.approx(1 + 40 + 0.44)  # streamed: packing takes 44 + 40
    assert us(LAYER, cpu, 5, in_memory) == pytest.approx(1 + 40 + 4 * 8)  # from L3 after the first row
    assert us(LAYER, cpu, 100, in_memory) == pytest.approx(1 + 110 * 4 + 40)  # packed: read once


def test_only_weights_from_memory_feel_a_slow_memory(cpu: Device, conditions: MakeConditions) -> None:
    assert us(LAYER, cpu, 100, conditions(memory_slowdown=2.0)) == pytest.approx(1 + 110 * 4)
    slow = conditions(in_l3=0.0, memory_slowdown=2.0)
    assert us(LAYER, cpu, 100, slow) == pytest.approx(1 + 110 * 4 + 80)
    memory_s = kernel_time(LAYER, cpu, np.array(100.0), slow).memory_s
    assert float(memory_s) == pytest.approx(80e-6)


def test_a_product_of_thin_rows_is_bound_by_its_traffic(cpu: Device, conditions: MakeConditions) -> None:
    thin = calls.fc("top", 1, 1, 1000)
    # 1000 rows: 1010 x 2 kFLOP / 50 GFLOP/s = 40.4 us; 1000 x 4004 B / 10 GB/s = 400.4 us
    assert us(thin, cpu, 1000, conditions()) == pytest.approx(1 + 400.4)


def test_a_product_of_wide_rows_is_bound_by_its_arithmetic(cpu: Device, conditions: MakeConditions) -> None:
    # 1000 rows x 4.4 kB / 10 GB/s = 440 us hide behind 4040 us of arithmetic
    slower_stream = replace(cpu, stream_bytes_per_s=5e9)
    faster = replace(cpu, peak_flop_per_s=200e9)
    assert us(LAYER, slower_stream, 1000, conditions()) == us(LAYER, cpu, 1000, conditions())
    assert us(LAYER, faster, 1000, conditions()) == pytest.approx(1 + 2020)


def test_half_width_is_where_a_side_loses_half_its_rate(cpu: Device, conditions: MakeConditions) -> None:
    narrow = replace(cpu, gemm=replace(cpu.gemm, half_width=100.0, weight_l3_bytes_per_s=10e9))
    # 1000 / 1100 inward, 100 / 200 outward: 2.2 times the arithmetic
    assert us(LAYER, narrow, 1000, conditions()) == pytest.approx(1 + 2.2 * 4040)


def test_interference_stretches_every_part(cpu: Device, conditions: MakeConditions) -> None:
    assert us(LAYER, cpu, 1000, conditions(gemm_slowdown=1.5)) == pytest.approx(1.5 * (1 + 4040))
    in_memory = conditions(in_l3=0.0, gemm_slowdown=1.5)
    assert us(LAYER, cpu, 1000, in_memory) == pytest.approx(1.5 * (1 + 4040 + 40))


def test_lookups_have_an_interference_of_their_own(cpu: Device, conditions: MakeConditions) -> None:
    at = conditions(gemm_slowdown=9.0, lookup_slowdown=1.3)
    assert us(lookup(), cpu, 100, at) == pytest.approx(1.3 * (2 + 40 + 1))


def test_a_recurrent_layer_pays_for_every_step(cpu: Device, conditions: MakeConditions) -> None:
    hidden = replace(LAYER, family="recurrent", calls=5, steps=5)
    assert us(hidden, cpu, 1, conditions()) == pytest.approx(5 * (10 + 8))


def test_a_lookup_counts_lines_from_cache_and_memory(cpu: Device, conditions: MakeConditions) -> None:
    # 100 items x 10 rows x 2 lines of 64 bytes; 100 bags of 10 ns
    assert us(lookup(), cpu, 100, conditions(hit=0.0)) == pytest.approx(2 + 2000 * 0.020 + 1)
    assert us(lookup(), cpu, 100, conditions(hit=1.0)) == pytest.approx(2 + 2000 * 0.002 + 1)
    assert us(lookup(), cpu, 100, conditions(hit=0.75)) == pytest.approx(2 + 500 * 0.020 + 1500 * 0.002 + 1)


def test_a_part_of_a_line_is_a_line(cpu: Device, conditions: MakeConditions) -> None:
    assert us(lookup(row_bytes=65.0), cpu, 100, conditions()) == pytest.approx(2 + 2000 * 0.020 + 1)


def test_only_misses_feel_a_slow_memory(cpu: Device, conditions: MakeConditions) -> None:
    at = conditions(hit=0.75, memory_slowdown=3.0)
    assert us(lookup(), cpu, 100, at) == pytest.approx(2 + 3 * 500 * 0.020 + 1500 * 0.002 + 1)
    memory_s = kernel_time(lookup(), cpu, np.array(100.0), at).memory_s
    assert float(memory_s) == pytest.approx(3 * 500 * 20e-9)


def test_a_missed_row_waits_for_its_page_entry(cpu: Device, conditions: MakeConditions) -> None:
    # 1000 rows, of which 750 miss: an entry each, a quarter from L3, half from memory
    at = conditions(hit=0.25, entries_in_l2=0.25, entries_in_l3=0.25)
    rows = 500 * 0.002 + 1500 * 0.020
    entries = 750 * (0.25 * 0.002 + 0.5 * 0.020)
    assert us(lookup(), cpu, 100, at) == pytest.approx(2 + rows + entries + 1)


def test_equal_tables_are_equal_calls(cpu: Device, conditions: MakeConditions) -> None:
    assert us(lookup(count=8), cpu, 100, conditions()) == pytest.approx(8 * (2 + 40 + 1))


def test_an_unpooled_lookup_writes_a_bag_for_each_row(cpu: Device, conditions: MakeConditions) -> None:
    assert us(lookup(pooled=False), cpu, 100, conditions()) == pytest.approx(2 + 40 + 1000 * 0.010)


def test_few_long_bags_wait_for_their_chain_on_a_gpu(gpu: Device, conditions: MakeConditions) -> None:
    # one bag: 10 rows x 50 ns in a chain; side by side: 20 lines x 0.5 ns + 10 ns
    assert us(lookup(), gpu, 1, conditions()) == pytest.approx(5 + 0.5)
    # 1000 bags fill the card: 20,000 lines x 0.5 ns + 1000 x 10 ns
    assert us(lookup(), gpu, 1000, conditions()) == pytest.approx(5 + 20)


def test_a_gpu_reads_weights_from_its_memory(gpu: Device, conditions: MakeConditions) -> None:
    nowhere_cached = conditions(in_l3=0.0)
    # 400 kB at 200 GB/s = 2 us, a row's 4.4 kB 0.022 us; 1010 rows x 200 kFLOP at 5 TFLOP/s = 40.4 us
    assert us(LAYER, gpu, 1, nowhere_cached) == pytest.approx(5 + 2 + 0.022)
    assert us(LAYER, gpu, 1000, nowhere_cached) == pytest.approx(5 + 40.4 + 2)


def test_elementwise_calls_move_their_bytes(cpu: Device, conditions: MakeConditions) -> None:
    relu = calls.elementwise("relu", 100, family="activation")
    assert us(relu, cpu, 1000, conditions()) == pytest.approx(4 + 80)  # 1000 x 800 B at 10 GB/s
    assert us(relu, cpu, 1000, conditions(gemm_slowdown=1.5)) == pytest.approx(1.5 * (4 + 80))


def test_concat_copies_piece_by_piece_on_a_cpu(cpu: Device, conditions: MakeConditions) -> None:
    concat = Kernel(
        operator="c", family="concat", read_bytes_per_item=500, written_bytes_per_item=500, pieces=9
    )
    # 1000 x 9 copies of 5 ns, 1000 x 1000 B at 10 GB/s
    assert us(concat, cpu, 1000, conditions()) == pytest.approx(3 + 45 + 100)


def test_concat_launches_a_copy_for_each_piece_on_a_gpu(gpu: Device, conditions: MakeConditions) -> None:
    concat = Kernel(
        operator="c", family="concat", read_bytes_per_item=500, written_bytes_per_item=500, pieces=9
    )
    assert us(concat, gpu, 1000, conditions()) == pytest.approx(5 + 9 * 2 + 5)


def test_softmax_costs_rows_and_elements(cpu: Device, conditions: MakeConditions) -> None:
    # 1000 x (2 rows x 7 ns + 20 elements x 1 ns); the 160 kB would take 16 us
    assert us(calls.softmax("s", 2, 10), cpu, 1000, conditions()) == pytest.approx(4 + 34)


def test_a_batched_product_sets_up_each_small_one(cpu: Device, conditions: MakeConditions) -> None:
    pairs = calls.batch_matmul("pairs", 1, 10, 10, 10)  # 2 kFLOP: 40 ns at 50 GFLOP/s
    assert us(pairs, cpu, 100, conditions()) == pytest.approx(4 + 100 * (0.1 + 0.04))


def test_attention_in_one_call_is_two_products_and_the_softmax_of_their_scores(
    cpu: Device, conditions: MakeConditions
) -> None:
    attend = calls.fused_attention("attend", 1, 10, 10, 10)  # 4 kFLOP: 80 ns; 10 rows of 7 ns, 100 scores
    assert us(attend, cpu, 100, conditions()) == pytest.approx(4 + 100 * (0.1 + 0.08 + 0.07 + 0.1))


def test_input_is_converted_list_by_list(cpu: Device, conditions: MakeConditions) -> None:
    lists = replace(lookup(count=3), family="input", read_bytes_per_item=80.0, pieces=2)
    # each table: two tensors of 10 us, 100 lists of 100 ns, 1000 indices of 10 ns
    assert us(lists, cpu, 100, conditions()) == pytest.approx(3 * (20 + 10 + 10))


def test_dense_input_is_converted_element_by_element(cpu: Device, conditions: MakeConditions) -> None:
    dense = Kernel(operator="input", family="input", read_bytes_per_item=400.0, pieces=1)
    assert us(dense, cpu, 100, conditions()) == pytest.approx(10 + 100 * 100 * 0.001)


def test_a_gpu_also_waits_for_the_transfer(gpu: Device, conditions: MakeConditions) -> None:
    lists = replace(lookup(), family="input", read_bytes_per_item=80.0, pieces=2)
    dense = Kernel(operator="input", family="input", read_bytes_per_item=400.0, pieces=1)
    # 100 x (10 indices of 8 bytes + a length of 4) and 100 x 400 bytes, at 10 GB/s
    assert us(lists, gpu, 100, conditions()) == pytest.approx(20 + 10 + 10 + 0.84)
    assert us(dense, gpu, 100, conditions()) == pytest.approx(10 + 10 + 4)


def test_parts_add_up_but_for_the_smaller_roof(cpu: Device, conditions: MakeConditions) -> None:
    time = kernel_time(LAYER, cpu, np.array([1.0, 1000.0]), conditions(in_l3=0.5))
    larger = np.maximum(time.compute_s, time.stream_s)
    assert time.seconds == pytest.approx(time.overhead_s + larger + time.weights_s)
    assert time.seconds.shape == (2,)


def test_kernels_priced_together_are_those_priced_one_by_one(cpu: Device, conditions: MakeConditions) -> None:
    lookups = [lookup(float(rows), count=count) for rows, count in ((10, 1), (3, 4), (70, 2))]
    lookups.append(lookup(5.0, row_bytes=300.0, pooled=False))
    inputs = [replace(kernel, family="input", pieces=2) for kernel in lookups]
    dense = Kernel(operator="input", family="input", read_bytes_per_item=52.0, pieces=1)
    kernels = [dense, *inputs, LAYER, *lookups, LAYER]
    for batch in (np.array([1.0, 64.0, 640.0]), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array(7.0)):
        gathers = {kernel.gather: np.full_like(batch, 0.3) for kernel in lookups if kernel.gather}
        at = replace(conditions(memory_slowdown=1.5), row_hit_rates=gathers)
        together = kernel_times(kernels, cpu, batch, at)
        for kernel, time in zip(kernels, together, strict=True):
            alone = kernel_time(kernel, cpu, batch, at)
            for part in fields(alone):
                np.testing.assert_array_equal(getattr(time, part.name), getattr(alone, part.name))
                assert getattr(time, part.name).shape == batch.shape


def test_what_is_priced_in_parts_is_what_is_priced_at_once(
    cpu: Device, conditions: MakeConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = [lookup(float(rows)) for rows in range(1, 8)]
    at = replace(conditions(), row_hit_rates={kernel.gather: 0.1 * np.ones(3) for kernel in kernels})
    batch = np.array([1.0, 2.0, 3.0])
    at_once = [time.seconds.tolist() for time in kernel_times(kernels, cpu, batch, at)]
    monkeypatch.setattr("perfmodel.costmodel.kernel_time._MOST_AT_ONCE", 6)  # two kernels of three batches
    assert [time.seconds.tolist() for time in kernel_times(kernels, cpu, batch, at)] == at_once


@pytest.mark.parametrize(("line_s", "share"), [(3.2e-9, 0.5), (6.4e-9, 1.0), (64e-9, 1.0)])
def test_streamed_weights_ask_for_no_more_than_random_rows(
    cpu: Device, conditions: MakeConditions, line_s: float, share: float
) -> None:
    """40 us at 10 GB/s: a line of 64 bytes in 6.4 ns, beside lines that a lookup waits for one by one."""
    device = replace(cpu, lookup=replace(cpu.lookup, memory_line_s=line_s))
    time = kernel_time(LAYER, device, np.array(100.0), conditions(in_l3=0.0))
    assert time.weights_s == pytest.approx(40e-6)
    assert time.memory_s == pytest.approx(share * 40e-6)
