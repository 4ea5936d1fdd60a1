"""`perfplan latency`: one batch on one executor, no queue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.answering import show
from perfmodel.cli.completion import complete_models, complete_profiles, complete_scenarios
from perfmodel.cli.options import (
    ExtrapolateOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    SetOption,
    whole_numbers,
)
from perfmodel.errors import InputError
from perfmodel.planning.breakdown import LatencyTable, latency_table
from perfmodel.planning.prepare import find_devices, find_model, inputs_of
from perfmodel.report.documents.latency import latency_documents
from perfmodel.report.latency import latency_pages

DEFAULT_BATCHES = (1, 16, 64, 256)


def latency(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME|FILE", help="What runs.", autocompletion=complete_models),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="NAME[@STACK]|FILE",
            help="A hardware profile, perhaps with a stack. Repeatable: all with one stack.",
            autocompletion=complete_profiles,
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario",
            "-s",
            metavar="NAME|FILE",
            help="In place of both: requests on one executor of this scenario's node.",
            autocompletion=complete_scenarios,
        ),
    ] = None,
    overrides: SetOption = None,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            "-b",
            metavar="N,N,…",
            help="Batch sizes, separated by commas [1,16,64,256; some that the scenario sends]. [items]",
        ),
    ] = None,
    busy: Annotated[
        int | None,
        typer.Option("--busy", metavar="N", min=1, help="Executors of the scenario's node at work [1]."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="FILE",
            help="Write the scenario's service times as a table, which node.service_times can name.",
        ),
    ] = None,
    co_located: Annotated[
        int,
        typer.Option("--co-located", metavar="N", help="Copies at work on one socket, this one included."),
    ] = 1,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="KIND",
            help="Leave out a kind of calls, such as input, which some figures do not count. Repeatable.",
        ),
    ] = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the latency of one batch on one executor, operator by operator."""
    batch_sizes = whole_numbers("--batch", batch) if batch is not None else ()
    if scenario is not None:
        of_device = {"--model": model, "--on": on, "--without": without, "--co-located": co_located > 1}
        if given := [option for option, value in of_device.items() if value]:
            raise InputError(f"--scenario: expected no {given[0]}, the scenario says what runs where")
        _of_scenario(
            scenario, overrides or (), batch_sizes, busy or 1, table, mixed_stacks, extrapolate, out, as_json
        )
        return
    if given := [
        option for option, value in (("--busy", busy), ("--table", table), ("--set", overrides)) if value
    ]:
        raise InputError(f"{given[0]}: expected with --scenario only")
    if model is None or on is None:
        missing = "--model" if model is None else "--on"
        raise InputError(f"missing option {missing}: expected --model and --on, or --scenario")
    what = find_model(model)
    batch_sizes = batch_sizes or DEFAULT_BATCHES
    results = [
        latency_table(
            what,
            device,
            batch_sizes,
            co_located=co_located,
            without=without or (),
            extrapolate=extrapolate,
            inputs=inputs_of(model, [name]),
        )
        for name, device in zip(on, find_devices(on, what, mixed_stacks=mixed_stacks), strict=True)
    ]
    _show(results, out, as_json)


def _of_scenario(
    scenario: str,
    overrides: Sequence[str],
    batch_sizes: tuple[int, ...],
    busy: int,
    table: Path | None,
    mixed_stacks: bool,
    extrapolate: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Requests on one executor of a scenario's node; its service times as a table, where one is asked for."""
    # Imported on use: a device by itself needs no traffic.
    from perfmodel.loading.scenario_file import load_scenario
    from perfmodel.loading.service_table_text import service_table_text
    from perfmodel.loading.written import require_writable, write_atomically
    from perfmodel.planning.node_latency import node_latency, stage_latencies
    from perfmodel.planning.node_table import node_table
    from perfmodel.planning.prepare import prepare

    loaded = load_scenario(scenario, overrides)
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=table is None)
    if question.pipeline is not None:
        with loaded.places():
            results = stage_latencies(question, batch_sizes, busy=busy, extrapolate=extrapolate)
        _show(results, out, as_json)
        return
    if table is not None:
        require_writable(table, "--table")
    with loaded.places():
        result = node_latency(question, batch_sizes, busy=busy, extrapolate=extrapolate)
        if table is not None:
            if not extrapolate:
                question.times.require_calibrated()
            said = " ".join(f"service times of {question.name}: {question.service_times_of}".split())
            write_atomically(table, service_table_text(node_table(question, table.name), comment=said))
    _show([result], out, as_json)


def _show(results: Sequence[LatencyTable], out: Path | None, as_json: bool) -> None:
    show(lambda: latency_documents(results), lambda: latency_pages(results), as_json=as_json, out=out)
