"""`perfplan observe`: what do the logs of a node say?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perfmodel.cli.answering import show
from perfmodel.cli.completion import complete_scenarios
from perfmodel.cli.options import JsonOption, SetOption, SortOption, TimeUnitOption
from perfmodel.cli.watched import watched
from perfmodel.errors import DRIFTED
from perfmodel.planning.observe.asked import observation, write_files
from perfmodel.report.documents.observe import observe_document

if TYPE_CHECKING:
    from rich.console import RenderableType


def observe(
    log: Annotated[
        Path,
        typer.Argument(metavar="LOG", help="Rows of arrival, size, start, end, perhaps executor and query."),
    ],
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario",
            "-s",
            metavar="NAME|FILE",
            help="Say whether the load has drifted from this scenario (exit 7), and take its SLA.",
            autocompletion=complete_scenarios,
        ),
    ] = None,
    overrides: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where the scenario and its files are written."),
    ] = None,
    scenario_out: Annotated[
        Path | None, typer.Option("--scenario-out", metavar="FILE", help="Where the scenario is written.")
    ] = None,
    table_out: Annotated[
        Path | None,
        typer.Option("--table-out", metavar="FILE", help="Where the table of service times is written."),
    ] = None,
    sla_ms: Annotated[
        float | None, typer.Option("--sla-ms", metavar="MS", help="Limit of the SLA. [ms]")
    ] = None,
    percentile: Annotated[
        float | None, typer.Option("--percentile", metavar="P", help="Percentile of the SLA, a fraction.")
    ] = None,
    time_unit: TimeUnitOption = None,
    sort: SortOption = False,
    duplicates: Annotated[
        Literal["refuse", "drop", "keep"],
        typer.Option(help="What to do with rows that are twice there."),
    ] = "refuse",
    as_json: JsonOption = False,
) -> None:
    """Fit traffic and service times to a node's log, replay it, and say whether the load has drifted."""
    with watched() as watch:
        found = observation(
            log,
            scenario=scenario,
            overrides=overrides or (),
            out=out,
            scenario_out=scenario_out,
            table_out=table_out,
            sla_ms=sla_ms,
            percentile=percentile,
            time_unit=time_unit,
            sort=sort,
            duplicates=duplicates,
            tell=watch.stage("fitting the log, and replaying it"),
        )
    write_files(found, out=out, scenario_out=scenario_out, table_out=table_out)

    def page() -> RenderableType:
        from perfmodel.report.observe import observe_page  # JSON needs no tables

        return observe_page(found)

    show(lambda: observe_document(found), page, as_json=as_json)
    if found.has_drifted:
        raise typer.Exit(DRIFTED)
