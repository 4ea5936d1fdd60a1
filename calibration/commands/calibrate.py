"""`perfplan calibrate`: measure what this machine's operators cost, and write a hardware profile."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from calibration.commands.torch_needed import require_torch
from perfmodel.cli.options import JsonOption
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.written import write_atomically

if TYPE_CHECKING:  # torch is imported by the command, and only where it is needed
    from calibration.measure.records import Records

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)(s|m)?$")
_SHORTEST_S, _LONGEST_S = 10.0, 3600.0


def calibrate(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The hardware profile to write.")],
    device: Annotated[str, typer.Option("--device", help="What to measure: cpu or cuda.")] = "cpu",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Time for measuring, such as 90s or 2m.")
    ] = "140s",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the profile; by default that of the file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Add to the measurements of an earlier run beside the file.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what operators cost on this machine, and write a hardware profile."""
    require_torch()
    budget_s = _seconds(budget)
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: no directory {out.parent}")
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device: expected cpu or cuda, got {device!r}")
    called = name or re.sub(r"[^a-z0-9_.-]+", "-", out.stem.lower()).strip("-") or "this-machine"
    calibrate_device = {"cpu": _calibrate_cpu, "cuda": _calibrate_cuda}[device]
    summary = calibrate_device(out, called, budget_s, resume=resume)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        print(f"{out}: {summary['calls']} calls of {summary['kinds']} kinds, ", end="")
        print(f"spread between passes {100 * summary['spread_between_passes']:.1f} %, ", end="")
        print(f"error on calls left out of the fit {100 * summary['relative_error']:.1f} %")


def _calibrate_cpu(out: Path, name: str, budget_s: float, *, resume: bool) -> dict[str, Any]:
    from calibration.fingerprint import fingerprint
    from calibration.measure.calibration import Calibration, calibrated_values
    from calibration.measure.device_calibration import require_kind
    from calibration.measure.one_thread import in_one_thread
    from calibration.runtime.settings import apply_settings

    taken = fingerprint(settings=(apply_settings().describe(),))
    raw, records = _records(out, resume=resume)
    require_kind(records, accelerated=False)
    with _progress(budget_s) as progress:
        Calibration(budget_s=budget_s, raw=raw, records=records, progress=progress).measure()
    print("fitting", file=sys.stderr)
    values = in_one_thread(calibrated_values, records, taken, name=name, raw=raw.name)
    return _written(out, values, raw, records)


def _calibrate_cuda(out: Path, name: str, budget_s: float, *, resume: bool) -> dict[str, Any]:
    from calibration.fingerprint import fingerprint
    from calibration.measure.device_calibration import DeviceCalibration, calibrated_device_values
    from calibration.measure.one_thread import in_one_thread
    from calibration.power import nvml_meter
    from calibration.runtime.cuda import cuda_accelerator
    from calibration.runtime.settings import apply_settings

    card = cuda_accelerator()
    taken = fingerprint(settings=(apply_settings().describe(),))
    raw, records = _records(out, resume=resume)
    with _progress(budget_s) as progress:
        DeviceCalibration(
            budget_s=budget_s,
            raw=raw,
            records=records,
            progress=progress,
            accelerator=card,
            meter=nvml_meter(),
        ).measure()
    print("fitting", file=sys.stderr)
    values = in_one_thread(calibrated_device_values, records, taken, card=card.name, name=name, raw=raw.name)
    return _written(out, values, raw, records)


def _records(out: Path, *, resume: bool) -> tuple[Path, Records]:
    """Where the measurements go, and those that are there already."""
    from calibration.measure.records import Records, read_records

    raw = out.with_name(out.stem + ".measured.csv")
    return raw, read_records(raw) if resume and raw.exists() else Records()


@contextmanager
def _progress(budget_s: float) -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr; what it gives is told the phase and the seconds that are spent."""
    bar = Progress(
        TextColumn("{task.description:24}"), BarColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    )
    with bar:
        task = bar.add_task("allocating", total=budget_s)

        def progress(phase: str, spent_s: float) -> None:
            bar.update(task, description=phase, completed=min(spent_s, budget_s))

        yield progress


def _written(out: Path, values: dict[str, Any], raw: Path, records: Records) -> dict[str, Any]:
    """Write the profile, and sum it up."""
    from calibration.measure.calibration import spread_between_passes

    ProfileFile.model_validate_json(json.dumps(values))  # a file that loads, or none
    write_atomically(out, profile_text(values))
    stack = values["stacks"]["pytorch"]
    return {
        "out": str(out),
        "measurements": str(raw),
        "kinds": len(stack["surfaces"]),
        "calls": sum(section["calls"] for section in stack["surfaces"]),
        "spread_between_passes": spread_between_passes(records),
        "relative_error": stack["relative_error"]["value"],
        "co_located": stack["co_located"],
    }


def _seconds(text: str) -> float:
    match = _BUDGET.match(text)
    seconds = float(match[1]) * (60.0 if match[2] == "m" else 1.0) if match else 0.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise InputError(f"--budget: expected a time from 10s to 60m, such as 90s or 2m, got {text!r}")
    return seconds
