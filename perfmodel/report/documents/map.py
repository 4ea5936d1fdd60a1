"""The JSON document of `perfplan map`."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.platforms.answer import Cell, Compared, DeviceMap
from perfmodel.report.documents import Saved, document, saved
from perfmodel.units import MS

VERSION = 1


@document
class CellDocument(TypedDict):
    """A model in a batch size on one device; null, and a reason, where it does not fit.

    `items_per_s_per_w` is of a device all of which is busy, and null where latencies are compared.
    """

    device: str
    stack: str | None
    latency_ms: float | None
    items_per_s_per_w: float | None
    error_of_service_times: float | None
    basis: BasisLabel | None
    reason: str | None


@document
class ComparedDocument(TypedDict):
    """A model in a batch size: the best device, how many times as good as the second, and all of them.

    `probability`: that the best is better than the second, given the errors of their times.
    """

    model: str
    batch_size: int
    best: str | None
    second: str | None
    factor_over_second: float | None
    probability: float | None
    extrapolated: bool
    devices: list[CellDocument]


@document
class MapDocument(Saved):
    """The best device of several for each model and batch size."""

    models: list[str]
    devices: list[str]
    batch_sizes: list[int]
    by: Literal["latency", "efficiency"]
    rows: list[ComparedDocument]
    extrapolated_cells: int
    service_times_of: list[str]
    notes: list[str]


def map_document(result: DeviceMap) -> MapDocument:
    """Return the document; what does not exist is None."""
    return {
        **saved("map", VERSION, result.inputs),
        "models": list(result.models),
        "devices": list(result.devices),
        "batch_sizes": list(result.batch_sizes),
        "by": result.by,
        "rows": [_row(row, by_efficiency=result.by == "efficiency") for row in result.rows],
        "extrapolated_cells": result.num_extrapolated,
        "service_times_of": list(result.service_times_of),
        "notes": list(result.notes),
    }


def _row(row: Compared, *, by_efficiency: bool) -> ComparedDocument:
    best, second = row.best, row.second
    return {
        "model": row.model,
        "batch_size": row.batch_size,
        "best": None if best is None else best.device,
        "second": None if second is None else second.device,
        "factor_over_second": row.factor,
        "probability": row.probability,
        "extrapolated": row.is_extrapolated,
        "devices": [_cell(cell, by_efficiency=by_efficiency) for cell in row.cells],
    }


def _cell(cell: Cell, *, by_efficiency: bool) -> CellDocument:
    return {
        "device": cell.device,
        "stack": cell.stack,
        "latency_ms": None if cell.seconds is None else cell.seconds / MS,
        "items_per_s_per_w": cell.worth if by_efficiency else None,
        "error_of_service_times": None if cell.seconds is None else cell.error,
        "basis": None if cell.basis is None else cell.basis.label,
        "reason": cell.reason,
    }
