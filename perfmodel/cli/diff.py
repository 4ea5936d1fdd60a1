"""`perfplan diff`: what differs between two scenarios, or two saved answers, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.answering import show
from perfmodel.cli.completion import complete_questions, complete_settings
from perfmodel.cli.options import (
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    SetOption,
    each_key_once,
)
from perfmodel.cli.watched import watched
from perfmodel.report.comparing import compare
from perfmodel.report.diff import diff_page
from perfmodel.report.documents.diff import diff_document


def diff(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A scenario, a fleet, or an answer that --json printed.",
            autocompletion=complete_questions,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(metavar="B", help="What it is compared with.", autocompletion=complete_questions),
    ],
    overrides: SetOption = None,
    overrides_b: Annotated[
        list[str] | None,
        typer.Option(
            "--set-b",
            metavar="KEY=VALUE",
            callback=each_key_once,
            help="Change it in B alone: diff S S --set-b KEY=VALUE says what it does. Repeatable.",
            autocompletion=complete_settings,
        ),
    ] = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two scenarios on the same random numbers, two fleets, or two saved answers."""
    show_comparison(
        a,
        b,
        overrides or (),
        overrides_b=overrides_b or (),
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
        as_json=as_json,
        out=out,
    )


def show_comparison(
    a: str,
    b: str,
    overrides: Sequence[str],
    *,
    overrides_b: Sequence[str] = (),
    mixed_stacks: bool,
    extrapolate: bool,
    as_json: bool,
    out: Path | None = None,
) -> None:
    """Compare, and print it: what `diff A B` does, and any command that is given two scenarios."""
    with watched() as watch:
        result = compare(
            a,
            b,
            overrides=overrides,
            overrides_b=overrides_b,
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
            tell=watch.stage("both sides, and each key alone"),
        )

    show(lambda: diff_document(result), lambda: diff_page(result), as_json=as_json, out=out)
