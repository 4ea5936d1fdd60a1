"""`perfplan init`: files to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.serving_config import read_torchserve, read_triton
from perfmodel.loading.shipped import STARTER
from perfmodel.loading.text_file import read_text
from perfmodel.loading.words import cut_path
from perfmodel.loading.written import require_writable, write_atomically
from perfmodel.report.serving_config import left_out, node_section, policy_section, with_sections

MEAN_ITEMS = 223.0
"""Mean size of the queries of the scenario that is copied, `deeprecsys-production`. [items]"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; it is made.")] = Path(),
    from_triton: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take instances and batching from Triton's config.pbtxt."),
    ] = None,
    from_torchserve: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take workers and batching from TorchServe's model configuration."),
    ] = None,
    items_per_request: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=1e6,
            metavar="N",
            help=f"Items that a request of TorchServe holds, in the mean [{MEAN_ITEMS:g}].",
        ),
    ] = None,
) -> None:
    """Copy an annotated scenario, model and fleet to start from."""
    if from_triton is not None and from_torchserve is not None:
        raise InputError("expected one of --from-triton and --from-torchserve, got both")
    if items_per_request is not None and from_torchserve is None:
        raise InputError("--items-per-request: expected --from-torchserve beside it")
    items = MEAN_ITEMS if items_per_request is None else items_per_request
    config = read_triton(from_triton) if from_triton is not None else None
    if from_torchserve is not None:
        config = read_torchserve(from_torchserve)
    files = {folder / each.name: read_text(each) for each in sorted(STARTER.glob("*.yaml"))}
    if config is not None:
        sections = {"node": node_section(config), "policy": policy_section(config, items)}
        files[folder / "scenario.yaml"] = with_sections(files[folder / "scenario.yaml"], sections)
    try:
        for file in files:
            if file.exists():
                raise InputError(
                    f"{file} exists already: nothing was written; perfplan init FOLDER writes elsewhere"
                )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{cut_path(folder)}: cannot be made: {error.strerror or error}") from None
    for file in files:
        require_writable(file)
    for file, text in files.items():
        write_atomically(file, text)
    names = ("scenario.yaml", "model.yaml", "fleet.yaml")
    scenario, model, fleet = (shlex.quote(str(folder / name)) for name in names)
    for file in files:
        print(f"written: {file}")
    answers = ""
    if config is not None:
        print("note: model, processor, traffic and SLA are still the example's: put yours there")
        notes = left_out(config)
        if (refusal := _refusal_of(folder / "scenario.yaml")) is not None:
            notes.append(f"as it is, predict refuses it: {refusal}")
            answers = " --extrapolate" if "--extrapolate" in refusal else ""
        for note in notes:
            print(f"note: {note}")
    print(f"try: perfplan predict {scenario}{answers}")
    print(f"     perfplan latency --model {model} --on skylake")
    print(f"     perfplan plan {fleet} --no-simulate")


def _refusal_of(scenario: Path) -> str | None:
    """Why the scenario has no answer yet, as where the example's profile does not cover its batches."""
    # Only a configuration that was read needs the planning, which takes longer to load than all of this.
    from perfmodel.loading.scenario_file import load_scenario
    from perfmodel.planning.prepare import prepare

    try:
        prepare(load_scenario(scenario)).times.require_calibrated()
    except PerfplanError as error:
        return str(error)
    return None
