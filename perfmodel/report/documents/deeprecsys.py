"""The JSON document of `perfplan tune --deeprecsys-mode`."""

from __future__ import annotations

from typing import Any

from perfmodel.planning.deeprecsys.climb import ClimbReport
from perfmodel.planning.deeprecsys.settings import Shortcut
from perfmodel.planning.deeprecsys.shortcuts import ShortcutCapacity, ShortcutReport
from perfmodel.report.documents.parts import ms, sla_asked


def deeprecsys_document(shortcuts: ShortcutReport, climbs: ClimbReport) -> dict[str, Any]:
    """Return the document; what does not exist is None."""
    question, settings, together = shortcuts.question, shortcuts.settings, shortcuts.all_together
    return {
        "scenario": question.name,
        "model": question.node.model.name,
        "sla": sla_asked(question.sla),
        "latency_bounded_qps": shortcuts.exact_qps,
        "deeprecsys_qps": together and together.qps,
        "rate_grid_qps": [1000.0 / settings.longest_gap_ms, 1000.0 / settings.shortest_gap_ms],
        "rows": [_row(row) for row in shortcuts.rows],
        "climb": climbs_document(climbs),
    }


def climbs_document(climbs: ClimbReport) -> dict[str, Any]:
    """Return the part about the climbs."""
    best = climbs.best
    reported = [climb.qps for climb in climbs.climbs]
    return {
        "climbs": len(climbs.climbs),
        "reported_qps": climbs.reported_qps,
        "reported_range_qps": [min(reported), max(reported)],
        "exact_qps_of_chosen": climbs.true_qps,
        "chose_a_threshold_never_set": climbs.first_threshold_chosen,
        "best": {**best._asdict(), "latency_bounded_qps": climbs.exact_qps[best]},
        "chosen": [
            {**chosen._asdict(), "climbs": count, "latency_bounded_qps": climbs.exact_qps[chosen]}
            for chosen, count in climbs.chosen
        ],
        "exact": [
            {**configuration._asdict(), "latency_bounded_qps": qps}
            for configuration, qps in climbs.exact_qps.items()
        ],
    }


def _row(row: ShortcutCapacity) -> dict[str, Any]:
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
