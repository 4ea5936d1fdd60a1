"""The JSON document of `perfplan latency`."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.breakdown import LatencyTable, Roofs
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import OperatorDocument, operators
from perfmodel.units import GB, GFLOP, MS

VERSION = 1


@document
class BatchDocument(TypedDict):
    """One batch on one executor, no queue."""

    batch_size: int
    latency_ms: float
    basis: BasisLabel
    operators: list[OperatorDocument]


@document
class RoofsDocument(TypedDict):
    """What bounds an executor at best: its own arithmetic, and the memory of its socket or card."""

    peak_gflop_per_s: float
    bandwidth_gb_per_s: float


@document
class LatencyDocument(Saved):
    """A model's batches on one executor of a device; `busy`: beside so many at work on a scenario's node."""

    model: str | None
    device: str
    stack: str | None
    service_times_of: str
    without: list[str]
    co_located: int
    busy: int | None
    rows: list[BatchDocument]
    assumptions: list[str]
    notes: list[str]
    roofs: RoofsDocument | None


@document
class DevicesDocument(Saved):
    """A model's batches on several devices, in the order in which they were named."""

    devices: list[LatencyDocument]


def latency_documents(results: Sequence[LatencyTable]) -> LatencyDocument | DevicesDocument:
    """Return the document of one device, or that of several."""
    first, *others = (latency_document(result) for result in results)
    if not others:
        return first
    read = (each for result in results for each in result.inputs)
    return {**saved("latency", VERSION, read), "devices": [first, *others]}


def latency_document(result: LatencyTable) -> LatencyDocument:
    """Return the document of one device."""
    return {
        **saved("latency", VERSION, result.inputs),
        "model": result.model,
        "device": result.device,
        "stack": result.stack,
        "service_times_of": result.service_times_of,
        "without": list(result.without),
        "co_located": result.co_located,
        "busy": result.busy,
        "rows": [
            {
                "batch_size": row.batch_size,
                "latency_ms": row.seconds / MS,
                "basis": row.basis.label,
                "operators": operators(row.operators),
            }
            for row in result.rows
        ],
        "assumptions": list(result.assumptions),
        "notes": list(result.notes),
        "roofs": None if result.roofs is None else _roofs(result.roofs),
    }


def _roofs(roofs: Roofs) -> RoofsDocument:
    return {
        "peak_gflop_per_s": roofs.peak_flop_per_s / GFLOP,
        "bandwidth_gb_per_s": roofs.bytes_per_s / GB,
    }
