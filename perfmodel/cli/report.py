"""`perfplan report`: a scenario, a fleet or a saved answer as one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli.answering import page_path, write_page
from perfmodel.cli.completion import complete_questions
from perfmodel.cli.options import ExtrapolateOption, MixedStacksOption, SetOption
from perfmodel.cli.watched import watched
from perfmodel.errors import InputError
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import shipped_names
from perfmodel.loading.text_file import is_file
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.planning.capacity.computation import capacity as capacity_of
from perfmodel.planning.explain.computation import explain as explain_scenario
from perfmodel.planning.plan.computation import plan as plan_of
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.simulation import simulated
from perfmodel.planning.plan.sla_curves import sla_curves
from perfmodel.planning.predict.computation import predict as predict_question
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune.computation import tune as tune_question
from perfmodel.planning.tune.question import TuneOptions
from perfmodel.report.documents.plan import plan_document
from perfmodel.report.pages.made import scenario_html
from perfmodel.report.pages.plan import plan_html
from perfmodel.report.saved import saved_html


def report(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|FLEET|RESULT.json",
            help="A scenario, a fleet, or an answer that --json printed.",
            show_default=False,
            autocompletion=complete_questions,
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE.html", help="The page to write.", show_default=True)
    ] = Path("report.html"),
    overrides: SetOption = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
) -> None:
    """Write one self-contained HTML page of a scenario, a fleet or a saved answer."""
    path = page_path(out)
    if what.endswith(".json"):
        if overrides:
            raise InputError("--set: expected a scenario or a fleet; an answer is as it is")
        if mixed_stacks or extrapolate:
            option = "--mixed-stacks" if mixed_stacks else "--extrapolate"
            raise InputError(f"{option}: expected a scenario or a fleet; an answer is as it is")
        html = saved_html(Path(what))
    elif _is_fleet(what):
        also: Any = {"mixed_stacks": mixed_stacks, "extrapolate": extrapolate}
        with watched() as watch:
            tell = watch.stage("capacities of nodes")
            question = plan_question(load_fleet(what, overrides or ()), **also, tell=tell)
            planned = plan_of(question)
            planned = simulated(planned, extrapolate=extrapolate, tell=watch.stage("simulating the plan"))
            curves = sla_curves(question, **also, tell=watch.stage("capacities at other SLAs"))
        html = plan_html(plan_document(replace(planned, sla_curves=curves)))
    else:
        html = _scenario_html(what, overrides or [], mixed_stacks=mixed_stacks, extrapolate=extrapolate)
    write_page(path, html)


def _is_fleet(what: str) -> bool:
    if is_file(Path(what)):
        data = read_yaml(Path(what)).data()
        return isinstance(data, Mapping) and "services" in data
    return what.removesuffix(".yaml") in shipped_names("fleet")


def _scenario_html(what: str, overrides: list[str], *, mixed_stacks: bool, extrapolate: bool) -> str:
    loaded = load_scenario(what, overrides)
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    tuned, explained = None, None
    why_not: dict[str, InputError] = {}
    with watched() as watch:
        with loaded.places():
            predicted = predict_question(question, extrapolate=extrapolate, tell=watch.stage("predict"))
            carried = capacity_of(question, extrapolate=extrapolate, tell=watch.stage("capacity"))
        if question.policy.name == "split" and question.pipeline is None:
            tell, options = watch.stage("tune"), TuneOptions(extrapolate=extrapolate)
            try:
                with loaded.places():
                    tuned = tune_question(question, options, tell=tell)
            except InputError as error:
                why_not["tuning"] = error
        tell = watch.stage("explain")
        try:
            explained = explain_scenario(
                loaded, mixed_stacks=mixed_stacks, extrapolate=extrapolate, tell=tell
            )
        except InputError as error:
            why_not["explanation"] = error
        watch.stage("page")
        html = scenario_html(predicted, carried, tuned, explained)
    for part, reason in why_not.items():
        print(f"note: no {part}: {reason}", file=sys.stderr)
    return html
