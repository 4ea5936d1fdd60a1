"""The page of `perfplan plan`: the fleet by hour, what it costs, and controls that keep its mix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.planning.plan.digits import rounded_up
from perfmodel.report.documents import made_of
from perfmodel.report.html import Block, Heading, Prose, Table, page
from perfmodel.report.pages.plan_beside import capacities, checks, other_ways
from perfmodel.report.pages.plan_controls import LEAST, plan_controls
from perfmodel.report.pages.plan_failure import after_failure
from perfmodel.report.pages.plan_nodes import by_hour, nodes_table, sharded_units
from perfmodel.report.pages.shared import glossary, question_text
from perfmodel.report.pages.sources import profiles_of
from perfmodel.report.tables import number

Document = Mapping[str, Any]


OLD = (
    "There are no controls on this page: nodes are shared, and the answer was saved by a version that did "
    "not write down which services stand together on which nodes. Ask perfplan plan again."
)


def plan_html(plan: Document) -> str:
    """Write the page of a plan's document."""
    blocks: list[Block] = [Prose(answer(plan), is_answer=True)]
    script = ""
    if plan["static"] is not None:
        blocks += [Heading("The plan"), nodes_table(plan), *sharded_units(plan)]
        blocks += by_hour(plan)
        blocks += after_failure(plan)
        if (controls := plan_controls(plan)) is not None:
            blocks += controls[0]
            script = controls[1]
        else:
            blocks += [Heading("What if"), Prose(OLD)]
    if plan["binding"] is not None:
        rows = [
            [each["change"], _enough(each["amount"]), each["unit"], each["note"]]
            for each in plan["binding"]["frees"]
        ]
        blocks += [Heading("What makes it infeasible"), Prose(plan["binding"]["constraint"])]
        blocks.append(Table(["change", "amount", "unit", "note"], rows, caption="Each alone would do"))
    blocks += other_ways(plan)
    blocks += [Heading("Where the numbers come from"), capacities(plan)]
    if plan["checks"]:
        blocks.append(checks(plan))
    blocks += [Prose(f"note: {note}") for note in plan["notes"]]
    blocks += [Prose(f"Power is {plan['power_model']}."), *profiles_of(plan), *glossary()]
    blocks += question_text(plan.get("asked", {}), plan["fleet"], "plan")
    return page(f"Plan: {plan['fleet']}", blocks, facts=made_of(plan), script=script)  # type: ignore[arg-type]


def answer(plan: Document) -> str:
    """The answer in a sentence."""
    static = plan["static"]
    if static is None:
        return f"Infeasible: no provision covers the largest demand of every service at once{_freed(plan)}."
    kinds = ", ".join(f"{count} {name}" for name, count in static["nodes_by_type"].items() if count)
    peak = sum(
        max(hour["demand_qps"][name] for hour in plan["hours"]) for name in plan["hours"][0]["demand_qps"]
    )
    power = "" if static["power_w"] is None else f", {number(static['power_w'] / 1000, 4)} kW"
    price = "" if static["price_usd_per_h"] is None else f", {number(static['price_usd_per_h'], 4)} USD/h"
    least = LEAST[plan["objective"]]
    sure = f"no plan needs {least}" if plan["optimal"] else f"{number(100 * plan['gap'])} % from the least"
    carried = f"{static['num_nodes']} nodes ({kinds}) carry a peak of {number(peak, 4)} queries/s"
    bought = sum(static["bought"].values())
    buy = f", {bought} of them still to be bought" if bought else ""
    return f"{carried}{power}{price}{buy}; {sure}.{_simulated(plan)}"


def _enough(amount: float | None) -> str:
    """An amount that frees what binds, rounded to one that does so too."""
    return number(None if amount is None else rounded_up(amount, 4), 4)


def _freed(plan: Document) -> str:
    """What binds, and the least of each kind of change that alone would free it."""
    binding = plan["binding"]
    if binding is None:
        return ""
    known = [each for each in binding["frees"] if each["amount"] is not None]
    nodes = [each for each in known if each["unit"] == "nodes"]
    least = [min(nodes, key=lambda each: float(each["amount"]))] if nodes else []
    ways = [f"{_enough(each['amount'])} {each['change']}" for each in least]
    ways += [f"{each['change']}, by {_enough(each['amount'])} W" for each in known if each["unit"] == "W"]
    ways += [each["note"] for each in known if each["note"].startswith("all demand times")]
    return f". What binds is {binding['constraint']}" + (f"; {', or '.join(ways)} would do" if ways else "")


def _simulated(plan: Document) -> str:
    """What the simulation makes of it, where it says anything else."""
    found = plan.get("simulated")
    if found is None:
        return ""
    raised = " and ".join(f"{name} by {count}" for name, count in found["raised_by"].items() if count)
    if not found["holds"]:
        lacks = f" within stock and caps: {'; '.join(found['lacks'])}" if found["lacks"] else ""
        return f" Simulated, an SLA does not hold{lacks}."
    return f" Simulated, it takes {found['num_nodes']} nodes: raised {raised}." if raised else ""
