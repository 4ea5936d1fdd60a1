"""The JSON document of `perfplan tune --deeprecsys-mode`."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from perfmodel.planning.deeprecsys.climb import ClimbReport
from perfmodel.planning.deeprecsys.settings import Shortcut
from perfmodel.planning.deeprecsys.shortcuts import ShortcutCapacity, ShortcutReport
from perfmodel.planning.tune.question import Configuration
from perfmodel.report.documents import Saved, document, saved
from perfmodel.report.documents.parts import JsonBand, SlaAsked, ms, sla_asked
from perfmodel.report.documents.tune import ConfigurationDocument

VERSION = 1


@document
class ShortcutDocument(TypedDict):
    """The capacity that one finds with some of the controller's shortcuts, over repeated searches."""

    name: str
    shortcuts: list[str]
    latency_bounded_qps: float
    range_qps: JsonBand
    repetitions: int
    of_exact: float
    exact_latency_ms: float | None
    note: str | None


@document
class ChosenDocument(ConfigurationDocument):
    """What so many climbs chose, with its exact capacity."""

    climbs: int


@document
class ClimbsDocument(TypedDict):
    """Many climbs of the published controller, and the exact capacity of what each chose."""

    climbs: int
    reported_qps: float
    reported_range_qps: JsonBand
    exact_qps_of_chosen: float
    chose_a_threshold_never_set: int
    best: ConfigurationDocument
    chosen: list[ChosenDocument]
    exact: list[ConfigurationDocument]


@document
class DeepRecSysDocument(Saved):
    """The published controller beside the exact answer."""

    scenario: str
    model: str | None
    sla: SlaAsked
    latency_bounded_qps: float | None
    deeprecsys_qps: float | None
    rate_grid_qps: JsonBand
    rows: list[ShortcutDocument]
    climb: ClimbsDocument
    asked: dict[str, Any]


def deeprecsys_document(shortcuts: ShortcutReport, climbs: ClimbReport) -> DeepRecSysDocument:
    """Return the document; what does not exist is None."""
    question, settings, together = shortcuts.question, shortcuts.settings, shortcuts.all_together
    return {
        **saved("deeprecsys", VERSION, question.inputs),
        "scenario": question.name,
        "model": question.node.model_name,
        "sla": sla_asked(question.sla, None),
        "latency_bounded_qps": shortcuts.exact_qps,
        "deeprecsys_qps": None if together is None else together.qps,
        "rate_grid_qps": [1000.0 / settings.longest_gap_ms, 1000.0 / settings.shortest_gap_ms],
        "rows": [_row(row) for row in shortcuts.rows],
        "climb": climbs_document(climbs),
        "asked": dict(question.asked),
    }


def climbs_document(climbs: ClimbReport) -> ClimbsDocument:
    """Return the part about the climbs."""
    best = climbs.best
    reported = [climb.qps for climb in climbs.climbs]
    return {
        "climbs": len(climbs.climbs),
        "reported_qps": climbs.reported_qps,
        "reported_range_qps": [min(reported), max(reported)],
        "exact_qps_of_chosen": climbs.true_qps,
        "chose_a_threshold_never_set": climbs.first_threshold_chosen,
        "best": _exact(climbs, best),
        "chosen": [
            {
                "batch_size": chosen.batch_size,
                "offload_threshold_items": chosen.offload_threshold_items,
                "climbs": count,
                "latency_bounded_qps": climbs.exact_qps[chosen],
            }
            for chosen, count in climbs.chosen
        ],
        "exact": [_exact(climbs, configuration) for configuration in climbs.exact_qps],
    }


def _exact(climbs: ClimbReport, configuration: Configuration) -> ConfigurationDocument:
    return {
        "batch_size": configuration.batch_size,
        "offload_threshold_items": configuration.offload_threshold_items,
        "latency_bounded_qps": climbs.exact_qps[configuration],
    }


def _row(row: ShortcutCapacity) -> ShortcutDocument:
    return {
        "name": row.name,
        "shortcuts": [shortcut.name.lower() for shortcut in Shortcut if shortcut in row.shortcuts],
        "latency_bounded_qps": row.qps,
        "range_qps": [row.lowest_qps, row.highest_qps],
        "repetitions": row.repetitions,
        "of_exact": row.of_exact,
        "exact_latency_ms": ms(row.exact_latency_s),
        "note": row.note or None,
    }
