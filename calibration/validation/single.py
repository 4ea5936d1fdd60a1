"""One scenario on this machine: anchor, measurement, comparison, capacity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType

from calibration.children import interrupts_held
from calibration.documents import VERSION
from calibration.fingerprint import fingerprint, to_dict
from calibration.serving.processes import priority_here
from calibration.serving.served import write_queries
from calibration.validation.anchor import fit_anchor
from calibration.validation.bench import Bench, Interrupted, Say
from calibration.validation.capacity import CapacityCheck, check_capacity
from calibration.validation.comparison import Comparison, compare
from calibration.validation.measuring import Measured, measure, segments_of
from calibration.validation.own_module import AloneRow, measured_alone
from calibration.validation.page import alone_page, comparison_page
from calibration.validation.question import (
    Options,
    at_utilisation,
    bench_for,
    profile_path,
    question_of,
    require_stable,
    service_of,
)
from calibration.validation.refined_profile import write_refined_profile
from calibration.validation.window import measured_window
from perfmodel.domain.bounds import TRACED_QUERIES
from perfmodel.errors import InputError, InterruptionError
from perfmodel.loading.inputs import InputFile
from perfmodel.loading.written import write_atomically
from perfmodel.planning.question import Question
from perfmodel.report.documents import saved
from perfmodel.report.trace_events import trace_text
from perfmodel.sim.service import ServiceTimes

PILOT_S = 2.0
"""Of a first paced run, which says roughly how fast the model is here: it chooses rates, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinglePlan:
    """What to validate, and how.

    Attributes
    ----------
    duration_s : float
        Of the measured run; anchors add half of it, and the capacity four such runs. [s]
    utilisation : float or None
        Choose the rate by it; None: the scenario's rate. [1]
    records, refined : Path or None
        Where to write every query, and the profile with the anchor in it.
    trace_out : Path or None
        Where to write a window of the first piece as a trace.
    trace_queries : int
        Queries in that window.
    """

    scenario: str
    duration_s: float
    utilisation: float | None
    records: Path | None
    refined: Path | None
    options: Options
    trace_out: Path | None = None
    trace_queries: int = TRACED_QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What `perfplan validate` answers.

    Attributes
    ----------
    comparison, capacity, settings
        The answer.
    interrupted : bool
        Whether the user ended it early.
    unwritten : InputError or None
        Why a file that was asked for is not there.
    alone : tuple of AloneRow
        Of a user's module: single passes of it, with nothing beside them.
    module : str or None
        What module was served and with what inputs, in words.
    """

    comparison: Comparison
    capacity: CapacityCheck | None
    settings: str
    interrupted: bool = False
    unwritten: InputError | None = None
    alone: tuple[AloneRow, ...] = ()
    module: str | None = None

    @property
    def verdict(self) -> Literal["meets_sla", "misses_sla", "disturbed"]:
        """Of the measured percentile; nothing is said by a run that something else disturbed."""
        if self.comparison.is_disturbed:
            return "disturbed"
        return "meets_sla" if self.meets_sla else "misses_sla"

    @property
    def meets_sla(self) -> bool:
        """Whether the measured run was within the scenario's SLA."""
        sla, measured = self.comparison.question.sla, self.comparison.measured
        return measured.percentiles_s[sla.percentile] <= sla.latency_s

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        question = self.comparison.question
        return {
            **saved("validate", VERSION, self._inputs()),
            "scenario": question.name,
            "model": question.serving_node.model.name,
            "profile": question.serving_node.cpu.name,
            "stack": question.serving_node.cpu.stack,
            "workers": question.node.num_workers,
            "threads": question.node.threads,
            "verdict": self.verdict,
            **self.comparison.to_dict(),
            "capacity": None if self.capacity is None else self.capacity.to_dict(),
            "module": self.module,
            "alone": [row.to_dict() for row in self.alone],
            "settings": self.settings,
            "asked": dict(question.asked) | ({} if self.module is None else {"model": self._module_file}),
            "fingerprint": to_dict(fingerprint(settings=(self.settings,))),
        }

    @property
    def _module_file(self) -> str:
        """A module's model file was there for this run alone: named as `perfplan import` writes one."""
        return f"{self.comparison.question.serving_node.model.name}.yaml"

    def _inputs(self) -> Iterator[InputFile]:
        """The files behind the answer."""
        for each in self.comparison.question.inputs:
            own = self.module is not None and Path(each.name).name == self._module_file
            yield each._replace(name=self._module_file) if own else each

    def page(self) -> RenderableType:
        """The answer for a terminal."""
        page = comparison_page(self.comparison, self.capacity, self.settings)
        return page if self.module is None else Group(page, alone_page(self.module, self.alone))


def validate_scenario(plan: SinglePlan, *, say: Say) -> Validation:
    """Measure a scenario on this machine and compare it with its prediction.

    Raises
    ------
    InputError
        If the scenario is wrong, or this machine cannot run it.
    UnstableError
        If the load exceeds what this machine can carry, as predicted.
    InterruptionError
        If the user ends it before anything was measured.
    """
    options = plan.options
    question = question_of(plan.scenario, options.overrides, options.profile)
    bench, question = bench_for(question, say, shrink_tables=options.shrink_tables, module=options.module)
    service = service_of(question, extrapolate=options.extrapolate)
    alone = () if options.module is None else measured_alone(options.module.servable, service)
    try:
        expected = pilot(bench, service) if options.anchor else service
        if plan.utilisation is not None:
            question = at_utilisation(question, expected, plan.utilisation)
        require_stable(question, expected)
        measured = run(bench, question, expected, duration_s=plan.duration_s, with_anchor=options.anchor)
    except (Interrupted, KeyboardInterrupt):
        raise InterruptionError("interrupted before anything was measured") from None
    interrupted, capacity = measured.interrupted, None
    try:
        with interrupts_held():  # what was measured is an answer, whatever comes
            comparison = replace(compare(question, service, measured), accelerator_power_w=bench.power_w)
            unwritten = _write(plan, question, service, measured, comparison)
        if options.capacity and not interrupted:
            capacity = check_capacity(
                bench, question, service, duration_s=plan.duration_s, anchors=measured.anchors
            )
    except (Interrupted, KeyboardInterrupt):
        interrupted = True
    return Validation(
        comparison=comparison,
        capacity=capacity,
        settings=f"{options.settings}; {priority_here()}",
        interrupted=interrupted,
        unwritten=unwritten,
        alone=alone,
        module=None if options.module is None else options.module.words,
    )


def _write(
    plan: SinglePlan, question: Question, service: ServiceTimes, measured: Measured, comparison: Comparison
) -> InputError | None:
    """Write the files asked for; what cannot be written is told after the answer."""
    unwritten = None
    try:
        if plan.records is not None:
            pieces = [queries for _, queries in measured.runs]
            write_queries(plan.records, pieces, [served.origin_s for served, _ in measured.runs])
    except InputError as error:
        unwritten = error
    try:
        if plan.refined is not None and comparison.anchor is not None:
            source = profile_path(plan.scenario, plan.options.overrides, plan.options.profile)
            write_refined_profile(source, plan.refined, question, service, comparison.anchor)
    except InputError as error:
        unwritten = error
    try:
        if plan.trace_out is not None:
            window = measured_window(*measured.runs[0], plan.trace_queries)
            write_atomically(plan.trace_out, trace_text(window, name=question.name))
    except InputError as error:
        unwritten = error
    return unwritten


def pilot(bench: Bench, service: ServiceTimes) -> ServiceTimes:
    """The profile's service times at about the level that the model has here."""
    bench.say("pilot")
    guess_s = float(service.cpu_s.mean())
    first = bench.pilot(0.25 * PILOT_S, utilisation=0.7, mean_service_s=guess_s)
    mean_s = float(first.service_s.mean())
    second = bench.pilot(PILOT_S, utilisation=0.7, mean_service_s=mean_s)
    return fit_anchor([second], service).refine(service)


def run(
    bench: Bench, question: Question, service: ServiceTimes, *, duration_s: float, with_anchor: bool
) -> Measured:
    """Measure the scenario's traffic for about `duration_s`."""
    rate_qps = question.traffic.rate_qps
    segments = segments_of(question, duration_s, rate_qps=rate_qps).at_rate(rate_qps).segments
    return measure(bench, question, segments, duration_s=duration_s, service=service, with_anchor=with_anchor)
