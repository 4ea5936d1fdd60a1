"""`perfplan tune --deeprecsys-mode`: the published controller beside the exact answer."""

from __future__ import annotations

from pathlib import Path

import typer

from perfmodel.cli.answering import SLA_MISSED, show
from perfmodel.cli.watched import watched
from perfmodel.planning.deeprecsys.climb import published_climbs
from perfmodel.planning.deeprecsys.shortcuts import compare_shortcuts
from perfmodel.planning.question import Question
from perfmodel.report.deeprecsys import deeprecsys_page
from perfmodel.report.documents.deeprecsys import deeprecsys_document


def show_deeprecsys_mode(
    question: Question, *, extrapolate: bool, as_json: bool, out: Path | None = None
) -> None:
    """Show what each shortcut is worth at the scenario's policy, and what the published climb chooses."""
    with watched() as watch:
        tell = watch.stage("what each shortcut is worth")
        shortcuts = compare_shortcuts(question, extrapolate=extrapolate, tell=tell)
        climbs = published_climbs(question, extrapolate=extrapolate, tell=watch.stage("published climbs"))
    show(
        lambda: deeprecsys_document(shortcuts, climbs),
        lambda: deeprecsys_page(shortcuts, climbs),
        as_json=as_json,
        out=out,
    )
    if shortcuts.exact_qps is None:
        raise typer.Exit(SLA_MISSED)
