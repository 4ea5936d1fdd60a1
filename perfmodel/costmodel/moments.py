"""How cold a pass finds the caches, after passes of its own size or of a mix of sizes, and after pauses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import Floats, Gather, Kernel, surface_key
from perfmodel.costmodel.residency import HUGE_PAGE_BYTES, Missed, missed_pages, missed_rows
from perfmodel.domain.hardware import Caches

TLB_REACH_BYTES = (96 * HUGE_PAGE_BYTES, 2048 * HUGE_PAGE_BYTES)
"""Huge pages that TLBs of servers reach: some 100 in the first, 1024 to 4096 in the second. [bytes]"""
_HALF_EVICTED, _EVICTION_SHARPNESS = 0.7, 5.0
"""Weights that are read once a pass are lost at once where the pass outgrows an ideal cache; one of limited
associativity starts earlier: half is lost at this share of its size. [1]"""
_PAUSES, _PAUSE_WEIGHTS = np.polynomial.laguerre.laggauss(3)
"""Gauss-Laguerre: pauses over their mean, and weights, of an exponential distribution. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How cold a kernel's calls find the caches, in the pass that they are part of.

    Attributes
    ----------
    reuse_bytes : (n,) array
        What a pass touches: a call finds its weights as cold as this is large. [bytes]
    evicted : (2, n) array
        Fraction of the weights that are not in L2, and that are not in the last-level cache either. [1]
    since_bytes : (n,) array
        Touched since a call of this kind last ran: how cold its code is. [bytes]
    before_bytes : (n,) array
        Touched by the kernel before this one: how cold the interpreter and the framework are. [bytes]
    missed : (2, n) array
        Fraction of a lookup's rows that are not in L2, and that are not in the last-level cache either. [1]
    entries_missed : (2, n) array
        Fraction whose page's entry in the page tables is not in L2, and not in the last-level cache. [1]
    pages_missed : (2, n) array
        Fraction of a lookup's rows whose page is not in the first TLB, and not in the second either. [1]
    """

    reuse_bytes: Floats
    evicted: Floats
    since_bytes: Floats
    before_bytes: Floats
    missed: Floats
    entries_missed: Floats
    pages_missed: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mix:
    """What the workers of a node serve: sizes of requests, how often each comes, and how many workers.

    Attributes
    ----------
    batch_size : (sizes,) float array
        Items.
    share : (sizes,) float array
        Of all requests; they sum to 1. [1]
    workers : float
        Of the node, busy or not.
    """

    batch_size: Floats
    share: Floats
    workers: float


class Before(NamedTuple):
    """The passes before the one at hand, for each of n passes.

    Attributes
    ----------
    share : (sizes,) array
        How often the pass before is of each size. [1]
    batch_size, seconds : (sizes, n) arrays
        Its items, and roughly its time. [items], [s]
    utilisation : float
        Share of the time in which the worker runs: as often a pass follows the last one at once, otherwise
        after a pause. 1: a closed loop. [1]
    """

    share: Floats
    batch_size: Floats
    seconds: Floats
    utilisation: float

    @classmethod
    def alike(cls, batch_size: Floats, seconds: Floats) -> Before:
        """A closed loop of passes of one size each."""
        return cls(np.ones(1), batch_size[None], seconds[None], 1.0)


def moments(
    kernels: Sequence[Kernel], batch_size: Floats, caches: Caches, pass_seconds: Floats, before: Before
) -> list[Moment]:
    """The moment of each kernel in a pass that follows other passes of the same model.

    A call's weights were last read in the pass before; in between lie, on average, half of that pass and
    half of this one, and the pause. Rows may have been looked up long before: for them passes of the mean
    size follow each other at the mean distance.

    Derived here. Of weights that are read again after u bytes, and a time of x lifetimes of a line, the share
    r^5 / (1 + r^5) has left a cache of C bytes, r = u / (0.7 C) + x; pauses are exponential, their mean taken
    by Gauss-Laguerre quadrature. Rows and pages: `missed_rows` and `missed_pages`.

    Parameters
    ----------
    kernels : sequence of Kernel
        Of one pass, in execution order.
    batch_size : (n,) float array
        Items.
    caches : Caches
        Of the worker; what others leave it of L3, its lines' lifetime says.
    pass_seconds : (n,) float array
        How long a pass takes, roughly. [s]
    before : Before
        What runs before it.

    Returns
    -------
    list of Moment
        Of each kernel; arrays of `n` passes.
    """
    levels = (caches.l2_bytes, caches.l3_bytes + (caches.l2_bytes if caches.exclusive else 0.0))
    touched = [_touched_bytes(kernel, batch_size) for kernel in kernels]
    earlier = [_mean(before, _touched_bytes(kernel, before.batch_size)) for kernel in kernels]
    last_bytes = np.sum([_touched_bytes(kernel, before.batch_size) for kernel in kernels], axis=0)
    reuse = 0.5 * (last_bytes + np.sum(touched, axis=0))
    evicted = _all_evicted(reuse, pass_seconds, before, levels, caches.l3_lifetime_s)
    rows = _RowsMissed.of(kernels, batch_size, before, levels, caches.l3_lifetime_s)
    bytes_of = [*earlier, *touched]
    found, last = [], dict.fromkeys((surface_key(kernel) for kernel in kernels), 0)
    for index, kernel in enumerate((*kernels, *kernels)):
        if index >= len(kernels):
            since = np.sum(bytes_of[last[surface_key(kernel)] + 1 : index], axis=0)
            missed, entries_missed, pages_missed = rows.of_kernel(kernel)
            found.append(
                Moment(
                    reuse_bytes=_mean(before, reuse),
                    evicted=evicted,
                    since_bytes=since + np.zeros_like(batch_size),
                    before_bytes=bytes_of[index - 1],
                    missed=missed,
                    entries_missed=entries_missed,
                    pages_missed=pages_missed,
                )
            )
        last[surface_key(kernel)] = index
    return found


def _mean(before: Before, values: Floats) -> Floats:
    """Mean over the sizes of the pass before, `(n,)`."""
    return np.asarray(before.share @ values)


def _touched_bytes(kernel: Kernel, batch_size: Floats) -> Floats:
    """Operands and results of all calls; inputs are prepared before the pass. [bytes]"""
    if kernel.family == "input":
        return np.zeros_like(batch_size)
    touched = kernel.weight_bytes + kernel.activation_bytes(batch_size)
    if kernel.gather is not None:
        rows = kernel.of(batch_size) * kernel.gather.rows_per_item * kernel.gather.row_bytes
        touched = touched - np.maximum(rows - kernel.gather.table_bytes, 0.0)
    return np.asarray(kernel.calls * touched)


def _all_evicted(
    reuse_bytes: Floats, pass_seconds: Floats, before: Before, levels: tuple[float, float], lifetime_s: float
) -> Floats:
    """Fraction of the weights that has left L2, and L3: `(2, n)`, the mean over sizes and pauses. [1]"""
    mean_s = _mean(before, before.seconds) / before.utilisation
    from_l2 = _mean(before, _evicted(reuse_bytes, levels[0], np.zeros_like(reuse_bytes)))
    from_l3 = np.zeros_like(pass_seconds)
    at_once = before.utilisation
    for pause, weight in zip((0.0, *_PAUSES), (at_once, *((1.0 - at_once) * _PAUSE_WEIGHTS)), strict=True):
        if weight > 0.0:
            apart_s = 0.5 * (before.seconds + pass_seconds) + pause * mean_s
            from_l3 = from_l3 + weight * _mean(before, _evicted(reuse_bytes, levels[1], apart_s / lifetime_s))
    return np.array([from_l2, from_l3])


def _evicted(reuse_bytes: Floats, capacity_bytes: float, lifetimes: Floats) -> Floats:
    """Fraction that has left a cache when it is read again, so many of its lines' lifetimes later. [1]"""
    ratio = (reuse_bytes / (_HALF_EVICTED * capacity_bytes) + lifetimes) ** _EVICTION_SHARPNESS
    return np.asarray(ratio / (1.0 + ratio))


class _RowsMissed(NamedTuple):
    """What the lookups of each kind of table miss: by cache, and by TLB."""

    by_level: Sequence[Mapping[Gather, Missed]]
    by_tlb: Sequence[Mapping[Gather, Floats]]
    cases: int

    @classmethod
    def of(
        cls,
        kernels: Sequence[Kernel],
        batch_size: Floats,
        before: Before,
        levels: tuple[float, float],
        lifetime_s: float,
    ) -> _RowsMissed:
        """Look up passes that follow each other at their mean distance."""
        earlier = _mean(before, before.batch_size)
        lifetimes = _mean(before, before.seconds) / before.utilisation / lifetime_s
        filled = (np.zeros_like(batch_size), levels[1] * lifetimes)
        return cls(
            [
                missed_rows(kernels, batch_size, level, others, earlier)
                for level, others in zip(levels, filled, strict=True)
            ],
            [missed_pages(kernels, batch_size, reach, earlier) for reach in TLB_REACH_BYTES],
            len(batch_size),
        )

    def of_kernel(self, kernel: Kernel) -> tuple[Floats, Floats, Floats]:
        """Rows, page-table entries and pages that its lookups miss, `(2, n)` each; zeros without lookups."""
        if kernel.gather is None or kernel.family != "embedding_bag":
            nothing = np.zeros((2, self.cases))
            return nothing, nothing, nothing
        missed = [level[kernel.gather] for level in self.by_level]
        return (
            np.array([level.rows for level in missed]),
            np.array([level.entries for level in missed]),
            np.array([tlb[kernel.gather] for tlb in self.by_tlb]),
        )
