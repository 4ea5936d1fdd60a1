"""The JSON document of `perfplan latency`."""

from __future__ import annotations

from typing import Any

from perfmodel.planning.breakdown import LatencyTable
from perfmodel.report.documents.parts import ms, operators


def latency_document(result: LatencyTable) -> dict[str, Any]:
    """Return the document."""
    return {
        "model": result.model,
        "device": result.device,
        "stack": result.stack,
        "service_times_of": result.service_times_of,
        "without": list(result.without),
        "co_located": result.co_located,
        "rows": [
            {
                "batch_size": row.batch_size,
                "latency_ms": ms(row.seconds),
                "basis": row.basis.label,
                "operators": operators(row.operators),
            }
            for row in result.rows
        ],
        "assumptions": list(result.assumptions),
    }
