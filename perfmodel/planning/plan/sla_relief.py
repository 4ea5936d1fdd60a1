"""From which latency of an SLA on an infeasible plan would be feasible: capacities are asked for again."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from perfmodel.domain.scenario import Scenario
from perfmodel.loading.scenario_file import overridden
from perfmodel.loading.validated import validate
from perfmodel.planning.plan.answer import Relief
from perfmodel.planning.plan.binding import is_feasible
from perfmodel.planning.plan.capacities import PairAsked, capacities_of, with_count_of
from perfmodel.planning.plan.programme import FloatArray
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.planning.prepare import PreparedPair
from perfmodel.units import MS

LONGEST = 16.0
"""Longest latency that is tried, over the SLA's: what it does not free is short of nodes. [1]"""

PRECISION = 1.05
"""The least that was found to do is at most so many times the longest that was found not to. [1]"""

DIGITS = 3
"""Of latencies that are tried: what is told is what was tried. [1]"""


def sla_reliefs(question: PlanQuestion, demand_qps: FloatArray, *, extrapolate: bool) -> tuple[Relief, ...]:
    """For each service alone: the least latency of its SLA with which there is a provision.

    Leaves out services all of whose capacities are given: they do not follow the SLA.
    """
    return tuple(
        _relief(question, demand_qps, row, extrapolate=extrapolate)
        for row, service in enumerate(question.services)
        if demand_qps[row] > 0.0 and asked_pairs(question, service.name)
    )


def asked_pairs(question: PlanQuestion, service: str) -> list[str]:
    """Node types whose capacity for a service follows from its SLA."""
    return [
        name for (asked, name), pair in question.prepared.items() if asked == service and pair.misfit is None
    ]


def _ways(question: PlanQuestion, service: str, name: str) -> list[PreparedPair]:
    """All ways for a node type to serve a service, those too with which it meets no SLA yet."""
    prepared = question.prepared[service, name]
    tried = question.tried.get((service, name), ())
    return [with_count_of(prepared, each.num_shards) for each in tried] or [prepared]


def _relief(question: PlanQuestion, demand_qps: FloatArray, row: int, *, extrapolate: bool) -> Relief:
    service = question.services[row].name
    limit_ms = question.slas[service].latency_s / MS

    def frees(latency_ms: float) -> bool:
        other = with_latency(question, service, latency_ms, extrapolate=extrapolate)
        return is_feasible(other.programme(demand_qps))

    change = f"SLA of {service}"
    short_ms, enough_ms = limit_ms, _rounded(LONGEST * limit_ms)
    if not frees(enough_ms):
        note = f"not even {enough_ms:g} ms is enough"
        return Relief(change=change, amount=None, unit="ms", note=note)
    while enough_ms > PRECISION * short_ms:
        middle_ms = _rounded(sqrt(short_ms * enough_ms))
        if not short_ms < middle_ms < enough_ms:
            break
        short_ms, enough_ms = (short_ms, middle_ms) if frees(middle_ms) else (middle_ms, enough_ms)
    note = f"instead of {limit_ms:g} ms; {short_ms:g} ms is not enough"
    return Relief(change=change, amount=enough_ms, unit="ms", note=note)


def _rounded(latency_ms: float) -> float:
    return float(f"{latency_ms:.{DIGITS}g}")


def with_latency(
    question: PlanQuestion, service: str, latency_ms: float, *, extrapolate: bool
) -> PlanQuestion:
    """The same with another latency in the SLA of a service, and the capacities that it has then."""
    said = question.asked["services"][service]
    tune = bool(said.get("tune", True))
    prepared = [
        ((service, name), _promising(way, latency_ms))
        for name in asked_pairs(question, service)
        for way in _ways(question, service, name)
    ]
    found = capacities_of(
        [PairAsked(pair, each.loaded, tune) for pair, each in prepared],
        [each for _, each in prepared],
        confidence=question.provision.confidence,
        extrapolate=extrapolate,
    )
    kept = {pair: each for pair, each in question.capacities.items() if pair not in found.prepared}
    ways = {pair: each for pair, each in question.ways.items() if pair not in found.prepared}
    return replace(question, capacities={**kept, **found.found}, ways={**ways, **found.ways})


def _promising(pair: PreparedPair, latency_ms: float) -> PreparedPair:
    """A pair with another latency in its SLA."""
    source = overridden(pair.loaded.source, f"sla.latency_ms={latency_ms!r}")
    loaded = replace(pair.loaded, scenario=validate(source, Scenario), source=source)
    return replace(pair, loaded=loaded)
