"""What is refused because nothing like it was measured, and what the refusal names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfmodel.domain.estimate import Basis
from perfmodel.domain.model import RecModel
from perfmodel.errors import ExtrapolationError
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.planning.service_times import NodeTimes
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list


def times_of(model: RecModel, *, batch_size: int, max_items: int) -> NodeTimes:
    node = ServingNode(model=model, cpu=find_device("amd-epyc-turin-2c", model), cores=2)
    return NodeTimes(node, SplitAndOffload(batch_size=batch_size), pmf_of_list([max_items]))


def test_an_operator_unlike_any_measured_is_named() -> None:
    wide = {"name": "huge", "kind": "mlp", "input": "dense", "widths": (200_000, 4_000)}
    model = RecModel.model_validate({"name": "giant", "dense_features": 200_000, "operators": (wide,)})
    with pytest.raises(ExtrapolationError, match="huge of giant at 64 items: amd-epyc-turin-2c has measured"):
        times_of(model, batch_size=64, max_items=64).require_calibrated()


def test_batches_beyond_the_range_are_named_with_it() -> None:
    times = times_of(find_model("ncf"), batch_size=4096, max_items=4096)
    with pytest.raises(
        ExtrapolationError, match="covers batches 1 to 1280; this sends requests of up to 4096"
    ):
        times.require_calibrated()


def test_what_was_measured_is_answered() -> None:
    times_of(find_model("ncf"), batch_size=256, max_items=1024).require_calibrated()


def test_latency_names_the_operator_that_is_unlike_any_measured_not_the_batch() -> None:
    wide = {"name": "huge", "kind": "mlp", "input": "dense", "widths": (200_000, 4_000)}
    model = RecModel.model_validate({"name": "giant", "dense_features": 200_000, "operators": (wide,)})
    device = find_device("amd-epyc-turin-2c", model)
    with pytest.raises(
        ExtrapolationError, match="batch 1: huge: amd-epyc-turin-2c has measured nothing like it"
    ):
        latency_table(model, device, (1,))
    with pytest.raises(ExtrapolationError, match=r"batch 4096 is outside the calibrated range .*, 1 to 1280"):
        latency_table(find_model("ncf"), device, (4096,))


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
