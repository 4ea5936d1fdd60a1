"""The terminal page of `perfplan plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.domain.provision import Transient
from perfmodel.planning.plan.after_failure import TIMEOUT_OVER_SLA
from perfmodel.planning.plan.answer import (
    Baseline,
    Binding,
    Growth,
    PlanAnswer,
    Provisioned,
    Relief,
    per_query,
)
from perfmodel.planning.plan.digits import rounded_down, rounded_up
from perfmodel.planning.plan.sharded import ShardedUnit
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.tables import counted, number
from perfmodel.units import GIB, MB, MS

UNITS = {"nodes": "nodes", "power": "W", "price": "USD/h", "carbon": "g CO2/h"}

BASELINES = {
    "greedy": "greedy",
    "oblivious": "oblivious",
    "perfect_autoscaler": "perfect autoscaler",
    "simulated_autoscaler": "simulated autoscaler",
}


def plan_page(result: PlanAnswer) -> RenderableType:
    """The answer in a sentence, the nodes, the day, what else there would be, and what each safety costs."""
    question, static = result.question, result.static
    parts: list[RenderableType] = [
        f"[bold]{question.name}[/]: {counted(len(question.services), 'service')}, "
        f"{counted(len(question.node_types), 'node type')}, {counted(len(question.hours), 'hour')}"
    ]
    if static is None:
        parts.append(
            "[bold red]infeasible[/]: no provision covers the largest demand of every service at once"
        )
        if result.binding is not None:
            parts += ["", *_binding(result.binding)]
    else:
        parts += [_sentence(result), "", _nodes(static.provisioned), "", _figures(result)]
        if used := _used(result.sharded, static.provisioned):
            parts += ["", _sharded(used, static.provisioned), *_tried(used)]
    if result.checks:
        parts += ["", _checks(result), *_imbalance(result)]
    if result.after_failure:
        parts += ["", *_after_failure(result)]
    if result.growth is not None:
        raised = result.simulated is not None and any(result.simulated.raised_by.values())
        which = ", which raised the one above" if raised else ""
        parts += ["", _growth(result.growth), f"these are plans before simulation{which}"]
        if result.growth.gives_out_at is not None:
            at = number(rounded_down(result.growth.gives_out_at, 4), 4)
            parts.append(f"served up to a growth of {at}; beyond it {result.growth.gives_out} gives out")
    parts += ["", _hours(result), "", _baselines(result)]
    if result.safeties:
        parts += ["", _safeties(result)]
    parts += [f"not chosen: {each.node_type}: {each.why}" for each in result.not_chosen]
    parts += [f"note: {note}" for note in result.notes]
    return Group(*parts)


def _sentence(result: PlanAnswer) -> str:
    static = result.static
    assert static is not None, "there is a plan"
    unit = UNITS[result.question.provision.objective]
    proved = "none needs less" if static.is_optimal else f"within {number(100 * static.gap)} % of the least"
    return (
        f"[bold green]feasible[/]: [bold]{static.provisioned.num_nodes:,} nodes[/], always on, carry the "
        f"largest demand of every service; {number(static.objective_value, 6)} {unit}: {proved}"
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right")
    return table


def _nodes(provisioned: Provisioned) -> Table:
    question = provisioned.question
    used = [each.name for each in question.node_types if provisioned.by_type[each.name]]
    serving = [each.name for each in question.mixed if provisioned.nodes[each.service].get(each.name)]
    mixed = list(dict.fromkeys(serving))
    shared = ", shared: each counts for every service" if question.provision.sharing else ""
    table = _table(f"nodes{shared}", "service", "queries/s planned for", *used, *mixed)
    for service, peak_qps in zip(question.services, question.peak_qps, strict=True):
        counts = provisioned.nodes[service.name]
        cells = [f"{counts[name]:,}" if counts.get(name) else "–" for name in (*used, *mixed)]
        table.add_row(service.name, number(float(peak_qps), 4), *cells)
    table.add_row(
        "all", "", *(f"{provisioned.by_type[name]:,}" for name in used), *("" for _ in mixed), style="bold"
    )
    return table


def _figures(result: PlanAnswer) -> Table:
    assert result.static is not None, "there is a plan"
    of = result.static.provisioned
    each = per_query(of.price_usd_per_h, result.mean_power_w, result.mean_carbon_g_per_h, result.mean_qps)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_row(
        "power, by utilisation" if result.question.by_utilisation else "power, static TDP",
        f"{number(of.power_w, 6)} W; {number(each.joules_per_query)} J a query",
    )
    if of.price_usd_per_h is not None:
        table.add_row(
            "price",
            f"{number(of.price_usd_per_h, 6)} USD/h; "
            f"{number(each.usd_per_million_queries)} USD a million queries",
        )
    if each.g_co2_per_million_queries is not None:
        table.add_row("carbon", f"{number(each.g_co2_per_million_queries)} g CO2 a million queries")
    table.add_row("to be bought", _counted(of.bought))
    if (simulated := result.simulated) is not None:
        raised = ", ".join(f"{name} by {count}" for name, count in simulated.raised_by.items() if count)
        lacks = f" within stock and caps: {'; '.join(simulated.lacks)}" if simulated.lacks else ""
        holds = (
            "every simulated SLA holds" if simulated.holds else f"[bold red]an SLA does not hold[/]{lacks}"
        )
        table.add_row(
            "simulated", f"{simulated.provisioned.num_nodes:,} nodes, raised {raised or 'by none'}; {holds}"
        )
    return table


def _used(units: Sequence[ShardedUnit], provisioned: Provisioned) -> list[ShardedUnit]:
    nodes = provisioned.nodes
    return [each for each in units if nodes[each.service].get(each.node_type)]


def _sharded(units: Sequence[ShardedUnit], provisioned: Provisioned) -> Table:
    """Units of several nodes, and what their network costs."""
    table = _table(
        "tables on nodes of their own", "service", "units", "shards", "GiB in the fullest", "queries/s a unit"
    )
    table.add_column("network, of a request")
    for each in units:
        count = provisioned.units[each.service][each.node_type]
        copies = "" if each.replicas in (None, 1) else f" x {each.replicas}"
        by = "" if each.by is None else f" by {each.by}"
        network = each.network
        table.add_row(
            each.service,
            f"{count:,} of {each.capacity.num_nodes} {each.node_type}",
            f"{each.capacity.num_shards}{copies}{by}",
            number(None if each.fullest_bytes is None else each.fullest_bytes / GIB),
            number(each.capacity.low_qps, 4),
            "–"
            if network is None
            else f"{number(network.seconds / MS)} ms, {number(100 * network.share)} %; "
            f"{number(network.sent_bytes / MB)} MB",
        )
    return table


def _tried(units: Sequence[ShardedUnit]) -> list[str]:
    """Which numbers of shards the plan chose among."""
    found = []
    for each in units:
        if each.tried:
            told = ", ".join(
                f"{one.num_shards}: "
                + ("no load" if one.capacity is None else f"{number(one.capacity.low_qps_a_node, 4)}")
                for one in each.tried
            )
            found.append(f"shards tried for {each.service} on {each.node_type}, queries/s a node: {told}")
    return found


def _checks(result: PlanAnswer) -> Table:
    table = _table(
        "simulated: the busiest hour and the quietest", "service", "hour", "nodes", "needed", "ms", "limit"
    )
    table.add_column("verdict")
    for check in result.checks:
        latency = None if check.latency_s is None else 1e3 * check.latency_s
        table.add_row(
            check.service,
            str(check.hour),
            f"{check.num_nodes:,}",
            number(check.num_nodes_needed, 6),
            number(latency, 4),
            f"p{100 * check.percentile:g} {number(1e3 * check.limit_s)} ms",
            check.verdict,
        )
    return table


def _imbalance(result: PlanAnswer) -> list[str]:
    """What it costs not to pool the queues of a service's nodes, a line a service."""
    lines = []
    for check in result.checks:
        if (fewest := check.fewest) is None:
            continue
        pooled = "" if fewest.shortest_queue is None else f", {fewest.shortest_queue:,} if it saw every queue"
        costs = f": imbalance costs {fewest.imbalance:,}" if fewest.imbalance is not None else ""
        lines.append(
            f"{check.service}: {fewest.random:,} nodes would hold it behind a router that draws a node"
            f"{pooled}{costs}"
        )
    return lines


ENDINGS = {
    "overloaded": "[bold red]does not recover: overloaded[/]",
    "retry_storm": "[bold red]does not recover: retry storm[/]",
    "draining": "[bold red]not yet: backlog still shrinks[/]",
}


def _after_failure(result: PlanAnswer) -> list[RenderableType]:
    said = result.question.provision.transient
    of = Transient() if said is None else said
    table = _table(
        "the minutes after a failure", "service", "lost", "left", "asked", "failed", "late", "backlog"
    )
    table.add_column("recovers")
    for each in result.after_failure:
        found = each.aftermath
        needs = f", {each.num_nodes_needed:,} nodes would" if each.num_nodes_needed else ""
        when = "at once" if not found.recovers_after_s else f"after {number(found.recovers_after_s)} s"
        table.add_row(
            each.service,
            f"{sum(each.lost_nodes.values()):,} of {each.num_nodes:,}",
            number(each.left_qps, 4),
            number(each.rate_qps, 4),
            number(found.failed),
            number(found.late),
            number(found.most_backlog),
            when if found.ending == "recovers" else f"{ENDINGS[found.ending]}{needs}",
        )
    timeout = (
        f"{TIMEOUT_OVER_SLA:g} times the SLA's latency" if of.timeout_ms is None else f"{of.timeout_ms:g} ms"
    )
    again = (
        "never" if of.restart_s is None else f"{of.restart_s:g} s later, at {of.cold_speed:g} of its speed"
    )
    columns = (
        "left, asked: queries/s; failed: queries never answered in time; late: answered at a further try or "
        "after too long a wait; backlog: the most that waited"
    )
    words = (
        f"the router finds out after {of.detection_s:g} s; clients time out after {timeout} and ask again, "
        f"{of.retries} at most; a lost node serves again {again}"
        + ("" if of.restart_s is None else f", warm {of.warm_up_s:g} s after that")
    )
    assumed = "" if said else "; all of this is assumed and decides no exit code: provision.transient says it"
    return [table, columns, f"{words}{assumed}"]


def _hours(result: PlanAnswer) -> Table:
    table = _table(
        "each hour for itself; the forecast in queries/s", "hour", "forecast", "nodes", "W", "USD/h"
    )
    for hour in result.hours:
        of = None if hour.optimum is None else hour.optimum.provisioned
        table.add_row(
            str(hour.hour),
            number(sum(hour.demand_qps.values()), 4),
            "infeasible" if of is None else f"{of.num_nodes:,}",
            number(None if of is None else of.power_w, 6),
            number(None if of is None else of.price_usd_per_h, 6),
        )
    return table


def _growth(growth: Growth) -> Table:
    table = _table("more traffic", "growth", "nodes", "W", "USD/h")
    table.add_column("to be bought")
    table.add_column("owned, not needed")
    for row in growth.rows:
        of = None if row.static is None else row.static.provisioned
        table.add_row(
            f"{row.growth:g}",
            "infeasible" if of is None else f"{of.num_nodes:,}",
            number(None if of is None else of.power_w, 6),
            number(None if of is None else of.price_usd_per_h, 6),
            "" if of is None else _counted(of.bought),
            _counted(row.unused),
        )
    return table


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "–"


def _baselines(result: PlanAnswer) -> Group:
    columns = [
        Column(heading="beside the plan", is_name=True),
        Column(heading="nodes", right=True),
        Column(heading="W", right=True),
        Column(heading="USD/h", right=True),
        Column(heading="node hours", right=True, leaves=1),
        Column(heading="SLA missed", right=True),
    ]
    rows = []
    if result.static is not None:
        of = result.static.provisioned
        figures = (of.power_w, of.price_usd_per_h, float(of.num_nodes * len(result.hours)))
        rows.append(["this plan, always on", f"{of.num_nodes:,}", *(number(each, 6) for each in figures), ""])
    found = {name: result.baselines[key] for key, name in BASELINES.items()}
    rows += [[name, *_baseline(of)] for name, of in found.items()]
    why_not = [f"{name}: {of.note.rpartition('; ')[2]}" for name, of in found.items() if of.num_nodes is None]
    return Group(FittingTable(columns, rows), "[dim]nodes, W and USD/h at the peak[/]", *why_not)


def _baseline(of: Baseline) -> tuple[str, ...]:
    if of.num_nodes is None:
        return ("none", "", "", "", "")
    missed = "" if of.sla_missed_share is None else f"{number(100 * of.sla_missed_share)} %"
    return (
        f"{of.num_nodes:,}",
        number(of.power_w, 6),
        number(of.price_usd_per_h, 6),
        number(of.node_hours, 6),
        missed,
    )


def _safeties(result: PlanAnswer) -> Table:
    unit = UNITS[result.question.provision.objective]
    headings = ("nodes",) if unit == "nodes" else ("nodes", unit)
    table = _table("what each safety costs", "", *headings)
    for each in result.safeties:
        nodes = "–" if each.num_nodes is None else f"{each.num_nodes:+,}"
        table.add_row(each.safety, nodes, *([] if unit == "nodes" else [number(each.objective_value, 4)]))
    return table


def _binding(binding: Binding) -> list[RenderableType]:
    return [
        f"what binds: [bold]{binding.constraint}[/]",
        "what would free it, each alone:",
        *(f"  {_relief(each)}" for each in binding.frees),
    ]


def _relief(relief: Relief) -> str:
    note = f" ({relief.note})" if relief.note else ""
    if relief.amount is None:
        return f"{relief.change}{note}"
    return f"{relief.change}: {number(rounded_up(relief.amount, 6), 6)} {relief.unit}{note}"
