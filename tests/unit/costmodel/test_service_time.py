"""One batch of a whole model on one executor: sums, bases, and what co-located work does to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device, InputCosts, MeasuredCurve
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from tests.unit.costmodel.conftest import MakeModel

LAYER: dict[str, Any] = {
    "name": "top",
    "kind": "fc",
    "input": "dense",
    "widths": [1000, 100],
    "activation": "none",
}
SIGNATURE = "fc:1x1000x100"
BAGS = {
    "name": "bags",
    "kind": "embedding_bag",
    "tables": [{"num_rows": 4_000_000, "dim": 32, "pooling_factor": 100}],
}


def curve(*points: tuple[float, float]) -> MeasuredCurve:
    batches, seconds = zip(*points, strict=True)
    return MeasuredCurve(batch_sizes=np.array(batches), seconds=np.array(seconds))


def fc_s(model_of: MakeModel, device: Device, batch_size: float, busy: float = 1.0) -> float:
    time = batch_time(model_of(LAYER, dense_features=1000), device, np.array(batch_size), busy)
    return float(next(timed.seconds for timed in time.kernels if timed.kernel.family == "fc"))


def test_kernels_follow_each_other(cpu: Device, model_of: MakeModel) -> None:
    time = batch_time(model_of(LAYER, dense_features=1000), cpu, np.array([1.0, 100.0]))
    # input: 10 us and 1000 elements of 1 ns an item; FC: a call of 1 us, then
    # 400 kB of weights from L2 at 80 GB/s for one row, or packed: 4 us a row
    first = 10 + 1 + 1 + 5
    last = 10 + 100 + 1 + (100 + 10) * 4
    assert time.seconds * 1e6 == pytest.approx([first, last])
    assert time.basis is Basis.FITTED


def test_batches_and_workers_broadcast(cpu: Device, model_of: MakeModel) -> None:
    model = model_of(LAYER, dense_features=1000)
    table = batch_time(model, cpu, np.array([1.0, 8.0, 64.0])[:, None], np.array([1.0, 8.0])[None, :])
    assert table.seconds.shape == (3, 2)
    assert table.seconds[1, 1] == batch_time(model, cpu, np.array(8.0), 8.0).seconds


def test_a_model_that_does_not_fit_is_refused(cpu: Device, model_of: MakeModel) -> None:
    huge = {**BAGS, "tables": [{"num_rows": 40_000_000, "dim": 32}]}
    with pytest.raises(InputError, match="does not fit cpu1"):
        batch_time(model_of(huge), cpu, np.array(1.0))


@pytest.mark.parametrize(
    ("batch_size", "basis"),
    [(15, Basis.EXTRAPOLATED), (16, Basis.FITTED), (64, Basis.FITTED), (65, Basis.EXTRAPOLATED)],
)
def test_outside_the_calibrated_batches_is_extrapolated(
    cpu: Device, model_of: MakeModel, batch_size: int, basis: Basis
) -> None:
    device = replace(cpu, batch_range=(16, 64))
    model = model_of(LAYER, dense_features=1000)
    assert batch_time(model, device, np.array(float(batch_size))).basis is basis


def test_a_measured_kernel_takes_its_measured_time(cpu: Device, model_of: MakeModel) -> None:
    device = replace(cpu, measured={SIGNATURE: curve((1.0, 5e-6), (64.0, 3e-4))})
    assert fc_s(model_of, device, 64) == pytest.approx(3e-4)
    time = batch_time(model_of(LAYER, dense_features=1000), device, np.array(64.0))
    bases = {timed.kernel.family: timed.basis for timed in time.kernels}
    assert bases == {"input": Basis.FITTED, "fc": Basis.MEASURED}
    assert time.basis is Basis.FITTED  # as weak as its weakest part


def test_a_measured_kernel_beyond_its_curve_weakens_the_batch(cpu: Device, model_of: MakeModel) -> None:
    device = replace(cpu, measured={SIGNATURE: curve((1.0, 5e-6), (64.0, 3e-4))})
    time = batch_time(model_of(LAYER, dense_features=1000), device, np.array(128.0))
    assert time.basis is Basis.EXTRAPOLATED


def test_co_located_work_stretches_a_measured_time(cpu: Device, model_of: MakeModel) -> None:
    loaded = replace(cpu, interference=replace(cpu.interference, node_factor=2.0))
    measured = replace(loaded, measured={SIGNATURE: curve((1.0, 5e-6), (64.0, 3e-4))})
    stretch = fc_s(model_of, loaded, 64, busy=8.0) / fc_s(model_of, loaded, 64)
    assert stretch > 1.9
    assert fc_s(model_of, measured, 64, busy=8.0) == pytest.approx(stretch * 3e-4)


def test_a_measured_curve_counts_once_for_each_equal_table(cpu: Device, model_of: MakeModel) -> None:
    def lookups_s(count: int) -> float:
        tables = [{"num_rows": 1000, "dim": 32, "count": count}]
        model = model_of({"name": "bags", "kind": "embedding_bag", "tables": tables})
        device = replace(cpu, measured={"embedding_bag:1000x128:1:0": curve((1.0, 5e-6))})
        return float(batch_time(model, device, np.array(1.0)).kernels[-1].seconds)

    assert lookups_s(8) == pytest.approx(8 * lookups_s(1))


def test_memory_is_shared_by_those_who_use_it(cpu: Device, model_of: MakeModel) -> None:
    # lookups ask for half of what memory reaches: up to two workers a socket hardly notice each other
    bare = replace(cpu, inputs=InputCosts())
    copies = np.array([1.0, 2.0, 4.0])
    alone, two, four = batch_time(model_of(BAGS), bare, np.full(3, 512.0), copies, copies=True).seconds
    assert alone < two < 1.25 * alone
    assert four == pytest.approx(2 * alone, rel=0.05)  # twice what memory reaches


def test_workers_on_the_other_socket_do_not_matter(cpu: Device, model_of: MakeModel) -> None:
    one, two = batch_time(model_of(BAGS), cpu, np.full(2, 512.0), np.array([1.0, 2.0])).seconds
    assert one == two


def test_an_accelerator_has_its_memory_to_itself(gpu: Device, model_of: MakeModel) -> None:
    one, many = batch_time(model_of(BAGS), gpu, np.full(2, 512.0), np.array([1.0, 4.0])).seconds
    assert one == many


def test_a_node_factor_is_the_service_time_over_that_alone(cpu: Device, model_of: MakeModel) -> None:
    loaded = replace(cpu, interference=replace(cpu.interference, node_factor=2.0, conversion_factor=2.0))
    time = batch_time(model_of(LAYER, dense_features=1000), loaded, np.full(2, 1.0), np.array([1.0, 8.0]))
    assert time.seconds[1] >= 2.0 * time.seconds[0] * (1 - 1e-9)


def test_a_card_is_not_charged_for_what_only_cores_run(cpu: Device, gpu: Device) -> None:
    table = {"num_rows": 100, "dim": 8, "memory": "one"}
    once = {"name": "once", "kind": "embedding_bag", "tables": (table,)}
    again = {"name": "again", "kind": "embedding_bag", "tables": (table,), "only_on": "cpu"}
    top = {"name": "top", "kind": "fc", "input": "once", "widths": (8, 1), "activation": "none"}
    model = RecModel.model_validate({"name": "m", "unread": ("again",), "operators": (once, again, top)})
    for device, charged in ((cpu, 1), (gpu, 0)):
        time = batch_time(model, device, np.array([4.0]))
        assert [timed.kernel.operator for timed in time.kernels].count("again") == charged
