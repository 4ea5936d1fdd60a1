"""`perfplan plan`: how many nodes of which kind?"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli.answering import SLA_MISSED, show
from perfmodel.cli.completion import complete_fleets
from perfmodel.cli.options import (
    ExtrapolateOption,
    FleetSetOption,
    FormatOption,
    JsonOption,
    MixedStacksOption,
    PageOption,
    SettingsFormat,
)
from perfmodel.cli.watched import watched
from perfmodel.errors import InputError
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan.answer import PlanAnswer
from perfmodel.planning.plan.computation import plan as plan_of
from perfmodel.planning.plan.growth import growth_range
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.simulation import simulated
from perfmodel.planning.plan.sla_curves import sla_curves as sla_curves_of
from perfmodel.report.documents.plan import plan_document
from perfmodel.report.plan import plan_page


@contextmanager
def _solver_to_stderr() -> Iterator[None]:
    """Let what the solver's C++ prints go to stderr: now and then it says a line that nobody asked for."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, AttributeError, ValueError):  # a closed stream
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def plan(
    fleet: Annotated[
        str,
        typer.Argument(
            metavar="FLEET",
            help="A shipped fleet by its name, or the path of a YAML file.",
            show_default=False,
            autocompletion=complete_fleets,
        ),
    ],
    growth: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH[:STEP]",
            help="Plan for all demand times each of these factors, too: 1.0:2.0:0.25 is every 0.25 "
            "(sweep --over a:b:n is n of them) [ten steps].",
        ),
    ] = None,
    simulation: Annotated[
        bool,
        typer.Option(
            "--simulate/--no-simulate", help="Simulate the plan, and raise it where an SLA is missed."
        ),
    ] = True,
    overrides: FleetSetOption = None,
    mixed_stacks: MixedStacksOption = False,
    extrapolate: ExtrapolateOption = False,
    sla_curves: Annotated[
        bool | None,
        typer.Option(
            "--sla-curves/--no-sla-curves",
            help="Find what nodes carry at half to twice each SLA, which the page's control needs "
            "[with --out].",
            show_default=False,
        ),
    ] = None,
    settings_format: FormatOption = None,
    out: PageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a fleet: how many nodes of which kind, hour by hour, at what power and price."""
    if settings_format is not None and (as_json or out is not None):
        raise InputError("--format: expected without --json and --out")
    factors = () if growth is None else growth_range(growth)
    loaded = load_fleet(fleet, overrides or ())
    also: Any = {"mixed_stacks": mixed_stacks, "extrapolate": extrapolate}
    with watched() as watch:
        question = plan_question(loaded, **also, tell=watch.stage("capacities of nodes"))
        watch.stage("hours")
        with _solver_to_stderr():
            result = plan_of(question, growth=factors, extrapolate=extrapolate)
        if simulation:
            result = simulated(result, extrapolate=extrapolate, tell=watch.stage("simulating the plan"))
        if sla_curves or (sla_curves is None and out is not None):
            curves = sla_curves_of(result.question, **also, tell=watch.stage("capacities at other SLAs"))
            result = replace(result, sla_curves=curves)

    if settings_format is not None:
        print(_settings(result, settings_format))
    else:
        _show(result, out=out, as_json=as_json)
    if not result.holds:
        raise typer.Exit(SLA_MISSED)


def _settings(result: PlanAnswer, settings_format: SettingsFormat) -> str:
    from perfmodel.report.planned_settings import planned_settings  # on use: few ask
    from perfmodel.report.serving_config import torchserve_text, triton_text

    written = {SettingsFormat.TRITON: triton_text, SettingsFormat.TORCHSERVE: torchserve_text}
    return planned_settings(result, written[settings_format])


def _show(result: PlanAnswer, *, out: Path | None, as_json: bool) -> None:
    show(lambda: plan_document(result), lambda: plan_page(result), as_json=as_json, out=out)
