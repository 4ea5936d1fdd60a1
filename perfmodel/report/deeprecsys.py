"""The terminal page of DeepRecSys mode: the published controller beside the exact answer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.deeprecsys.climb import ClimbReport
from perfmodel.planning.deeprecsys.settings import ControllerSettings, Shortcut
from perfmodel.planning.deeprecsys.shortcuts import ShortcutCapacity, ShortcutReport
from perfmodel.planning.tune.question import Configuration
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import as_asked, node_words, number
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.units import MS


def deeprecsys_page(shortcuts: ShortcutReport, climbs: ClimbReport) -> RenderableType:
    """What each shortcut is worth at the scenario's policy, then what the published climb makes of it."""
    parts: list[RenderableType] = [shortcuts_page(shortcuts)]
    if shortcuts.rows:
        parts += ["", climbs_page(climbs)]
    return Group(*parts)


def shortcuts_page(report: ShortcutReport) -> RenderableType:
    """One row for the exact mode, for each shortcut alone, and for those together."""
    question = report.question
    node, sla, policy = question.node, question.sla, question.policy
    head = node_words(node)
    bound = f"p{100 * sla.percentile:g} within {as_asked(sla.latency_ms)} ms"
    if not report.rows:
        return Group(head, f"[bold red]no load meets {bound}[/]")
    assert isinstance(policy, SplitAndOffload), "checked where the rows were made"
    set_to = _name(Configuration(policy.batch_size, policy.offload_threshold_items))
    columns = [
        Column(heading="with", is_name=True),
        Column(heading="queries/s", right=True),
        Column(heading="any one search", right=True, leaves=1),
        Column(heading="of exact", right=True),
        Column(heading="true latency there", right=True),
    ]
    table = FittingTable(columns, [[row.name, *_cells(row)] for row in report.rows], f"{set_to}, {bound}")
    notes = [f"note: {row.name}: {row.note}" for row in report.rows if row.note]
    return Group(head, "", table, "", *_legend(report.rows), *notes, _grid_line(report.settings))


def climbs_page(report: ClimbReport) -> RenderableType:
    """What the climbs chose, and what that is worth."""
    best = report.best
    table = Table(title="the published climb", title_justify="left", box=None, pad_edge=False)
    for heading in ("it chooses", "climbs", "true queries/s", "of best"):
        table.add_column(heading, justify="left" if heading == "it chooses" else "right")
    for chosen, count in report.chosen:
        qps = report.exact_qps[chosen]
        share = f"{100 * qps / report.exact_qps[best]:.0f} %" if report.exact_qps[best] else "–"
        table.add_row(_name(chosen), f"{count} of {len(report.climbs)}", number(qps, 4), share)
    lines = [
        f"best on its lists: {_name(best)}, {number(report.exact_qps[best], 4)} queries/s",
        f"on average it reports {number(report.reported_qps, 4)} queries/s, and what it chose serves "
        f"{number(report.true_qps, 4)}",
    ]
    if never := report.first_threshold_chosen:
        lines.append(
            f"{never} of {len(report.climbs)} climbs chose the first threshold of the list, which the "
            "controller never sets: they measured the node without it"
        )
    return Group(table, "", *lines)


def _cells(row: ShortcutCapacity) -> tuple[str, str, str, str]:
    latency_s = row.exact_latency_s
    return (
        number(row.qps, 4),
        f"{number(row.lowest_qps, 4)} – {number(row.highest_qps, 4)}",
        f"{100 * (row.of_exact - 1):+.1f} %" if row.shortcuts else "",
        "overload" if latency_s is None else f"{number(latency_s / MS)} ms",
    )


def _legend(rows: Sequence[ShortcutCapacity]) -> list[str]:
    exact = rows[0]
    lines = [
        f"queries/s: mean over searches with random numbers of their own, {exact.repetitions} by long runs, "
        f"{max(row.repetitions for row in rows)} by few numbers",
        "true latency: the SLA's percentile of Poisson traffic at that rate, by one long run",
    ]
    if any(Shortcut.INTERPOLATION in row.shortcuts for row in rows):
        lines.append("interpolated: between the six batches that the repository measured its GPU at")
    return lines


def _grid_line(settings: ControllerSettings) -> str:
    shortest, longest = number(settings.shortest_gap_ms), number(settings.longest_gap_ms)
    return f"its grid: {settings.num_gaps} mean gaps from {shortest} to {longest} ms; docs/deeprecsys-mode.md"


def _name(configuration: Configuration) -> str:
    threshold = configuration.offload_threshold_items
    offloaded = "" if threshold is None else f", threshold {threshold}"
    return f"batch {configuration.batch_size}{offloaded}"
