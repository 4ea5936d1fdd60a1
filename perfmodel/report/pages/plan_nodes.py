"""Of a plan's page: which nodes serve what, what was tried in shards, and the fleet by hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.report.drawing import COLOURS, Series, lines, stacked
from perfmodel.report.html import Block, Figure, Heading, Table
from perfmodel.report.tables import number

Document = Mapping[str, Any]


def nodes_table(plan: Document) -> Table:
    """The static provision by service and type."""
    if plan["provision"]["sharing"] and plan.get("sharing_groups") is not None:
        return _shared_nodes(plan)
    rows = [
        [
            service,
            node_type,
            str(count),
            number(plan["capacity_qps"][service][node_type]["low_qps"], 4),
            str(unit_nodes(plan, service, node_type)),
        ]
        for service, counts in plan["static"]["nodes"].items()
        for node_type, count in counts.items()
        if count
    ]
    return _of_units(["service", "node type", "nodes"], "", rows, plan)


def _of_units(heads: Sequence[str], of: str, rows: Sequence[Sequence[str]], plan: Document) -> Table:
    """The static provision; the last column, nodes of a unit, only where some unit has more than one."""
    bought = ", ".join(f"{count} {name}" for name, count in plan["static"]["bought"].items() if count)
    caption = "The static provision: on all day, it covers the peak of every service"
    caption += f"; still to be bought: {bought}" if bought else ""
    if all(row[-1] == "1" for row in rows):
        return Table([*heads, f"queries/s a node{of}"], [row[:-1] for row in rows], caption=caption)
    return Table([*heads, f"queries/s a unit{of}", "nodes a unit"], rows, caption=caption)


def _shared_nodes(plan: Document) -> Table:
    """Nodes by the services that share them."""
    rows = [
        [
            ", ".join(each["services"]),
            each["node_type"],
            str(each["num_nodes"]),
            ", ".join(
                number(plan["capacity_qps"][name][each["node_type"]]["low_qps"], 4)
                for name in each["services"]
            ),
            str(each["unit_nodes"]),
        ]
        for each in plan["sharing_groups"]
        if each["num_nodes"]
    ]
    return _of_units(["services that share them", "node type", "nodes"], ", of each alone", rows, plan)


def unit_nodes(plan: Document, service: str, node_type: str) -> int:
    """Nodes that serve together; 1 in answers of before there were such."""
    return int(plan["capacity_qps"][service][node_type].get("num_nodes") or 1)


def sharded_units(plan: Document) -> list[Block]:
    """Units of several nodes, and what was tried; nothing where each node serves by itself."""
    units = plan.get("sharded") or []
    if not units:
        return []
    rows = [
        [
            each["service"],
            each["node_type"],
            str(each["num_nodes"]),
            str(each["shards"]),
            each["by"] or "–",
            "–" if each["replicas"] is None else str(each["replicas"]),
            number(each["fullest_gib"]),
            number(each["network_ms"]),
            "–" if each["network_share"] is None else f"{number(100 * each['network_share'])} %",
            number(each["request_mb"]),
        ]
        for each in units
    ]
    heads = ["service", "node type", "nodes a unit", "shards", "by", "copies", "GiB in the fullest"]
    heads += ["network ms", "of a request", "MB"]
    blocks: list[Block] = [
        Table(
            heads,
            rows,
            caption="Tables on nodes of their own; the network, of a request in the mean",
            is_trimmed=True,
        )
    ]
    tried = [
        [
            each["service"],
            each["node_type"],
            str(one["shards"]),
            number(one["low_qps"], 4),
            one["why_not"] or "–",
        ]
        for each in units
        for one in each["tried"]
    ]
    if tried:
        heads = ["service", "node type", "shards", "queries/s a unit", "why not"]
        blocks.append(Table(heads, tried, caption="Numbers of shards that were tried", is_trimmed=True))
    return blocks


def _by_type(hour: Document, node_type: str) -> float:
    """Nodes of a type in an hour; in answers of before that was written down, each service's together."""
    if (known := hour.get("nodes_by_type")) is not None:
        return float(known.get(node_type, 0))
    return float(sum(counts.get(node_type, 0) for counts in (hour["nodes"] or {}).values()))


def few(parts: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Parts by hour, no more than there are colours: of more, the largest and all others together.

    Examples
    --------
    >>> few({name: [float(size)] for size, name in enumerate("abcdefgh", start=1)})
    {'d': [4.0], 'e': [5.0], 'f': [6.0], 'g': [7.0], 'h': [8.0], '3 others': [6.0]}
    """
    if len(parts) <= COLOURS:
        return dict(parts)
    largest = sorted(parts, key=lambda name: -max(parts[name]))[: COLOURS - 1]
    rest = [each for name, each in parts.items() if name not in largest]
    shown: dict[str, Sequence[float]] = {name: each for name, each in parts.items() if name in largest}
    return shown | {f"{len(rest)} others": [sum(each) for each in zip(*rest, strict=True)]}


def by_hour(plan: Document) -> list[Block]:
    """Nodes, demand, power and price of each hour."""
    hours = plan["hours"]
    names = [str(hour["hour"]) for hour in hours]
    parts = {kind: [_by_type(hour, kind) for hour in hours] for kind in plan["node_types"]}
    used = few({kind: counts for kind, counts in parts.items() if any(counts)})
    total = [sum(hour["demand_qps"].values()) for hour in hours]
    most, peak = max((sum(c[i] for c in used.values()) for i in range(len(hours))), default=1.0), max(total)
    blocks: list[Block] = [Heading("The fleet by hour")]
    if used:
        line = Series(
            name=f"demand, 1 node = {number(peak / most, 3)} queries/s",
            x=range(len(hours)),
            y=[value * most / peak for value in total],
        )
        fewest = min(map(sum, zip(*used.values(), strict=True)))
        text = (
            f"Nodes that are on, each hour planned for itself: {int(fewest)} to {int(most)} of the static "
            f"{plan['static']['num_nodes']}; the line is the demand of all services."
        )
        blocks.append(
            Figure(
                stacked(
                    names, used, x_label="hour", y_label="nodes", title="Nodes by hour", text=text, line=line
                )
            )
        )
    every = {name: [hour["demand_qps"][name] for hour in hours] for name in hours[0]["demand_qps"]}
    demand = [
        Series(name=name, x=[hour["hour"] for hour in hours], y=asked) for name, asked in few(every).items()
    ]
    blocks.append(
        Figure(
            lines(demand, x_label="hour", y_label="queries/s", title="Demand by hour", text="The forecast.")
        )
    )
    rows = [
        [
            str(hour["hour"]),
            number(sum(hour["demand_qps"].values()), 4),
            "–" if hour["num_nodes"] is None else str(hour["num_nodes"]),
            number(hour["power_w"], 5),
            number(hour["price_usd_per_h"], 4),
        ]
        for hour in hours
    ]
    heads = ["hour", "demand queries/s", "nodes", "power W", "USD/h"]
    blocks.append(Table(heads, rows, caption="Each hour for itself", is_trimmed=True))
    return blocks
