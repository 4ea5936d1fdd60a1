"""`perfplan predict`: what will this load look like?"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.options import (
    AcceptUncertainOption,
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    ScenarioOption,
    SetOption,
)
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.predict.computation import predict as predict_question
from perfmodel.planning.predict.own_policy import with_own_policy
from perfmodel.planning.prepare import prepare

EXIT_CODES = {"meets_sla": 0, "misses_sla": 3, "unstable": 4, "within_error": 6}


class Engine(StrEnum):
    """What simulates; every engine gives the same answer."""

    AUTO = "auto"
    COMPILED = "compiled"
    SIMPY = "simpy"


def predict(
    scenario: ScenarioOption,
    overrides: SetOption = None,
    engine: Annotated[Engine, typer.Option(help="What simulates; the answer is the same.")] = Engine.AUTO,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An installed policy (entry-point group perfplan.policies)."),
    ] = None,
    policy_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Python file with a policy class of yours. It is executed."),
    ] = None,
    accept_uncertain: AcceptUncertainOption = False,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict tail latency, throughput and power of a scenario."""
    question = with_own_policy(
        prepare(load_scenario(scenario, overrides or ()), mixed_stacks=mixed_stacks),
        file=policy_file,
        name=policy,
        engine=engine.value,
    )
    result = predict_question(
        question, engine=engine.value, extrapolate=extrapolate, accept_uncertain=accept_uncertain
    )
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        # Imported on use, as rich is: JSON needs no tables.
        from perfmodel.report.latency import print_page
        from perfmodel.report.predict import predict_page

        print_page(predict_page(result))
    if result.verdict == "unstable":
        print(f"unstable: {result.run.notes[0]}", file=sys.stderr)
    raise typer.Exit(EXIT_CODES[result.verdict])
