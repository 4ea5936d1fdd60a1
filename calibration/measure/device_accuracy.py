"""How well a card's profile predicts whole models: `python -m calibration.measure.device_accuracy`.

With `--against CPU_PROFILE` the same models also run on a core, and the batch size from which the card is
the faster one is given as predicted and as measured. Written and tested against a stand-in only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from calibration.children import in_fresh_process
from calibration.measure.accuracy import BATCHES, DEEPRECSYS, measured_apart
from calibration.runtime.accelerator import Accelerator
from calibration.runtime.cuda import cuda_accelerator, missing_cuda
from calibration.runtime.offloaded import OffloadedProgramme, offloaded_programme
from calibration.runtime.programme import Inputs
from calibration.runtime.settings import apply_settings
from calibration.runtime.timing import Floats
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.written import write_atomically
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.units import MS

_WARM, _FEWEST, _MOST, _TIMED_S = 5, 5, 50, 0.2
_MOST_DRAWN = 15e6
"""Lookups in all batches of one size: the host draws them, which takes longer than using them."""


def measure_offloaded(
    model: RecModel, batches: Sequence[int], rounds: int, card: Callable[[], Accelerator]
) -> Floats:
    """Time of whole passes, inputs and output in the host's memory: `(rounds, batches)` medians. [s]"""
    offloaded = offloaded_programme(model, card())
    return np.array(
        [
            [
                _median_s(offloaded, batch_size, np.random.default_rng((batch_size, number)))
                for batch_size in batches
            ]
            for number in range(rounds)
        ]
    )


def _median_s(offloaded: OffloadedProgramme, batch_size: int, rng: np.random.Generator) -> float:
    """Median of some passes after warm ones, going round the inputs. [s]"""
    programme = offloaded.programme
    drawn = batch_size * max(programme.model.lookups_per_item, 1e-9)
    inputs = programme.many_inputs(batch_size, int(np.clip(_MOST_DRAWN / drawn, 2, _WARM + _MOST)), rng)
    first = [_pass_s(offloaded, inputs[turn % len(inputs)]) for turn in range(_WARM)]
    passes = int(np.clip(_TIMED_S / first[-1], _FEWEST, _MOST))
    timed = [_pass_s(offloaded, inputs[turn % len(inputs)]) for turn in range(_WARM, _WARM + passes)]
    return float(np.median(timed))


def _pass_s(offloaded: OffloadedProgramme, inputs: Inputs) -> float:
    start = perf_counter()
    offloaded.run(inputs)
    return perf_counter() - start


def offloaded_apart(model: RecModel, batches: Sequence[int], rounds: int) -> Floats:
    """As `measure_offloaded` on the CUDA device, in a fresh process: no memory of the last model is left."""
    return in_fresh_process(_set_up_and_measure, model, tuple(batches), rounds)


def _set_up_and_measure(model: RecModel, batches: Sequence[int], rounds: int) -> Floats:
    apply_settings()
    return measure_offloaded(model, batches, rounds, cuda_accelerator)


def errors_of(model: RecModel, batches: Sequence[int], seconds: Floats, profile: str) -> dict[str, Any]:
    """Predicted and measured time of a model at each batch size."""
    predicted_s = predicted(model, batches, profile)
    measured_s = np.median(seconds, axis=0)
    return {
        "model": model.name,
        "rows": [
            {
                "batch_size": batch_size,
                "predicted_ms": float(there / MS),
                "measured_ms": float(here / MS),
                "error_percent": 100.0 * float(there / here - 1.0),
            }
            for batch_size, there, here in zip(batches, predicted_s, measured_s, strict=True)
        ],
    }


def predicted(model: RecModel, batches: Sequence[int], profile: str) -> Floats:
    """Time of the batches by a profile. [s]"""
    return batch_time(model, find_device(profile, model), np.array(batches, float)).seconds


def crossover_items(batches: Sequence[int], card_s: Floats, core_s: Floats) -> float | None:
    """Batch size from which on the card is faster; None where a core is, at the largest. [items]

    Between two sizes the logarithm of the ratio is taken as linear in that of the size.

    Examples
    --------
    >>> crossover_items([1, 100], np.array([10.0, 10.0]), np.array([1.0, 100.0]))
    10.0
    """
    ratio, sizes = np.log(card_s / core_s), np.log(batches)
    slower = np.flatnonzero(ratio > 0.0)
    if len(slower) == 0:
        return float(batches[0])
    last = int(slower[-1])
    if last == len(sizes) - 1:
        return None
    share = ratio[last] / (ratio[last] - ratio[last + 1])
    return round(float(np.exp(sizes[last] + share * (sizes[last + 1] - sizes[last]))), 6)


def crossovers(
    model: RecModel, batches: Sequence[int], card_s: Floats, profiles: tuple[str, str], rounds: int
) -> dict[str, float | None]:
    """Predicted and measured batch size from which the card is faster; runs the model on a core. [items]"""
    core_s = np.median(measured_apart(model, batches, rounds).seconds, axis=0)
    on_card, on_core = (predicted(model, batches, profile) for profile in profiles)
    return {
        "predicted_items": crossover_items(batches, on_card, on_core),
        "measured_items": crossover_items(batches, np.median(card_s, axis=0), core_s),
    }


def main() -> None:
    """Measure the models, compare, print a line for each; the JSON document goes where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", "-p", required=True, help="a card's calibrated profile")
    parser.add_argument("--against", help="a CPU's profile: also measure a core, and say where the card wins")
    parser.add_argument("--models", "-m", default=",".join(DEEPRECSYS), help="names or files, by commas")
    parser.add_argument("--batch", "-b", default=",".join(map(str, BATCHES)), help="batch sizes, by commas")
    parser.add_argument("--rounds", type=int, default=2, help="visits of each model and batch size")
    parser.add_argument("--json", type=Path, help="file to write the comparison to")
    given = parser.parse_args()
    if (why := missing_cuda()) is not None:
        print(why, file=sys.stderr)
        raise SystemExit(InputError.exit_code)
    batches, compared = [int(text) for text in given.batch.split(",")], []
    for name in given.models.split(","):
        model = find_model(name)
        try:
            seconds = offloaded_apart(model, batches, given.rounds)
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        found = errors_of(model, batches, seconds, given.profile)
        if given.against:
            profiles = (given.profile, given.against)
            found["faster_from"] = crossovers(model, batches, seconds, profiles, given.rounds)
        compared.append(found)
        print(line_of(found))
    errors = np.abs([row["error_percent"] for found in compared for row in found["rows"]] or [np.nan])
    print(f"all: mean error {errors.mean():.1f} %, worst {errors.max():.1f} %")
    if given.json:
        write_atomically(given.json, json.dumps(compared, indent=2) + "\n")


def line_of(found: Mapping[str, Any]) -> str:
    """A model's errors by batch size, and from where on the card is faster."""
    errors = " ".join(f"{row['batch_size']}:{row['error_percent']:+.0f}" for row in found["rows"])
    line = f"{found['model']:14} {errors}"
    if "faster_from" in found:
        words = {
            key: "never" if items is None else f"{items:.0f}" for key, items in found["faster_from"].items()
        }
        line += f"   card faster from {words['measured_items']}, predicted {words['predicted_items']}"
    return line


if __name__ == "__main__":
    main()
