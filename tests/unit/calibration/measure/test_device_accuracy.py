"""Errors and cross-overs of whole models on a card: arithmetic by hand, passes on a stand-in."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from calibration.measure.device_accuracy import (
    Offloaded,
    crossover_items,
    crossovers,
    errors_of,
    line_of,
    main,
    measure_offloaded,
    measurements,
    predicted,
)
from calibration.measure.reports import guarded
from calibration.runtime.cuda import missing_cuda
from calibration.runtime.memory import shrunk
from perfmodel.costmodel.service_time import batch_time
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.units import MS, US
from tests.unit.calibration.runtime.standin import StandIn

BATCHES = (1, 10, 100)
BATCHES_ASKED = (1, 4, 16, 64, 256, 1024)


def test_the_crossover_is_where_the_card_becomes_faster_for_good() -> None:
    core_s = np.array([1.0, 10.0, 100.0])
    assert crossover_items(BATCHES, np.array([0.5, 0.5, 0.5]), core_s) == 1.0
    assert crossover_items(BATCHES, np.array([2.0, 20.0, 200.0]), core_s) is None
    assert crossover_items(BATCHES, np.array([0.5, 40.0, 25.0]), core_s) == pytest.approx(10**1.5)


def test_passes_on_the_accelerator_are_timed_for_every_round_and_batch() -> None:
    found = measure_offloaded(shrunk(find_model("ncf"), 1e-3), (1, 4), 2, StandIn)
    assert found.seconds.shape == found.probe_s.shape == found.after_probe_s.shape == (2, 2)
    assert np.all(found.seconds > 0.0)
    assert np.all(found.probe_s > 0.0)
    assert np.all(found.after_probe_s > 0.0)
    assert found.power_w == {}


def test_an_error_is_positive_where_the_prediction_is_above() -> None:
    model = find_model("ncf")
    expected_s = predicted(model, BATCHES, "gtx1080ti")
    halved_s = np.stack([expected_s / 2.0] * 2)
    times = Offloaded(halved_s, halved_s, np.full((2, 3), 9e-6), halved_s, {64: 150.0})
    measured = measurements(model, BATCHES, times)
    found = errors_of(model, json.loads(json.dumps(measured)), "gtx1080ti")
    assert [row["error_percent"] for row in found["rows"]] == pytest.approx([100.0] * 3)
    faster = {"predicted_items": 40.0, "predicted_items_at_this_level": 50.0, "measured_items": None}
    assert line_of(found | {"faster_from": faster}).endswith("card faster from never, predicted 40(50)")


@pytest.mark.skipif(missing_cuda() is None, reason="there is a device")
def test_without_a_device_it_says_so_and_leaves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["device_accuracy", "--profile", "gtx1080ti"])
    with pytest.raises(SystemExit, match="2"):
        guarded(main)
    assert "PyTorch sees no CUDA device here" in capsys.readouterr().err


@pytest.mark.thorough
def test_an_error_as_the_host_was_is_that_of_a_profile_at_the_level_that_the_probes_read() -> None:
    model, profile = find_model("ncf"), "h200"
    device = find_device(profile, model)
    assert device.launches is not None
    quiet_us = device.launches.quiet_probe_s / US
    slow_s = batch_time(model, device.with_host_level(1.5), np.array(BATCHES, float)).seconds
    times = Offloaded(slow_s[None], slow_s[None], np.full((1, 3), 1.5 * quiet_us * US), slow_s[None], {})
    found = errors_of(model, measurements(model, BATCHES, times), profile)
    assert [row["error_percent_at_this_level"] for row in found["rows"]] == pytest.approx([0.0] * 3, abs=1e-6)
    assert all(row["error_percent"] < 0.0 for row in found["rows"])


@pytest.mark.thorough
def test_a_host_that_was_slow_moves_the_crossover_and_the_level_says_where() -> None:
    model, profiles = find_model("ncf"), ("h200", "intel-xeon-emerald-16c")
    device = find_device(profiles[0], model)
    assert device.launches is not None
    level = 2.0 * device.launches.host_level
    slow_s = batch_time(model, device.with_host_level(level), np.array(BATCHES_ASKED, float)).seconds
    probe_s = np.full((1, len(BATCHES_ASKED)), level * device.launches.quiet_probe_s)
    times = Offloaded(slow_s[None], slow_s[None], probe_s, slow_s[None], {})
    found = measurements(model, BATCHES_ASKED, times)
    core_ms = predicted(model, BATCHES_ASKED, profiles[1]) / MS
    found["rows"] = [row | {"core_ms": each} for row, each in zip(found["rows"], core_ms, strict=True)]
    faster = crossovers(model, errors_of(model, found, profiles[0]), profiles)
    assert faster["predicted_items_at_this_level"] == pytest.approx(faster["measured_items"])
    assert faster["predicted_items"] < 0.8 * faster["measured_items"]
