"""Moments at which the whole node stands still or crawls: most workers slow at once, whatever they run.

A hypervisor that takes all virtual cores away does so within their processor time, so that stamps of single
workers do not tell it from scatter; that they are slow together does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binom

from calibration.serving.served import Served
from perfmodel.sim.arrays import BoolArray, FloatArray
from perfmodel.sim.pauses import Pauses
from perfmodel.units import MS

SLOW = 2.5
"""A request that took this many times the median of its like was slow. [1]"""
TOGETHER = 0.5
"""Share of the workers with a request that have to be slow at once. [1]"""
BY_CHANCE = 1e-5
"""Probability that so many of those at work are slow at once if each is so by itself, at the most. [1]"""
ALIKE_PER_OCTAVE = 4
"""Sizes of requests that are alike: times within them differ by a fifth at most."""
FEWEST_ALIKE = 20
"""Requests of a kind, from which on their median says what is slow."""
GRID_S = 0.5 * MS
APART_S = 15.0 * MS
"""Slow moments that are nearer to each other are one stop, and requests that begin so soon after one are in
its wake, which is slow too. [s]"""
LEAST_LOST_S = 1.0 * MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """Stops of the node in some runs.

    Attributes
    ----------
    lost_s : tuple of float
        What each stop cost a worker, in the mean over those that it struck. [s]
    running_s : float
        Time of the runs without the stops. [s]
    share, accelerator_share : float
        Of all time in requests, what stops added: on the cores, on the accelerator. [1]
    struck : tuple of arrays
        For each run, which requests a stop made slow.
    """

    lost_s: tuple[float, ...] = ()
    running_s: float = 0.0
    share: float = 0.0
    accelerator_share: float = 0.0
    struck: tuple[BoolArray, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, object]:
        """How often, how long and how much of all time in requests, as JSON."""
        pauses = self.pauses
        return {
            "number": len(self.lost_s),
            "per_s": 0.0 if pauses is None else pauses.rate_per_s,
            "mean_ms": None if pauses is None else pauses.length_s / MS,
            "share": self.share,
            "accelerator_share": self.accelerator_share,
        }

    @property
    def pauses(self) -> Pauses | None:
        """Pauses of the node that cost a worker as much, all equally long; None: it did not stop."""
        if not self.lost_s:
            return None
        return Pauses(rate_per_s=len(self.lost_s) / self.running_s, length_s=float(np.mean(self.lost_s)))


def stops_of(runs: Sequence[Served]) -> Stops:
    """Find the stops of the node in runs of several workers.

    A request is compared with the median of its like: sizes within a quarter of an octave, on the same kind
    of worker. Where half of those that serve are slow at once, and that is no chance, the node stopped.
    """
    found = [_stops_of(run) for run in runs]
    lost_s = tuple(lost for one, _, _ in found for lost in one)
    makespan_s = sum(run.makespan_s for run in runs)
    totals, added = np.zeros(2), np.zeros(2)
    for run, (_, struck, excess_s) in zip(runs, found, strict=True):
        for place, mine in enumerate((run.on_cores, ~run.on_cores)):
            totals[place] += run.service_s[mine].sum()
            added[place] += excess_s[mine & struck].sum()
    share, accelerator_share = added / np.maximum(totals, 1e-12)
    return Stops(
        lost_s=lost_s,
        running_s=makespan_s - sum(lost_s),
        share=float(share),
        accelerator_share=float(accelerator_share),
        struck=tuple(struck for _, struck, _ in found),
    )


def _stops_of(run: Served) -> tuple[list[float], BoolArray, FloatArray]:
    """What each stop cost a worker [s], which requests were struck, and what exceeds their like [s]."""
    typical_s = _typical_s(run)
    excess_s = run.service_s - typical_s
    slow = run.service_s >= SLOW * typical_s
    struck = np.zeros(len(slow), dtype=np.bool_)
    lost_s: list[float] = []
    for begin_s, end_s in _slow_together(run, slow):
        mine = (run.start_s < end_s + APART_S) & (run.finish_s > begin_s)
        by_worker = np.bincount(run.worker[mine], excess_s[mine])
        mean_s = float(by_worker[np.unique(run.worker[mine & slow])].mean())
        if mean_s >= LEAST_LOST_S:
            lost_s.append(mean_s)
            struck |= mine
    return lost_s, struck, excess_s


def _typical_s(run: Served) -> FloatArray:
    """Median time of each request's like; its own where too few are alike. [s]"""
    octave = np.floor(ALIKE_PER_OCTAVE * np.log2(run.requests.num_items))
    kind = 2 * (octave * (run.requests.variety.max(initial=0) + 1) + run.requests.variety) + run.on_cores
    found = run.service_s.copy()
    for one in np.unique(kind):
        mine = kind == one
        if mine.sum() >= FEWEST_ALIKE:
            found[mine] = np.median(run.service_s[mine])
    return found


def _slow_together(run: Served, slow: BoolArray) -> list[tuple[float, float]]:
    """Moments in which most workers are slow at once, those near to each other as one. [s]"""
    if not slow.any():
        return []
    length = int(run.makespan_s / GRID_S) + 2
    serving, slowly = (_at_work(run, which, length) for which in (np.ones_like(slow), slow))
    share = slowly.sum() / serving.sum()
    by_chance = binom.sf(slowly - 1, serving, share)
    together = np.flatnonzero((slowly >= TOGETHER * serving) & (by_chance <= BY_CHANCE))
    if not len(together):
        return []
    breaks = np.flatnonzero(np.diff(together) * GRID_S > APART_S)
    firsts, lasts = together[np.r_[0, breaks + 1]], together[np.r_[breaks, len(together) - 1]]
    return [(first * GRID_S, (last + 1) * GRID_S) for first, last in zip(firsts, lasts, strict=True)]


def _at_work(run: Served, which: BoolArray, length: int) -> FloatArray:
    """How many of these requests are being served, moment by moment."""
    change = np.zeros(length + 1)
    for stamps_s, step in ((run.start_s[which], 1.0), (run.finish_s[which], -1.0)):
        np.add.at(change, np.clip((stamps_s / GRID_S).astype(np.int64), 0, length), step)
    return np.asarray(np.cumsum(change)[:length])
