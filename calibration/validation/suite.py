"""All shipped models at several utilisations: measured one by one, kept after each, summarised."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from calibration.children import interrupts_held
from calibration.fingerprint import fingerprint, to_dict
from calibration.serving.processes import priority_here
from calibration.serving.requests import trace_of
from calibration.validation.bench import Bench, Interrupted, Say
from calibration.validation.capacity import check_capacity
from calibration.validation.comparison import compare
from calibration.validation.measuring import ANCHOR_SHARE
from calibration.validation.prediction import Trace
from calibration.validation.question import Options, at_utilisation, bench_for, question_of, service_of
from calibration.validation.single import PILOT_S, pilot, run
from calibration.validation.suite_page import suite_html
from calibration.validation.suite_report import (
    MODERATE,
    UTILISATIONS,
    Entry,
    Found,
    SuiteReport,
    point_name,
    resumed,
)
from perfmodel.domain.serving import SlaTarget
from perfmodel.errors import InputError, InterruptionError, PerfplanError
from perfmodel.loading.shipped import shipped_names
from perfmodel.loading.written import write_atomically
from perfmodel.planning.question import Question
from perfmodel.sim.service import ServiceTimes
from perfmodel.units import MS

CAPACITY_LOADS = 2
LONG_S = 120.0
"""Of traffic, simulated, to choose an SLA by."""

SETUP_S = 1.5
"""Forking and warming up, for each piece of a run or an anchor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlan:
    """What to measure.

    Attributes
    ----------
    scenario : str
        Whose traffic and policy every model gets.
    models : tuple of str or None
        None: all shipped ones.
    duration_s : float
        Of each load. [s]
    """

    scenario: str
    models: tuple[str, ...] | None
    duration_s: float
    options: Options

    @property
    def names(self) -> tuple[str, ...]:
        """The models to measure."""
        return tuple(shipped_names("model")) if self.models is None else self.models

    @property
    def expected_s(self) -> float:
        """How long it takes, building the models apart. [s]"""
        loads = len(UTILISATIONS) + (CAPACITY_LOADS if self.options.capacity else 0)
        share = 1.0 + (ANCHOR_SHARE if self.options.anchor else 0.0)
        return len(self.names) * loads * (share * self.duration_s + 4.0 * SETUP_S)


def run_suite(plan: SuitePlan, out: Path, *, resume: bool, say: Say) -> tuple[SuiteReport, InputError | None]:
    """Measure every model, and write the page and the JSON beside it after each load.

    Parameters
    ----------
    out : Path
        The page; the JSON has its name with the suffix `.json`.
    resume : bool
        Keep the loads that the JSON holds already, of a suite that was interrupted.

    Returns
    -------
    SuiteReport, InputError or None
        The report, and why it could not be written in the end.

    Raises
    ------
    InputError
        If no model can be run, or what is to be resumed was measured in another way.
    """
    beside = out.with_suffix(".json")
    resumes = resume and beside.is_file()
    report = (
        resumed(beside, measured_as=_identity(plan), page_of=suite_html) if resumes else _new_report(plan)
    )
    say(
        f"{len(plan.names)} models, about {plan.expected_s / 60.0:.0f} minutes; "
        "--resume goes on where it ended"
    )
    unwritten: InputError | None = None
    try:
        for name in plan.names:
            say(name)
            report.left_out.pop(name, None)
            for found in _measure_model(plan, name, _missing(plan, name, report), say):
                report.add(found)
                with interrupts_held():
                    unwritten = _write(report, beside, out)
                if unwritten is not None:
                    say(str(unwritten))  # the next load may find room again
    except (Interrupted, KeyboardInterrupt):
        raise InterruptionError(_interrupted(report, beside, unwritten)) from None
    if not report.points:
        raise InputError(f"no model could be measured: {next(iter(report.left_out.values()))['reason']}")
    return report, unwritten


def _write(report: SuiteReport, beside: Path, out: Path) -> InputError | None:
    """Write what there is."""
    try:
        write_atomically(beside, json.dumps(report.to_dict(), indent=2) + "\n")
        write_atomically(out, suite_html(report))
    except InputError as error:
        return error
    return None


def _interrupted(report: SuiteReport, beside: Path, unwritten: InputError | None) -> str:
    """What an interrupted suite leaves, in a line."""
    if unwritten is not None:
        return f"interrupted: {unwritten}"
    if not report.points and not report.capacity:
        return "interrupted before anything was measured"
    return f"interrupted: {beside} holds what was measured, --resume goes on"


class _Missing(NamedTuple):
    """What is still to be measured of a model."""

    utilisations: tuple[float, ...]
    capacity: bool


def _missing(plan: SuitePlan, name: str, report: SuiteReport) -> _Missing:
    return _Missing(
        tuple(u for u in UTILISATIONS if point_name(name, u) not in report.points),
        plan.options.capacity and name not in report.capacity,
    )


def _measure_model(plan: SuitePlan, name: str, missing: _Missing, say: Say) -> Iterator[Found]:
    """Measure what is missing of one model.

    Whatever is wrong with a model, or with measuring it, is said in its place: the others are measured.
    """
    gc.collect()  # the tables of the model before
    try:
        yield from _entries(plan, name, missing, say)
    except Interrupted:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, PerfplanError) else f"{type(error).__name__}: {error}"
        say(f"left out: {reason}")
        yield Found("left_out", name, {"reason": reason})


def _entries(plan: SuitePlan, name: str, missing: _Missing, say: Say) -> Iterator[Found]:
    """The loads of one model that are missing, then its capacity."""
    if not any(missing):
        return
    options = plan.options
    overrides = (f"model={name}", "node.accelerators=[]", *options.overrides)
    question = question_of(plan.scenario, overrides, options.profile)
    service = service_of(question, extrapolate=options.extrapolate)
    bench, question = bench_for(question, say, shrink_tables=options.shrink_tables)
    if options.shrink_tables:
        service = service_of(question, extrapolate=options.extrapolate)  # of the tables that were built
    expected = pilot(bench, service) if options.anchor else service
    for utilisation in missing.utilisations:
        point, expected = _point(
            plan, bench, at_utilisation(question, expected, utilisation), service, expected
        )
        point |= {"model": name, "aimed_utilisation": utilisation}
        yield Found("points", point_name(name, utilisation), point)
    if missing.capacity:
        yield Found("capacity", name, _capacity(plan, bench, question, service, expected))


def _point(
    plan: SuitePlan, bench: Bench, question: Question, service: ServiceTimes, expected: ServiceTimes
) -> tuple[Entry, ServiceTimes]:
    """One load of one model, and the service times that the next load's rate is chosen by."""
    measured = run(bench, question, expected, duration_s=plan.duration_s, with_anchor=plan.options.anchor)
    if measured.interrupted:
        raise Interrupted(None)
    comparison = compare(question, service, measured)
    anchor = comparison.anchor
    return comparison.to_dict(), expected if anchor is None else anchor.refine(service)


def _capacity(
    plan: SuitePlan, bench: Bench, question: Question, service: ServiceTimes, expected: ServiceTimes
) -> Entry:
    """The largest load of one model within the p95 that is predicted at a moderate load, to two digits."""
    moderate = at_utilisation(question, expected, MODERATE)
    long_trace = Trace((trace_of(moderate.traffic, LONG_S, seed=question.simulation.seed),))
    ahead = long_trace.predict(expected, question.policy)
    sla = SlaTarget(percentile=0.95, latency_ms=float(f"{ahead.percentiles_s[0.95] / MS:.2g}"))
    question = replace(question, sla=sla)
    anchors = []
    if plan.options.anchor:
        anchors = [bench.anchor(PILOT_S, utilisation=MODERATE, mean_service_s=ahead.service_time_s)]
    return check_capacity(
        bench,
        question,
        service,
        duration_s=plan.duration_s,
        anchors=anchors,
        loads=CAPACITY_LOADS,
    ).to_dict()


def _new_report(plan: SuitePlan) -> SuiteReport:
    settings = f"{plan.options.settings}; {priority_here()}"
    return SuiteReport(
        measured_as=_identity(plan),
        settings=settings,
        fingerprint=to_dict(fingerprint(settings=(settings,))),
    )


def _identity(plan: SuitePlan) -> Entry:
    """What two parts of one report must have in common."""
    return {
        "scenario": plan.scenario,
        "overrides": list(plan.options.overrides),
        "profile": plan.options.profile,
        "anchor": plan.options.anchor,
        "duration_s": plan.duration_s,
    }
