"""The terminal page of `perfplan fleet`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from perfmodel.planning.fleet.answer import FleetPrediction, FleetWindow
from perfmodel.report.error_budget import deciding_lines, error_source, probability
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.report.predict import VERDICTS
from perfmodel.report.tables import as_asked, assumption_lines, interval_ms, number, outside_words, times_of
from perfmodel.units import MS

SHORT_VERDICTS = {
    "meets_sla": "[bold green]meets[/]",
    "within_error": "[bold yellow]cannot tell[/]",
    "misses_sla": "[bold red]misses[/]",
    "unstable": "[bold red]unstable[/]",
}

# Of a longer day every so many windows are shown, and always the busiest.
MOST_ROWS = 24


def fleet_page(result: FleetPrediction) -> RenderableType:
    """Verdict and the day as a whole, then its windows."""
    question = result.question
    model = question.scenario.node.model_name
    unnamed = model is None or question.scenario.pipeline is not None
    head = f"[bold]{_nodes(result)}[/]" if unnamed else f"[bold]{model}[/] on {_nodes(result)}"
    parts: list[RenderableType] = [
        f"{head}, {question.routing.value} routing",
        times_of(result),
        f"{VERDICTS[result.verdict]}: {_because(result)}",
        f"probability {probability(result.sla_probability)}, in the worst window; a claim is made from "
        f"{number(100 * question.scenario.sla.confidence)} % on",
        *deciding_lines(result.deciding),
        "",
        _figures(result),
    ]
    if len(result.windows) > 1:
        parts += ["", _windows(result)]
    parts += ["", *_sources(result)]
    parts += [f"note: {note}" for note in result.notes] + assumption_lines(result.assumptions)
    return Group(*parts)


def _nodes(result: FleetPrediction) -> str:
    texts = []
    for member in result.question.members:
        node = member.question.node
        if member.question.pipeline is not None:
            stages = ", then ".join(f"{stage.name} on {stage.node.where}" for stage in member.question.stages)
            texts.append(f"{member.num_nodes:,} x ({stages})")
            continue
        text = f"{member.num_nodes:,} x {node.where}"
        if node.num_machines > 1:
            text += " each"  # shards are a node's own
        if node.accelerator is not None:
            text += f" with {node.num_accelerators} x {node.accelerator.name}"
        texts.append(text)
    return " and ".join(texts)


def _because(result: FleetPrediction) -> str:
    sla = result.question.scenario.sla
    bound = f"p{100 * sla.percentile:g} of {as_asked(sla.latency_ms)} ms"
    worst = max(result.windows, key=lambda window: window.window.rate_qps)
    if not worst.stretch.is_stable:
        return f"utilisation would be {number(100 * worst.cpu_utilisation)} % ({bound} was asked)"
    of_served, shed = "", ""
    if worst.stretch.shed_rate:
        of_served = " of the queries served"
        shed = f"{number(100 * worst.stretch.shed_rate)} % are turned away, which counts as late, "
    text = (
        f"{shed}p{100 * sla.percentile:g}{of_served} is {interval_ms(worst.percentiles[sla.percentile])}, "
        f"the SLA is {bound}"
    )
    return f"in the busiest window {text}" if len(result.windows) > 1 else text


def _figures(result: FleetPrediction) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    question = result.question
    items = question.scenario.traffic.size_pmf.mean_items
    mean = f"{number(question.offered_qps, 4)} queries/s"
    if len(result.windows) > 1:
        rates = [window.window.rate_qps for window in result.windows]
        mean += f" on average, {number(min(rates), 4)} to {number(max(rates), 4)}"
    table.add_row("offered", f"{mean}, {items:.0f} items each")
    for percentile, interval in result.percentiles.items():
        table.add_row(f"p{100 * percentile:g} of all queries", interval_ms(interval))
    outside = question.scenario.traffic.outside
    if outside is not None and result.node_percentiles:
        alone_s = {each: interval.value_s for each, interval in result.node_percentiles.items()}
        table.add_row("on the nodes alone", outside_words(outside, alone_s))
    if result.shed_rate is not None:
        table.add_row(
            "shed", f"{number(100 * result.shed_rate)} % of the queries; latencies are of the others"
        )
    cpu = [window.cpu_utilisation for window in result.windows]
    table.add_row("utilisation", f"{_range(cpu)} of the cores")
    cards = [w.accelerator_utilisation for w in result.windows if w.accelerator_utilisation is not None]
    if cards:
        table.add_row("", f"{_range(cards)} of the accelerators")
    for label, power_w in (("static TDP", result.tdp_w), ("by utilisation", result.load_power_w)):
        table.add_row(f"power, {label}", "not known" if power_w is None else f"{number(power_w)} W")
    return table


def _range(fractions: list[float]) -> str:
    least, most = (number(100 * pick(fractions)) for pick in (min, max))
    return f"{most} %" if least == most else f"{least} to {most} %"


def _windows(result: FleetPrediction) -> FittingTable:
    """A row a window; on a narrow page W goes first, then p50, the busy cores, and the bars of the load."""
    leaving = {"W": 1, "p50 ms": 2, "cores busy": 3}
    headings = ("from s", "queries/s", "cores busy", "p50 ms", "p95 ms", "p99 ms", "W")
    columns = [Column(heading=each, right=True, leaves=leaving.get(each, 0)) for each in headings]
    columns += [Column(heading="verdict"), Column(heading="", is_bar=True, leaves=4)]
    most = max(window.window.rate_qps for window in result.windows)
    rows = []
    for window in _shown(result.windows):
        values = [window.percentiles.get(percentile) for percentile in (0.5, 0.95, 0.99)]
        rows.append(
            [
                number(window.window.start_s),
                number(window.window.rate_qps, 4),
                f"{100 * window.cpu_utilisation:.1f} %",
                *(number(None if value is None else value.value_s / MS, 4) for value in values),
                number(window.load_power_w),
                SHORT_VERDICTS[window.verdict],
                f"{window.window.rate_qps / most:.4f}",
            ]
        )
    return FittingTable(columns, rows, "windows; the bars are the load")


def _shown(windows: tuple[FleetWindow, ...]) -> list[FleetWindow]:
    step = -(-len(windows) // MOST_ROWS)
    busiest = max(windows, key=lambda window: window.window.rate_qps)
    return [window for index, window in enumerate(windows) if index % step == 0 or window is busiest]


def _sources(result: FleetPrediction) -> list[str]:
    nodes = [member.question.node for member in result.question.members]
    known = {
        node.short_name: error_source(node, errors) for node, errors in zip(nodes, result.errors, strict=True)
    }
    said = [words if len(known) == 1 else f"{words} ({name})" for name, words in known.items()]
    return [
        f"service times: {result.basis.label}; {'; '.join(said)}",
        f"latencies: {result.simulated_queries:,} queries simulated; "
        f"[low, high] are 95 % confidence intervals",
    ]
