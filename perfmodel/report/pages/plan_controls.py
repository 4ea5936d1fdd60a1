"""Of a plan's page: controls that keep its mix of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfmodel.report.html import Block, Heading, Markup, Prose
from perfmodel.report.pages.node import controls_html, script_of
from perfmodel.report.pages.plan_nodes import unit_nodes

Document = Mapping[str, Any]


LEAST = {"nodes": "fewer nodes", "power": "less power", "price": "less money", "carbon": "less carbon"}


def plan_controls(plan: Document) -> tuple[list[Block], str] | None:
    """Controls that keep the mix; none where nodes are shared and the answer does not say by whom, nor where
    some units are of several types, whose stock the controls do not count."""
    holds = plan["provision"]
    if holds["sharing"] and plan.get("sharing_groups") is None:
        return None
    if any(set(pairs) - set(plan["node_types"]) for pairs in plan["capacity_qps"].values()):
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
    is_priced = any(each["price"] is not None for each in types.values())
    fields = [
        ("growth", "Growth on top of the file's [factor]", "1", "0.05", ""),
        ("headroom", "Head-room [%]", f"{100 * holds['headroom']:g}", "1", "99"),
        ("failures", "Nodes of each type that may fail at once", f"{holds['lost_nodes']}", "1", ""),
        *([("price", "Prices [factor]", "1", "0.05", "")] if is_priced else []),
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
