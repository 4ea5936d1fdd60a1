"""`perfplan validate`: is the prediction right, on this machine?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calibration.commands.durations import seconds_of
from calibration.commands.torch_needed import require_torch
from perfmodel.cli.answering import CANNOT_TELL, SLA_MISSED, page_path, show
from perfmodel.cli.completion import complete_models, complete_profiles, listed
from perfmodel.cli.options import (
    ExtrapolateOption,
    JsonOption,
    ScenarioArgument,
    ScenarioOption,
    SetOption,
    the_scenario,
)
from perfmodel.cli.watched import AnyWatch, watched
from perfmodel.domain.bounds import MOST_TRACED_QUERIES, TRACED_QUERIES
from perfmodel.errors import InputError, InterruptionError
from perfmodel.loading.derived_profile import is_derived
from perfmodel.loading.written import require_writable
from perfmodel.planning.prepare import find_model

if TYPE_CHECKING:  # torch is imported by the command, and only where it is needed
    from calibration.validation.question import Options

SINGLE_S = 30.0
SUITE_POINT_S = 10.0


def validate(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    overrides: SetOption = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME|FILE",
            help="This machine's profile, in place of node.cpu.",
            autocompletion=complete_profiles,
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long to measure each load: 30s, 2m.")
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(min=0.01, max=0.99, help="Choose the rate by its predicted utilisation."),
    ] = None,
    anchor: Annotated[
        bool, typer.Option("--anchor", help="Refine the profile with short paced runs of the whole model.")
    ] = False,
    capacity: Annotated[
        bool, typer.Option(help="Also measure the largest load within the SLA: four more runs.")
    ] = True,
    records: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every query's arrival, start and end as CSV.")
    ] = None,
    trace_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write a measured window as a trace, which Perfetto and chrome://tracing open.",
        ),
    ] = None,
    trace_queries: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_TRACED_QUERIES,
            metavar="N",
            help=f"Queries in that window [{TRACED_QUERIES}].",
            show_default=False,
        ),
    ] = None,
    refined: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the profile with the anchor in it; needs --anchor."),
    ] = None,
    shrink_tables: Annotated[
        bool, typer.Option("--shrink-tables", help="Scale embedding tables down until they fit this machine.")
    ] = False,
    suite: Annotated[
        bool, typer.Option("--suite", help="All shipped models at several utilisations; writes a report.")
    ] = False,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Models of the suite; by default all shipped ones.",
            autocompletion=listed(complete_models),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Write one self-contained HTML page; of the suite [validation.html], and JSON beside it.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what the report of an earlier suite holds already.")
    ] = False,
    module: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:FACTORY",
            help="Serve your own PyTorch module as it is, in place of the scenario's model. It runs: "
            "only code that you trust.",
        ),
    ] = None,
    extrapolate: ExtrapolateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the prediction of a scenario with a real server on this machine."""
    wanted = the_scenario(names, scenario, otherwise="rm1_skylake")
    if out is not None and not suite:
        page_path(out)
    require_torch()
    if refined is not None and not anchor:
        raise InputError("--refined: expected --anchor too, which measures what it writes")
    if trace_queries is not None and trace_out is None:
        raise InputError("--trace-queries: expected --trace-out FILE with it")
    of_one = {"--module": module, "--records": records, "--refined": refined, "--utilisation": utilisation}
    of_one["--trace-out"] = trace_out
    of_suite = {"--models": models, "--resume": resume or None}
    for option, value in (of_one if suite else of_suite).items():
        if value is not None:
            raise InputError(f"{option}: expected {'no --suite' if suite else '--suite'} beside it")
    for option, path in (("--records", records), ("--refined", refined), ("--trace-out", trace_out)):
        if path is not None:
            require_writable(path, option)
    from calibration.validation.question import Options, profile_path, settings_for  # as below

    if refined is not None and is_derived(profile_path(wanted, tuple(overrides or ()), profile)):
        stacks = "expected a calibrated profile, whose stacks an anchor is added to, got a derived one"
        raise InputError(f"--refined: {stacks}")
    duration_s = (
        (SUITE_POINT_S if suite else SINGLE_S) if duration is None else seconds_of(duration, "--duration")
    )
    # Before anything allocates a tensor.
    settings = settings_for(wanted, tuple(overrides or ()), profile, of_module=module is not None)

    options = Options(
        profile=profile,
        overrides=tuple(overrides or ()),
        anchor=anchor,
        capacity=capacity,
        shrink_tables=shrink_tables,
        extrapolate=extrapolate,
        settings=settings.describe(),
    )
    if suite:
        _validate_suite(
            wanted,
            models,
            out or Path("validation.html"),
            duration_s,
            options,
            resume=resume,
            as_json=as_json,
        )
        return
    from calibration.validation.own_module import own_module
    from calibration.validation.single import SinglePlan, validate_scenario

    one = SinglePlan(
        scenario=wanted,
        duration_s=duration_s,
        utilisation=utilisation,
        records=records,
        refined=refined,
        options=options,
        trace_out=trace_out,
        trace_queries=trace_queries or TRACED_QUERIES,
    )
    with watched() as watch:
        say = _said_above(watch)
        watch.stage("measuring", of_s=_planned_s(duration_s, anchor=anchor, capacity=capacity))
        if module is None:
            result = validate_scenario(one, say=say)
        else:
            profile_path(wanted, options.overrides, profile)  # a mistake there is told before the import
            with own_module(module) as own:
                # The scenario's stack is that of its own model.
                changed = (f"model={own.model_path}", "node.stack=null", *options.overrides)
                options = replace(options, module=own, overrides=changed)
                result = validate_scenario(replace(one, options=options), say=say)

    def html() -> str:
        from perfmodel.report.pages.validate import validate_html  # few answers become a page of HTML

        return validate_html(result.to_dict())

    show(result.to_dict, result.page, as_json=as_json, out=out, html=html)
    if result.interrupted:
        raise InterruptionError("interrupted: the answer is of what was measured until then")
    if result.unwritten is not None:
        raise result.unwritten
    if result.verdict == "disturbed":
        _say("disturbed, measure again: see what else ran here (perfplan doctor)")
        raise typer.Exit(CANNOT_TELL)
    if not result.meets_sla:
        raise typer.Exit(SLA_MISSED)


def _validate_suite(
    scenario: str,
    models: str | None,
    out: Path,
    duration_s: float,
    options: Options,
    *,
    resume: bool,
    as_json: bool,
) -> None:
    from calibration.validation.suite import SuitePlan, run_suite
    from calibration.validation.suite_page import suite_page

    if out.suffix == ".json":
        raise InputError(f"--out {out}: expected the name of a page; the JSON beside it ends with .json")
    require_writable(out)
    require_writable(out.with_suffix(".json"))
    names = None if models is None else tuple(models.split(","))
    for name in names or ():
        find_model(name)  # a slip in the last name is told before hours of measuring
    plan = SuitePlan(scenario=scenario, models=names, duration_s=duration_s, options=options)
    with watched() as watch:
        watch.stage("all models")
        report, unwritten = run_suite(plan, out, resume=resume, say=_said_above(watch))
    show(report.to_dict, lambda: suite_page(report, out), as_json=as_json)
    if unwritten is not None:
        raise unwritten


ANCHOR_SHARE = 0.5
"""Of the measured run that paced runs add. [1]"""


def _planned_s(duration_s: float, *, anchor: bool, capacity: bool) -> float:
    """How long it measures, if nothing has to be repeated. [s]"""
    from calibration.validation.capacity import LOADS  # on use: it loads torch

    return duration_s * (1.0 + (ANCHOR_SHARE if anchor else 0.0) + (LOADS if capacity else 0.0))


def _said_above(watch: AnyWatch) -> Callable[[str], None]:
    """Lines that stay, above the one that says how far it is."""

    def say(line: str) -> None:
        watch.clear()
        _say(line)

    return say


def _say(line: str) -> None:
    print(line, file=sys.stderr)
