"""`perfplan latency`: one batch on one executor, no queue."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from perfmodel.cli.options import ExtrapolateOption, JsonOption, whole_numbers
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.report.latency import latency_page, print_page


def latency(
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME|FILE", help="What runs.")],
    on: Annotated[
        str,
        typer.Option("--on", metavar="NAME[@STACK]|FILE", help="A hardware profile, perhaps with a stack."),
    ],
    batch: Annotated[
        str, typer.Option("--batch", "-b", metavar="N,N,…", help="Batch sizes, separated by commas. [items]")
    ] = "1,16,64,256",
    co_located: Annotated[
        int,
        typer.Option("--co-located", metavar="N", help="Copies at work on one socket, this one included."),
    ] = 1,
    extrapolate: ExtrapolateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the latency of one batch on one executor, operator by operator."""
    what = find_model(model)
    result = latency_table(
        what,
        find_device(on, what),
        whole_numbers("--batch", batch),
        co_located=co_located,
        extrapolate=extrapolate,
    )
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        print_page(latency_page(result))
