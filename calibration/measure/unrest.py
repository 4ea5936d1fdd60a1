"""Scatter and pauses of a machine at work: passes on all workers at once, by two clocks."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import torch

from calibration.children import child, end, start
from calibration.measure.visits import Pool, batch_sizes, built_sequence
from calibration.runtime import operators
from calibration.runtime.programme import Programme
from calibration.runtime.timing import Floats, fresh_inputs, pass_seconds
from perfmodel.domain.unsteady import MOST_PAUSED
from perfmodel.errors import PerfplanError
from perfmodel.units import MS

PAUSED_S = 0.5 * MS
"""A pass without its core for longer was paused; below, it is the clock's grain and interrupts. [s]"""
_FIRST_SEED = 3 * 10**6
"""Other sequences than those of any fit."""
_SHORTEST_S, _LONGEST_S = 0.1 * MS, 5 * MS
"""Of a pass: shorter ones are mostly the clocks', in longer ones pauses are told too coarsely."""
_EACH_S = 0.4
"""Of one sequence: its own mean is what scatter is around, and what lasts longer is drift."""
_WARM_PASSES = 10
_FEWEST_PASSES = 200
"""Behind a scatter."""
_TOGETHER = 0.5
"""Share of the workers that stand still at once where the node does. [1]"""


class Passes(NamedTuple):
    """Passes of a worker: when each began on a clock that all share, how long it lasted, its processor time,
    and the sequence that it is of. `(n,)` arrays. [s], [s], [s], [1]
    """

    began_s: Floats
    lasted_s: Floats
    cpu_s: Floats
    sequence: Floats


def unrest(pool: Pool, duration_s: float, workers: int) -> dict[str, float]:
    """Facts on how unsteady passes are while all workers run: see `unrest_of`.

    Raises
    ------
    PerfplanError
        If a worker is gone.
    """
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe(duplex=False) for _ in range(workers)]
    until_s = time.perf_counter() + duration_s
    processes = [
        child(context, _work, (theirs, pool, until_s, number)) for number, (_, theirs) in enumerate(pairs)
    ]
    try:
        for process in processes:
            start(process)
        for _, theirs in pairs:
            theirs.close()
        return unrest_of([ours.recv() for ours, _ in pairs])
    except (EOFError, OSError):
        raise PerfplanError("a process of this run was killed; was there enough memory?") from None
    finally:
        for process in processes:
            end(process)


def unrest_of(workers: Sequence[Passes]) -> dict[str, float]:
    """Scatter and pauses of passes that ran side by side, as facts of a calibration.

    A pass's pause is how much longer it lasted than its processor time, from `PAUSED_S` on. Pauses that
    strike half of the workers or more at once are the node's and count once; the others are a core's.
    Processor times over the mean of their sequence are what scatters.

    Parameters
    ----------
    workers : sequence of Passes
        Of at least one worker.

    Returns
    -------
    dict of str to float
        `scatter_std` [1]; `pauses.executor_per_s` a second of a core's work [1/s], `pauses.executor_s` their
        mean length [s]; `pauses.node_per_s`, `pauses.node_s`. What did not happen is left out.
    """
    facts: dict[str, float] = {}
    factors = np.concatenate([_factors(passes) for passes in workers])
    if len(factors) >= _FEWEST_PASSES:
        facts["scatter_std"] = float(factors.std(ddof=1))
    own: list[float] = []
    joint: list[tuple[float, float, int]] = []
    for number, passes in enumerate(workers):
        without_s = passes.lasted_s - passes.cpu_s
        for index in np.flatnonzero(without_s >= PAUSED_S):
            began_s, ended_s = passes.began_s[index], passes.began_s[index] + passes.lasted_s[index]
            hit = sum(_stood_still(other, began_s, ended_s) for other in workers)
            if len(workers) > 1 and hit > _TOGETHER * len(workers):
                joint.append((float(began_s), float(without_s[index]), number))
            else:
                own.append(float(without_s[index]))
    busy_s = sum(float(passes.lasted_s.sum()) for passes in workers)
    if own:
        facts |= {"pauses.executor_per_s": len(own) / busy_s, "pauses.executor_s": float(np.mean(own))}
    if joint:
        # Each strikes about all workers: as many as there are, seen by each.
        rate = len(joint) / busy_s
        facts |= {"pauses.node_per_s": rate, "pauses.node_s": float(np.mean([each[1] for each in joint]))}
    return facts


def unrest_section(facts: Mapping[str, float], source: str) -> dict[str, Any] | None:
    """Plain values of a profile's `unrest`, from a calibration's facts; None where it has none.

    Pauses for more than half of the time are somebody else's work and not the machine: they are left out,
    and the source says so.
    """
    found: dict[str, Any] = {}
    if "scatter_std" in facts:
        found["relative_std"] = float(f"{facts['scatter_std']:.4g}")
    for scope in ("executor", "node"):
        if f"pauses.{scope}_per_s" not in facts:
            continue
        rate, length_ms = facts[f"pauses.{scope}_per_s"], facts[f"pauses.{scope}_s"] / MS
        if rate * length_ms * MS > MOST_PAUSED:
            whose = "a core" if scope == "executor" else "the node"
            paused = f"{100 * rate * length_ms * MS:.0f} % of its running time"
            source += f"; pauses of {whose} for {paused} left out: others work here"
            continue
        pauses = {"rate_per_s": float(f"{rate:.4g}"), "length_ms": float(f"{length_ms:.4g}")}
        found.setdefault("pauses", []).append({**pauses, "lengths": "exponential", "scope": scope})
    return found | {"source": source} if found else None


def _stood_still(passes: Passes, began_s: float, ended_s: float) -> bool:
    """Whether a pause of this worker overlaps with a time."""
    paused = passes.lasted_s - passes.cpu_s >= PAUSED_S
    overlaps = (passes.began_s < ended_s) & (passes.began_s + passes.lasted_s > began_s)
    return bool(np.any(paused & overlaps))


def _factors(passes: Passes) -> Floats:
    """Processor times over the mean of their sequence. [1]"""
    if not len(passes.cpu_s):
        return passes.cpu_s
    _, of, count = np.unique(passes.sequence, return_inverse=True, return_counts=True)
    mean_s = np.bincount(of, passes.cpu_s) / count
    return np.asarray(passes.cpu_s / mean_s[of])


def _work(talk: Connection, pool: Pool, until_s: float, number: int) -> None:
    """Sequence after sequence, none of them another worker's."""
    torch.set_num_threads(1)
    parts, seed = [], _FIRST_SEED + 10**5 * number
    while time.perf_counter() < until_s:
        seed += 1
        programme = built_sequence(seed, pool, operators, torch.inference_mode)
        if programme is not None and (found := _timed(programme, seed, until_s)) is not None:
            parts.append(found)
    none = np.empty(0)
    parts.append(Passes(none, none, none, none))
    talk.send(Passes(*(np.concatenate(column) for column in zip(*parts, strict=True))))


def _timed(programme: Programme, seed: int, until_s: float) -> Passes | None:
    """Passes of one size, as long as a sequence's turn lasts; None where they are too short or too long."""
    rng = np.random.default_rng((seed, 1))
    sizes = batch_sizes(programme.model, rng)
    if not sizes:
        return None
    inputs = fresh_inputs(programme, int(rng.choice(sizes)), rng)
    if not _SHORTEST_S <= pass_seconds(programme, inputs, 3)[-1] <= _LONGEST_S:
        return None
    pass_seconds(programme, inputs, _WARM_PASSES)
    stamps: list[tuple[float, float, float]] = []
    last_s = min(until_s, time.perf_counter() + _EACH_S)
    while (began_s := time.perf_counter()) < last_s:
        cpu = time.thread_time_ns()
        programme.run(inputs[len(stamps) % len(inputs)])
        spent_s = (time.thread_time_ns() - cpu) * 1e-9
        stamps.append((began_s, time.perf_counter() - began_s, spent_s))
    if not stamps:
        return None
    began, lasted, spent = np.array(stamps).T
    return Passes(began, lasted, spent, np.full(len(stamps), float(seed)))
