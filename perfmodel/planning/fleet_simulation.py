"""A fleet over a day: tail latency, utilisation and power, window by window and as a whole."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from perfmodel.domain.fleet import Window
from perfmodel.planning.fleet_answer import FleetPrediction, FleetWindow
from perfmodel.planning.fleet_question import FleetQuestion
from perfmodel.planning.fleet_run import FleetRun
from perfmodel.planning.fleet_verdict import judge_windows
from perfmodel.planning.verdict import Judgement
from perfmodel.sim.fleet_window import Stretch
from perfmodel.sim.statistics import Interval


def predict_fleet(
    question: FleetQuestion, *, extrapolate: bool = False, accept_uncertain: bool = False
) -> FleetPrediction:
    """Predict how a fleet serves a load, or a day of it.

    Parameters
    ----------
    extrapolate : bool
        Answer outside the calibrated range too, marked.
    accept_uncertain : bool
        Let the central estimate decide whether the SLA is met.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    InputError
        If the arrival process is neither poisson nor diurnal.
    """
    members = question.members
    law = question.scenario.traffic.size_pmf
    if not extrapolate:
        for member in members:
            member.question.node.require_calibrated(member.policy, law.max_items)
    run = FleetRun(question)
    windows = question.windows()
    # A sine passes through every rate twice: windows of one rate share one simulation.
    rates_qps = sorted({_rounded(window.rate_qps) for window in windows})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda index: run.at(rates_qps[index], index), range(len(rates_qps)))
        stretches = dict(zip(rates_qps, found, strict=True))
    judgements = judge_windows(run, stretches, accept_uncertain=accept_uncertain)
    answers = tuple(
        _window(run, window, stretches[rate], judgements[rate])
        for window in windows
        for rate in [_rounded(window.rate_qps)]
    )
    return FleetPrediction(
        question=question,
        windows=answers,
        percentiles=_whole_day(run, answers),
        basis=max(member.question.node.basis(member.policy, law.max_items) for member in members),
    )


def _rounded(rate_qps: float) -> float:
    return float(f"{rate_qps:.9g}")


def _window(run: FleetRun, window: Window, stretch: Stretch, judgement: Judgement) -> FleetWindow:
    members = run.question.members
    # What an overload keeps busy says nothing of how much is missing; what it asks for does.
    used = stretch.utilisation if stretch.is_stable else run.offered(window.rate_qps, stretch)
    by_member = list(zip(members, used, strict=True))
    cores = sum(member.num_nodes * member.question.node.cores for member in members)
    cards = sum(member.num_nodes * member.question.node.num_accelerators for member in members)
    return FleetWindow(
        window=window,
        judgement=judgement,
        percentiles=run.percentiles(stretch.samples) if stretch.is_stable else {},
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


def _whole_day(run: FleetRun, windows: tuple[FleetWindow, ...]) -> dict[float, Interval]:
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
    return run.percentiles(samples)
