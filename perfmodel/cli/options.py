"""Options that several commands share, so that they read and behave alike everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

ScenarioOption = Annotated[
    str,
    typer.Option(
        "--scenario",
        "-s",
        metavar="NAME|FILE",
        help="A shipped scenario by its name (see: perfplan list scenarios), or the path of a YAML file.",
    ),
]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the scenario, such as traffic.arrivals.rate_qps=500. Repeatable.",
    ),
]

JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout, and nothing else."),
]

MixedStacksOption = Annotated[
    bool,
    typer.Option(
        "--mixed-stacks",
        help="Put devices side by side whose times are of different software; then software is compared too.",
    ),
]

ExtrapolateOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Answer outside the calibrated range too, marked as extrapolated."),
]

AcceptUncertainOption = Annotated[
    bool,
    typer.Option(
        "--accept-uncertain",
        help="Let the central estimate decide, however uncertain: exit 0, 3 or 4 and never 6.",
    ),
]
