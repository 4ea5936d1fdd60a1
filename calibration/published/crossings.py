"""From which batch on the card is ahead of one thread of a CPU: published and predicted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibration.published.figures import ISCA, REPOSITORY
from calibration.published.observations import Case, Point, read_rows
from calibration.published.predictions import Devices, Models
from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.service_time import batch_time

CARD = "gtx1080ti"
SPEEDUPS = {
    "gpu_speedup_isca2020_fig9.csv": ("broadwell", ISCA, "gtx1080ti_speedup_over_one_broadwell_thread"),
    "gpu_speedup_repository.csv": ("skylake", REPOSITORY, "gtx1080ti_speedup_over_skylake"),
}
"""Figure to the CPU, the stack, and the column of the speed-up."""
BATCHES = np.arange(1.0, 1025.0)
CROSSING = "batch from which on the card is ahead [items]"


def crossing(batch_sizes: Floats, speedups: Floats) -> float:
    """Batch at which a speed-up reaches 1, between points in the logarithm of the batch. [items]

    The first batch where the card is always ahead, twice the last where it never is.

    Examples
    --------
    >>> round(crossing(np.array([1.0, 4.0]), np.array([0.5, 1.5])), 6)
    2.0
    """
    ahead = speedups >= 1.0
    if not ahead.any():
        return float(2.0 * batch_sizes[-1])
    after = int(np.argmax(ahead))
    if after == 0:
        return float(batch_sizes[0])
    span = speedups[after - 1 : after + 1]
    return float(np.exp(np.interp(1.0, span, np.log(batch_sizes[after - 1 : after + 1]))))


def published_crossing(file: str, model: str) -> float:
    """The same of a published figure. [items]"""
    rows = [row for row in read_rows(file) if row["model"] == model]
    column = SPEEDUPS[file][2]
    return crossing(
        np.array([float(row["batch_size"]) for row in rows]), np.array([float(row[column]) for row in rows])
    )


def predicted_crossing(file: str, model: str, models: Models, devices: Devices) -> float:
    """The same of the cost model. [items]"""
    cpu, stack, _ = SPEEDUPS[file]
    on_cpu, on_card = (
        batch_time(models[model], devices[device, stack], BATCHES).seconds for device in (cpu, CARD)
    )
    return crossing(BATCHES, on_cpu / on_card)


def crossing_points(model: str, models: Models, devices: Devices) -> Iterator[Point]:
    """A model's cross-over in each figure that it and these devices are in; no figure's headline."""
    for file, (cpu, stack, _) in SPEEDUPS.items():
        measured = {row["model"] for row in read_rows(file)}
        if model in measured and (cpu, stack) in devices:
            yield Case(file, f"{model}, cross-over").ratio(
                CROSSING,
                published_crossing(file, model),
                predicted_crossing(file, model, models, devices),
                headline=False,
            )
