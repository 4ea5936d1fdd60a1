"""How much whole models slow down beside busy workers: `perfplan dev beside -p FILE`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from calibration.measure.accuracy import DEEPRECSYS, settle
from calibration.measure.neighbours import busy_neighbours
from calibration.measure.reports import guarded, kept_models
from calibration.runtime.programme import Programme, build_programme
from calibration.runtime.settings import apply_settings
from calibration.runtime.timing import Floats, fresh_inputs, pass_seconds
from perfmodel.cli.options import whole_numbers
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.written import write_atomically
from perfmodel.planning.prepare import find_device, find_model

_TURN_S, _STARTED_S = 0.06, 0.03
"""Of a turn, and until all neighbours are at work. [s]"""
_MOST = 25
"""Passes of a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDowns:
    """How much longer a model takes while other workers run it too.

    Attributes
    ----------
    workers : tuple of int
        Busy ones, the measured one included.
    factors : (workers, batches) array
        Median over turns, each alone and beside the others at once: neighbours of the host meet both. [1]
    """

    model: RecModel
    batches: tuple[int, ...]
    workers: tuple[int, ...]
    factors: Floats


def measure_beside(model: RecModel, batches: Sequence[int], workers: Sequence[int], turns: int) -> SlowDowns:
    """Run a model in this process alone, and beside processes that run it on cores of their own."""
    programme = build_programme(model)
    settle(programme)
    factors = np.ones((len(workers), len(batches)))
    for row, count in enumerate(workers):
        for column, batch_size in enumerate(batches):
            work = partial(_run_passes, programme, batch_size)
            with busy_neighbours(count - 1, work) as running:
                factors[row, column] = _slow_down(programme, batch_size, running, turns)
    return SlowDowns(model=programme.model, batches=tuple(batches), workers=tuple(workers), factors=factors)


def _run_passes(programme: Programme, batch_size: int, running: Event, seed: int) -> None:
    """A neighbour: pass after pass while it is told to run, for ever."""
    inputs = fresh_inputs(programme, batch_size, np.random.default_rng((batch_size, seed)))
    for given in cycle(inputs):
        running.wait()
        programme.run(given)


def _slow_down(programme: Programme, batch_size: int, running: Event, turns: int) -> float:
    """Time of a pass beside the others over that alone, in turn."""
    inputs = fresh_inputs(programme, batch_size, np.random.default_rng((batch_size, 0)))
    once = float(pass_seconds(programme, inputs, 3)[-1])
    repeats = int(np.clip(_TURN_S / once, 3, _MOST))
    ratios = []
    for _ in range(turns):
        alone_s = np.median(pass_seconds(programme, inputs, repeats))
        running.set()
        time.sleep(_STARTED_S)
        beside_s = np.median(pass_seconds(programme, inputs, repeats))
        running.clear()
        time.sleep(_STARTED_S)  # passes that had begun end
        ratios.append(float(beside_s / alone_s))
    return float(np.median(ratios))


def measurements(found: SlowDowns) -> dict[str, Any]:
    """What was measured of a model, as the JSON document keeps it."""
    rows = [
        {"workers": count, "batch_size": batch_size, "measured_slow_down": float(factor)}
        for count, factors in zip(found.workers, found.factors, strict=True)
        for batch_size, factor in zip(found.batches, factors, strict=True)
    ]
    return {"model": found.model.name, "rows": rows}


def compared(model: RecModel, measured: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Predicted and measured slow-down by batch size and busy workers."""
    device, rows = find_device(profile, model), []
    for row in measured["rows"]:
        batch = np.array(float(row["batch_size"]))
        beside_s = batch_time(model, device, batch, float(row["workers"])).seconds
        expected = float(beside_s / batch_time(model, device, batch).seconds)
        error = 100.0 * (expected / row["measured_slow_down"] - 1.0)
        rows.append(row | {"predicted_slow_down": expected, "error_percent": error})
    return {**measured, "rows": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the models, compare, print a line for each; the JSON document goes where `--json` says."""
    parser = argparse.ArgumentParser(prog="perfplan dev beside", description=__doc__)
    parser.add_argument("--profile", "-p", required=True, help="a CPU's calibrated profile")
    parser.add_argument("--models", "-m", default=",".join(DEEPRECSYS), help="names or files, by commas")
    parser.add_argument("--batch", "-b", default="64", help="batch sizes, by commas [64]")
    parser.add_argument("--workers", default="2", help="busy workers, by commas [2]")
    parser.add_argument("--turns", type=int, default=5, help="turns alone and beside the others")
    parser.add_argument("--json", type=Path, help="file to write the comparison to")
    parser.add_argument("--measured", type=Path, help="compare what such a file holds; measure nothing")
    given = parser.parse_args(arguments)
    batches, workers = whole_numbers("--batch", given.batch), whole_numbers("--workers", given.workers)
    models = [find_model(name) for name in given.models.split(",")]
    find_device(given.profile, models[0])  # a slip is told before minutes of measuring
    keys = ("workers", "batch_size", "measured_slow_down")
    kept = kept_models(given.measured, keys) if given.measured else {}
    if not given.measured:
        apply_settings()
    found = []
    for model in models:
        try:
            if given.measured is None:
                measured = measurements(measure_beside(model, batches, workers, given.turns))
            elif model.name in kept:
                measured = kept[model.name]
            else:
                continue
            found.append(compared(model, measured, given.profile))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        for row in found[-1]["rows"]:
            print(
                f"{model.name:14} {row['workers']:4} workers, batch {row['batch_size']:5}: "
                f"slower by {row['measured_slow_down']:.2f}, predicted {row['predicted_slow_down']:.2f} "
                f"({row['error_percent']:+.1f} %)"
            )
        if given.json:
            write_atomically(given.json, json.dumps(found, indent=2) + "\n")
    if not found:
        raise InputError("no model is left to compare")
    rows = [row for one in found for row in one["rows"]]
    for count in sorted({row["workers"] for row in rows}):
        errors = [abs(row["error_percent"]) for row in rows if row["workers"] == count]
        print(f"{count} workers: mean error of the service time {np.mean(errors):.1f} %")


if __name__ == "__main__":
    guarded(main)
