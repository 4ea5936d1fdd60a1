"""The JSON document of `perfplan latency`."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.planning.breakdown import LatencyTable
from perfmodel.report.documents import SchemaKey, document
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
class LatencyDocument(TypedDict):
    """A model's batches on one executor of a device."""

    schema: SchemaKey
    model: str
    device: str
    stack: str
    service_times_of: str
    without: list[str]
    co_located: int
    rows: list[BatchDocument]
    assumptions: list[str]


@document
class DevicesDocument(TypedDict):
    """A model's batches on several devices, in the order in which they were named."""

    schema: SchemaKey
    devices: list[LatencyDocument]


def latency_documents(results: Sequence[LatencyTable]) -> LatencyDocument | DevicesDocument:
    """Return the document of one device, or that of several."""
    first, *others = (latency_document(result) for result in results)
    return {"schema": _schema(), "devices": [first, *others]} if others else first


def latency_document(result: LatencyTable) -> LatencyDocument:
    """Return the document of one device."""
    return {
        "schema": _schema(),
        "model": result.model,
        "device": result.device,
        "stack": result.stack,
        "service_times_of": result.service_times_of,
        "without": list(result.without),
        "co_located": result.co_located,
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
    }


def _schema() -> SchemaKey:
    return {"name": "latency", "version": VERSION}
