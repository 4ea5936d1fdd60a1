"""Of a plan's page: other ways to provide, what safeties cost, capacities, and what was simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.planning.plan.digits import rounded_down
from perfmodel.report.drawing import bars
from perfmodel.report.html import Block, Figure, Folded, Heading, Prose, Table
from perfmodel.report.tables import number

Document = Mapping[str, Any]


def other_ways(plan: Document) -> list[Block]:
    """Other ways to provide, what each safety costs, what was not chosen, and more traffic."""
    blocks: list[Block] = [Heading("What else there would be")]
    baselines = {name.replace("_", " "): each for name, each in plan["baselines"].items()}
    some = {name: each for name, each in baselines.items() if each["node_hours"] is not None}
    if some:
        drawn = bars(
            list(some),
            {"node hours": [each["node_hours"] for each in some.values()]},
            y_label="node hours a day",
            title="Node hours of other ways to provide",
            text=(
                "The perfect autoscaler has each hour's nodes at once: with its head-room and failures "
                "nothing needs less. The simulated one keeps a target utilisation in their place."
            ),
        )
        blocks.append(Figure(drawn))
    rows = [
        [
            name,
            "yes" if each["feasible"] else "no",
            "–" if each["num_nodes"] is None else str(each["num_nodes"]),
            number(each["node_hours"], 5),
            number(each["mean_power_w"], 5),
            number(each["mean_price_usd_per_h"], 4),
            "–" if (missed := each["sla_missed_share"]) is None else f"{number(100 * missed)} %",
            each["note"],
        ]
        for name, each in baselines.items()
    ]
    heads = ["way", "feasible", "nodes at peak", "node hours", "mean W", "mean USD/h", "SLA missed"]
    heads += ["what it does"]
    blocks.append(Table(heads, rows, is_trimmed=True))
    if plan["safeties"]:
        unit = plan["objective_unit"]
        rows = [
            [
                each["safety"],
                "–" if each["num_nodes"] is None else f"{each['num_nodes']:+d}",
                number(each["objective_value"], 4),
            ]
            for each in plan["safeties"]
        ]
        blocks.append(Table(["safety", "nodes", unit], rows, caption="What each safety costs"))
    blocks += [Prose(f"Not chosen: {each['node_type']}: {each['why']}.") for each in plan["not_chosen"]]
    return [*blocks, *_growth(plan)]


def _growth(plan: Document) -> list[Block]:
    """What more traffic takes, and where it ends."""
    growth = plan["growth"]
    if growth is None:
        return []
    rows = [
        [
            number(row["growth"], 4),
            "infeasible" if row["num_nodes"] is None else str(row["num_nodes"]),
            number(row["power_w"], 5),
            number(row["price_usd_per_h"], 4),
            _counted(row["bought"]),
            _counted(row["unused"]),
        ]
        for row in growth["rows"]
    ]
    heads = ["growth", "nodes", "W", "USD/h", "to be bought", "owned, not needed"]
    blocks: list[Block] = [Table(heads, rows, caption="With more traffic", is_trimmed=True)]
    if growth["gives_out_at"] is not None:
        at = number(rounded_down(growth["gives_out_at"], 4), 4)
        blocks.append(Prose(f"Served up to a growth of {at}; beyond it {growth['gives_out']} gives out."))
    return blocks


def _counted(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{count} {name}" for name, count in (counts or {}).items() if count) or "–"


MOST_ROWS = 60
"""Capacities that a page shows unfolded."""


def capacities(plan: Document) -> Block:
    """What one node of each type carries of each service."""
    rows = [
        [
            service,
            node_type,
            number(pair["qps"], 4),
            number(pair["low_qps"], 4),
            "–" if pair["batch_size"] is None else str(pair["batch_size"]),
            "–" if pair["offload_threshold_items"] is None else str(pair["offload_threshold_items"]),
            pair["source"],
        ]
        for service, pairs in plan["capacity_qps"].items()
        for node_type, pair in pairs.items()
    ]
    sure = number(100 * plan["provision"]["confidence"])
    heads = ["service", "node type", "queries/s", f"with {sure} %", "batch", "threshold", "source"]
    caption = "What one node (or unit) carries, by the central estimate and with confidence"
    table = Table(heads, rows, caption=caption, is_trimmed=True)
    return table if len(rows) <= MOST_ROWS else Folded(f"{len(rows)} capacities of nodes", [table])


def checks(plan: Document) -> Table:
    """The plan's nodes, simulated in some hours."""
    rows = [
        [
            str(each["hour"]),
            each["service"],
            str(each["num_nodes"]),
            f"p{100 * each['percentile']:g}",
            number(each["latency_ms"], 4),
            number(each["limit_ms"], 4),
            each["verdict"],
            *_fewest(each),
        ]
        for each in plan["checks"]
    ]
    heads = ["hour", "service", "nodes", "percentile", "ms", "SLA ms", "verdict"]
    heads += ["fewest nodes, drawn at random", "if the router saw every queue"]
    return Table(heads, rows, caption="The plan, simulated", is_trimmed=True)


def _fewest(check: Document) -> list[str]:
    fewest = check.get("fewest_nodes") or {}
    return [str(fewest.get(key) or "–") for key in ("random", "join_shortest_queue")]
