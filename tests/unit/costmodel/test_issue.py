"""The pipeline of host and accelerator: who waits for whom, worked out launch by launch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from perfmodel.costmodel.issue import Issued, contributions_s, issued
from perfmodel.costmodel.kernels import Kernel, Product
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Caches, Device, InputCosts, IssueCost, LaunchCosts
from perfmodel.domain.surface import Surface, law_names
from tests.unit.costmodel.conftest import MakeModel

US = 1e-6
COSTS = LaunchCosts(
    issue={"fc": IssueCost(call_s=5 * US), "concat.features": IssueCost(call_s=4 * US, part_s=1 * US)},
    latency_s=3 * US,
    output_s=7 * US,
)
FLAT = Surface(
    # 2 us a call on the device, whatever its size
    law=dict.fromkeys(law_names("fc").terms, 0.0) | {"call": 2 * US},
    scales=np.ones(10),
    amplitude=0.5,
    noise=0.1,
    noise_s=0.0,
    points=np.zeros((1, 10)),
    weights=np.zeros(1),
    low=np.full(10, -100.0),
    high=np.full(10, 100.0),
    relative_error=0.05,
)


def one_by_one_s(kernels: list[Issued], ready_s: float, latency_s: float) -> list[float]:
    """Ends of the kernels by the recursion itself, launch after launch."""
    host_s = end_s = ready_s
    ends = []
    for issue_s, device_s, launches in kernels:
        for _ in range(launches):
            host_s += issue_s / launches
            end_s = max(host_s + latency_s, end_s) + float(device_s) / launches
        ends.append(end_s)
    return ends


def test_small_calls_wait_for_the_host_and_large_ones_hide_it() -> None:
    launches = [Issued(5 * US, np.array(k * US), 1) for k in (1.0, 1.0, 100.0, 1.0, 1.0)]
    parts = contributions_s(launches, np.array(0.0), COSTS)
    # ends at 5+3+1 = 9, 14, 15+3+100 = 118, and then one after the other
    assert np.array(parts) / US == pytest.approx([9, 5, 104, 1, 1])


def test_equal_launches_of_one_kernel_are_those_of_the_recursion() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        draws = [(*rng.uniform(1, 50, 2), int(rng.integers(1, 30))) for _ in range(6)]
        kernels = [Issued(a * US, np.array(k * US), n) for a, k, n in draws]
        ends = np.cumsum(contributions_s(kernels, np.array(20 * US), COSTS)) + 20 * US
        assert ends == pytest.approx(one_by_one_s(kernels, 20 * US, COSTS.latency_s))


def test_batch_sizes_are_independent_of_each_other() -> None:
    kernels = [Issued(5 * US, np.array([1.0, 50.0]) * US, 1)] * 2
    parts = contributions_s(kernels, np.array([0.0, 10 * US]), COSTS)
    assert np.sum(parts, axis=0) / US == pytest.approx([14, 108])


def test_tensors_that_a_call_joins_cost_the_host_one_by_one() -> None:
    concat = Kernel(operator="c", family="concat", variant="features", pieces=10, calls=2)
    assert issued(concat, COSTS, np.array(1.0), np.array(1.0)).issue_s == pytest.approx(2 * 14 * US)
    unknown = Kernel(operator="s", family="softmax")
    assert issued(unknown, COSTS, np.array(1.0), np.array(1.0)) == Issued(np.array(0.0), np.array(1.0), 1)


def test_a_product_of_few_rows_is_issued_at_a_cost_of_its_own() -> None:
    cost = IssueCost(call_s=20 * US, few_rows=16.0, few_rows_call_s=13 * US)
    layer = Kernel(operator="l", family="fc", product=Product(rows_per_item=2.0, inner=8, outer=8))
    costs = replace(COSTS, issue={"fc": cost})
    batches = np.array([1.0, 8.0, 9.0, 100.0])  # of 2 rows each
    assert issued(layer, costs, batches, batches).issue_s / US == pytest.approx([13, 13, 20, 20])


def test_all_that_a_host_with_a_neighbour_does_takes_longer() -> None:
    concat = Kernel(operator="c", family="concat", variant="features", pieces=10)
    one = np.array(1.0)
    shared = issued(concat, replace(COSTS, host_level=1.5), one, one)
    assert shared.issue_s == pytest.approx(1.5 * issued(concat, COSTS, one, one).issue_s)
    assert shared.device_s == one


def test_steps_of_a_recurrent_layer_are_launches_that_the_device_starts_on_early() -> None:
    costs = replace(COSTS, issue={"recurrent.gru": IssueCost(call_s=0.0, part_s=2 * US)})
    steps = Kernel(operator="g", family="recurrent", variant="gru", shape=(10, 8, 8), calls=10)
    one = np.array(1.0)
    pass_s = contributions_s([issued(steps, costs, np.array(100 * US), one)], np.array(0.0), costs)[0]
    assert pass_s == pytest.approx((2 + 3 + 100) * US)  # and not 10 x 2 + 3 + 100
    before = Kernel(operator="g", family="recurrent", variant="gru_inputs", shape=(10, 8, 8))
    assert issued(before, costs, np.array(0.0), one).launches == 0


@pytest.fixture
def card(gpu: Device) -> Device:
    """Copies of 10 us and 10 GB/s; a layer 5 us to issue, 2 us to run."""
    cache = Caches(l2_bytes=50e6, l3_bytes=50e6, exclusive=False)
    inputs = InputCosts(blob_s=10 * US, transfer_bytes_per_s=10e9)
    return replace(gpu, caches=cache, inputs=inputs, surfaces={"fc": FLAT}, launches=COSTS)


def test_a_pass_is_inputs_then_the_pipeline_then_the_result(card: Device, model_of: MakeModel) -> None:
    widths, name = [100, 50, 50, 10], "top"
    layers = {"name": name, "kind": "mlp", "input": "dense", "widths": widths, "activation": "none"}
    model = model_of(layers | {"final_activation": "none"}, dense_features=100)
    time = batch_time(model, card, np.array([1.0, 500.0]))
    inputs = np.array([10 + 400 / 10e3, 10 + 500 * 400 / 10e3])  # 10 us a tensor, 10 kB a us
    assert time.family_s("input") / US == pytest.approx(inputs)
    assert time.seconds / US == pytest.approx(inputs + 3 * 5 + 3 + 2 + 7)
    assert np.all(np.diff(time.seconds) > 0)


def test_parts_of_a_kernel_sum_to_what_it_adds_to_the_pass(card: Device, model_of: MakeModel) -> None:
    layers = {"name": "top", "kind": "mlp", "input": "dense", "widths": [9, 9, 9], "activation": "none"}
    model = model_of(layers | {"final_activation": "none"}, dense_features=9)
    time = batch_time(model, card, np.array([4.0]))
    for timed in time.kernels:
        assert timed.parts.seconds == pytest.approx(timed.seconds)


def test_a_slower_host_or_device_never_makes_a_pass_faster(card: Device, model_of: MakeModel) -> None:
    layers = {"name": "top", "kind": "mlp", "input": "dense", "widths": [9] * 6, "activation": "none"}
    model, times = model_of(layers | {"final_activation": "none"}, dense_features=9), []
    for issue_s in (0.0, 1 * US, 2 * US, 3 * US, 30 * US):
        slower = replace(COSTS, issue={"fc": IssueCost(call_s=issue_s)})
        times.append(float(batch_time(model, replace(card, launches=slower), np.array(4.0)).seconds))
    assert all(after >= before for before, after in pairwise(times))
    assert times[-1] > times[0]
