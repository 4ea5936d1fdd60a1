"""How well a profile predicts whole models: `perfplan dev accuracy --profile FILE`.

Every model runs in a process of its own, as a server would run it, and is visited in several rounds:
a single visit of a shared machine is off by up to 15 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from calibration.children import in_fresh_process
from calibration.measure.probes import PROBED_BYTES, l3_lifetime_s
from calibration.measure.reports import guarded, kept_models
from calibration.measure.unseen import unseen_models
from calibration.measure.unseen_kinds import KINDS, models_of_kinds
from calibration.measure.visits import allocate_pool
from calibration.runtime.memory import fit_to_memory, shrunk
from calibration.runtime.modules import SERVED, Served
from calibration.runtime.programme import Programme, build_programme
from calibration.runtime.settings import apply_settings
from calibration.runtime.timing import Clock, call_seconds, fresh_inputs, kernel_seconds, pass_seconds
from perfmodel.cli.options import whole_numbers
from perfmodel.costmodel.kernels import surface_key
from perfmodel.costmodel.service_time import BatchTime, batch_time
from perfmodel.costmodel.threads import with_threads
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.written import write_atomically
from perfmodel.planning.prepare import find_device, find_model
from perfmodel.units import MS

DEEPRECSYS = ("ncf", "wnd", "mt-wnd", "dlrm-rmc1", "dlrm-rmc2", "dlrm-rmc3", "din", "dien")
"""The eight models of the DeepRecSys study."""
FLAT = "pytorch"
"""The stack of a calibrated profile whose calls the runtime makes one by one."""
BATCHES = (1, 3, 7, 16, 25, 40, 64, 100, 200, 300, 512, 700, 1024)
_LONGEST_PASS_S = 5.0
"""Expected of a pass, beyond which a batch size is left out."""
_WARM_S, _TIMED_S = 0.04, 0.2
_FEWEST, _MOST = 5, 25
_SETTLING_BATCH = 512
_SHORTEST_S, _LONGEST_S, _SETTLED = 3.0, 15.0, 0.02
"""Settling goes on until a second's passes are not faster than those before by more than a share."""

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTimes:
    """Measured times of one model.

    Attributes
    ----------
    seconds : (rounds, batches) array
        Whole passes, median of each round. [s]
    by_kernel : (kernels, batches) array
        Of each kernel, median over the rounds. [s]
    l3_lifetime_s : float
        Of lines in the last-level cache that nobody reads, median of readings in between. [s]
    """

    model: RecModel
    batches: tuple[int, ...]
    seconds: Floats
    by_kernel: Floats
    l3_lifetime_s: float


def measure_model(
    model: RecModel,
    batches: Sequence[int],
    rounds: int,
    served: Served | None = None,
    clock: Clock = time.thread_time_ns,
    *,
    shrink_tables: bool = False,
) -> ModelTimes:
    """Run a model at each batch size, round by round, in this process; as a module, or as a list of calls.

    The clock is that of the thread, which no neighbour stops, unless another is given. Tables that do not fit
    into memory may be shrunk: the model that comes back has as many rows as were there.
    """
    if served is None:
        programme = build_programme(model, shrink_tables=shrink_tables)
    else:
        programme = build_programme(
            model,
            dtype=served.dtype,
            library=served.library,
            mode=served.mode,
            shrink_tables=shrink_tables,
        )
    pool, lifetimes_s = allocate_pool(PROBED_BYTES), []
    settle(programme, min(_SETTLING_BATCH, max(batches)))
    whole, parts = np.zeros((rounds, len(batches))), []
    for number in range(rounds):
        columns = []
        for index, batch_size in enumerate(batches):
            lifetimes_s.append(l3_lifetime_s(pool))
            programme.touch_pages()
            inputs = fresh_inputs(programme, batch_size, np.random.default_rng((batch_size, number)))
            once = float(pass_seconds(programme, inputs, 3, clock)[-1])
            pass_seconds(programme, inputs[3:] or inputs, int(np.clip(_WARM_S / once, 1, 20)))
            repeats = int(np.clip(_TIMED_S / once, _FEWEST, _MOST))
            whole[number, index] = np.median(
                pass_seconds(programme, inputs[len(inputs) // 3 :], repeats, clock)
            )
            calls = call_seconds(programme, inputs[len(inputs) // 2 :], repeats, clock)
            columns.append(np.median(kernel_seconds(programme, calls), axis=0))
        parts.append(np.array(columns).T)
    return ModelTimes(
        model=programme.model,
        batches=tuple(batches),
        seconds=whole,
        by_kernel=np.asarray(np.median(parts, axis=0)),
        l3_lifetime_s=float(np.median(lifetimes_s)),
    )


def settle(programme: Programme, batch_size: int = _SETTLING_BATCH) -> None:
    """Look up rows all over the tables, as a server that has run for a while: first touches are slow."""
    rng, started_s, before = np.random.default_rng(0), time.monotonic(), np.inf
    while (spent_s := time.monotonic() - started_s) < _LONGEST_S:
        inputs = fresh_inputs(programme, batch_size, rng)
        once = float(pass_seconds(programme, inputs, 1)[0])
        now = float(np.median(pass_seconds(programme, inputs, int(np.clip(1.0 / once, 3, 500)))))
        if spent_s > _SHORTEST_S and now > before * (1.0 - _SETTLED):
            return
        before = now


def measured_apart(
    model: RecModel,
    batches: Sequence[int],
    rounds: int,
    served: Served | None = None,
    threads: int = 1,
    *,
    shrink_tables: bool = False,
) -> ModelTimes:
    """As `measure_model`, in a fresh process: no pages or caches are inherited from the last model.

    Several threads are timed by the wall clock: one that waits for another spends processor time too.
    """
    return in_fresh_process(
        _set_up_and_measure, model, tuple(batches), rounds, served, threads, shrink_tables=shrink_tables
    )


def _set_up_and_measure(
    model: RecModel,
    batches: Sequence[int],
    rounds: int,
    served: Served | None,
    threads: int,
    *,
    shrink_tables: bool,
) -> ModelTimes:
    apply_settings(threads=threads) if served is None else served.apply_settings(threads=threads)
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    try:
        return measure_model(model, batches, rounds, served, clock, shrink_tables=shrink_tables)
    except RuntimeError as error:  # PyTorch has no type of its own for it
        if "allocate memory" in str(error):
            raise InputError(f"{model.name}: its results do not fit into memory beside its weights") from None
        raise


def comparison(times: ModelTimes, device: Device, threads: int = 1) -> dict[str, Any]:
    """Predicted and measured latency of a model on so many threads, whole and by kind of call."""

    def expected(there: Device) -> BatchTime:
        alone = batch_time(times.model, there, np.array(times.batches, float))
        return with_threads(alone, there.thread_scaling, threads)

    predicted = expected(device)
    measured_s = np.median(times.seconds, axis=0)
    kinds: dict[str, list[float]] = {}
    for timed, seconds in zip(predicted.kernels, times.by_kernel, strict=True):
        if np.any(seconds > 0.0):
            sums = kinds.setdefault(surface_key(timed.kernel), [0.0, 0.0])
            share = 1.0 / measured_s  # each batch size counts the same
            sums[0] += float(np.mean(timed.seconds * share))
            sums[1] += float(np.mean(seconds * share))
    errors = 100.0 * (predicted.seconds / measured_s - 1.0)
    now = expected(device.with_l3_lifetime(times.l3_lifetime_s))
    return {
        "model": times.model.name,
        "l3_lifetime_ms": times.l3_lifetime_s / MS if isfinite(times.l3_lifetime_s) else None,
        "rows": [
            {
                "batch_size": batch_size,
                "predicted_ms": float(there / MS),
                "measured_ms": float(here / MS),
                "error_percent": float(error),
                "error_percent_at_this_lifetime": float(error_now),
                "rounds_ms": [float(one / MS) for one in rounds],
            }
            for batch_size, there, here, error, error_now, rounds in zip(
                times.batches,
                predicted.seconds,
                measured_s,
                errors,
                100.0 * (now.seconds / measured_s - 1.0),
                times.seconds.T,
                strict=True,
            )
        ],
        "calls": {
            kind: {"share_percent": 100.0 * measured, "error_percent": 100.0 * (expected / measured - 1.0)}
            for kind, (expected, measured) in kinds.items()
        },
        "between_rounds_percent": _between_rounds(times.seconds),
    }


def compared_again(model: RecModel, kept: Mapping[str, Any], device: Device) -> dict[str, Any]:
    """What an earlier report measured of a model, beside another prediction: of whole passes only."""
    if (share := kept.get("rows_share", 1.0)) < 1.0:
        model = shrunk(model, share)
    lifetime_ms = kept["l3_lifetime_ms"]
    now = device.with_l3_lifetime(inf if lifetime_ms is None else lifetime_ms * MS)

    def error_percent(row: Mapping[str, Any], there: Device) -> tuple[float, float]:
        expected_ms = float(batch_time(model, there, np.array(float(row["batch_size"]))).seconds / MS)
        return expected_ms, 100.0 * (expected_ms / row["measured_ms"] - 1.0)

    rows = []
    for row in kept["rows"]:
        predicted_ms, error = error_percent(row, device)
        new = {"predicted_ms": predicted_ms, "error_percent": error}
        rows.append(row | new | {"error_percent_at_this_lifetime": error_percent(row, now)[1]})
    rounds = np.array([row["rounds_ms"] for row in rows]).T
    return {**kept, "rows": rows, "calls": {}, "between_rounds_percent": _between_rounds(rounds)}


def _between_rounds(seconds: Floats) -> float:
    """Mean distance of a round from the median of all. [%]"""
    return float(100.0 * np.mean(np.abs(seconds / np.median(seconds, axis=0) - 1.0)))


def summary(compared: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean, 90th percentile and worst of the absolute errors. [%]"""
    errors = np.abs([row["error_percent"] for model in compared for row in model["rows"]])
    now = np.abs([row["error_percent_at_this_lifetime"] for model in compared for row in model["rows"]])
    return {
        "mean_error_percent": float(errors.mean()),
        "p90_error_percent": float(np.quantile(errors, 0.9)),
        "worst_error_percent": float(errors.max()),
        "mean_error_percent_at_this_lifetime": float(now.mean()),
        "between_rounds_percent": float(np.mean([model["between_rounds_percent"] for model in compared])),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the models, compare, print a table; the JSON document goes where `--json` says."""
    parser = argparse.ArgumentParser(prog="perfplan dev accuracy", description=__doc__)
    parser.add_argument("--profile", "-p", required=True, help="a calibrated profile")
    parser.add_argument(
        "--stack", help="of the profile, such as eager: modules; by default the list of calls"
    )
    parser.add_argument("--models", "-m", default=",".join(DEEPRECSYS), help="names or files, by commas")
    parser.add_argument("--unseen", type=int, help="this many random models instead of those named")
    parser.add_argument(
        "--kinds",
        nargs="?",
        const=",".join(KINDS),
        help="random models of these kinds, by commas; without names heads, wide, many-tables, recurrent, "
        "experts; others are transformer and target",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random models")
    parser.add_argument("--batch", "-b", default=",".join(map(str, BATCHES)), help="batch sizes, by commas")
    parser.add_argument("--threads", type=int, default=1, help="of a worker; the profile says how they scale")
    parser.add_argument(
        "--shrink-tables", action="store_true", help="give tables that do not fit into memory fewer rows"
    )
    parser.add_argument("--rounds", type=int, default=3, help="visits of each model and batch size")
    parser.add_argument("--json", type=Path, help="file to write the comparison to")
    parser.add_argument("--measured", type=Path, help="compare what such a file holds; measure nothing")
    given = parser.parse_args(arguments)
    batches = whole_numbers("--batch", given.batch)
    names = given.models.split(",")
    if given.kinds and not given.unseen:
        raise InputError("--kinds: expected --unseen N as well, how many to draw")
    if given.kinds:
        models = models_of_kinds(given.unseen, given.seed, given.kinds.split(","))
    elif given.unseen:
        models = unseen_models(given.unseen, given.seed)
    else:
        models = [find_model(name) for name in names]
    # A slip is told before minutes of measuring.
    devices = [find_device(_with_stack(given.profile, given.stack), model) for model in models]
    if given.threads > 1 and (unknown := [each.name for each in devices if not each.thread_scaling]):
        raise InputError(
            f"--threads: the profile {unknown[0]} does not know how threads scale; calibrate anew"
        )
    served = SERVED.get(given.stack)
    kept = kept_models(given.measured, ("batch_size", "measured_ms", "rounds_ms")) if given.measured else {}
    compared = []
    for model, device in zip(models, devices, strict=True):
        try:
            if given.measured is None:
                compared.append(_measured(model, device, batches, served, given))
            elif model.name in kept:
                compared.append(compared_again(model, kept[model.name], device))
            else:
                continue
        except PerfplanError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        _print_model(compared[-1])
        found = summary(compared)
        if given.json:  # what was measured is kept, whatever becomes of the next model
            write_atomically(given.json, json.dumps({"summary": found, "models": compared}, indent=2) + "\n")
    if not compared:
        raise InputError("no model is left to compare")
    print("all: " + ", ".join(f"{key.replace('_', ' ')} {value:.1f}" for key, value in found.items()))


def _measured(
    model: RecModel, device: Device, batches: Sequence[int], served: Served | None, given: argparse.Namespace
) -> dict[str, Any]:
    fitting = fit_to_memory(model, shrink_tables=given.shrink_tables)
    expected_s = batch_time(fitting, device, np.array(batches, float)).seconds
    batches = [size for size, seconds in zip(batches, expected_s, strict=True) if seconds < _LONGEST_PASS_S]
    if not batches:
        raise InputError(f"{model.name}: a pass takes more than {_LONGEST_PASS_S:g} s at every batch size")
    times = measured_apart(
        model, batches, given.rounds, served, given.threads, shrink_tables=given.shrink_tables
    )
    share = times.model.embedding_bytes / model.embedding_bytes if model.embedding_bytes else 1.0
    if share < 1.0:
        print(f"{model.name}: {100.0 * share:.3g} % of its tables' rows fit here; predicted with as many")
    return comparison(times, device, given.threads) | {"rows_share": share}


def _with_stack(profile: str, stack: str | None) -> str:
    """The profile with the stack that is measured, unless it names one."""
    return profile if "@" in profile else f"{profile}@{stack or FLAT}"


def _print_model(compared: Mapping[str, Any]) -> None:
    errors = " ".join(f"{row['batch_size']}:{row['error_percent']:+.0f}" for row in compared["rows"])
    lifetime_ms = compared["l3_lifetime_ms"]
    kept = f", L3 keeps lines {lifetime_ms:.1f} ms" if lifetime_ms else ""
    print(
        f"{compared['model']:14} {errors}   (rounds apart {compared['between_rounds_percent']:.1f} %{kept})"
    )
    for kind, part in compared["calls"].items():
        if part["share_percent"] > 8.0:
            print(
                f"    {kind:24} {part['share_percent']:5.1f} % of the time, {part['error_percent']:+5.1f} %"
            )


if __name__ == "__main__":
    guarded(main)
