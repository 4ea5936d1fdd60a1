"""`perfplan capacity`: the largest load that meets the SLA."""

from __future__ import annotations

import typer

from perfmodel.cli.answering import CANNOT_TELL, SLA_MISSED, show
from perfmodel.cli.options import (
    AcceptUncertainOption,
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
from perfmodel.planning.capacity.computation import capacity as capacity_of
from perfmodel.planning.prepare import prepare
from perfmodel.report.capacity import capacity_page
from perfmodel.report.documents.capacity import capacity_document


def capacity(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    overrides: SetOption = None,
    accept_uncertain: AcceptUncertainOption = False,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the largest load that a node carries within its SLA."""
    loaded = load_scenario(the_scenario(names, scenario), overrides or ())
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    with loaded.places(), watched() as watch:
        result = capacity_of(question, extrapolate=extrapolate, tell=watch.stage("largest load"))

    def html() -> str:
        from perfmodel.report.pages.made import capacity_html  # few answers become a page of HTML

        return capacity_html(result)

    show(
        lambda: capacity_document(result),
        lambda: capacity_page(result),
        as_json=as_json,
        out=out,
        html=html,
    )
    if result.latency_bounded_qps is None:
        raise typer.Exit(SLA_MISSED)
    if result.plan_for_qps is None and not accept_uncertain:
        raise typer.Exit(CANNOT_TELL)
