"""A card's stack carried to a precision that it was not measured in, held against its calibration there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from calibration.published.compare import shipped_models
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.loading.derived_profile import DerivedFile, derived, read_profile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.yaml_source import parse_yaml

PAIRS: Final = (("h200", "h200-bf16"), ("h200-tf32", "h200-bf16"))
"""Calibrations of one card: whose stack is carried, and the one in the precision that it is carried to."""
MODELS: Final = ("ncf", "wnd", "mt-wnd", "din", "dien", "dlrm-rmc1", "dlrm-rmc2", "dlrm-rmc3")
BATCHES: Final = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedPrecision:
    """A card in a precision, as carried and as calibrated.

    Attributes
    ----------
    base, own : str
        Profiles: carried, and calibrated in that precision.
    logs : dict of str to (6,) float array
        Model to the logarithm of carried over calibrated time, by batch size. [ln]
    """

    base: str
    own: str
    logs: dict[str, np.ndarray]

    @property
    def spread(self) -> float:
        """Root mean square. [ln]"""
        return sqrt(float(np.mean(np.concatenate(list(self.logs.values())) ** 2)))


def carried_precisions() -> Iterator[CarriedPrecision]:
    """Carry each by the ratio of the peaks that were measured; hosts are as quiet as they were."""
    models, batches = shipped_models(), np.array(BATCHES)
    for base, own in PAIRS:
        calibrated = read_profile(find_file("profile", own))
        peak = calibrated.hardware.peak_gflop_per_s.value
        device = calibrated.device().with_host_level(1.0)
        carried = _carried(base, device, peak).with_host_level(1.0)
        logs = {
            name: np.log(
                batch_time(models[name], carried, batches).seconds
                / batch_time(models[name], device, batches).seconds
            )
            for name in MODELS
        }
        yield CarriedPrecision(base=base, own=own, logs=logs)


def _carried(base: str, own: Device, peak_gflop_per_s: float) -> Device:
    text = f"name: carried\nbase: {base}\nprecision: {own.precision}\n"
    source = parse_yaml(f"{text}changes: {{peak_gflop_per_s: {peak_gflop_per_s}}}\n", "carried.yaml")
    given = DerivedFile.model_validate(source.data())
    return derived(given, read_profile(find_file("profile", base)), source).device()


def precisions_table() -> Iterator[str]:
    """A line for each pair. Markdown."""
    yield "| card's stack | carried to | times | spread [ln] | worst model |"
    yield "|---|---|---|---|---|"
    for each in carried_precisions():
        times = sum(len(logs) for logs in each.logs.values())
        worst = max(each.logs, key=lambda name: float(np.mean(each.logs[name] ** 2)))
        off = 100.0 * (np.exp(np.mean(each.logs[worst])) - 1.0)
        yield f"| {each.base} | {each.own} | {times} | {each.spread:.2f} | {worst}, {off:+.0f} % |"
