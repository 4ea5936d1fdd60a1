"""Times of every model in every batch size on every device, and which is the best."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from perfmodel.costmodel.footprint import require_fit
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.inputs import InputFile
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.platforms.answer import By, Cell, Compared, DeviceMap
from perfmodel.planning.time_errors import UNMEASURED_SPREAD
from perfmodel.planning.time_words import attention_notes, device_words

EFFICIENCY_NOTE = (
    "items a second and watt of static TDP: a CPU with all its cores on batches of their own, a card with "
    "one batch at a time and without its host"
)
LATENCY_NOTE = "one batch on one executor, a core or a card, that has nothing beside it"


def device_map(
    models: Sequence[RecModel],
    devices: Sequence[Sequence[Device]],
    batch_sizes: Sequence[int],
    *,
    by: By = "latency",
    extrapolate: bool = False,
    inputs: tuple[InputFile, ...] = (),
) -> DeviceMap:
    """Compare devices for every model and batch size.

    Parameters
    ----------
    models : sequence of RecModel
        What runs.
    devices : sequence of sequences of Device
        For each model the devices, with the stack that they share for it.
    batch_sizes : sequence of int
        [items]
    by : {"latency", "efficiency"}
        What is compared: the time of a batch, or items a second and watt of a device all of which is busy.
    extrapolate : bool
        Answer outside the calibrated range too, marked.
    inputs : tuple of InputFile
        The files of models and devices.

    Raises
    ------
    InputError
        If no model fits any device.
    ExtrapolationError
        If a batch is outside the calibrated range and `extrapolate` is not set.
    """
    rows: list[Compared] = []
    words: list[str] = []
    notes: list[str] = [EFFICIENCY_NOTE if by == "efficiency" else LATENCY_NOTE]
    for model, own in zip(models, devices, strict=True):
        columns = [_cells(model, device, batch_sizes, by, extrapolate, words) for device in own]
        rows += [
            Compared(model=model.name, batch_size=batch_size, cells=tuple(column[at] for column in columns))
            for at, batch_size in enumerate(batch_sizes)
        ]
        notes += [
            note
            for device in own
            for note in (
                *model.notes_on(device.precision, device.table_precisions, stored=device.stored_tables),
                *attention_notes(model, device),
            )
        ]
    if all(row.best is None for row in rows):
        raise InputError(f"--on: {next(cell.reason for row in rows for cell in row.cells)}")
    notes += [cell.reason for row in rows for cell in row.cells if cell.reason is not None]
    return DeviceMap(
        models=tuple(model.name for model in models),
        devices=tuple(device.name for device in devices[0]),
        batch_sizes=tuple(batch_sizes),
        by=by,
        rows=tuple(rows),
        service_times_of=tuple(dict.fromkeys(words)),
        notes=tuple(dict.fromkeys(notes)),
        inputs=inputs,
    )


def _cells(
    model: RecModel,
    device: Device,
    batch_sizes: Sequence[int],
    by: By,
    extrapolate: bool,
    words: list[str],
) -> list[Cell]:
    """A model's cells on one device; `words` gets what is in their times."""
    try:
        require_fit(model, device)
    except InputError as error:
        missing = Cell(
            device=device.name,
            stack=device.stack,
            seconds=None,
            worth=None,
            error=0.0,
            basis=None,
            reason=str(error),
        )
        return [missing] * len(batch_sizes)
    table = latency_table(model, device, tuple(batch_sizes), extrapolate=extrapolate)
    words.append(f"{device.name}: {device_words(device, None, option=f'--on {device.name}@')}")
    return [_cell(model, device, row.batch_size, row.seconds, row.basis, by) for row in table.rows]


def _cell(model: RecModel, device: Device, batch_size: int, alone_s: float, basis: Basis, by: By) -> Cell:
    """What one batch is worth on a device."""
    seconds, worth = alone_s, 1.0 / alone_s
    if by == "efficiency":
        busy = device.num_cores if device.kind == "cpu" else 1
        found = batch_time(model, device, np.array([float(batch_size)]), float(busy))
        seconds = float(found.seconds[0])
        worth = busy * batch_size / seconds / device.power.tdp_w
    error = device.errors.of_model(model.name)
    return Cell(
        device=device.name,
        stack=device.stack,
        seconds=seconds,
        worth=worth,
        error=hypot(error, UNMEASURED_SPREAD) if basis is Basis.EXTRAPOLATED else error,
        basis=basis,
    )
