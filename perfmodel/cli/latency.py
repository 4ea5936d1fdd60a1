"""`perfplan latency`: one batch on one executor, no queue."""

from __future__ import annotations

from typing import Annotated

import typer

from perfmodel.cli.answering import show
from perfmodel.cli.completion import complete_models, complete_profiles
from perfmodel.cli.options import ExtrapolateOption, JsonOption, MixedStacksOption, whole_numbers
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.prepare import find_devices, find_model, inputs_of
from perfmodel.report.documents.latency import latency_documents
from perfmodel.report.latency import latency_pages


def latency(
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME|FILE", help="What runs.", autocompletion=complete_models),
    ],
    on: Annotated[
        list[str],
        typer.Option(
            "--on",
            metavar="NAME[@STACK]|FILE",
            help="A hardware profile, perhaps with a stack. Repeatable: all with one stack.",
            autocompletion=complete_profiles,
        ),
    ],
    batch: Annotated[
        str, typer.Option("--batch", "-b", metavar="N,N,…", help="Batch sizes, separated by commas. [items]")
    ] = "1,16,64,256",
    co_located: Annotated[
        int,
        typer.Option("--co-located", metavar="N", help="Copies at work on one socket, this one included."),
    ] = 1,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="KIND",
            help="Leave out a kind of calls, such as input, which some figures do not count. Repeatable.",
        ),
    ] = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the latency of one batch on one executor, operator by operator."""
    what = find_model(model)
    batch_sizes = whole_numbers("--batch", batch)
    results = [
        latency_table(
            what,
            device,
            batch_sizes,
            co_located=co_located,
            without=without or (),
            extrapolate=extrapolate,
            inputs=inputs_of(model, [name]),
        )
        for name, device in zip(on, find_devices(on, what, mixed_stacks=mixed_stacks), strict=True)
    ]
    show(lambda: latency_documents(results), lambda: latency_pages(results), as_json=as_json)
