"""`perfplan tune`: which batch size and offload threshold carry the most load?"""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.answering import SLA_MISSED, show
from perfmodel.cli.deeprecsys import show_deeprecsys_mode
from perfmodel.cli.options import (
    ExtrapolateOption,
    FormatOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    ScenarioArgument,
    ScenarioOption,
    SetOption,
    SettingsFormat,
    the_scenario,
    whole_numbers,
)
from perfmodel.cli.watched import watched
from perfmodel.domain.bounds import MOST_COUNT
from perfmodel.errors import InputError, Note
from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune.computation import tune as tune_question
from perfmodel.planning.tune.question import TuneOptions, without_effect
from perfmodel.report.documents.tune import tune_document
from perfmodel.report.tune import tune_page


class Wanted(StrEnum):
    """What is best."""

    QPS = "qps"
    QPS_PER_WATT = "qps-per-watt"


def tune(
    names: ScenarioArgument = None,
    scenario: ScenarioOption = None,
    overrides: SetOption = None,
    sla_levels: Annotated[
        bool,
        typer.Option(
            "--sla-levels", help="Tune at low (/ 1.5) and high (x 1.5) SLA too; the scenario's is medium."
        ),
    ] = False,
    objective: Annotated[Wanted, typer.Option(help="What is best; power is static TDP.")] = Wanted.QPS,
    static_batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_COUNT, metavar="ITEMS", help="Batch size of the baseline [largest query / cores]."
        ),
    ] = None,
    batch_sizes: Annotated[
        str, typer.Option(metavar="1,2,...", help="Batch sizes to try, ascending [doubling from 1].")
    ] = "",
    thresholds: Annotated[
        str,
        typer.Option(
            metavar="1,96,...", help="Offload thresholds to try, ascending [equal steps of the items' share]."
        ),
    ] = "",
    deeprecsys_mode: Annotated[
        bool,
        typer.Option(
            "--deeprecsys-mode",
            help="Run the published controller, shortcuts and mistakes included, beside the exact answer.",
        ),
    ] = False,
    sub_batches: Annotated[
        str,
        typer.Option(
            metavar="1,4,...", help="Parts of a query to try, ascending, of a pipeline [1,2,4,8,16]."
        ),
    ] = "",
    settings_format: FormatOption = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the batch size and offload threshold that carry the most load."""
    options = TuneOptions(
        sla_levels=sla_levels,
        objective=objective.value,
        static_batch=static_batch,
        batch_sizes=_ascending("--batch-sizes", batch_sizes),
        thresholds=_ascending("--thresholds", thresholds),
        extrapolate=extrapolate,
    )
    if settings_format is not None and (as_json or deeprecsys_mode):
        raise InputError("--format: expected without --json and --deeprecsys-mode")
    if deeprecsys_mode and options != TuneOptions(extrapolate=extrapolate):
        raise InputError("--deeprecsys-mode: expected no other options of tune than --extrapolate, --json")
    loaded = load_scenario(the_scenario(names, scenario), overrides or ())
    if loaded.scenario.pipeline is not None:
        if deeprecsys_mode or settings_format is not None or options != _of_stages(options):
            raise InputError("tune of a pipeline takes --objective, --sub-batches, --set and --extrapolate")
        _show_stages(loaded, options, _ascending("--sub-batches", sub_batches), mixed_stacks, out, as_json)
        return
    if sub_batches:
        raise InputError("--sub-batches: expected a scenario with a pipeline")
    said = without_effect(text.partition("=")[0].strip() for text in overrides or ())
    if said is not None and not deeprecsys_mode:  # which asks what the shortcuts are worth there
        warnings.warn(Note(f"--set: {said}"), stacklevel=2)
    question = prepare(loaded, mixed_stacks=mixed_stacks)
    with loaded.places():
        if deeprecsys_mode:
            show_deeprecsys_mode(question, extrapolate=extrapolate, as_json=as_json, out=out)
            return
        with watched() as watch:
            answer = tune_question(question, options, tell=watch.stage("configurations"))
    if settings_format is not None:
        from perfmodel.report.serving_config import tuned_torchserve, tuned_triton  # on use: few ask

        written = {SettingsFormat.TRITON: tuned_triton, SettingsFormat.TORCHSERVE: tuned_torchserve}
        print(written[settings_format](answer))
    else:

        def html() -> str:
            from perfmodel.report.pages.made import tune_html  # few answers become a page of HTML

            return tune_html(answer)

        show(lambda: tune_document(answer), lambda: tune_page(answer), as_json=as_json, out=out, html=html)
    if answer.tuning.exhaustive.latency_bounded_qps is None:
        raise typer.Exit(SLA_MISSED)


def _of_stages(options: TuneOptions) -> TuneOptions:
    """What of the options a pipeline knows."""
    return TuneOptions(objective=options.objective, extrapolate=options.extrapolate)


def _show_stages(
    loaded: LoadedScenario,
    options: TuneOptions,
    sub_batches: tuple[int, ...],
    mixed_stacks: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Tune the stages of a pipeline."""
    # Imported on use: few scenarios have several stages.
    from perfmodel.planning.tune_stages.computation import tune_stages
    from perfmodel.report.documents.tune_stages import stage_tuning_document
    from perfmodel.report.tune_stages import stage_tuning_page

    with loaded.places(), watched() as watch:
        found = tune_stages(
            loaded,
            objective=options.objective,
            sub_batches=sub_batches,
            mixed_stacks=mixed_stacks,
            extrapolate=options.extrapolate,
            tell=watch.stage("placements"),
        )

    show(lambda: stage_tuning_document(found), lambda: stage_tuning_page(found), as_json=as_json, out=out)
    if found.tuned.latency_bounded_qps is None:
        raise typer.Exit(SLA_MISSED)


def _ascending(option: str, text: str) -> tuple[int, ...]:
    """Read ascending whole numbers from 1 up, separated by commas."""
    return whole_numbers(option, text, ascending=True) if text else ()
