"""What several documents hold: latencies, the node, where a batch spends its time, the error budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from perfmodel.domain.estimate import BasisLabel
from perfmodel.domain.operators import Scope
from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.breakdown import OperatorTime
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Band, Errors, LatencyBudget, RateBudget
from perfmodel.planning.table_node import TableNode
from perfmodel.planning.verdict import Deciding
from perfmodel.report.documents import document
from perfmodel.sim.outside import OutsideLaw
from perfmodel.sim.run_result import REPORTED_PERCENTILES, OnNode
from perfmodel.sim.statistics import Interval
from perfmodel.units import GIB, MS

if TYPE_CHECKING:
    from perfmodel.costmodel.hot_rows import HotRows
    from perfmodel.costmodel.tiers import Tiers
    from perfmodel.domain.scenario import PipelineSettings
    from perfmodel.planning.load_curve import LoadPoint
    from perfmodel.planning.load_test_fit import LoadTestFit
    from perfmodel.planning.stage_figures import StageFigures
    from perfmodel.sim.utilisation import PoolLoads

JsonBand = Annotated[list[float | None], Field(min_length=2, max_length=2)]
"""The lower and the upper end; null where there is none."""

PercentileKey = Annotated[str, Field(pattern=r"^p\d+(\.\d+)?$")]
"""Such as p95, or p99.9."""

SensitivityKey = Annotated[
    str,
    Field(
        pattern=r"^(p\d+(\.\d+)?_percent_per_percent_service_time"
        r"|capacity_percent_per_percent_service_time|service_time_percent_to_saturation)$"
    ),
]

SensitivityDocument = Annotated[dict[SensitivityKey, float | None], Field(min_length=5)]
"""Of the reported percentiles, of the SLA's where it is another, of the capacity; the way to the cliff."""


_P999Ms = TypedDict("_P999Ms", {"p99.9": float | None})
_P999Band = TypedDict("_P999Band", {"p99.9": JsonBand | None})


@document
class ReportedMs(_P999Ms):
    """Latency by percentile; null of an overload. [ms]"""

    p50: float | None
    p95: float | None
    p99: float | None


@document
class LatencyMs(ReportedMs):
    """Latency by percentile, and its mean; null of an overload. [ms]"""

    mean: float | None


@document
class ReportedBandsMs(_P999Band):
    """Both ends of an interval by percentile; null of an overload. [ms]"""

    p50: JsonBand | None
    p95: JsonBand | None
    p99: JsonBand | None


@document
class SlaAsked(TypedDict):
    """The percentile, a fraction, and its bound; the mean time outside the node, part of every latency."""

    percentile: float
    latency_ms: float
    outside_ms: float


@document
class TestedPercentileDocument(TypedDict):
    """A percentile of a load test beside what the node has there."""

    percentile: PercentileKey
    measured_ms: float
    predicted_ms: float
    error_percent: float
    agrees: bool


@document
class LoadTestDocument(TypedDict):
    """The load test that fixed the level of the service times, a factor, and what then disagrees with it."""

    rate_qps: float
    level: float
    level_from: Literal["utilisation", "p50"]
    utilisation: float
    percentiles: list[TestedPercentileDocument]


@document
class ShardsDocument(TypedDict):
    """Where the tables are: parts, machines that hold them, the fullest, the slowest answer over the mean.

    `cpu`, and `cores` that look rows up, of a machine of its own kind; null: it is like the main one.
    """

    count: int
    by: Literal["row", "table"]
    replicas: int
    num_nodes: int
    fullest_gib: float
    slowest_over_mean: float
    hot_rows: HotRowsDocument | None
    cpu: str | None
    cores: int | None


@document
class HotRowsDocument(TypedDict):
    """Copies of rows on the main node: memory, and the share of an item's lookups that find theirs there."""

    memory_gib: float
    kept: Literal["pinned", "lru"]
    lookups_share: float


@document
class NearMemoryDocument(TypedDict):
    """Memory whose modules pool rows: channels of the node, ranks of each, cache of each rank, packets."""

    channels: int
    ranks: int
    cache_kib: float | None
    scheduling: Literal["arrival", "table"]
    hot_entries: bool
    dram: str
    units_w: float


@document
class TierDocument(TypedDict):
    """A memory of a node, or of each of its cards, fastest first, and what it has of the rows.

    The first, `memory`, is the own one. `lookups_share`: of an item's lookups; its time is that of the
    operator of its name. `basis`: whether its numbers are from a `datasheet`, `assumed` and so on.
    """

    name: str
    used_gib: float
    capacity_gib: float | None
    lookups_share: float
    price_usd_per_h: float | None
    tdp_w: float | None
    basis: str | None
    source: str | None


@document
class NodeDocument(TypedDict):
    """What the node is made of; no CPU where it is known by a table of service times."""

    cpu: str | None
    stack: str | None
    cores: int
    instances: int | None
    accelerator: str | None
    num_accelerators: int
    service_times: str | None
    num_machines: int
    shards: ShardsDocument | None
    near_memory: NearMemoryDocument | None
    tiers: list[TierDocument] | None
    card_tiers: list[TierDocument] | None


@document
class StageDocument(TypedDict):
    """One stage of a pipeline: which items reach it, how busy it is, and how long a part is in it.

    `items`: at the most of a query, null of the first, which gets all; `utilisation`: null of an overload.
    """

    name: str
    model: str | None
    node: NodeDocument
    shares_machine: bool
    items: int | None
    mean_items_of_part: float
    service_times_of: str
    basis: BasisLabel
    offered_utilisation: UtilisationDocument
    utilisation: UtilisationDocument | None
    latency_ms: LatencyMs


@document
class PipelineDocument(TypedDict):
    """How queries go through several stages."""

    sub_batches: int
    handover_ms: float
    stages: list[StageDocument]


@document
class OperatorDocument(TypedDict):
    """One operator's kernels of one family in one batch: time, work, and what takes the largest part.

    `scope`: whether it works for each item, or once for the request of a query.
    """

    name: str
    kind: str
    scope: Scope
    time_ms: float
    share: float
    flop: float
    bytes_moved: float
    random_rows: float
    bound: str
    basis: BasisLabel


@document
class ErrorsDocument(TypedDict):
    """Root mean square error of the service times by device; null where nobody knows it. [ln]"""

    cpu: float | None
    accelerator: float | None


@document
class UtilisationDocument(TypedDict):
    """Of the cores, and of the accelerators where there are any; from 1 up: an overload. [1]"""

    cpu: float
    accelerator: float | None


@document
class DecidingDocument(TypedDict):
    """What would decide: the larger error now, the command that narrows it, error and band after that."""

    error: Literal["service times", "simulation"]
    error_now: float | None
    error_then: float | None
    command: str
    band_ms_then: JsonBand | None


@document
class LoadPointDocument(TypedDict):
    """Latency and utilisation at one rate, by a short run."""

    rate_qps: float
    latency_ms: ReportedMs
    sla_latency_ms: float | None
    utilisation_cpu: float


def label(percentile: float) -> str:
    """The key of a percentile, such as p95."""
    return f"p{100 * percentile:g}"


def ms(seconds: float | None) -> float | None:
    """A time in milliseconds."""
    return None if seconds is None else seconds / MS


def value_ms(interval: Interval | None) -> float | None:
    """The estimate that an interval is about; None where it never comes. [ms]"""
    return None if interval is None else _finite_ms(interval.value_s)


def _finite_ms(seconds: float | None) -> float | None:
    return None if seconds is None or seconds == float("inf") else seconds / MS


def ci_ms(interval: Interval | None) -> JsonBand | None:
    """Both ends of an interval, the upper one null where there is none. [ms]"""
    if interval is None:
        return None
    return [_finite_ms(interval.low_s), _finite_ms(interval.high_s)]


def reported_ms(percentiles: Mapping[float, Interval]) -> ReportedMs:
    """The percentiles that every document holds, null of an overload. [ms]"""
    p50, p95, p99, p999 = (value_ms(percentiles.get(percentile)) for percentile in REPORTED_PERCENTILES)
    return {"p50": p50, "p95": p95, "p99": p99, "p99.9": p999}


def reported_cis_ms(percentiles: Mapping[float, Interval]) -> ReportedBandsMs:
    """Their 95 % intervals. [ms]"""
    p50, p95, p99, p999 = (ci_ms(percentiles.get(percentile)) for percentile in REPORTED_PERCENTILES)
    return {"p50": p50, "p95": p95, "p99": p99, "p99.9": p999}


def load_points(curve: Sequence[LoadPoint], sla_percentile: float) -> list[LoadPointDocument]:
    """Latency by rate; `sla_latency_ms` is that of the SLA's percentile."""
    return [
        {
            "rate_qps": point.rate_qps,
            "latency_ms": reported_ms(point.percentiles),
            "sla_latency_ms": value_ms(point.percentiles.get(sla_percentile)),
            "utilisation_cpu": point.cpu_utilisation,
        }
        for point in curve
    ]


def values_ms(intervals: Mapping[float, Interval]) -> dict[PercentileKey, float | None]:
    """Latency by percentile. [ms]"""
    return {label(percentile): value_ms(interval) for percentile, interval in intervals.items()}


def cis_ms(intervals: Mapping[float, Interval]) -> dict[PercentileKey, JsonBand | None]:
    """The simulation's 95 % interval by percentile. [ms]"""
    return {label(percentile): ci_ms(interval) for percentile, interval in intervals.items()}


def sla_asked(sla: SlaTarget, outside: OutsideLaw | None) -> SlaAsked:
    """The percentile and its bound, and the mean time outside the node."""
    return {
        "percentile": sla.percentile,
        "latency_ms": sla.latency_ms,
        "outside_ms": outside_ms(outside),
    }


def outside_ms(outside: OutsideLaw | None) -> float:
    """Mean time of a query outside the node. [ms]"""
    return 0.0 if outside is None else outside.mean_s / MS


def node_ms(on_node: OnNode | None) -> LatencyMs:
    """Latency on the node alone; null of an overload. [ms]"""
    if on_node is None:
        return {"mean": None, "p50": None, "p95": None, "p99": None, "p99.9": None}
    p50, p95, p99, p999 = (ms(on_node.percentiles_s[percentile]) for percentile in REPORTED_PERCENTILES)
    return {"mean": ms(on_node.mean_s), "p50": p50, "p95": p95, "p99": p99, "p99.9": p999}


def load_test_document(fit: LoadTestFit | None) -> LoadTestDocument | None:
    """What fixed the level of the service times; None where no load test did."""
    if fit is None:
        return None
    return {
        "rate_qps": fit.test.rate_qps,
        "level": fit.level,
        "level_from": fit.level_from,
        "utilisation": fit.utilisation,
        "percentiles": [
            {
                "percentile": label(each.percentile),
                "measured_ms": each.measured_s / MS,
                "predicted_ms": each.predicted_s / MS,
                "error_percent": 100.0 * each.error,
                "agrees": each.agrees,
            }
            for each in fit.percentiles
        ],
    }


def node_document(node: AnyNode) -> NodeDocument:
    """What the node is made of."""
    return {
        "cpu": None if isinstance(node, TableNode) else node.cpu.name,
        "stack": node.stack,
        "cores": node.cores,
        "instances": None if isinstance(node, TableNode) else node.instances,
        "accelerator": node.accelerator.name if node.accelerator else None,
        "num_accelerators": node.num_accelerators,
        "service_times": node.table.name if isinstance(node, TableNode) else None,
        "num_machines": node.num_machines,
        "shards": None if isinstance(node, TableNode) else _shards(node),
        "near_memory": None if isinstance(node, TableNode) else _near_memory(node),
        "tiers": None if isinstance(node, TableNode) else _tiers(node.tiers),
        "card_tiers": None if isinstance(node, TableNode) else _tiers(node.card_tiers),
    }


def _near_memory(node: ServingNode) -> NearMemoryDocument | None:
    """The memory's modules; None: its cores do the lookups."""
    memory = node.near_memory
    if memory is None:
        return None
    settings = memory.settings
    return {
        "channels": memory.channels,
        "ranks": settings.ranks,
        "cache_kib": settings.cache_kib,
        "scheduling": settings.scheduling,
        "hot_entries": settings.hot_entries,
        "dram": settings.dram,
        "units_w": memory.units_w,
    }


def pipeline_document(
    settings: PipelineSettings | None, figures: Sequence[StageFigures]
) -> PipelineDocument | None:
    """The stages of a pipeline at a load; None where there is one."""
    if settings is None:
        return None
    return {
        "sub_batches": settings.sub_batches,
        "handover_ms": settings.handover_ms,
        "stages": [_stage(each) for each in figures],
    }


def _stage(each: StageFigures) -> StageDocument:
    stage, found = each.stage, each.percentiles_s
    p50, p95, p99, p999 = (ms(found.get(percentile)) for percentile in REPORTED_PERCENTILES)
    return {
        "name": stage.name,
        "model": stage.node.model_name,
        "node": node_document(stage.node),
        "shares_machine": stage.shares_machine,
        "items": stage.most_items,
        "mean_items_of_part": each.mean_items,
        "service_times_of": each.words,
        "basis": each.basis.label,
        "offered_utilisation": _loads(each.offered, stage.node),
        "utilisation": None if each.utilisation is None else _loads(each.utilisation, stage.node),
        "latency_ms": {"mean": ms(each.mean_s), "p50": p50, "p95": p95, "p99": p99, "p99.9": p999},
    }


def _loads(loads: PoolLoads, node: AnyNode) -> UtilisationDocument:
    return {"cpu": loads.cpu, "accelerator": loads.accelerator if node.num_accelerators else None}


def _shards(node: ServingNode) -> ShardsDocument | None:
    """Where its tables are; None: in its own memory."""
    shards = node.shards
    if shards is None:
        return None
    return {
        "count": shards.num_shards,
        "by": "row" if shards.by_row else "table",
        "replicas": shards.replicas,
        "num_nodes": shards.num_nodes,
        "fullest_gib": float(shards.held_bytes.max()) / GIB,
        "slowest_over_mean": shards.slowest,
        "hot_rows": None if shards.hot is None else _hot_rows(shards.hot),
        "cpu": None if shards.on is None else shards.on.device.name,
        "cores": None if shards.on is None else shards.on.cores,
    }


def _tiers(tiers: Tiers | None) -> list[TierDocument] | None:
    """Each memory, the own one first; None: that holds all."""
    if tiers is None:
        return None
    own: TierDocument = {
        "name": "memory",
        "used_gib": float(tiers.used_bytes[0]) / GIB,
        "capacity_gib": None,
        "lookups_share": float(tiers.lookups_share[0]),
        "price_usd_per_h": None,
        "tdp_w": None,
        "basis": None,
        "source": None,
    }
    beyond: list[TierDocument] = [
        {
            "name": tier.name,
            "used_gib": float(used) / GIB,
            "capacity_gib": tier.capacity_gib,
            "lookups_share": float(share),
            "price_usd_per_h": tier.price_usd_per_h,
            "tdp_w": tier.tdp_w,
            "basis": tier.source_kind,
            "source": tier.source,
        }
        for tier, used, share in zip(tiers.beyond, tiers.used_bytes[1:], tiers.lookups_share[1:], strict=True)
    ]
    return [own, *beyond]


def _hot_rows(hot: HotRows) -> HotRowsDocument:
    return {
        "memory_gib": hot.held_bytes / GIB,
        "kept": "lru" if hot.is_cache else "pinned",
        "lookups_share": hot.lookups_share,
    }


def operators(rows: Sequence[OperatorTime]) -> list[OperatorDocument]:
    """Where a batch spends its time."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "scope": row.scope,
            "time_ms": row.seconds / MS,
            "share": row.share,
            "flop": row.flop,
            "bytes_moved": row.bytes_moved,
            "random_rows": row.random_rows,
            "bound": row.bound,
            "basis": row.basis.label,
        }
        for row in rows
    ]


def errors_document(errors: Errors) -> ErrorsDocument:
    """Root mean square error of the service times by device. [ln]"""
    return {"cpu": errors.cpu if errors.known else None, "accelerator": errors.accelerator}


def latency_bands_ms(budget: LatencyBudget | None) -> dict[float, JsonBand]:
    """Latency by percentile with service times shorter, and longer, by the profiles' error. [ms]"""
    if budget is None:
        return {}
    return {percentile: [_finite_ms(end) for end in band] for percentile, band in budget.bands_s.items()}


def band_ms(band: Band | None) -> JsonBand | None:
    """The SLA's percentile at both ends of an error. [ms]"""
    return None if band is None else [_finite_ms(end) for end in band]


def reported_bands_ms(budget: LatencyBudget | None) -> ReportedBandsMs:
    """The same of the percentiles that every document holds, by their keys. [ms]"""
    bands = latency_bands_ms(budget)
    p50, p95, p99, p999 = (bands.get(percentile) for percentile in REPORTED_PERCENTILES)
    return {"p50": p50, "p95": p95, "p99": p99, "p99.9": p999}


def rate_ci95(greatest: GreatestRate | None) -> JsonBand | None:
    """The simulation's 95 % interval of the greatest rate. [queries/s]"""
    return None if greatest is None or greatest.ci95_qps is None else list(greatest.ci95_qps)


def plan_ci95(budget: RateBudget | None) -> JsonBand | None:
    """The simulation's 95 % interval of the rate to plan for. [queries/s]"""
    return None if budget is None or budget.plan_ci95_qps is None else list(budget.plan_ci95_qps)


def rate_band(budget: RateBudget | None) -> JsonBand | None:
    """The greatest rate with service times longer, and shorter, by the profiles' error. [queries/s]"""
    return None if budget is None or budget.band_qps is None else list(budget.band_qps)


def sensitivity(latency: LatencyBudget | None, rate: RateBudget | None) -> SensitivityDocument:
    """Per cent of a figure for each per cent of all service times, and how far those may grow. [1], [%]"""
    responses = {} if latency is None else latency.responses
    return {
        **{
            f"{label(percentile)}_percent_per_percent_service_time": responses.get(percentile)
            for percentile in sorted({*REPORTED_PERCENTILES, *responses})
        },
        "capacity_percent_per_percent_service_time": None if rate is None else rate.response,
        "service_time_percent_to_saturation": None if latency is None else 100.0 * latency.to_saturation,
    }


def deciding_document(deciding: Deciding | None) -> DecidingDocument | None:
    """What would decide where neither "meets" nor "misses" can be said."""
    if deciding is None:
        return None
    return {
        "error": deciding.error,
        "error_now": deciding.size,
        "error_then": deciding.expected,
        "command": deciding.command,
        "band_ms_then": band_ms(deciding.band_s),
    }
