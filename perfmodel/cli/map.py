"""`perfplan map`: which device is the best for which model and batch size?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from perfmodel.cli.answering import show
from perfmodel.cli.completion import complete_models, complete_profiles, listed
from perfmodel.cli.options import (
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    names_of,
    whole_numbers,
)
from perfmodel.planning.platforms.named import named_map
from perfmodel.report.documents.map import map_document
from perfmodel.report.map import map_page

DEFAULT_BATCHES = "1,16,64,256"


class By(StrEnum):
    """What is compared."""

    LATENCY = "latency"
    EFFICIENCY = "efficiency"


def map_devices(
    models: Annotated[
        list[str],
        typer.Option(
            "--models",
            "-m",
            metavar="NAME|FILE,…",
            help="What runs, separated by commas. Repeatable.",
            autocompletion=listed(complete_models),
        ),
    ],
    on: Annotated[
        list[str],
        typer.Option(
            "--on",
            metavar="NAME[@STACK]|FILE,…",
            help="Hardware profiles, separated by commas. Repeatable: all with one stack.",
            autocompletion=listed(complete_profiles),
        ),
    ],
    batch: Annotated[
        str,
        typer.Option("--batch", "-b", metavar="N,N,…", help="Batch sizes, separated by commas. [items]"),
    ] = DEFAULT_BATCHES,
    by: Annotated[By, typer.Option("--by", help="The fastest, or items a second and watt.")] = By.LATENCY,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Map which device is the fastest, or most efficient, for which model and batch size."""
    result = named_map(
        names_of("--models", models),
        names_of("--on", on),
        whole_numbers("--batch", batch),
        by=by.value,
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
    )

    show(lambda: map_document(result), lambda: map_page(result), as_json=as_json, out=out)
