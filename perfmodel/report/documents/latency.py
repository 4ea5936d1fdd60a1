"""The JSON document of `perfplan latency`."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.breakdown import LatencyTable
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import OperatorDocument, operators
from perfmodel.units import MS

VERSION = 1


@document
class BatchDocument(TypedDict):
    """One batch on one executor, no queue."""

    batch_size: int
    latency_ms: float
    basis: BasisLabel
    operators: list[OperatorDocument]


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
    }
