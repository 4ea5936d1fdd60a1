"""The JSON documents of the commands here: their types, from which `perfplan schema --of` derives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from perfmodel.report.documents import Kind, Saved, document

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
class DoctorDocument(Saved):
    """What would disturb a calibration here; `ready` unless a check blocks."""

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
class ImportDocument(Saved):
    """A PyTorch module as a model file: what was recognised; `out` where it was written."""

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
    """A figure recomputed, beside the published one where there is one; `detail`: behind another figure."""

    case: str
    quantity: str
    predicted: float | None
    published: float | None
    deviation_percent: float | None
    setting: str | None
    cause: str | None
    detail: bool


@document
class DrawnDocument(TypedDict):
    """A line of a drawing, or its bar in each group: `x` are places or groups, null in `y` is a gap."""

    name: str
    published: bool
    x: list[float | str]
    y: list[float | None]


@document
class DrawingDocument(TypedDict):
    """What a section draws: lines, or bars side by side in groups, which have no `x_label`."""

    title: str
    kind: Literal["lines", "bars"]
    x_label: str | None
    y_label: str
    log_x: bool
    log_y: bool
    series: list[DrawnDocument]


@document
class SectionDocument(TypedDict):
    """A part of an evaluation, its figures in rows, and what is drawn of them."""

    title: str
    prose: str
    rows: list[ComparedDocument]
    drawings: list[DrawingDocument]


@document
class ReproductionDocument(Saved):
    """A published evaluation, recomputed beside its figures; `command` is what asks for it again."""

    evaluation: str
    title: str
    source: str
    sections: list[SectionDocument]
    simulated_queries: int
    command: str


@document
class CalibrateDocument(Saved):
    """A profile that was measured, summed up; `profile` is all of it, where its file could not be written."""

    out: str
    measurements: str
    kinds: int
    calls: int
    spread_between_passes: float
    disturbed_passes: int
    relative_error: float
    co_located: dict[str, dict[str, float]]
    profile: NotRequired[dict[str, Any]]


@document
class ErrorsPercent(TypedDict):
    """Signed errors of a prediction: positive where it is above the measurement. [%]"""

    p50: float | None
    p95: float | None
    p99: float | None
    throughput: float | None
    service_time: float | None
    utilisation: float | None
    accelerator_service_time: float | None


@document
class ServedMs(TypedDict):
    """Latency of what was served, its mean and by percentile. [ms]"""

    mean: float
    p50: float
    p95: float
    p99: float


@document
class SummaryDocument(TypedDict):
    """What a server did, or would do, with the same queries."""

    latency_ms: ServedMs
    throughput_qps: float
    service_time_ms: float
    utilisation: float
    accelerator_service_time_ms: float | None


@document
class BySizeDocument(TypedDict):
    """Mean service time of requests of similar size."""

    from_items: int
    to_items: int
    requests: int
    measured_ms: float
    predicted_ms: float
    error_percent: float


@document
class EqualUtilisationDocument(TypedDict):
    """The prediction with its service times at the measured level."""

    service_time_factor: float
    predicted: SummaryDocument
    error_percent: ErrorsPercent


@document
class OwnTimesDocument(TypedDict):
    """The prediction from the measured service times: what the simulation alone is off by.

    With the stops of the node that the run showed, if any, at instants of their own.
    """

    error_percent: ErrorsPercent
    error_percent_with_stops: ErrorsPercent | None


@document
class AnchorDocument(TypedDict):
    """The correction of the service times by a short run of the model; `shape` by batch size.

    `by_length`: a further factor of each length of histories; null where all are of one.

    Times scatter about it by `relative_std`, those on the accelerator by `accelerator_relative_std`: so are
    they predicted. Answers of before 2026-11-28 have neither.
    """

    level: float
    shape: dict[str, float]
    by_length: NotRequired[list[float] | None]
    contention: float
    requests: int
    drift_percent: float
    accelerator_level: float
    relative_std: NotRequired[float | None]
    accelerator_relative_std: NotRequired[float | None]
    stops: NotRequired[StopsDocument]


@document
class ByLengthDocument(TypedDict):
    """Mean service time of requests on the cores whose queries have histories of one length. [positions]"""

    length: float
    requests: int
    measured_ms: float
    predicted_ms: float
    error_percent: float


@document
class SlaChecked(TypedDict):
    """The percentile, a fraction, and its bound."""

    percentile: float
    latency_ms: float


@document
class RateTried(TypedDict):
    """A rate that was served, and the SLA's percentile there."""

    rate_qps: float
    latency_ms: float


@document
class CapacityCheckDocument(TypedDict):
    """The largest load within an SLA, predicted and measured."""

    sla: SlaChecked
    predicted_qps: float | None
    measured_qps: float | None
    error_percent: float | None
    tried: list[RateTried]


@document
class AloneDocument(TypedDict):
    """A pass of a user's module at a batch size, nothing beside it."""

    batch_size: int
    measured_ms: float
    predicted_ms: float
    error_percent: float


@document
class StopsDocument(TypedDict):
    """Moments at which most workers were slow at once.

    How many, how often, what one cost a worker, and the share of all time in requests that they added: on the
    cores, on the accelerator.
    """

    number: int
    per_s: float
    mean_ms: float | None
    share: float
    accelerator_share: float


@document
class UnsteadinessDocument(TypedDict):
    """Scatter of requests alike, pauses of single cores and stops of the node.

    `node` is what a scenario says to have them.
    """

    requests: int
    compared: int
    relative_std: float | None
    p99_over_p50: float | None
    pauses_per_s: float
    pause_ms: float | None
    stops: StopsDocument
    node: dict[str, Any]


@document
class ValidateDocument(Saved):
    """The prediction of a scenario held against a server here; `fingerprint` as profiles have it."""

    scenario: str
    model: str
    profile: str
    stack: str
    workers: int
    threads: int
    verdict: Literal["meets_sla", "misses_sla", "disturbed"]
    offered_qps: float
    queries: int
    predicted: SummaryDocument
    measured: SummaryDocument
    error_percent: ErrorsPercent
    error_percent_without_anchor: ErrorsPercent | None
    error_percent_without_anchor_at_this_lifetime: ErrorsPercent | None
    equal_utilisation: EqualUtilisationDocument
    own_service_times: OwnTimesDocument
    service_time_by_batch: list[BySizeDocument]
    accelerator_service_time_by_batch: list[BySizeDocument]
    service_time_by_length: NotRequired[list[ByLengthDocument]]
    disturbed: bool
    drift_percent: float
    l3_lifetime_ms: float | None
    repeated_pieces: int
    longest_stall_ms: float
    interrupted: bool
    unsteadiness: UnsteadinessDocument
    accelerator_power_w: float | None
    anchor: AnchorDocument | None
    capacity: CapacityCheckDocument | None
    module: str | None
    alone: list[AloneDocument]
    settings: str
    asked: dict[str, Any]
    fingerprint: dict[str, Any]


KINDS: Mapping[str, Kind] = {
    "calibrate": Kind(CalibrateDocument, VERSION, "perfplan calibrate"),
    "doctor": Kind(DoctorDocument, VERSION, "perfplan doctor"),
    "import": Kind(ImportDocument, VERSION, "perfplan import"),
    "validate": Kind(ValidateDocument, VERSION, "perfplan validate"),
    "reproduce": Kind(ReproductionDocument, VERSION, "perfplan reproduce"),
}
"""By the name that a document's `schema` has."""
