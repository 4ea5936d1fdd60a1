"""The terminal page of `perfplan predict`."""

from __future__ import annotations

from math import expm1, inf, isinf, log
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.domain.workload import ClosedArrivals
from perfmodel.planning.busiest import busiest
from perfmodel.planning.predict.answer import Prediction
from perfmodel.planning.stage_figures import stage_figures
from perfmodel.planning.table_node import TableNode
from perfmodel.planning.verdict import quantile
from perfmodel.report.error_budget import (
    CLIFF,
    deciding_lines,
    error_source,
    latency_band,
    plan_interval,
    probability,
    rate_interval,
    sensitivity,
)
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.stages import stage_table
from perfmodel.report.tables import (
    as_asked,
    assumption_lines,
    interval_ms,
    number,
    operator_table,
    outside_words,
    served_words,
    times_of,
)
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.traffic import TrafficSource
from perfmodel.units import MS

if TYPE_CHECKING:
    from perfmodel.sim.day_run import WindowResult  # few loads follow the time of day

AMPLIFIED = 1.5
"""How many times the service times' error a percentile's has to be, in logarithms, for a line. [1]"""

VERDICTS = {
    "meets_sla": "[bold green]meets the SLA[/]",
    "within_error": "[bold yellow]cannot tell whether it meets the SLA[/]",
    "misses_sla": "[bold red]misses the SLA[/]",
    "unstable": "[bold red]unstable[/]",
}


TAIL = (0.99, 0.999)
"""Percentiles that scatter and pauses make."""


def predict_page(result: Prediction) -> RenderableType:
    """Verdict, latencies with intervals, throughput and power, then where the time goes."""
    node = result.question.node
    parts: list[RenderableType] = [
        served_words(result.question),
        times_of(result.question),
        f"{VERDICTS[result.verdict]}: {_because(result)}",
        f"probability {probability(result.judgement.sla_probability)}{_plan(result)}",
        *deciding_lines(result.judgement.deciding),
        "",
        _figures(result),
    ]
    if figures := stage_figures(result.question, result.run):
        parts += ["", stage_table(figures)]
    if result.run.percentiles and result.run.worst is None:
        parts += ["", _chart(result)]
    if result.cpu is not None:
        of = "" if result.question.pipeline is None else f" of {result.question.stages[0].name}"
        title = f"where a core spends a batch of {result.cpu.batch_size}{of}, at this load"
        parts += ["", operator_table(title, result.cpu.operators)]
    if result.accelerator is not None:
        title = f"where the accelerator spends a launch of {result.accelerator.batch_size} items, alone"
        parts += ["", operator_table(title, result.accelerator.operators)]
    parts += ["", *_sources(result)]
    parts += [f"note: {note}" for note in result.notes] + assumption_lines(node.assumptions)
    return Group(*parts)


def _chart(result: Prediction) -> FittingTable:
    """The percentiles as bars beside the SLA's bound."""
    sla = result.question.sla
    values_ms = {f"p{100 * p:g}": each.value_s / MS for p, each in result.run.percentiles.items()}
    values_ms[f"SLA of p{100 * sla.percentile:g}"] = sla.latency_ms
    most_ms = max(values_ms.values())
    rows = [
        [name, number(value, 4), f"{'yellow' if name.startswith('SLA') else 'blue'} {value / most_ms:.4f}"]
        for name, value in values_ms.items()
    ]
    columns = [Column(heading="latency"), Column(heading="ms", right=True), Column(heading="", is_bar=True)]
    return FittingTable(columns, rows)


def _because(result: Prediction) -> str:
    sla = result.question.sla
    bound = f"p{100 * sla.percentile:g} of {as_asked(sla.latency_ms)} ms"
    if result.sla_interval is None:
        return f"{result.run.notes[0]}; no latency exists ({bound} was asked)"
    if isinf(result.sla_interval.value_s):
        shed = f"{number(100 * (result.shed_rate or 0.0))} % of the queries are turned away"
        text = f"{shed}, which counts as late, the SLA is {bound}"
    else:
        of_all = ", of all queries," if result.shed_rate else ""
        text = f"p{100 * sla.percentile:g}{of_all} is {interval_ms(result.sla_interval)}, the SLA is {bound}"
    worst = result.run.worst
    return text if worst is None else f"in the worst {duration(worst.end_s - worst.start_s)} {text}"


def _executor(result: Prediction) -> str:
    return "an executor" if isinstance(result.question.node, TableNode) else "a core"


def _plan(result: Prediction) -> str:
    """The load to plan for, where one is known."""
    confident = f"{number(100 * result.question.sla.confidence)} %"
    if result.rate_budget is None:
        return f"; a claim is made from {confident} on"
    if result.plan_for_qps is None:
        return f"; no load meets it with {confident}"
    late = " with those turned away counted as late" if result.shed_rate else ""
    plan = plan_interval(result.rate_budget)
    return f"; plan for at most {plan}, which meets it{late} with {confident}"


def _utilisation(result: Prediction) -> str:
    executors = "executors" if isinstance(result.question.node, TableNode) else "cores"
    text = f"{number(100 * result.cpu_utilisation)} % of the {executors}"
    if result.accelerator_utilisation is not None:
        text += f", {number(100 * result.accelerator_utilisation)} % of the accelerators"
    if not result.run.is_stable and result.run.record is None:
        alone = number(100 * max(result.run.alone))
        text += f", each slowed by the others as all are busy ({alone} % if it were not)"
    return text


def _offered(traffic: TrafficSource) -> str:
    items = f"{traffic.size_pmf.mean_items:.0f} items each"
    arrivals = traffic.arrivals
    if isinstance(arrivals, ClosedArrivals):
        return f"{arrivals.users:,} users who think {duration(arrivals.think_s)} in the mean, {items}"
    return f"{number(traffic.rate_qps, 4)} queries/s, {items}"


def _figures(result: Prediction) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    run, traffic = result.run, result.question.traffic
    table.add_row("offered", _offered(traffic))
    if run.worst is not None:
        _add_worst(table, result)
    if run.mean_latency is not None:
        table.add_row("mean latency", interval_ms(run.mean_latency))
    for percentile, interval in run.percentiles.items():
        known = "" if run.worst is not None else _known(result, percentile)
        table.add_row(f"p{100 * percentile:g}", f"{interval_ms(interval)}{known}")
    _add_sure(table, result)
    if result.steady is not None:
        table.add_row("without scatter and pauses", _steady(result.steady))
    if traffic.outside is not None and run.on_node is not None:
        table.add_row("on the node alone", outside_words(traffic.outside, run.on_node.percentiles_s))
    throughput = result.throughput_qps
    items = run.throughput_items_per_s
    if throughput is not None:
        table.add_row("throughput", f"{number(throughput, 4)} queries/s, {number(items, 4)} items/s")
    if run.record is not None and run.record.shed is not None:
        table.add_row("goodput", f"{number(result.goodput_qps, 4)} queries/s served within the SLA's latency")
        table.add_row(
            "shed", f"{number(100 * (result.shed_rate or 0.0))} % of the queries; latencies are of the others"
        )
    if not traffic.is_closed:
        table.add_row("largest load within the SLA", _bounded(result))
    sheds = result.question.policy.shedding is not None
    for label, said in sensitivity(
        result.latency_budget, result.rate_budget, sheds=sheds, busiest=busiest(result.question)
    ):
        if not (traffic.is_closed and label == CLIFF):  # users who wait ask for less
            table.add_row(label, said)
    table.add_row("utilisation", _utilisation(result))
    if result.mean_service_s is not None:
        service_ms = number(result.mean_service_s / MS)
        table.add_row("mean service time", f"{service_ms} ms a request on {_executor(result)}")
    tdp_w = result.question.tdp_w
    watts = "not known: node.tdp_w says it" if tdp_w is None else f"{number(tdp_w)} W"
    per_tdp = "" if result.qps_per_w is None else f": {number(result.qps_per_w)} queries/s/W"
    table.add_row("power, static TDP", f"{watts}{per_tdp}" if tdp_w else watts)
    if isinstance(result.question.node, TableNode):  # whose idle power nobody asked for
        return table
    if result.load_power_w is not None:
        load_w, per_w = number(result.load_power_w), number(result.qps_per_w_at_load)
        table.add_row("power, by utilisation", f"{load_w} W: {per_w} queries/s/W")
    return table


def _steady(run: RunResult) -> str:
    """The same load where times of one size are all the same and nothing stands still."""
    if not run.percentiles:
        return "unstable too"
    parts = (
        f"p{100 * percentile:g} {number(run.percentiles[percentile].value_s / MS)}" for percentile in TAIL
    )
    return f"{', '.join(parts)} ms"


def _add_sure(table: Table, result: Prediction) -> None:
    """Where the queue makes more of the service times' error than it is: how far that reaches, surely."""
    sla, budget = result.question.sla, result.latency_budget
    band = None if budget is None else budget.sure_s
    spread = quantile(sla.confidence) * result.errors.spread
    if band is None or band[0] is None or isinf(band[0]) or spread == 0.0:
        return
    weight = inf if band[1] is None else 0.5 * log(band[1] / band[0]) / spread
    if weight < AMPLIFIED:
        return
    much = f"the load makes {number(weight, 2)} times of it"
    if band[1] is None:
        much = "an overload is within them"
    elif isinf(band[1]):
        much = "too many queries are turned away within them"
    sure = f"{number(100 * sla.confidence)} %"
    by = f"{number(100 * expm1(spread), 2)} % of service time either way"
    table.add_row(f"p{100 * sla.percentile:g}, each end with {sure}", f"{latency_band(band)}; {by}: {much}")


def _known(result: Prediction, percentile: float) -> str:
    """What the service times' error leaves open of a percentile."""
    band = None if result.latency_budget is None else result.latency_budget.bands_s.get(percentile)
    return "" if band is None else f"; {latency_band(band)} with the error of the service times"


def _add_worst(table: Table, result: Prediction) -> None:
    """The worst minutes of a day, and how much of the day is within the SLA."""
    worst = result.run.worst
    assert worst is not None, "asked of a day"
    table.add_row(*worst_when(worst))
    for percentile, interval in worst.percentiles.items():
        table.add_row(f"  p{100 * percentile:g} then", f"{interval_ms(interval)}{_known(result, percentile)}")
    share = result.run.within_share
    if share is not None:
        table.add_row("within the SLA", f"{number(100 * share, 4)} % of the day's queries")
    table.add_row("the whole day", "")


def worst_when(worst: WindowResult) -> tuple[str, str]:
    """How long the worst minutes of a day are, and their rate and place in it."""
    begin = f"{worst.start_s:,.0f} s after the rate passes its mean, rising"
    length = duration(worst.end_s - worst.start_s)
    return f"worst {length}", f"{number(worst.rate_qps, 4)} queries/s, {begin}"


def duration(seconds: float) -> str:
    """A length of time in minutes, or seconds where it is short."""
    return f"{number(seconds / 60)} minutes" if seconds >= 60.0 else f"{number(seconds)} s"


def _bounded(result: Prediction) -> str:
    if result.greatest is None:
        return "not searched: see the notes" if result.undecided else "none: even an idle node is too slow"
    text, budget = rate_interval(result.greatest), result.rate_budget
    if result.shed_rate:
        text += ", what is turned away counted as late"
    if budget is None or budget.band_qps is None:
        return text
    low, high = ("none" if end is None else number(end, 4) for end in budget.band_qps)
    return f"{text}; {low} to {high} with the error of the service times"


def _sources(result: Prediction) -> list[str]:
    run = result.run
    known = error_source(result.question.node, result.errors)
    lines = [f"service times: {result.basis.label}; {known}"]
    if run.num_queries:
        lines.append(
            f"latencies: {run.num_queries:,} queries simulated, {run.warm_up_queries:,} of them warm-up; "
            f"[low, high] are 95 % confidence intervals"
        )
    if result.latency_budget is not None and result.errors.known:
        lines.append(
            "with the error of the service times: the same queries, all times longer or shorter by it"
        )
    if run.num_queries:
        lines.append(f"policy {result.question.policy.name}, simulated by the {result.engine} engine")
    return lines
