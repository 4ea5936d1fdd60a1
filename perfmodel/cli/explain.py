"""`perfplan explain`: what binds, how far the cliff is, and what would bring how much."""

from __future__ import annotations

import typer

from perfmodel.cli.answering import EXIT_CODES, show
from perfmodel.cli.options import (
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    ScenarioArgument,
    ScenarioOption,
    SetOption,
    the_scenario,
)
from perfmodel.cli.watched import watched
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.explain.computation import explain as explain_scenario
from perfmodel.report.documents.explain import explain_document
from perfmodel.report.explain import explain_page


def explain(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    overrides: SetOption = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what binds a node, how far the cliff is, and what single changes would bring."""
    loaded = load_scenario(the_scenario(names, scenario), overrides or ())
    with watched() as watch:
        result = explain_scenario(
            loaded, mixed_stacks=mixed_stacks, extrapolate=extrapolate, tell=watch.stage("changes")
        )

    def html() -> str:
        from perfmodel.report.pages.made import explain_page_html  # few answers become a page of HTML

        return explain_page_html(result)

    show(lambda: explain_document(result), lambda: explain_page(result), as_json=as_json, out=out, html=html)
    raise typer.Exit(EXIT_CODES[result.verdict])
