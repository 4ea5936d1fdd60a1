"""What an engine does for each request of a loaded node beside its network; a single run does none of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.engine import FEEDING, HAND_OVER, STORED_BATCH, in_flight_factor
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device, EngineCosts, Interference
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from tests.unit.costmodel.conftest import MakeModel

BAGS: dict[str, Any] = {
    "name": "bags",
    "kind": "embedding_bag",
    "tables": [{"num_rows": 1000, "dim": 32, "pooling_factor": 9}],
}
ENGINE = EngineCosts(
    stored_items=1000, stored_index_s=50e-9, feed_call_s=20e-6, hand_over_s=300e-6, queue_blobs=8
)


@pytest.fixture
def serving(cpu: Device) -> Device:
    return replace(cpu, engine=ENGINE)


def rows_s(model: Any, device: Device, busy: float = 1.0) -> dict[str, float]:
    """Time of each operator's input kernels in a request of 10 items. [s]"""
    time = batch_time(model, device, np.array([10.0]), busy, served=True)
    return {
        timed.kernel.operator: float(timed.seconds[0])
        for timed in time.kernels
        if timed.kernel.family == "input"
    }


def test_a_request_converts_the_whole_stored_batch(serving: Device, model_of: MakeModel) -> None:
    rows = rows_s(model_of(BAGS), serving)
    # 1000 items of 9 indices and a length, 50 ns each; two tensors fed; whatever the request's size
    assert rows[STORED_BATCH] == pytest.approx(1000 * 10 * 50e-9)
    assert rows[FEEDING] == pytest.approx(2 * 20e-6)
    assert rows[HAND_OVER] == pytest.approx(300e-6)


def test_every_table_of_a_kind_has_a_stored_list_of_its_own(serving: Device, model_of: MakeModel) -> None:
    three = BAGS | {"tables": [BAGS["tables"][0] | {"count": 3}]}
    rows = rows_s(model_of(three), serving)
    assert rows[STORED_BATCH] == pytest.approx(3 * 1000 * 10 * 50e-9)
    assert rows[FEEDING] == pytest.approx(3 * 2 * 20e-6)


def test_of_its_own_lists_a_slice_is_copied(serving: Device, cpu: Device, model_of: MakeModel) -> None:
    model = model_of(BAGS)
    own_s = rows_s(model, serving)["input"]
    # two tensors of 10 us; 10 items of 9 indices of 8 bytes and a length of 4, at 10 GB/s
    assert own_s == pytest.approx(2 * 10e-6 + 10 * 76 / 10e9)
    assert own_s < rows_s(model, cpu)["input"]


def test_a_single_run_has_no_engine(serving: Device, cpu: Device, model_of: MakeModel) -> None:
    sizes = np.array([1.0, 64.0])
    alone = batch_time(model_of(BAGS), serving, sizes)
    assert alone.seconds.tolist() == batch_time(model_of(BAGS), cpu, sizes).seconds.tolist()
    assert all(timed.kernel.operator not in (STORED_BATCH, FEEDING, HAND_OVER) for timed in alone.kernels)


def test_stacks_without_an_engine_are_served_as_in_a_single_run(cpu: Device, model_of: MakeModel) -> None:
    sizes, busy = np.array([1.0, 64.0])[:, None], np.array([1.0, 8.0])[None, :]
    served = batch_time(model_of(BAGS), cpu, sizes, busy, served=True)
    np.testing.assert_array_equal(served.seconds, batch_time(model_of(BAGS), cpu, sizes, busy).seconds)


def test_busy_engines_slow_conversion_and_network_apart(cpu: Device, model_of: MakeModel) -> None:
    slow = replace(cpu, engine=ENGINE, interference=Interference(conversion_factor=3.0))
    alone, all_busy = (rows_s(model_of(BAGS), slow, busy) for busy in (1.0, 8.0))
    assert {name: all_busy[name] / alone[name] for name in alone} == pytest.approx(dict.fromkeys(alone, 3.0))


@pytest.mark.parametrize(
    ("converting_s", "lock", "expected_s"),
    [(3e-3, 0.0, 6e-3), (1e-3, 0.0, 6e-3), (3e-3, 1.0, 8e-3), (2e-3, 0.5, 6e-3)],
)
def test_two_in_flight_hide_the_shorter_but_for_the_lock(
    serving: Device, converting_s: float, lock: float, expected_s: float
) -> None:
    device = replace(serving, engine=replace(ENGINE, interpreter_lock=lock))
    factor = in_flight_factor(np.array(converting_s), np.array(4e-3), device, np.array(1.0))
    assert 4e-3 * float(factor) == pytest.approx(expected_s)
    assert float(in_flight_factor(np.array(1e-3), np.array(4e-3), device, np.array(0.0))) == 1.0


@pytest.mark.parametrize("stack", ["pytorch", "eager", "eager-bf16"])
def test_what_an_engine_is_said_to_do_is_paid_where_calls_were_measured(
    stack: str, model_of: MakeModel
) -> None:
    """No surface has it: it was 0 beside calls one by one, and a traceback beside those of modules."""
    profile = read_profile(find_file("profile", "amd-epyc-turin-2c-modules"))
    measured, model = profile.device(stack), model_of(BAGS)
    rows = rows_s(model, replace(measured, engine=ENGINE))
    assert rows[STORED_BATCH] == pytest.approx(1000 * 10 * 50e-9)
    assert rows[FEEDING] == pytest.approx(2 * 20e-6)
    assert rows[HAND_OVER] == pytest.approx(300e-6)
    bare, batch = batch_time(model, measured, np.array([10.0])), np.array([10.0])
    served = batch_time(model, replace(measured, engine=ENGINE), batch, served=True)
    assert served.seconds - sum(rows.values()) == pytest.approx(bare.seconds)
