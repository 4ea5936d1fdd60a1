"""`perfplan mlperf`: what would LoadGen say of a run?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.answering import EXIT_CODES, show
from perfmodel.cli.options import (
    AcceptUncertainOption,
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    ScenarioArgument,
    ScenarioOption,
    SetOption,
    checked_rate,
    the_scenario,
)
from perfmodel.cli.watched import watched
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.mlperf.computation import mlperf as mlperf_of
from perfmodel.planning.mlperf.target import mlperf_target
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.mlperf import mlperf_document
from perfmodel.report.mlperf import mlperf_page


class LoadGenScenarioName(StrEnum):
    """LoadGen's scenarios that recommendation is submitted in."""

    SERVER = "Server"
    OFFLINE = "Offline"


def mlperf(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    target_qps: Annotated[
        float | None,
        typer.Option(
            "--target-qps",
            metavar="QPS",
            help="Rate to offer (Server), or to expect (Offline) [that of --conf, else the scenario's].",
            show_default=False,
        ),
    ] = None,
    loadgen_scenario: Annotated[
        LoadGenScenarioName,
        typer.Option("--loadgen-scenario", case_sensitive=False, help="How LoadGen sends queries."),
    ] = LoadGenScenarioName.SERVER,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark",
            metavar="NAME",
            help="dlrm, dlrm-v2, dlrm-v3, or a name in a --conf file [the scenario's model].",
            show_default=False,
        ),
    ] = None,
    conf: Annotated[
        list[Path] | None,
        typer.Option(
            "--conf",
            metavar="FILE",
            help="user.conf, or mlperf.conf and user.conf: the later goes before the earlier. Repeatable.",
        ),
    ] = None,
    overrides: SetOption = None,
    accept_uncertain: AcceptUncertainOption = False,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether MLPerf's LoadGen would call a run VALID, and which rate is the largest."""
    target_qps = checked_rate("--target-qps", target_qps)
    loaded = load_scenario(the_scenario(names, scenario), overrides or ())
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    target = mlperf_target(question, loadgen_scenario.value, benchmark=benchmark, conf=conf or ())
    with loaded.places(), watched() as watch:
        result = mlperf_of(
            question,
            target,
            target_qps=target_qps,
            extrapolate=extrapolate,
            accept_uncertain=accept_uncertain,
            tell=watch.stage("simulating"),
        )

    show(lambda: mlperf_document(result), lambda: mlperf_page(result), as_json=as_json, out=out)
    raise typer.Exit(EXIT_CODES[result.verdict])
