"""`perfplan fleet`: what will this load look like on many nodes behind a router?"""

from __future__ import annotations

import sys
from typing import Annotated

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
    checked_rate,
    the_scenario,
)
from perfmodel.cli.watched import watched
from perfmodel.domain.fleet import Routing
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.words import quoted
from perfmodel.planning.fleet.computation import predict_fleet
from perfmodel.planning.fleet.question import MOST_NODES, MOST_WINDOWS, FleetMember, FleetQuestion
from perfmodel.planning.prepare import prepare_together, scaled_load
from perfmodel.report.documents.fleet import fleet_document
from perfmodel.report.fleet import fleet_page

WINDOWS = 96
"""Windows that a day is cut into where nobody says: a quarter of an hour each."""


def fleet(
    nodes: Annotated[
        int,
        typer.Option(
            "--nodes", "-n", metavar="N", min=1, max=MOST_NODES, help="Nodes of the scenario's kind."
        ),
    ],
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    routing: Annotated[
        Routing,
        typer.Option(metavar="ROUTING", help=f"How the router chooses a node: {', '.join(Routing)}."),
    ] = Routing.RANDOM,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="SCENARIO=N",
            help="Further nodes of another kind: that scenario's node and policy. Repeatable.",
        ),
    ] = None,
    qps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Mean rate of the whole fleet; by default the scenario's rate for each node. [queries/s]",
        ),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            metavar="W",
            min=1,
            max=MOST_WINDOWS,
            help=f"Windows of equal length that a diurnal period is cut into [{WINDOWS}].",
        ),
    ] = None,
    overrides: SetOption = None,
    scale_load: ScaleLoadOption = None,
    mixed_stacks: MixedStacksOption = False,
    accept_uncertain: AcceptUncertainOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict tail latency and power of many nodes behind a router, over a day."""
    checked_rate("--qps", qps)
    others = [_kind(text) for text in also or ()]
    loaded = [
        load_scenario(the_scenario(names, scenario), overrides or ()),
        *(load_scenario(name) for name, _ in others),
    ]
    counts = [nodes, *(count for _, count in others)]
    members = tuple(
        FleetMember(question=scaled_load(question, scale_load), num_nodes=count)
        for question, count in zip(
            prepare_together(loaded, mixed_stacks=mixed_stacks, stages=True), counts, strict=True
        )
    )
    question = FleetQuestion(
        members=members,
        routing=routing,
        rate_qps=qps and qps * (scale_load or 1.0),
        num_windows=WINDOWS if windows is None else windows,
    )
    if windows is not None and not question.is_cut:
        process = question.scenario.traffic.arrivals.process
        raise InputError(f"--windows: expected arrivals that follow the time of day, got {process}")
    with watched() as watch:
        result = predict_fleet(
            question, extrapolate=extrapolate, accept_uncertain=accept_uncertain, tell=watch.stage("windows")
        )

    show(lambda: fleet_document(result), lambda: fleet_page(result), as_json=as_json, out=out)
    if result.verdict == "unstable":
        print(f"unstable: {result.notes[0]}", file=sys.stderr)
    raise typer.Exit(EXIT_CODES[result.verdict])


def _kind(text: str) -> tuple[str, int]:
    """Read a scenario's name and its number of nodes."""
    name, equals, count = text.rpartition("=")
    is_count = bool(equals) and count.isascii() and count.isdecimal() and count.strip("0") != ""
    if not is_count or len(count) > len(str(MOST_NODES)) or int(count) > MOST_NODES:
        raise InputError(f"--also: expected SCENARIO=N with N from 1 to {MOST_NODES}, got {quoted(text)}")
    return name, int(count)
