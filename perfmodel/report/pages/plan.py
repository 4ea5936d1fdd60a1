"""The page of `perfplan plan`: the fleet by hour, what it costs, and controls that keep its mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.report.documents import made_of
from perfmodel.report.drawing import Series, bars, lines, stacked
from perfmodel.report.html import Block, Figure, Heading, Markup, Prose, Table, page
from perfmodel.report.pages.node import controls_html, script_of
from perfmodel.report.pages.shared import glossary, question_text
from perfmodel.report.pages.sources import profiles_of
from perfmodel.report.tables import number

Document = Mapping[str, Any]

SECONDS_A_MINUTE = 60.0


OLD = (
    "There are no controls on this page: nodes are shared, and the answer was saved by a version that did "
    "not write down which services stand together on which nodes. Ask perfplan plan again."
)

LEAST = {"nodes": "fewer nodes", "power": "less power", "price": "less money", "carbon": "less carbon"}


def plan_html(plan: Document) -> str:
    """Write the page of a plan's document."""
    blocks: list[Block] = [Prose(answer(plan), is_answer=True)]
    script = ""
    if plan["static"] is not None:
        blocks += [Heading("The plan"), _nodes(plan), *_sharded(plan)]
        blocks += _hours(plan)
        blocks += _after_failure(plan)
        if (controls := _controls(plan)) is not None:
            blocks += controls[0]
            script = controls[1]
        else:
            blocks += [Heading("What if"), Prose(OLD)]
    if plan["binding"] is not None:
        rows = [
            [each["change"], number(each["amount"], 4), each["unit"], each["note"]]
            for each in plan["binding"]["frees"]
        ]
        blocks += [Heading("What makes it infeasible"), Prose(plan["binding"]["constraint"])]
        blocks.append(Table(["change", "amount", "unit", "note"], rows, caption="Each alone would do"))
    blocks += _beside(plan)
    blocks += [Heading("Where the numbers come from"), _capacities(plan)]
    if plan["checks"]:
        blocks.append(_checks(plan))
    blocks += [Prose(f"note: {note}") for note in plan["notes"]]
    blocks += [Prose(f"Power is {plan['power_model']}."), *profiles_of(plan), *glossary()]
    blocks += question_text(plan.get("asked", {}), plan["fleet"], "plan")
    return page(f"Plan: {plan['fleet']}", blocks, facts=made_of(plan), script=script)  # type: ignore[arg-type]


def answer(plan: Document) -> str:
    """The answer in a sentence."""
    static = plan["static"]
    if static is None:
        return f"Infeasible: no provision covers the largest demand of every service at once{_freed(plan)}."
    kinds = " and ".join(f"{count} {name}" for name, count in static["nodes_by_type"].items() if count)
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


def _freed(plan: Document) -> str:
    """What binds, and the least of each kind of change that alone would free it."""
    binding = plan["binding"]
    if binding is None:
        return ""
    known = [each for each in binding["frees"] if each["amount"] is not None]
    nodes = [each for each in known if each["unit"] == "nodes"]
    least = [min(nodes, key=lambda each: float(each["amount"]))] if nodes else []
    ways = [f"{number(each['amount'], 4)} {each['change']}" for each in least]
    ways += [f"{each['change']}, by {number(each['amount'], 4)} W" for each in known if each["unit"] == "W"]
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


def _nodes(plan: Document) -> Table:
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


def _sharded(plan: Document) -> list[Block]:
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
        Table(heads, rows, caption="Tables on nodes of their own; the network, of a request in the mean")
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
        blocks.append(Table(heads, tried, caption="Numbers of shards that were tried"))
    return blocks


def _by_type(hour: Document, node_type: str) -> float:
    """Nodes of a type in an hour; in answers of before that was written down, each service's together."""
    if (known := hour.get("nodes_by_type")) is not None:
        return float(known.get(node_type, 0))
    return float(sum(counts.get(node_type, 0) for counts in (hour["nodes"] or {}).values()))


def _hours(plan: Document) -> list[Block]:
    hours = plan["hours"]
    names = [str(hour["hour"]) for hour in hours]
    parts = {kind: [_by_type(hour, kind) for hour in hours] for kind in plan["node_types"]}
    used = {kind: counts for kind, counts in parts.items() if any(counts)}
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
    services = list(hours[0]["demand_qps"])
    demand = [
        Series(name=each, x=[h["hour"] for h in hours], y=[h["demand_qps"][each] for h in hours])
        for each in services
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
    blocks.append(
        Table(["hour", "demand queries/s", "nodes", "power W", "USD/h"], rows, caption="Each hour for itself")
    )
    return blocks


def _beside(plan: Document) -> list[Block]:
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
    blocks.append(Table(heads, rows))
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
    blocks: list[Block] = [Table(heads, rows, caption="With more traffic")]
    if growth["gives_out_at"] is not None:
        at = number(growth["gives_out_at"], 4)
        blocks.append(Prose(f"Served up to a growth of {at}; beyond it {growth['gives_out']} gives out."))
    return blocks


def _counted(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{count} {name}" for name, count in (counts or {}).items() if count) or "–"


def _capacities(plan: Document) -> Table:
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
    return Table(
        heads, rows, caption="What one node (or unit) carries, by the central estimate and with confidence"
    )


def _checks(plan: Document) -> Table:
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
    return Table(heads, rows, caption="The plan, simulated")


def _fewest(check: Document) -> list[str]:
    fewest = check.get("fewest_nodes") or {}
    return [str(fewest.get(key) or "–") for key in ("random", "join_shortest_queue")]


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


def _after_failure(plan: Document) -> list[Block]:
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
    horizon_s, services = of["horizon_s"], list(plan["hours"][0]["demand_qps"])
    slowest = sorted(found, key=lambda each: -(each["recovers_after_s"] or horizon_s + each["rate_qps"]))
    curves = [
        Series(
            name=f"{each['service']}, {each['failure']}",
            paint=services.index(each["service"]),  # as in the figure of the demand
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


def _controls(plan: Document) -> tuple[list[Block], str] | None:
    """Controls that keep the mix; none where nodes are shared and the answer does not say by whom."""
    holds = plan["provision"]
    if holds["sharing"] and plan.get("sharing_groups") is None:
        return None
    curves = {service: _known_curves(plan, service) for service in plan["static"]["nodes"]}
    services = [
        {
            "name": service,
            "low_qps": {kind: pair["low_qps"] for kind, pair in plan["capacity_qps"][service].items()},
            "sla": _curve(curves[service]),
            "peak_qps": max(hour["planned_qps"][service] for hour in plan["hours"]),
        }
        for service in plan["static"]["nodes"]
    ]
    by_utilisation = plan["power_model"].startswith("by utilisation")
    types = {
        name: {
            "owned": each["owned"],
            "available": each["available"],
            "tdp_w": each["tdp_w"],
            "idle_w": each.get("idle_w"),
            "swing_w": None if each.get("idle_w") is None else each["peak_w"] - each["idle_w"],
            "price": each["price_usd_per_h"],
            "buy_price": each["price_usd_per_h"]
            if each["buy_price_usd_per_h"] is None
            else each["buy_price_usd_per_h"],
        }
        for name, each in plan["node_types"].items()
    }
    data = {
        "kind": "plan",
        "services": services,
        "parts": _parts(plan),
        "types": types,
        "by_utilisation": by_utilisation,
        "headroom": holds["headroom"],
        "free_in_failure": holds["headroom_in_failure"],
        "lost": holds["lost_nodes"],
        "zones": holds["zones"] or 0,
        "maintenance": holds["maintenance"],
        "objective": plan["objective"] if plan["objective"] in LEAST else "nodes",
    }
    fields = [
        ("growth", "Growth on top of the file's [factor]", "1", "0.05", ""),
        ("headroom", "Head-room [%]", f"{100 * holds['headroom']:g}", "1", "99"),
        ("failures", "Nodes of each type that may fail at once", f"{holds['lost_nodes']}", "1", ""),
        ("price", "Prices [factor]", "1", "0.05", ""),
    ]
    known = []
    for index, (service, at) in enumerate(curves.items()):
        if at is not None:
            known.append(service)
            label = f"SLA of {service}: p{100 * at['percentile']:g} [ms]"
            fields.insert(len(known) - 1, (f"sla-{index}", label, f"{at['latency_ms']:g}", "1", ""))
    said = (
        f"Capacities at other SLAs ({', '.join(known)}) were found with the batch size and threshold that "
        "each pair has, at half to twice the SLA, and are drawn through those in between."
        if known
        else "The SLA is in the capacities, which the file gives: perfplan plan has to be told others."
        if all(
            pair["source"] == "given" for pairs in plan["capacity_qps"].values() for pair in pairs.values()
        )
        else "The SLA is in the capacities; perfplan plan --sla-curves finds them at other ones, too."
    )
    kept = (
        "Services that share nodes keep their mix of them"
        if holds["sharing"]
        else "Each service keeps its mix of node types"
    )
    blocks: list[Block] = [
        Heading("What if"),
        Prose(
            f"{kept}, in the smallest multiple that serves the peak in "
            f"every state that has to hold: the numbers of perfplan plan with that mix. {said}"
        ),
        Markup(controls_html(fields)),
        Markup(
            '<p aria-live="polite"><output id="o-nodes"></output> nodes, <output id="o-power"></output>, '
            '<output id="o-price"></output>: <output id="o-mix"></output>. <span id="o-note"></span></p>'
        ),
    ]
    return blocks, script_of(data)


def _parts(plan: Document) -> list[Document]:
    """Services that stand on nodes together, by index, each with its groups of nodes.

    `groups` are the mix, in units; on one of the types in `alone` all services of the part could stand.
    """
    names = list(plan["static"]["nodes"])
    every = _groups(plan)
    found: list[Document] = []
    for together in _together(names, every):
        at = [names.index(name) for name in together]
        groups = [
            {
                "type": each["node_type"],
                "services": [names.index(name) for name in each["services"]],
                "units": each["num_nodes"] // each["unit_nodes"],
                "unit": each["unit_nodes"],
            }
            for each in every
            if each["num_nodes"] and set(each["services"]) <= set(together)
        ]
        alone = {
            each["node_type"]: {"type": each["node_type"], "unit": each["unit_nodes"]}
            for each in every
            if set(together) <= set(each["services"])
        }
        found.append({"services": at, "groups": groups, "alone": list(alone.values())})
    return found


def _groups(plan: Document) -> list[Document]:
    """Nodes that serve the same services: as shared ones are written down, else by service and type."""
    if plan["provision"]["sharing"]:
        return list(plan["sharing_groups"])
    return [
        {
            "node_type": kind,
            "services": [service],
            "unit_nodes": unit_nodes(plan, service, kind),
            "num_nodes": counts.get(kind, 0),
        }
        for service, counts in plan["static"]["nodes"].items()
        for kind in plan["capacity_qps"][service]
    ]


def _together(names: Sequence[str], groups: Sequence[Document]) -> list[list[str]]:
    """Services that share nodes, be it by way of others, in their order."""
    found = [{name} for name in names]
    for each in groups:
        touched = [of for of in found if each["num_nodes"] and of & set(each["services"])]
        if touched:
            found = [of for of in found if of not in touched] + [set[str]().union(*touched)]
    return sorted(([name for name in names if name in of] for of in found), key=lambda of: names.index(of[0]))


def _known_curves(plan: Document, service: str) -> Document | None:
    """What nodes carry at other SLAs, where that is known of all types of the service's mix."""
    at: Document | None = (plan.get("capacity_at_sla") or {}).get(service)
    used = [kind for kind, count in plan["static"]["nodes"][service].items() if count]
    return at if at is not None and all(kind in at["node_types"] for kind in used) else None


def _curve(at: Document | None) -> dict[str, Any] | None:
    if at is None:
        return None
    points = {
        kind: [[each["latency_ms"], each["low_qps"]] for each in own]
        for kind, own in at["node_types"].items()
    }
    return {"own_ms": at["latency_ms"], "curves": points}
