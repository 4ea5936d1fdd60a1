"""The error budget in words: intervals, bands of the calibration, and what 1 % of service time costs."""

from __future__ import annotations

from math import inf

from perfmodel.planning.busiest import Busiest
from perfmodel.planning.node import AnyNode
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Band, Errors, LatencyBudget, RateBudget
from perfmodel.planning.table_node import TableNode
from perfmodel.planning.verdict import Deciding
from perfmodel.report.tables import number
from perfmodel.units import MS


def rate_interval(greatest: GreatestRate) -> str:
    """The greatest rate with the simulation's interval."""
    text = f"{number(greatest.rate_qps, 4)} queries/s"
    if greatest.ci95_qps is None:
        return text
    low, high = greatest.ci95_qps
    return f"{text} [{number(low, 4)}, {number(high, 4)}]"


def plan_interval(budget: RateBudget) -> str:
    """The rate to plan for with the simulation's interval."""
    text = f"{number(budget.plan_qps, 4)} queries/s"
    if budget.plan_ci95_qps is None:
        return text
    low, high = budget.plan_ci95_qps
    return f"{text} [{number(low, 4)}, {number(high, 4)}]"


def rate_band(band: Band, errors: Errors) -> str:
    """The greatest rate at both ends of the calibration's error."""
    low, high = ("no load" if end is None else number(end, 4) for end in band)
    return f"{low} to {high} queries/s with {service_errors(errors)}"


def latency_band(band: Band) -> str:
    """A percentile at both ends of the calibration's error."""
    low, high = (_end(end) for end in band)
    return f"{low} to {high}" + ("" if band[1] is None or band[1] == inf else " ms")


def _end(end_s: float | None) -> str:
    if end_s is None:
        return "unstable"
    return "never" if end_s == inf else f"{number(end_s / MS, 4)}"


def service_errors(errors: Errors) -> str:
    """How far off the service times may be, by device where two profiles differ."""
    if not errors.known:
        return "how far off they are is not known"
    cores = f"{number(100 * errors.cpu, 2)} %"
    if errors.accelerator is None or errors.accelerator == errors.cpu:
        return f"service times off by {cores}"
    card = f"{number(100 * errors.accelerator, 2)} %"
    return f"service times off by {cores} on the cores, {card} on the accelerator"


def error_source(node: AnyNode, errors: Errors) -> str:
    """How far off a node's service times may be, and who says so."""
    if not errors.known:
        return service_errors(errors)
    source = "root mean square on what no fit saw"
    if isinstance(node, TableNode):
        source = "as stated for it" if node.relative_error is not None else "as of nodes anchored in the hour"
    return f"{service_errors(errors)}, {source}"


def probability(value: float | None) -> str:
    """A probability in per cent, never rounded to certainty."""
    if value is None:
        return "not known"
    if value > 0.999:
        return "over 99.9 %"
    return "below 0.1 %" if value < 0.001 else f"{number(100 * value)} %"


def deciding_lines(deciding: Deciding | None) -> list[str]:
    """What would decide where nothing can be said, in a few lines; none where something was."""
    if deciding is None:
        return []
    if deciding.size is None or deciding.expected is None:
        return ["what would decide: a longer run", f"  {deciding.command}"]
    lines = [
        f"what would decide: the error of the {deciding.error}, {number(100 * deciding.size, 2)} %, "
        f"brought to about {number(100 * deciding.expected, 2)} % by",
        f"  {deciding.command}",
    ]
    if deciding.band_s is not None:
        lines.append(f"  the SLA's percentile is then expected within {latency_band(deciding.band_s)}")
    return lines


CLIFF = "room up to the cliff"


def sensitivity(
    latency: LatencyBudget | None,
    rate: RateBudget | None,
    *,
    sheds: bool = False,
    busiest: Busiest | None = None,
) -> list[tuple[str, str]]:
    """What 1 % of service time costs in p99 and in capacity, and how far the cliff is: labels and words.

    Where queries are turned away there is no cliff: more of them are. Where a day's peak or bursts decide,
    how far they are from it comes first.
    """
    said = []
    p99 = None if latency is None else latency.responses.get(0.99)
    if p99 is not None:
        said.append(f"p99 rises {number(p99)} %")
    if rate is not None and rate.response is not None:
        said.append(f"capacity falls {number(-rate.response)} %")
    lines = [("if service times grow 1 %", " and ".join(said))] if said else []
    if latency is None:
        return lines
    if latency.to_saturation < 0.0 and sheds:
        cliff = "none: the executors are full, and what they cannot serve is turned away"
    elif latency.to_saturation < 0.0:
        cliff = "none: a burst that keeps all executors busy starts a backlog that does not end"
    else:
        cliff = (
            f"{number(100 * latency.to_saturation)} % longer service times, and "
            f"{'queries are turned away without end' if sheds else 'no load like this is served'}"
        )
    if busiest is not None:
        then = (1.0 + latency.to_saturation) / busiest.factor - 1.0
        full = "none" if then < 0.0 else f"{number(100 * then)} % longer service times"
        cliff = f"{full} {busiest.when}; in the mean {cliff}"
    return [*lines, (CLIFF, cliff)]
