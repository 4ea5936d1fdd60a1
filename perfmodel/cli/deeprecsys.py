"""`perfplan tune --deeprecsys-mode`: the published controller beside the exact answer."""

from __future__ import annotations

import json

import typer

from perfmodel.planning.deeprecsys.climb import published_climbs
from perfmodel.planning.deeprecsys.shortcuts import compare_shortcuts
from perfmodel.planning.prepare import Question
from perfmodel.report.deeprecsys import deeprecsys_page
from perfmodel.report.latency import print_page

SLA_MISSED = 3


def show_deeprecsys_mode(question: Question, *, extrapolate: bool, as_json: bool) -> None:
    """Show what each shortcut is worth at the scenario's policy, and what the published climb chooses."""
    shortcuts = compare_shortcuts(question, extrapolate=extrapolate)
    climbs = published_climbs(question, extrapolate=extrapolate)
    if as_json:
        print(json.dumps({**shortcuts.to_dict(), "climb": climbs.to_dict()}, indent=2))
    else:
        print_page(deeprecsys_page(shortcuts, climbs))
    if shortcuts.exact_qps is None:
        raise typer.Exit(SLA_MISSED)
