"""A fleet over a day: tail latency, utilisation and power, window by window and as a whole."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from perfmodel.domain.fleet import Window
from perfmodel.planning.fleet_answer import FleetPrediction, FleetWindow
from perfmodel.planning.fleet_question import FleetQuestion
from perfmodel.planning.verdict import Verdict
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_latency import LatencyMixture
from perfmodel.sim.fleet_window import FleetTraffic, Stretch, simulate_stretch
from perfmodel.sim.run import REPORTED_PERCENTILES
from perfmodel.sim.statistics import Interval


def predict_fleet(question: FleetQuestion, *, extrapolate: bool = False) -> FleetPrediction:
    """Predict how a fleet serves a load, or a day of it.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    InputError
        If the arrival process is neither poisson nor diurnal.
    """
    scenario, members = question.scenario, question.members
    law = scenario.traffic.size_pmf
    if not extrapolate:
        for member in members:
            member.question.node.require_calibrated(member.policy, law.max_items)
    kinds = tuple(
        NodeKind(
            service=member.question.node.service_times(member.policy, law.max_items, law),
            policy=member.policy,
        )
        for member in members
    )
    fleet = Fleet(kinds, tuple(member.num_nodes for member in members))
    windows = question.windows()
    # A sine passes through every rate twice: windows of one rate share one simulation.
    rates_qps = sorted({_rounded(window.rate_qps) for window in windows})

    def simulated(index: int) -> Stretch:
        traffic = FleetTraffic(rate_qps=rates_qps[index], sizes=law, routing=question.routing)
        return simulate_stretch(
            fleet, traffic, scenario.simulation, percentile=scenario.sla.percentile, replication=index
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stretches = dict(zip(rates_qps, pool.map(simulated, range(len(rates_qps))), strict=True))
    answers = tuple(_window(question, window, stretches[_rounded(window.rate_qps)]) for window in windows)
    return FleetPrediction(
        question=question,
        windows=answers,
        percentiles=_whole_day(question, answers),
        basis=max(member.question.node.basis(member.policy, law.max_items) for member in members),
    )


def _rounded(rate_qps: float) -> float:
    return float(f"{rate_qps:.9g}")


def _window(question: FleetQuestion, window: Window, stretch: Stretch) -> FleetWindow:
    sla, members = question.scenario.sla, question.members
    percentiles = _percentiles(question, LatencyMixture(stretch.samples)) if stretch.is_stable else {}
    verdict: Verdict = "unstable"
    if stretch.is_stable:
        verdict = "meets_sla" if percentiles[sla.percentile].value_s <= sla.latency_s else "misses_sla"
    by_member = list(zip(members, stretch.utilisation, strict=True))
    cores = sum(member.num_nodes * member.question.node.cores for member in members)
    cards = sum(member.num_nodes * member.question.node.num_accelerators for member in members)
    return FleetWindow(
        window=window,
        verdict=verdict,
        percentiles=percentiles,
        stretch=stretch,
        cpu_utilisation=sum(m.num_nodes * m.question.node.cores * load.cpu for m, load in by_member) / cores,
        accelerator_utilisation=sum(
            m.num_nodes * m.question.node.num_accelerators * load.accelerator for m, load in by_member
        )
        / cards
        if cards
        else None,
        load_power_w=sum(m.num_nodes * m.question.node.power_w(*load) for m, load in by_member)
        if stretch.is_stable
        else None,
    )


def _whole_day(question: FleetQuestion, windows: tuple[FleetWindow, ...]) -> dict[float, Interval]:
    """Percentiles over all queries: the windows' latencies in proportion to their rates."""
    if not all(window.stretch.is_stable for window in windows):
        return {}
    queries: dict[int, float] = {}
    for window in windows:
        queries[id(window.stretch)] = queries.get(id(window.stretch), 0.0) + window.window.rate_qps
    stretches = {id(window.stretch): window.stretch for window in windows}
    samples = [
        sample.reweighted(queries[key]) for key, stretch in stretches.items() for sample in stretch.samples
    ]
    return _percentiles(question, LatencyMixture(samples))


def _percentiles(question: FleetQuestion, mixture: LatencyMixture) -> dict[float, Interval]:
    wanted = sorted({question.scenario.sla.percentile, *REPORTED_PERCENTILES})
    return {percentile: mixture.interval(percentile) for percentile in wanted}
