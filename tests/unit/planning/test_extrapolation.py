"""What is refused because nothing like it was measured, and what the refusal names."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.model import RecModel
from perfmodel.errors import ExtrapolationError
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.planning.service_times import NodeTimes
from perfmodel.planning.time_errors import device_error
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list


def times_of(model: RecModel, *, batch_size: int, max_items: int) -> NodeTimes:
    node = ServingNode(model=model, cpu=find_device("amd-epyc-turin-2c", model), cores=2)
    return NodeTimes(node, SplitAndOffload(batch_size=batch_size), pmf_of_list([max_items]))


def test_an_operator_unlike_any_measured_is_named() -> None:
    wide = {"name": "huge", "kind": "mlp", "input": "dense", "widths": (200_000, 4_000)}
    model = RecModel.model_validate({"name": "giant", "dense_features": 200_000, "operators": (wide,)})
    with pytest.raises(
        ExtrapolationError, match=r"huge \(\d+ %\) of giant at 64 items: amd-epyc-turin-2c has measured"
    ):
        times_of(model, batch_size=64, max_items=64).require_calibrated()


def test_batches_beyond_the_range_are_named_with_it() -> None:
    times = times_of(find_model("ncf"), batch_size=4096, max_items=4096)
    with pytest.raises(
        ExtrapolationError, match="covers batches 1 to 1280; this sends requests of up to 4096"
    ):
        times.require_calibrated()


@pytest.mark.thorough
def test_what_was_measured_is_answered() -> None:
    times_of(find_model("ncf"), batch_size=256, max_items=1024).require_calibrated()


@pytest.mark.thorough
def test_latency_names_the_operator_that_is_unlike_any_measured_not_the_batch() -> None:
    wide = {"name": "huge", "kind": "mlp", "input": "dense", "widths": (200_000, 4_000)}
    model = RecModel.model_validate({"name": "giant", "dense_features": 200_000, "operators": (wide,)})
    device = find_device("amd-epyc-turin-2c", model)
    with pytest.raises(
        ExtrapolationError, match=r"batch 1: huge \(\d+ %\): amd-epyc-turin-2c has measured nothing like it"
    ):
        latency_table(model, device, (1,))
    with pytest.raises(ExtrapolationError, match=r"batch 4096 is outside the calibrated range .*, 1 to 1280"):
        latency_table(find_model("ncf"), device, (4096,))


@pytest.mark.thorough
def test_a_call_that_nothing_measured_is_no_fit() -> None:
    model = find_model("ncf")
    device = find_device("amd-epyc-turin-2c", model)
    without_fc = replace(device, surfaces={key: one for key, one in device.surfaces.items() if key != "fc"})
    with pytest.raises(
        ExtrapolationError, match=r"batch 64: .*: amd-epyc-turin-2c has measured nothing like it"
    ):
        latency_table(model, without_fc, (64,))
    (row,) = latency_table(model, without_fc, (64,), extrapolate=True).rows
    assert {part.basis for part in row.operators if part.kind == "fc"} <= {Basis.EXTRAPOLATED, Basis.ASSUMED}
    assert row.basis is Basis.EXTRAPOLATED


def beside_a_layer(width: int) -> RecModel:
    """A layer like those that were measured, beside a wide one of which no like was."""
    joined = (
        {"name": "usual", "kind": "mlp", "input": "dense", "widths": (1024, 2048, 1024, 1024)},
        {"name": "odd", "kind": "mlp", "input": "dense", "widths": (1024, 1)},
        {"name": "far", "kind": "mlp", "input": "odd", "widths": (1, width)},
        {"name": "out", "kind": "concat", "inputs": ("usual", "far")},
    )
    return RecModel.model_validate({"name": "beside", "dense_features": 1024, "operators": joined})


def test_an_operator_of_small_work_does_not_refuse_a_model() -> None:
    times = times_of(beside_a_layer(60_000), batch_size=64, max_items=64)
    times.require_calibrated()
    (note,) = [note for note in times.notes if "extrapolated" in note]
    assert "far (" in note
    assert times.basis < Basis.EXTRAPOLATED


def test_an_operator_of_much_work_does_and_is_named_with_its_share() -> None:
    times = times_of(beside_a_layer(4_000_000), batch_size=64, max_items=64)
    with pytest.raises(ExtrapolationError, match=r"far \(\d+ %\).* of beside at 64 items"):
        times.require_calibrated()


def test_calls_of_less_work_than_any_measured_do_not_refuse_a_model() -> None:
    # 2 elements an item, where 312 were the fewest: the call is all that they cost
    tiny = {"name": "tiny", "kind": "elementwise", "function": "mul", "inputs": ("dense", "dense")}
    model = RecModel.model_validate({"name": "small", "dense_features": 2, "operators": (tiny,)})
    device = find_device("amd-epyc-turin-2c", model)
    assert np.exp(device.surfaces["elementwise.mul"].low[0]) > 300
    time = batch_time(model, device, np.array([1.0]))
    assert time.extrapolated_share == 0.0


def test_fewer_tensors_than_any_measured_are_extrapolated_where_they_are_large() -> None:
    # 2 tensors to add, where 6 were the fewest: at 256 kB each it is the traffic that costs
    views = tuple({"name": name, "kind": "view", "input": "dense", "width": 1024} for name in ("a", "b"))
    added = {"name": "added", "kind": "sum", "inputs": ("a", "b")}
    model = RecModel.model_validate({"name": "sums", "dense_features": 1024, "operators": (*views, added)})
    time = batch_time(model, find_device("amd-epyc-turin-2c", model), np.array([64.0]))
    assert time.extrapolated_share == 1.0


def test_what_is_extrapolated_widens_the_band_by_its_share() -> None:
    model = beside_a_layer(60_000)
    flat = replace(find_device("amd-epyc-turin-2c", model), modules=None)
    time = batch_time(model, flat, np.array([64.0]))
    nothing_far = replace(
        time, kernels=tuple(replace(timed, basis=Basis.INTERPOLATED) for timed in time.kernels)
    )
    near, far = (device_error(flat, "beside", one, np.ones(1)) for one in (nothing_far, time))
    assert 0.05 < time.extrapolated_share < 0.2
    assert near < far < near + time.extrapolated_share * log(2.0)
