"""What calibration measures beside calls: the life of cached lines, power, slow-downs beside busy workers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from math import inf

import numpy as np
import torch

from calibration.measure.neighbours import busy_neighbours, run_sequences
from calibration.measure.visits import Pool, Visit, sequence_of, visits
from calibration.power import EnergyMeter, energy_of
from perfmodel.costmodel.lowering import lower

_STARTED_S = 0.3
PROBED_BYTES = 64e6
"""Of a pool that is good enough to read the life of cached lines."""
_KEPT_BYTES, _LINE_ELEMENTS = 4e6, 16
_WAITS_S = tuple(0.5e-3 * 2.0**power for power in range(10))
_WAITED = 5
_SLOWER = 1.5
"""How much longer than cached lines others take, at the least, for the difference to tell anything. [1]"""
_MAPPED_ELEMENTS, _MAPPED_TIMES = 12 * 2**20, 7
"""Of a result of 48 MiB: more than glibc's malloc keeps."""
_FIRST_SEED = 10**6  # of sequences for contention: others than those of the surfaces


def mapped_kib_s() -> float:
    """What a KiB of a result costs whose memory the kernel gives anew, page by page. [s]

    In a process whose allocator is as Python starts; the same sum into memory that stays is taken off.
    """
    given = torch.ones(_MAPPED_ELEMENTS)
    kept = torch.empty_like(given)

    def seconds(out: torch.Tensor | None) -> float:
        start = time.perf_counter()
        torch.add(given, given, out=out)
        return time.perf_counter() - start

    torch.add(given, given, out=kept)
    more = [seconds(None) - seconds(kept) for _ in range(_MAPPED_TIMES)]
    return max(0.0, float(np.median(more))) * 1024.0 / (4.0 * _MAPPED_ELEMENTS)


def l3_lifetime_s(pool: Pool) -> float:
    """Time after which half of some lines that nobody read have left the last-level cache. [s]

    Infinite where they stay: a quiet host. Lines are read in random order, once more, and again after a
    while in which the worker computes within its first-level cache.
    """
    count = int(_KEPT_BYTES / 4 / _LINE_ELEMENTS)
    order = torch.from_numpy(np.random.default_rng(0).permutation(count) * _LINE_ELEMENTS)
    read = torch.empty(count)
    regions = iter(torch.split(pool.memory, count * _LINE_ELEMENTS))

    def seconds(memory: torch.Tensor) -> float:
        start = time.thread_time()
        torch.index_select(memory, 0, order, out=read)
        return time.thread_time() - start

    def after(wait_s: float, memory: torch.Tensor) -> float:
        times = []
        for _ in range(_WAITED):
            seconds(memory), seconds(memory)
            _compute(wait_s)
            times.append(seconds(memory))
        return float(np.median(times))

    kept = next(regions)
    cold_s = float(np.median([seconds(next(regions)) for _ in range(_WAITED)]))
    hot_s = after(0.0, kept)
    if cold_s < _SLOWER * hot_s:
        return inf
    before_s, before = 0.0, 0.0
    for wait_s in _WAITS_S:
        lost = (after(wait_s, kept) - hot_s) / (cold_s - hot_s)
        if lost > 0.5:
            return before_s + (wait_s - before_s) * (0.5 - before) / (lost - before)
        before_s, before = wait_s, lost
    return inf


def _compute(duration_s: float) -> None:
    """Keep the core busy with next to no memory."""
    end_s, few = time.perf_counter() + duration_s, torch.ones(1000)
    while time.perf_counter() < end_s:
        few.sum()


def power_w(meter: EnergyMeter, pool: Pool, workers: int, duration_s: float) -> dict[str, float]:
    """Mean power at rest and with `workers` busy, each over `duration_s`: `idle_w` and `busy_w`. [W]"""
    with energy_of(meter) as idle:
        time.sleep(duration_s)
    with busy_neighbours(workers, partial(run_sequences, pool)) as running:
        running.set()
        time.sleep(_STARTED_S)
        with energy_of(meter) as busy:
            time.sleep(duration_s)
    found = {"idle_w": idle.mean_w, "busy_w": busy.mean_w}
    return {name: watts for name, watts in found.items() if watts}


def co_located_slowdowns(pool: Pool, duration_s: float, workers: int) -> dict[str, float]:
    """Time of each kernel family with `workers` busy, over its time alone: the median over calls. [1]

    The others run sequences of their own on their own cores, over the same pool. Each sequence is timed
    alone and beside them in turn, so that drift meets both.
    """
    ratios: dict[str, list[tuple[float, float]]] = defaultdict(list)
    seed, end_s = _FIRST_SEED, time.monotonic() + duration_s
    with busy_neighbours(workers - 1, partial(run_sequences, pool)) as running:
        while time.monotonic() < end_s:
            seed += 1
            alone = list(visits([seed], pool))
            running.set()
            time.sleep(0.02)
            beside = list(visits([seed], pool))
            running.clear()
            families = [kernel.family for kernel in lower(sequence_of(seed, pool))]
            for one, other in zip(alone, beside, strict=True):
                _add_ratios(ratios, families, one, other)
    return {family: weighted_median(pairs) for family, pairs in ratios.items()}


def _add_ratios(
    ratios: dict[str, list[tuple[float, float]]], families: Sequence[str], alone: Visit, beside: Visit
) -> None:
    for family, before, after in zip(families, alone.seconds, beside.seconds, strict=True):
        if before > 0.0 and after > 0.0:
            ratios[family].append((after / before, before))


def weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """The ratio below which half of the time lies."""
    ratios, weights = np.array(sorted(pairs)).T
    return float(ratios[np.searchsorted(np.cumsum(weights), 0.5 * weights.sum())])
