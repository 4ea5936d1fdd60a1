"""Of a plan's page: the minutes after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.report.drawing import COLOURS, Series, lines
from perfmodel.report.html import Block, Figure, Heading, Prose, Table
from perfmodel.report.tables import number

Document = Mapping[str, Any]


SECONDS_A_MINUTE = 60.0


ENDINGS = {
    "recovers": "recovers",
    "overloaded": "overloaded: what serves is less than what is asked for",
    "retry_storm": "retry storm: what is asked again keeps it from recovering",
    "draining": "the backlog still shrinks",
}


MOST_CURVES = 6
"""Services whose backlog is drawn: those that take longest to recover."""


def again_words(retries: int) -> str:
    """How often a client asks again."""
    often = {0: "gives up", 1: "asks again once", 2: "asks again, twice at most"}
    return often.get(retries, f"asks again, {retries} times at most")


def after_failure(plan: Document) -> list[Block]:
    """The minutes after each failure: backlogs over time, and what each costs."""
    found = plan.get("after_failure") or []
    if not found:
        return []
    of = plan["transient"]
    timeout = "ten times the SLA's latency" if of["timeout_ms"] is None else f"{number(of['timeout_ms'])} ms"
    again = (
        "never serve again" if of["restart_s"] is None else f"serve again {number(of['restart_s'])} s later"
    )
    assumed = (
        "" if of["decides"] else " All of this is assumed: the fleet file can say it (provision.transient)."
    )
    text = (
        f"Arrivals go on; the router finds out after {number(of['detection_s'])} s, the lost nodes {again}; "
        f"a client that has waited for {timeout} {again_words(of['retries'])}.{assumed}"
    )
    blocks: list[Block] = [Heading("The minutes after a failure"), Prose(text)]
    horizon_s, services = of["horizon_s"], list(dict.fromkeys(each["service"] for each in found))
    if len(asked := list(plan["hours"][0]["demand_qps"])) <= COLOURS:
        services = asked  # colours as in the figure of the demand
    slowest = sorted(found, key=lambda each: -(each["recovers_after_s"] or horizon_s + each["rate_qps"]))
    curves = [
        Series(
            name=f"{each['service']}, {each['failure']}",
            paint=services.index(each["service"]),
            x=[moment["at_s"] / SECONDS_A_MINUTE for moment in each["moments"]],
            y=[moment["backlog_queries"] / each["rate_qps"] for moment in each["moments"]],
        )
        for each in slowest[:MOST_CURVES]
        if any(moment["backlog_queries"] for moment in each.get("moments", ()))
    ]
    if curves:
        drawn = lines(
            curves,
            x_label="minutes after the loss",
            y_label="backlog, in seconds of what is asked for",
            title="Backlog after a failure",
            text="Queries that wait on nodes that serve, over what clients ask for in a second.",
        )
        blocks.append(Figure(drawn))
    rows = [
        [
            each["service"],
            each["failure"],
            f"{sum(each['lost_nodes'].values())} of {each['num_nodes']}",
            number(each["capacity_left_qps"], 4),
            number(each["rate_qps"], 4),
            number(each["failed_queries"], 3),
            number(each["late_queries"], 3),
            ENDINGS[each["verdict"]],
            number(each["recovers_after_s"], 3),
            "–" if each["num_nodes_needed"] is None else str(each["num_nodes_needed"]),
        ]
        for each in found
    ]
    heads = [
        *("service", "failure", "nodes lost", "left queries/s", "asked queries/s", "failed", "late"),
        *("verdict", "after s", "nodes to recover"),
    ]
    blocks.append(Table(heads, rows, caption="Each service at its largest demand, on the static nodes"))
    return blocks
