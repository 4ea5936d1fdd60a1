"""JSON Schemas of the commands' documents, derived from the types that the documents are made by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from perfmodel.errors import InputError
from perfmodel.loading.words import near, quoted
from perfmodel.report.documents import (
    Kind,
    capacity,
    deeprecsys,
    diff,
    explain,
    fleet,
    latency,
    listing,
    map,
    mlperf,
    observe,
    plan,
    predict,
    sweep,
    trace,
    tune,
    tune_stages,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


KINDS: Mapping[str, Kind] = {
    "predict": Kind(predict.PredictDocument, predict.VERSION, "perfplan predict"),
    "capacity": Kind(capacity.CapacityDocument, capacity.VERSION, "perfplan capacity"),
    "tune": Kind(tune.TuneDocument, tune.VERSION, "perfplan tune"),
    "tune-stages": Kind(tune_stages.StageTuningDocument, tune_stages.VERSION, "perfplan tune, of a pipeline"),
    "deeprecsys": Kind(deeprecsys.DeepRecSysDocument, deeprecsys.VERSION, "perfplan tune --deeprecsys-mode"),
    "latency": Kind(latency.LatencyDocument | latency.DevicesDocument, latency.VERSION, "perfplan latency"),
    "fleet": Kind(fleet.FleetDocument, fleet.VERSION, "perfplan fleet"),
    "sweep": Kind(sweep.SweepDocument, sweep.VERSION, "perfplan sweep"),
    "plan": Kind(plan.PlanDocument, plan.VERSION, "perfplan plan"),
    "observe": Kind(observe.ObserveDocument, observe.VERSION, "perfplan observe"),
    "trace": Kind(trace.TraceDocument, trace.VERSION, "perfplan trace"),
    "map": Kind(map.MapDocument, map.VERSION, "perfplan map"),
    "mlperf": Kind(mlperf.MlperfDocument, mlperf.VERSION, "perfplan mlperf"),
    "diff": Kind(diff.DiffDocument, diff.VERSION, "perfplan diff"),
    "explain": Kind(explain.ExplainDocument, explain.VERSION, "perfplan explain"),
    "list": Kind(listing.ListDocument, listing.VERSION, "perfplan list"),
}
"""By the name that a document's `schema` has."""


def document_schema(of: str) -> dict[str, Any]:
    """Return the JSON Schema of a command's document: every key, and no others.

    Parameters
    ----------
    of : str
        "predict", "capacity", "tune", "tune-stages", "deeprecsys", "latency", "fleet", "sweep", "plan",
        "observe", "trace", "map", "mlperf", "diff", "explain" or "list".

    Raises
    ------
    InputError
        If there is no such document.

    Examples
    --------
    >>> schema = document_schema("predict")
    >>> schema["title"], schema["properties"]["verdict"]["enum"]
    ('perfplan predict, version 1', ['meets_sla', 'within_error', 'misses_sla', 'unstable'])
    """
    if of not in KINDS:
        known = ", ".join(KINDS)
        raise InputError(f"schema: expected one of {known}, got {quoted(of)}{near(of, list(KINDS))}")
    return schema_of(KINDS[of])


def schema_of(kind: Kind) -> dict[str, Any]:
    """Derive the JSON Schema of a kind of documents."""
    described = TypeAdapter(kind.type).json_schema(mode="serialization")
    title = {"title": f"{kind.command}, version {kind.version}"}
    return {"$schema": DIALECT} | described | title
