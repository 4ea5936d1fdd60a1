"""`perfplan calibrate`: measure what this machine's operators cost, and write a hardware profile."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from calibration.commands.torch_needed import require_torch
from calibration.documents import VERSION, CalibrateDocument
from calibration.other_machine import warn_of_other_machine
from perfmodel.cli.completion import complete_models
from perfmodel.cli.options import JsonOption
from perfmodel.errors import InputError, InterruptionError
from perfmodel.loading.profile_file import ProfileFile, require_name
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.profile_writing import require_profile_writable, write_profile
from perfmodel.loading.shipped import SUFFIXES
from perfmodel.loading.words import quoted
from perfmodel.loading.written import is_special, require_writable
from perfmodel.planning.prepare import find_model
from perfmodel.report.documents import saved
from perfmodel.report.tables import counted

if TYPE_CHECKING:  # torch is imported by the command, and only where it is needed
    from calibration.measure.records import Records
    from perfmodel.domain.model import RecModel

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)(s|m)?$")
_SHORTEST_S, _LONGEST_S = 10.0, 3600.0


def calibrate(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The hardware profile to write.")],
    device: Annotated[str, typer.Option("--device", help="What to measure: cpu or cuda.")] = "cpu",
    precision: Annotated[
        str, typer.Option("--precision", help="What a card multiplies in: fp32, tf32 or bf16.")
    ] = "fp32",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Time for measuring, such as 90s or 2m.")
    ] = "140s",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the profile; by default that of the file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Add to the measurements of an earlier run beside the file.")
    ] = False,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="MODEL",
            help="Add what this model needs to the file's measurements; repeatable.",
            autocompletion=complete_models,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what operators cost on this machine, and write a hardware profile."""
    require_torch()
    budget_s = _seconds(budget)
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device: expected cpu or cuda, got {quoted(device)}")
    if device == "cpu" and precision != "fp32":
        raise InputError(f"--precision: expected fp32 on a CPU, got {quoted(precision)}; a card has others")
    require_profile_writable(out)
    _require_ending(out)
    called = _name(out, name)
    raw = out.with_name(out.stem + ".measured.csv")
    require_writable(raw)
    models = _given_models(given or [], device, raw)
    records = _records(raw, resume=resume or bool(models))
    if records.visits and out.exists():
        warn_of_other_machine(out)
    calibrate_cpu = partial(_calibrate_cpu, models=models)
    calibrate_device = calibrate_cpu if device == "cpu" else partial(_calibrate_cuda, precision)
    try:
        values = calibrate_device(called, budget_s, raw, records)
        summary = _summary(out, values, raw, records)
        _write(out, values, summary, as_json=as_json)
    except KeyboardInterrupt:
        raise InterruptionError(_interrupted(out, raw, records)) from None
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        print("\n".join(summary_lines(out, summary)))
        for line in _next_steps(out, values, device):
            print(line, file=sys.stderr)


def _write(out: Path, values: Mapping[str, Any], summary: Mapping[str, Any], *, as_json: bool) -> None:
    """Write the profile, or print it where a disk has filled up since: it is worth more than its place."""
    try:
        write_profile(out, values)
    except InputError:
        print(json.dumps({**summary, "profile": values}, indent=2) if as_json else profile_text(values))
        raise


def summary_lines(out: Path, summary: Mapping[str, Any]) -> list[str]:
    """What a calibration says of itself, as lines that a narrow terminal shows whole."""
    disturbed = summary["disturbed_passes"]
    left_out = [f"{disturbed} passes left out: the machine was disturbed beside them"] if disturbed else []
    return [
        f"{out}: {summary['calls']:,} calls of {counted(summary['kinds'], 'kind')}",
        *left_out,
        f"spread between passes {100 * summary['spread_between_passes']:.1f} %",
        f"error on calls left out of the fit {100 * summary['relative_error']:.1f} %",
    ]


def _next_steps(out: Path, values: Mapping[str, Any], device: str) -> list[str]:
    """What a calibration left unmeasured, and what to ask now."""
    lines = []
    if device == "cpu" and "served" not in values["stacks"]["pytorch"]:
        lines.append(
            "note: too few passes to tell what a PyTorch module takes more than a flat list of calls; "
            "--resume adds to them, and two minutes measure it"
        )
    profile = shlex.quote(str(out))
    return [*lines, f"try: perfplan latency --model dlrm-rmc1 --on {profile}"]


def _require_ending(out: Path) -> None:
    """Refuse a name by which no command would find the profile in its folder."""
    if out.suffix not in SUFFIXES and not is_special(out):
        raise InputError(f"--out {quoted(str(out))}: expected a name that ends in {' or '.join(SUFFIXES)}")


def _name(out: Path, name: str | None) -> str:
    """The profile's name: as asked for, else the file's in the letters that names have."""
    if name is not None:
        require_name(name, "--name")
        return name
    from_file = re.sub(r"[^a-z0-9_.-]+", "-", out.stem.lower()).strip("-")
    require_name(from_file, f"--out {out}: the profile is named after it, unless --name is given")
    return from_file


def _interrupted(out: Path, raw: Path, records: Records) -> str:
    """What an interrupted calibration leaves, in a line."""
    number = len(records.seeds(0))
    if not number:
        return "interrupted before anything was measured"
    return f"interrupted: {raw} holds {number} sequences; calibrate --out {out} --resume adds to them"


def _given_models(names: list[str], device: str, raw: Path) -> list[RecModel]:
    """The models to measure; they are added to measurements that have to be there."""
    if names and device != "cpu":
        raise InputError(f"--for: expected --device cpu, got {device}: a card's passes are not timed so yet")
    if names and not raw.exists():
        raise InputError(f"--for: expected the measurements of a calibration to add to, found no {raw}")
    return [find_model(name) for name in names]


def _calibrate_cpu(
    name: str, budget_s: float, raw: Path, records: Records, models: list[RecModel]
) -> dict[str, Any]:
    from calibration.fingerprint import fingerprint
    from calibration.measure.calibration import Calibration, calibrated_values
    from calibration.measure.device_calibration import require_kind
    from calibration.measure.one_thread import in_one_thread
    from calibration.runtime.settings import apply_settings

    taken = fingerprint(settings=(apply_settings().describe(),))
    require_kind(records, accelerated=False)
    with _progress(budget_s) as progress:
        run = Calibration(budget_s=budget_s, raw=raw, records=records, progress=progress)
        if models:
            run.measure_given(models)
        else:
            run.measure()
    print("fitting", file=sys.stderr)
    return in_one_thread(calibrated_values, records, taken, name=name, raw=raw.name)


def _calibrate_cuda(
    precision: str, name: str, budget_s: float, raw: Path, records: Records
) -> dict[str, Any]:
    from calibration.fingerprint import fingerprint
    from calibration.measure.device_calibration import DeviceCalibration, calibrated_device_values
    from calibration.measure.one_thread import in_one_thread
    from calibration.power import nvml_meter
    from calibration.runtime.accelerator import precision_of
    from calibration.runtime.cuda import cuda_accelerator
    from calibration.runtime.settings import apply_settings

    card, meter = cuda_accelerator(precision=precision_of(precision)), nvml_meter()
    taken = fingerprint(settings=(apply_settings().describe(),))
    with _progress(budget_s) as progress:
        DeviceCalibration(
            budget_s=budget_s,
            raw=raw,
            records=records,
            progress=progress,
            accelerator=card,
            meter=meter,
            power_limit_w=None if meter is None else meter.limit_w,
        ).measure()
    print("fitting", file=sys.stderr)
    return in_one_thread(calibrated_device_values, records, taken, card=card.name, name=name, raw=raw.name)


def _records(raw: Path, *, resume: bool) -> Records:
    """The measurements that are there already, where they are to be added to."""
    from calibration.measure.points import require_kernels
    from calibration.measure.records import Records, read_records

    if not (resume and raw.exists()):
        return Records()
    records = read_records(raw)
    require_kernels(records.visits, records.facts.get("most_table_bytes", 0.0), str(raw), records.models)
    return records


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


def _summary(out: Path, values: dict[str, Any], raw: Path, records: Records) -> CalibrateDocument:
    """Sum the profile up; it has to be one that loads."""
    from calibration.measure.calibration import disturbed_passes, spread_between_passes

    ProfileFile.model_validate_json(json.dumps(values))
    stack = values["stacks"]["pytorch"]
    head = saved("calibrate", VERSION)
    return {
        "schema": head["schema"],
        "perfplan": head["perfplan"],
        "date": head["date"],
        "inputs": head["inputs"],
        "out": str(out),
        "measurements": str(raw),
        "kinds": len(stack["surfaces"]),
        "calls": sum(section["calls"] for section in stack["surfaces"]),
        "spread_between_passes": spread_between_passes(records),
        "disturbed_passes": disturbed_passes(records),
        "relative_error": stack["relative_error"]["value"],
        "co_located": stack["co_located"],
    }


def _seconds(text: str) -> float:
    match = _BUDGET.match(text)
    seconds = float(match[1]) * (60.0 if match[2] == "m" else 1.0) if match else 0.0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise InputError(f"--budget: expected a time from 10s to 60m, such as 90s or 2m, got {quoted(text)}")
    return seconds
