"""`perfplan predict`: what will this load look like?"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perfmodel.cli.answering import EXIT_CODES, show
from perfmodel.cli.options import (
    AcceptUncertainOption,
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    ScaleLoadOption,
    ScenarioArgument,
    ScenarioOption,
    SetOption,
    the_scenario,
)
from perfmodel.cli.watched import watched
from perfmodel.domain.bounds import MOST_TRACED_QUERIES, TRACED_QUERIES
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.predict.computation import predict as predict_question
from perfmodel.planning.prepare import prepare, scaled_load
from perfmodel.planning.question import Question
from perfmodel.report.documents.predict import predict_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class Engine(StrEnum):
    """What simulates; every engine gives the same answer."""

    AUTO = "auto"
    COMPILED = "compiled"
    SIMPY = "simpy"


def predict(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    overrides: SetOption = None,
    scale_load: ScaleLoadOption = None,
    engine: Annotated[Engine, typer.Option(help="What simulates; the answer is the same.")] = Engine.AUTO,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An installed policy (entry-point group perfplan.policies)."),
    ] = None,
    policy_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Python file with a policy class of yours. It is executed."),
    ] = None,
    trace_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write a simulated window as a trace, which Perfetto and chrome://tracing open.",
        ),
    ] = None,
    trace_queries: Annotated[
        int, typer.Option(min=1, max=MOST_TRACED_QUERIES, metavar="N", help="Queries in that window.")
    ] = TRACED_QUERIES,
    accept_uncertain: AcceptUncertainOption = False,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict tail latency, throughput and power of a scenario."""
    if names is not None and len(names) == 2 and scenario is None:
        from perfmodel.cli.diff import show_comparison  # on use: one scenario is what most ask of

        options: dict[str, Any] = {
            "mixed_stacks": mixed_stacks,
            "extrapolate": extrapolate,
            "as_json": as_json,
        }
        changed = (scale_load, policy, policy_file, trace_out)
        if engine is not Engine.AUTO or accept_uncertain or any(each is not None for each in changed):
            raise InputError(
                "predict A B: a comparison takes --set, --mixed-stacks, --extrapolate and --json"
            )
        show_comparison(names[0], names[1], overrides or (), out=out, **options)
        return
    if trace_out is not None:
        from perfmodel.loading.written import require_writable  # few answers go to a file

        require_writable(trace_out, "--trace-out")
    elif trace_queries != TRACED_QUERIES:
        raise InputError("--trace-queries: expected --trace-out FILE with it")
    loaded = load_scenario(the_scenario(names, scenario), overrides or ())
    question = scaled_load(prepare(loaded, mixed_stacks=mixed_stacks, stages=True), scale_load)
    if question.pipeline is not None and (trace_out or policy or policy_file):
        what = "--trace-out" if trace_out else "--policy-file" if policy_file else "--policy"
        raise InputError(f"{what}: expected a scenario without pipeline, whose stages are simulated in turn")
    if policy is not None or policy_file is not None:
        # Imported on use: few questions bring a policy, and what checks one takes a while to load.
        from perfmodel.planning.predict.own_policy import with_own_policy

        question = with_own_policy(question, file=policy_file, name=policy, engine=engine.value)
    with loaded.places(), watched() as watch:
        result = predict_question(
            question,
            engine=engine.value,
            extrapolate=extrapolate,
            accept_uncertain=accept_uncertain,
            tell=watch.stage("simulating"),
        )
        if trace_out is not None:
            watch.stage("trace")
            _write_trace(question, trace_out, trace_queries)
    if trace_out is not None:
        print(f"written: {trace_out}", file=sys.stderr)

    def page() -> RenderableType:
        from perfmodel.report.predict import predict_page  # as in `show`: JSON needs no tables

        return predict_page(result)

    def html() -> str:
        from perfmodel.report.pages.made import predict_html  # few answers become a page of HTML

        return predict_html(result)

    show(lambda: predict_document(result), page, as_json=as_json, out=out, html=html)
    if result.verdict == "unstable":
        print(f"unstable: {result.run.notes[0]}", file=sys.stderr)
    raise typer.Exit(EXIT_CODES[result.verdict])


def _write_trace(question: Question, path: Path, num_queries: int) -> None:
    # Imported on use: few ask for a trace, and SimPy takes a while to load.
    from perfmodel.loading.written import write_atomically
    from perfmodel.planning.predict.window import logged_window
    from perfmodel.report.trace_events import trace_text

    write_atomically(path, trace_text(logged_window(question, num_queries), name=question.name))
