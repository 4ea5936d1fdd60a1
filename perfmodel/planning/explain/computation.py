"""What binds, and every change by itself: all of it on the same random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import NamedTuple

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import PerfplanError
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.planning.breakdown import BatchBreakdown, break_down
from perfmodel.planning.busiest import Busiest, busiest
from perfmodel.planning.diff.side import Figure, largest_load, spread_of_difference
from perfmodel.planning.explain.answer import Binds, Explanation, Gain
from perfmodel.planning.explain.changes import Change, changes_of, refusal
from perfmodel.planning.explain.places import Place, places_of
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.planning.verdict import central_verdict
from perfmodel.sim.policies import largest_cpu_launch_items
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.utilisation import PoolLoads, stage_loads
from perfmodel.threads import Tell, side_by_side, untold

NEARLY_FULL = 0.85
"""Share of the load that fills the node from which on it is the node that binds, and not the SLA. [1]"""

PARTS = ("compute", "memory", "cache", "calls", "conversion")
"""Of a device, each of which is a step."""

LEAST_GAIN = 0.01
"""Of 10 % more of a part, for it to be what binds. [1]"""

MOSTLY = 0.5
"""Share of a batch's time from which conversion binds. [1]"""


def explain(
    loaded: LoadedScenario, *, mixed_stacks: bool = False, extrapolate: bool = False, tell: Tell = untold
) -> Explanation:
    """Say what binds a node, and what single changes would bring.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    with loaded.places():
        if not extrapolate:
            question.times.require_calibrated()
        stages = _stages_at(loaded, question)
    changes = changes_of(loaded, question, mixed_stacks=mixed_stacks)
    fullest = max(stages, key=lambda stage: max(stage.loads))

    def ask(change: Change | None) -> Figure | Gain | None:
        if change is None:
            return largest_load(question)
        return _gain(change, extrapolate)

    base, *found = side_by_side(ask, [None, *changes], tell)
    assert base is None or isinstance(base, Figure)
    gains = [
        _over(base, change, each) for change, each in zip(changes, found, strict=True) if each is not None
    ]
    rate_qps = None if base is None else base.value
    spread = None if base is None else base.spread
    run = _offered(question)
    asked_qps = question.traffic.rate_qps
    if question.traffic.is_closed:  # what is shed was asked for too
        assert run.throughput_qps is not None, "closed users overload nothing"
        asked_qps = run.throughput_qps / (1.0 - run.shed_share)
    return Explanation(
        question=question,
        binds=_binds(fullest, rate_qps, gains, busiest(question)),
        latency_bounded_qps=rate_qps,
        ci95_qps=None if rate_qps is None or spread is None else (rate_qps - spread[0], rate_qps + spread[1]),
        saturation_qps=1.0 / max(fullest.loads),
        offered_qps=asked_qps,
        verdict=central_verdict(question.sla, run),
        gains=tuple(sorted(gains, key=lambda gain: -inf if gain.gain is None else gain.gain, reverse=True)),
    )


class _Busy(NamedTuple):
    """A stage, and what a query a second asks of its pools with all executors busy. [1]"""

    place: Place
    loads: PoolLoads


def _stages_at(loaded: LoadedScenario, question: Question) -> list[_Busy]:
    """Every stage with its loads, one query a second arriving."""
    opened = replace(question.traffic, arrivals=PoissonArrivals(rate_qps=1.0))
    loads = stage_loads(opened, question.times.table, question.policy, contended=True)
    return [_Busy(*each) for each in zip(places_of(loaded, question), loads, strict=True)]


def _offered(question: Question) -> RunResult:
    """How the offered load fares."""
    sla = question.sla
    return run_until_precise(
        question.traffic,
        question.times.table,
        question.policy,
        question.simulation,
        percentile=sla.percentile,
        latency_s=sla.latency_s,
    )


def _gain(change: Change, extrapolate: bool) -> Figure | Gain | None:
    """The largest load with a change; why there is none."""
    question = refusal(change)
    if isinstance(question, PerfplanError):
        return _refused(change, str(question))
    try:
        if not extrapolate:
            question.times.require_calibrated()
        found = largest_load(question)
    except PerfplanError as error:
        return _refused(change, str(error))
    if found is None:
        return _refused(change, "no load meets the SLA")
    return Figure(
        value=found.value,
        moved=found.moved,
        controls=found.controls,
        repeated=found.repeated,
        spread=found.spread,
        of=question,
    )


def _refused(change: Change, reason: str) -> Gain:
    return Gain(
        change=change.name,
        kind=change.kind,
        resource=change.resource,
        setting=change.setting,
        latency_bounded_qps=None,
        gain=None,
        ci95=None,
        tdp_w=None,
        reason=reason,
        stage=change.stage,
    )


def _over(base: Figure | None, change: Change, found: Figure | Gain) -> Gain:
    """What a change brings over nothing changed, with the interval of that."""
    if isinstance(found, Gain):
        return found
    gain, ci95 = None, None
    if base is not None:
        gain = found.value / base.value - 1.0
        spread = spread_of_difference(base, found)
        if spread is not None:
            ci95 = (gain - spread[0] / base.value, gain + spread[1] / base.value)
    assert found.of is not None
    # A faster part of the same device has no other data sheet: its power is not known.
    known = change.kind == "option" or change.resource in ("sla", "cores")
    return Gain(
        change=change.name,
        kind=change.kind,
        resource=change.resource,
        setting=change.setting,
        latency_bounded_qps=found.value,
        gain=gain,
        ci95=ci95,
        tdp_w=found.of.tdp_w if known else None,
        stage=change.stage,
    )


def _binds(fullest: _Busy, rate_qps: float | None, gains: list[Gain], peak: Busiest | None = None) -> Binds:
    """What binds: the SLA, where a node is far from full at its largest load; else what fills it.

    Of several stages it is the fullest one that is looked into.
    """
    place, loads = fullest
    sla, stage = place.question.sla, place.name
    bound = f"p{100 * sla.percentile:g} within {sla.latency_ms:g} ms"
    if rate_qps is None:
        return Binds(
            resource="sla",
            why=f"no load meets {bound}: queries that find the {_what(stage)} idle take longer",
        )
    used = rate_qps * max(loads) * (1.0 if peak is None else peak.factor)
    when = "" if peak is None else f" {peak.when}"
    steps = {
        gain.resource: gain.gain
        for gain in gains
        if gain.kind == "step" and gain.gain is not None and gain.stage in (None, stage, place.machine)
    }
    brings = f"; +10 % of the SLA brings {100 * steps['sla']:+.1f} %" if "sla" in steps else ""
    if used < NEARLY_FULL:
        why = (
            f"{bound} holds up to {100 * used:.0f} % of the load that fills "
            f"{'the node' if stage is None else stage}{when}: latency binds, not work"
        )
        return Binds(resource="sla", why=why + brings)
    pool = "cores" if loads.cpu >= loads.accelerator else "accelerator"
    verb, much = "are" if pool == "cores" else "is", f"{100 * used:.0f} %"
    whose = "" if stage is None else f" of {stage}"
    full = f"at the largest load the {pool}{whose} {verb} {much} full{when}"
    if used > 1.0 and place.policy.shedding is not None:
        full = f"the largest load asks for {much} of what the {pool} can serve{when}, the rest is turned away"
    breakdown = _breakdown(place, pool)
    if breakdown is None:
        why = f"{full}: a table of service times does not say with what{brings}"
        return Binds(resource=pool, why=why, stage=stage)
    shares = _shares(breakdown)
    operator, its_share = max(shares.by_operator.items(), key=lambda item: item[1])
    return Binds(
        resource=_inside(shares, steps, pool),
        why=f"{full}; {_words(shares, steps, pool)}{brings}",
        operator=operator,
        operator_share=its_share,
        stage=stage,
    )


def _what(stage: str | None) -> str:
    return "node" if stage is None else "stages"


def _breakdown(place: Place, pool: str) -> BatchBreakdown | None:
    """A full batch with all cores busy, or a launch of the largest query."""
    node, most_items = place.node, place.sizes.max_items
    if not isinstance(node, ServingNode):
        return None
    if pool == "accelerator":
        time = node.accelerator_time(most_items)
        return None if time is None else break_down(time)
    full = largest_cpu_launch_items(place.policy, most_items)
    if not full:
        return None
    return break_down(node.cpu_time(full, node.cores, node.mix(place.policy, place.sizes)))


class _Shares(NamedTuple):
    """Shares of a batch's time by operator and by what bounds it, and that of converting inputs. [1]"""

    by_operator: Mapping[str, float]
    by_bound: Mapping[str, float]
    conversion: float


def _shares(breakdown: BatchBreakdown) -> _Shares:
    by_operator: dict[str, float] = {}
    by_bound: dict[str, float] = {}
    conversion = 0.0
    for row in breakdown.operators:
        by_operator[row.name] = by_operator.get(row.name, 0.0) + row.share
        by_bound[row.bound] = by_bound.get(row.bound, 0.0) + row.share
        conversion += row.share if row.kind == "input" else 0.0
    return _Shares(by_operator, by_bound, conversion)


def _inner_steps(steps: Mapping[str, float], pool: str) -> dict[str, float]:
    """What 10 % more of each part of the busier pool's device brings. [1]"""
    prefix = "" if pool == "cores" else "accelerator "
    tried = {name.removeprefix(prefix): gain for name, gain in steps.items() if name.startswith(prefix)}
    return {name: tried[name] for name in PARTS if name in tried}


def _inside(shares: _Shares, steps: Mapping[str, float], pool: str) -> str:
    """What of a full pool binds: the part of it that brings most, which may be the executors themselves."""
    inner = _inner_steps(steps, pool)
    if shares.conversion >= MOSTLY:
        return "conversion"
    best = max(inner, key=lambda name: inner[name], default=pool)
    return best if best in ("memory", "cache", "conversion") and inner[best] >= LEAST_GAIN else pool


def _words(shares: _Shares, steps: Mapping[str, float], pool: str) -> str:
    operator, its_share = max(shares.by_operator.items(), key=lambda item: item[1])
    bound, share = max(shares.by_bound.items(), key=lambda item: item[1])
    said = f"{operator} takes {100 * its_share:.0f} % of a full batch's time, {100 * share:.0f} % is {bound}"
    inner = _inner_steps(steps, pool)
    parts = ", ".join(f"{name} {100 * gain:+.1f} %" for name, gain in inner.items())
    return f"{said}; +10 % of each part brings: {parts}" if parts else said
