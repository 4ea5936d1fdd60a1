"""How well a card's profile predicts whole models: `perfplan dev device-accuracy`.

With `--against CPU_PROFILE` the same models also run on a core, and the batch size from which the card is
the faster one is given as predicted and as measured. In brackets: with the host as fast as it was just
then. `--measured FILE` compares an earlier run's `--json` with another profile, and needs no device.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from math import ceil
from operator import itemgetter
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from calibration.children import in_fresh_process
from calibration.measure.accuracy import BATCHES, DEEPRECSYS, measured_apart
from calibration.measure.reports import guarded, kept_models
from calibration.measure.unseen import unseen_models
from calibration.power import EnergyMeter, energy_of, nvml_meter
from calibration.runtime.accelerator import Accelerator, Precision
from calibration.runtime.cuda import cuda_accelerator, missing_cuda
from calibration.runtime.host_level import LaunchProbe
from calibration.runtime.offloaded import OffloadedProgramme, offloaded_programme
from calibration.runtime.programme import Inputs
from calibration.runtime.settings import apply_settings
from calibration.runtime.timing import Floats
from perfmodel.cli.options import whole_numbers
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.written import write_atomically
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.units import MS, US

_WARM, _FEWEST, _MOST, _TIMED_S = 5, 5, 50, 0.15
_IN_A_ROW = 4
"""Timed passes between two probes; the one that follows a probe is slower, and is timed apart."""
_MOST_DRAWN = 15e6
"""Lookups in all batches of one size: the host draws them, which takes longer than using them."""
_POWER_BATCHES, _POWER_S = (64, 1024), 1.5
"""Batches in a row, and for how long: the counter of a card moves ten times a second."""


class Offloaded(NamedTuple):
    """Whole passes of a model, inputs and output in the host's memory, each `(rounds, batches)`. [s]

    Attributes
    ----------
    seconds : array
        Median pass of each round.
    quieter_s, probe_s : array
        Median of the passes while the host was quieter than at the median, and of the probes about them.
    after_probe_s : array
        Median of the passes that followed a probe at once.
    power_w : mapping
        The card's mean power at some batch sizes, one pass after the other; empty where nothing can be read.
    """

    seconds: Floats
    quieter_s: Floats
    probe_s: Floats
    after_probe_s: Floats
    power_w: Mapping[int, float]


def measure_offloaded(
    model: RecModel,
    batches: Sequence[int],
    rounds: int,
    card: Callable[[], Accelerator],
    meter: EnergyMeter | None = None,
) -> Offloaded:
    """Time of whole passes; rounds are apart, since hosts have better moments and worse ones."""
    offloaded = offloaded_programme(model, card())
    probe = LaunchProbe(offloaded.accelerator)
    found = [
        [_medians_s(offloaded, size, np.random.default_rng((size, number)), probe) for size in batches]
        for number in range(rounds)
    ]
    power_w = {size: _power_w(offloaded, size, meter) for size in _POWER_BATCHES if size in batches and meter}
    seconds, quieter_s, probe_s, after_probe_s = np.moveaxis(np.array(found), -1, 0)
    return Offloaded(seconds, quieter_s, probe_s, after_probe_s, power_w)


def _medians_s(
    offloaded: OffloadedProgramme, batch_size: int, rng: np.random.Generator, probe: LaunchProbe
) -> tuple[float, float, float, float]:
    """Median of warm passes, going round the inputs: of all, of the quieter half, its probes, after one. [s]

    Passes follow each other in groups, with a probe on either side of each; the first of a group bears what a
    probe costs the pass behind it, and is left out of the others' median.
    """
    inputs = cycle(_drawn(offloaded, batch_size, rng))
    first = [_pass_s(offloaded, next(inputs)) for _ in range(_WARM)]
    groups = ceil(np.clip(_TIMED_S / first[-1], _FEWEST, _MOST) / _IN_A_ROW)
    probes, timed = [probe.launch_s(1)], []
    for _ in range(groups):
        timed.append([_pass_s(offloaded, next(inputs)) for _ in range(1 + _IN_A_ROW)])
        probes.append(probe.launch_s(1))
    passes, about = np.array(timed), (np.array(probes[1:]) + probes[:-1]) / 2.0
    quieter = about <= np.median(about)
    return (
        float(np.median(passes[:, 1:])),
        float(np.median(passes[quieter, 1:])),
        float(np.median(about[quieter])),
        float(np.median(passes[:, 0])),
    )


def _drawn(offloaded: OffloadedProgramme, batch_size: int, rng: np.random.Generator) -> list[Inputs]:
    programme = offloaded.programme
    drawn = batch_size * max(programme.model.lookups_per_item, 1e-9)
    return programme.many_inputs(batch_size, int(np.clip(_MOST_DRAWN / drawn, 2, _WARM + 2 * _MOST)), rng)


def _pass_s(offloaded: OffloadedProgramme, inputs: Inputs) -> float:
    start = perf_counter()
    offloaded.run(inputs)
    return perf_counter() - start


def _power_w(offloaded: OffloadedProgramme, batch_size: int, meter: EnergyMeter) -> float:
    """Mean power while passes follow each other. [W]"""
    inputs = _drawn(offloaded, batch_size, np.random.default_rng(batch_size))
    with energy_of(meter) as energy:
        end_s, turn = perf_counter() + _POWER_S, 0
        while perf_counter() < end_s:
            offloaded.run(inputs[turn % len(inputs)])
            turn += 1
    return energy.mean_w or 0.0


def offloaded_apart(
    model: RecModel, batches: Sequence[int], rounds: int, precision: Precision = "fp32"
) -> Offloaded:
    """As `measure_offloaded` on the CUDA device, in a fresh process: no memory of the last model is left."""
    return in_fresh_process(_set_up_and_measure, model, tuple(batches), rounds, precision)


def _set_up_and_measure(
    model: RecModel, batches: Sequence[int], rounds: int, precision: Precision
) -> Offloaded:
    apply_settings()
    card = partial(cuda_accelerator, precision=precision)
    return measure_offloaded(model, batches, rounds, card, nvml_meter())


def measurements(model: RecModel, batches: Sequence[int], found: Offloaded) -> dict[str, Any]:
    """What was measured of a model, as the JSON document keeps it."""
    rows = [
        {
            "batch_size": batch_size,
            "measured_ms": float(np.median(seconds) / MS),
            "rounds_ms": (seconds / MS).tolist(),
            "quieter_rounds_ms": (quieter_s / MS).tolist(),
            "probes_us": (probe_s / US).tolist(),
            "after_probe_ms": (after_s / MS).tolist(),
        }
        for batch_size, seconds, quieter_s, probe_s, after_s in zip(
            batches, found.seconds.T, found.quieter_s.T, found.probe_s.T, found.after_probe_s.T, strict=True
        )
    ]
    return {"model": model.name, "rows": rows, "power_w": dict(found.power_w)}


def errors_of(model: RecModel, measured: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Predicted and measured time of a model at each batch size, by the profile as it is and as the host was.

    `error_percent_at_this_level`: of the quieter passes, with the profile's `host_level` as the probes
    beside them read it; the median over rounds.
    """
    rows, device = measured["rows"], find_device(profile, model)
    quiet_s = device.launches.quiet_probe_s if device.launches else 0.0

    def predicted_ms(batch_size: int, host: Device) -> float:
        return float(batch_time(model, host, np.array(float(batch_size))).seconds / MS)

    def error_then(row: Mapping[str, Any]) -> float:
        ratios = [
            predicted_ms(row["batch_size"], device.with_host_level(probe_us * US / quiet_s)) / measured_ms
            for measured_ms, probe_us in zip(row["quieter_rounds_ms"], row["probes_us"], strict=True)
        ]
        return 100.0 * float(np.median(ratios) - 1.0)

    errors = []
    for row in rows:
        expected_ms = predicted_ms(row["batch_size"], device)
        error = 100.0 * (expected_ms / row["measured_ms"] - 1.0)
        then = error_then(row) if quiet_s else error
        found = {"predicted_ms": expected_ms, "error_percent": error, "error_percent_at_this_level": then}
        errors.append(row | found)
    kept = {key: value for key, value in measured.items() if key != "faster_from"}  # by the profile of then
    return {**kept, "rows": errors, "power": _power_errors(model, device, measured["power_w"])}


def _power_errors(model: RecModel, card: Device, measured_w: Mapping[str, float]) -> list[dict[str, float]]:
    """Predicted and measured power of the card while passes of a size follow each other."""
    node = ServingNode(model=model, cpu=card, cores=1, accelerator=card, num_accelerators=1)
    found = []
    for size, watts in measured_w.items():
        expected_w = node.serving_w(float(size))
        error = 100.0 * (expected_w / watts - 1.0)
        found.append(
            {"batch_size": int(size), "predicted_w": expected_w, "measured_w": watts, "error_percent": error}
        )
    return found


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


def crossovers(model: RecModel, measured: Mapping[str, Any], profiles: tuple[str, str]) -> dict[str, Any]:
    """Predicted and measured batch size from which the card is faster than a core. [items]

    Predicted by the profiles as they are, and with the card's host at the level of the very passes.
    """
    rows = sorted(measured["rows"], key=itemgetter("batch_size"))
    batches = [row["batch_size"] for row in rows]
    card_ms, core_ms = (np.array([row[key] for row in rows]) for key in ("measured_ms", "core_ms"))
    on_card, on_core = (predicted(model, batches, profile) for profile in profiles)
    then_s = MS * np.array(
        [
            np.median(row["quieter_rounds_ms"]) * (1.0 + row["error_percent_at_this_level"] / 100.0)
            for row in rows
        ]
    )
    return {
        "predicted_items": crossover_items(batches, on_card, on_core),
        "predicted_items_at_this_level": crossover_items(batches, then_s, on_core),
        "measured_items": crossover_items(batches, card_ms, core_ms),
    }


def measured_on_core(model: RecModel, measured: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """The measurements with those of one core beside them, each batch size as on the card."""
    batches = [row["batch_size"] for row in measured["rows"]]
    core_s = np.median(measured_apart(model, batches, rounds).seconds, axis=0)
    rows = [
        row | {"core_ms": float(seconds / MS)} for row, seconds in zip(measured["rows"], core_s, strict=True)
    ]
    return {**measured, "rows": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the models, compare, print a line for each; the JSON document goes where `--json` says."""
    parser = argparse.ArgumentParser(prog="perfplan dev device-accuracy", description=__doc__)
    parser.add_argument("--profile", "-p", required=True, help="a card's calibrated profile")
    parser.add_argument("--against", help="a CPU's profile: also measure a core, and say where the card wins")
    parser.add_argument("--models", "-m", default=",".join(DEEPRECSYS), help="names or files, by commas")
    parser.add_argument("--unseen", type=int, help="this many random models instead of those named")
    parser.add_argument("--seed", type=int, default=1, help="of the random models")
    parser.add_argument("--batch", "-b", default=",".join(map(str, BATCHES)), help="batch sizes, by commas")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32", help="of the card")
    parser.add_argument("--rounds", type=int, default=3, help="visits of each model and batch size")
    parser.add_argument("--json", type=Path, help="file to write the comparison to")
    parser.add_argument("--measured", type=Path, help="compare what such a file holds; measure nothing")
    given = parser.parse_args(arguments)
    if given.measured is None and (why := missing_cuda()) is not None:
        raise InputError(why)
    names = given.models.split(",")
    models = unseen_models(given.unseen, given.seed) if given.unseen else [find_model(name) for name in names]
    find_device(given.profile, models[0])  # a slip is told before minutes of measuring
    keys = ("batch_size", "measured_ms", "rounds_ms", "quieter_rounds_ms", "probes_us")
    known = kept_models(given.measured, keys) if given.measured else {}
    compared = []
    for model in models:
        if given.measured and model.name not in known:
            continue
        try:
            measured = known[model.name] if given.measured else _measured(model, given)
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        found = errors_of(model, measured, given.profile)
        if given.against and "core_ms" in found["rows"][0]:
            found["faster_from"] = crossovers(model, found, (given.profile, given.against))
        compared.append(found)
        print(line_of(found))
        if given.json:
            write_atomically(given.json, json.dumps(compared, indent=2) + "\n")
    if not compared:
        raise InputError("no model is left to compare")
    for key, words in (("error_percent", "all"), ("error_percent_at_this_level", "as the host was")):
        errors = np.abs([row[key] for found in compared for row in found["rows"]])
        print(f"{words}: mean error {errors.mean():.1f} %, worst {errors.max():.1f} %")
    card = find_device(given.profile, models[0]).launches
    if card is not None and card.quiet_probe_s:
        level = mean_level(compared, card.quiet_probe_s)
        print(
            f"the host was {level:.3f} times as slow as when quiet, the profile takes {card.host_level:.3f}"
        )
    if powers := [abs(row["error_percent"]) for found in compared for row in found["power"]]:
        print(f"power of the card: mean error {np.mean(powers):.1f} %, worst {max(powers):.1f} %")


def mean_level(compared: Sequence[Mapping[str, Any]], quiet_s: float) -> float:
    """Mean of a report's probes over the profile's probe on a quiet host. [1]"""
    probes_us = [us for found in compared for row in found["rows"] for us in row["probes_us"]]
    return float(np.mean(probes_us)) * US / quiet_s


def _measured(model: RecModel, given: argparse.Namespace) -> dict[str, Any]:
    batches = whole_numbers("--batch", given.batch)
    found = measurements(model, batches, offloaded_apart(model, batches, given.rounds, given.precision))
    return measured_on_core(model, found, given.rounds) if given.against else found


def line_of(found: Mapping[str, Any]) -> str:
    """A model's errors by batch size, and from where on the card is faster."""
    errors = " ".join(
        f"{row['batch_size']}:{row['error_percent']:+.0f}({row['error_percent_at_this_level']:+.0f})"
        for row in found["rows"]
    )
    line = f"{found['model']:14} {errors}"
    if "faster_from" in found:
        words = {
            key: "never" if items is None else f"{items:.0f}" for key, items in found["faster_from"].items()
        }
        then = f"({words['predicted_items_at_this_level']})"
        line += f"   card faster from {words['measured_items']}, predicted {words['predicted_items']}{then}"
    return line


if __name__ == "__main__":
    guarded(main)
