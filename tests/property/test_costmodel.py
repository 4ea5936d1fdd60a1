"""What must hold for every shipped model on every shipped device, whatever their numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file, shipped_names
from perfmodel.loading.validated import parse_file
from tests.examples import examples
from tests.measured_profiles import measured_names

PROFILES = [read_profile(find_file("profile", name)) for name in measured_names()]
DEVICES = {f"{p.name}@{stack}": p.device(stack) for p in PROFILES for stack in p.stacks}
SERVERS = {name: device for name, device in DEVICES.items() if device.kind == "cpu"}
SMOOTH = {name: device for name, device in DEVICES.items() if not device.surfaces}
"""Devices whose formulas grow with the batch; measured times need not: whole vectors of rows are cheaper."""
MODELS = {name: parse_file(find_file("model", name), RecModel) for name in shipped_names("model")}
FITTING = sorted(
    (model, device)
    for model in MODELS
    for device in DEVICES
    if MODELS[model].embedding_bytes + MODELS[model].dense_parameter_bytes
    <= DEVICES[device].memory.capacity_bytes
)

pairs = st.sampled_from(FITTING)
on_servers = st.sampled_from([(model, device) for model, device in FITTING if device in SERVERS])
smooth_pairs = st.sampled_from([(model, device) for model, device in FITTING if device in SMOOTH])
on_smooth_servers = st.sampled_from(
    [(model, device) for model, device in FITTING if device in SMOOTH and device in SERVERS]
)
batches = st.integers(min_value=1, max_value=1024)
few_examples = settings(examples(20), derandomize=True)

SLACK = 1e-9
"""What rounding may do. [1]"""


def seconds(
    model: str,
    device: Device,
    batch_size: Floats | float,
    busy: Floats | float = 1.0,
    *,
    copies: bool = False,
) -> Floats:
    return batch_time(MODELS[model], device, np.asarray(batch_size, float), busy, copies=copies).seconds


def growing(times: Floats) -> bool:
    return bool(np.all(np.diff(times) >= -SLACK * times[1:]))


@given(pairs, batches)
@few_examples
def test_every_kernel_takes_time(pair: tuple[str, str], batch_size: int) -> None:
    time = batch_time(MODELS[pair[0]], DEVICES[pair[1]], np.array(float(batch_size)))
    assert all(np.isfinite(timed.seconds) and timed.seconds >= 0 for timed in time.kernels)
    assert time.seconds > 0


@given(smooth_pairs)
@few_examples
def test_a_larger_batch_is_never_faster_alone(pair: tuple[str, str]) -> None:
    assert growing(seconds(pair[0], DEVICES[pair[1]], np.arange(1.0, 1025.0)))


@pytest.mark.thorough
@given(on_servers, st.floats(min_value=1.0, max_value=8.0), batches, st.integers(1, 28))
@few_examples
def test_more_memory_bandwidth_is_never_slower(
    pair: tuple[str, str], factor: float, batch_size: int, busy: int
) -> None:
    model, device = pair[0], DEVICES[pair[1]]
    bandwidth = device.memory.bandwidth_bytes_per_s
    faster = replace(device, memory=replace(device.memory, bandwidth_bytes_per_s=factor * bandwidth))
    before, after = (seconds(model, d, batch_size, float(busy)) for d in (device, faster))
    assert after <= before * (1 + SLACK)


@pytest.mark.thorough
@given(pairs, st.floats(min_value=1.0, max_value=8.0), batches)
@few_examples
def test_faster_streams_are_never_slower(pair: tuple[str, str], factor: float, batch_size: int) -> None:
    model, device = pair[0], DEVICES[pair[1]]
    gemm = replace(
        device.gemm,
        weight_l2_bytes_per_s=factor * device.gemm.weight_l2_bytes_per_s,
        weight_l3_bytes_per_s=factor * device.gemm.weight_l3_bytes_per_s,
        weight_memory_bytes_per_s=factor * device.gemm.weight_memory_bytes_per_s,
    )
    faster = replace(device, gemm=gemm, stream_bytes_per_s=factor * device.stream_bytes_per_s)
    assert seconds(model, faster, batch_size) <= seconds(model, device, batch_size) * (1 + SLACK)


@pytest.mark.thorough
@given(pairs, st.floats(min_value=1.0, max_value=8.0), batches)
@few_examples
def test_a_higher_peak_is_never_slower(pair: tuple[str, str], factor: float, batch_size: int) -> None:
    model, device = pair[0], DEVICES[pair[1]]
    faster = replace(device, peak_flop_per_s=factor * device.peak_flop_per_s)
    assert seconds(model, faster, batch_size) <= seconds(model, device, batch_size) * (1 + SLACK)


@pytest.mark.thorough
@given(on_servers, batches)
@few_examples
def test_more_copies_on_a_socket_are_never_faster(pair: tuple[str, str], batch_size: int) -> None:
    model, device = pair[0], DEVICES[pair[1]]
    copies = np.arange(1.0, 2 * device.cores_per_socket + 1)
    assert growing(seconds(model, device, np.full_like(copies, batch_size), copies, copies=True))


@pytest.mark.thorough
@given(on_servers, batches)
@few_examples
def test_more_busy_workers_are_never_faster(pair: tuple[str, str], batch_size: int) -> None:
    model, device = pair[0], DEVICES[pair[1]]
    busy = np.arange(1.0, 2 * device.num_cores + 1)
    assert growing(seconds(model, device, np.full_like(busy, batch_size), busy))


@given(on_smooth_servers, st.integers(1, 56))
@few_examples
def test_a_larger_batch_is_never_faster_beside_others(pair: tuple[str, str], busy: int) -> None:
    assert growing(seconds(pair[0], DEVICES[pair[1]], np.arange(1.0, 1025.0), float(busy)))


@given(pairs, batches, batches)
@few_examples
def test_work_adds_up_over_batches_but_for_the_weights(
    pair: tuple[str, str], first: int, second: int
) -> None:
    """And for what belongs to the query: its own work does not grow, and items read it once a call."""
    for kernel in lower(MODELS[pair[0]]):
        one, other = (kernel.work(np.array(float(size))) for size in (first, second))
        both = kernel.work(np.array(float(first + second)))
        if kernel.scope == "query":
            assert both == one == other
            continue
        assert both.flop == pytest.approx(one.flop + other.flop)
        assert both.bytes_written == pytest.approx(one.bytes_written + other.bytes_written)
        assert both.random_rows == pytest.approx(one.random_rows + other.random_rows)
        once = kernel.calls * (kernel.weight_bytes + kernel.read_bytes_per_query)
        assert both.bytes_read == pytest.approx(one.bytes_read + other.bytes_read - once)


@pytest.mark.thorough
@given(
    on_servers,
    st.lists(batches, min_size=2, max_size=4),
    st.lists(st.integers(1, 56), min_size=2, max_size=3),
)
@settings(examples(15), derandomize=True)  # up to twelve single calls each
def test_a_table_holds_what_single_calls_give(
    pair: tuple[str, str], sizes: list[int], workers: list[int]
) -> None:
    model, device = pair[0], DEVICES[pair[1]]
    table = seconds(model, device, np.array(sizes, float)[:, None], np.array(workers, float)[None, :])
    single = [[float(seconds(model, device, size, float(busy))) for busy in workers] for size in sizes]
    assert table == pytest.approx(np.array(single), rel=1e-12)
