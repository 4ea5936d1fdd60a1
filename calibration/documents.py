"""The JSON documents of the commands here: their types, from which `perfplan schema --of` derives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from perfmodel.report.documents import Kind, SchemaKey, document

VERSION = 1
"""Of each of them so far."""


@document
class CheckDocument(TypedDict):
    """One check of a machine: what was read, what follows from it, and what to do."""

    name: str
    status: Literal["ok", "unknown", "warn", "blocks"]
    value: str
    consequence: str | None
    remedy: str | None


@document
class DoctorDocument(TypedDict):
    """What would disturb a calibration here; `ready` unless a check blocks."""

    schema: SchemaKey
    ready: bool
    checks: list[CheckDocument]


@document
class OperatorNamed(TypedDict):
    """An operator of the model file."""

    name: str
    kind: str


@document
class RecognisedDocument(TypedDict):
    """Calls of a module for which an operator stands. [FLOP/item], [bytes/item]"""

    call: str
    kind: str
    count: int
    flop_per_item: float
    bytes_per_item: float


@document
class UnrecognisedDocument(TypedDict):
    """Calls of a module for which none stands, with their share of its work. [1]"""

    call: str
    count: int
    flop_share: float
    bytes_share: float


@document
class UnmodelledDocument(TypedDict):
    """What the model file leaves out of the module. [1]"""

    flop_share: float
    bytes_share: float
    calls: list[UnrecognisedDocument]


@document
class ImportDocument(TypedDict):
    """A PyTorch module as a model file: what was recognised; `out` where it was written."""

    schema: SchemaKey
    out: NotRequired[str]
    name: str
    method: str
    operators: list[OperatorNamed]
    recognised: list[RecognisedDocument]
    unmodelled: UnmodelledDocument
    product_flop_per_item: float
    counted_flop_per_item: float


@document
class ComparedDocument(TypedDict):
    """A figure recomputed, beside the published one where there is one."""

    case: str
    quantity: str
    predicted: float | None
    published: float | None
    deviation_percent: float | None
    setting: str | None
    cause: str | None


@document
class SectionDocument(TypedDict):
    """A part of an evaluation."""

    title: str
    prose: str
    rows: list[ComparedDocument]


@document
class ReproductionDocument(TypedDict):
    """A published evaluation, recomputed beside its figures."""

    schema: SchemaKey
    evaluation: str
    source: str
    sections: list[SectionDocument]
    simulated_queries: int


KINDS: Mapping[str, Kind] = {
    "doctor": Kind(DoctorDocument, VERSION, "perfplan doctor"),
    "import": Kind(ImportDocument, VERSION, "perfplan import"),
    "reproduce": Kind(ReproductionDocument, VERSION, "perfplan reproduce"),
}
"""By the name that a document's `schema` has."""
