"""`perfplan dev`: the programmes behind the shipped profiles and behind what the pages say of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from calibration.commands.torch_needed import require_torch
from perfmodel.cli.terminal import print_page
from perfmodel.errors import InputError
from perfmodel.loading.words import near, quoted


class Programme(NamedTuple):
    """A programme that parses arguments of its own, and what it does."""

    module: str
    does: str
    runs_models: bool = False


PROGRAMMES: Mapping[str, Programme] = {
    "compare": Programme("published.compare", "the shipped profiles beside every published figure"),
    "fit": Programme("published.fit", "fit the shipped profiles to the published figures"),
    "carried": Programme("published.carried", "a stack carried to servers that its fit has not seen"),
    "locality": Programme("published.locality", "on how many rows of a table HPCA 2020's indices fall"),
    "reliability": Programme("published.reliability", "do statements of probability p hold p of the time?"),
    "accuracy": Programme("measure.accuracy", "how well a profile predicts whole models here", True),
    "device-accuracy": Programme("measure.device_accuracy", "how well a card's profile does", True),
    "beside": Programme("measure.beside", "how much models slow down beside busy workers here", True),
    "refit": Programme("measure.refit", "fit anew what a calibration has measured", True),
    "latency": Programme("runtime.latency", "measure the latency of a model on this machine", True),
}


def _complete_programmes(incomplete: str) -> list[str]:
    return [name for name in PROGRAMMES if name.startswith(incomplete)]


def dev(
    programme: Annotated[
        str | None,
        typer.Argument(help="Which one; without, they are listed.", autocompletion=_complete_programmes),
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Its own; -h tells them.")] = None,
) -> None:
    """Run a programme of perfplan's own workshop: fits, comparisons, and how far profiles are off."""
    if programme is None:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, each in PROGRAMMES.items():
            table.add_row(name, each.does)
        print_page(table)
        return
    chosen = PROGRAMMES.get(programme)
    if chosen is None:
        expected = f"expected one of {', '.join(PROGRAMMES)}"
        raise InputError(f"dev: {expected}, got {quoted(programme)}{near(programme, list(PROGRAMMES))}")
    if chosen.runs_models:
        require_torch()
    main: Callable[[Sequence[str]], None] = vars(import_module(f"calibration.{chosen.module}"))["main"]
    main(arguments or [])
