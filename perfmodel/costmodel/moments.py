"""How cold a pass finds the caches, after passes of its own size or of a mix of sizes, and after pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfmodel.costmodel.kernels import Floats, Kernel, surface_key
from perfmodel.costmodel.residency import HUGE_PAGE_BYTES, Lookups, Missed, missed_pages, missed_rows
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


class Moments(NamedTuple):
    """The moments of the kernels of a pass, in arrays.

    Attributes
    ----------
    reuse_bytes : (n,) array
        As of a `Moment`, for all kernels. [bytes]
    evicted : (2, n) array
        Likewise. [1]
    since_bytes, before_bytes : (kernels, n) arrays
        Of each kernel. [bytes]
    missed, entries_missed, pages_missed : (2, tables + 1, n) arrays
        Of each table; of the last, which stands for kernels without lookups, nothing is missed. [1]
    table : (kernels,) int array
        Of each kernel, which of these it looks up.
    """

    reuse_bytes: Floats
    evicted: Floats
    since_bytes: Floats
    before_bytes: Floats
    missed: Floats
    entries_missed: Floats
    pages_missed: Floats
    table: NDArray[np.intp]

    def of(self, *kernels: int) -> Moment:
        """The moment of a kernel; of several, one after the other: arrays of `n` for each of them."""
        several, which = list(kernels), self.table[list(kernels)]

        def each(of_pass: Floats) -> Floats:
            return np.tile(of_pass, len(several))

        def in_a_row(of_kernels: Floats) -> Floats:
            return of_kernels.reshape(*of_kernels.shape[:-2], -1)

        return Moment(
            reuse_bytes=each(self.reuse_bytes),
            evicted=each(self.evicted),
            since_bytes=in_a_row(self.since_bytes[several]),
            before_bytes=in_a_row(self.before_bytes[several]),
            missed=in_a_row(self.missed[:, which]),
            entries_missed=in_a_row(self.entries_missed[:, which]),
            pages_missed=in_a_row(self.pages_missed[:, which]),
        )


class Passes:
    """Passes of one model that follow others of it: what does not depend on how long they take is known.

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
    share, size_before : (sizes,) and (sizes, n) float arrays
        As `share` and `batch_size` of `Before`. [1], [items]
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        batch_size: Floats,
        caches: Caches,
        share: Floats,
        size_before: Floats,
    ) -> None:
        self._batch_size, self._caches, self._earlier = batch_size, caches, np.asarray(share @ size_before)
        self._levels = (caches.l2_bytes, caches.l3_bytes + (caches.l2_bytes if caches.exclusive else 0.0))
        touched, earlier, last_bytes = _touched_bytes(kernels, batch_size), 0.0, list[Floats]()
        for one, sizes in zip(share, size_before, strict=True):
            touched_before = _touched_bytes(kernels, sizes)
            earlier = earlier + one * touched_before
            last_bytes.append(touched_before.sum(axis=0))
        self._reuse = 0.5 * (np.array(last_bytes) + touched.sum(axis=0))
        bytes_of = np.concatenate([earlier, touched])
        self._since, self._before = _since_bytes(kernels, bytes_of), bytes_of[len(kernels) - 1 : -1]
        self._lookups = Lookups.of(kernels)
        self._from_l2 = self._missed_rows(0, np.zeros_like(batch_size))
        self._pages = _and_none(
            *(missed_pages(self._lookups, batch_size, reach, self._earlier) for reach in TLB_REACH_BYTES)
        )
        table_of = self._lookups.tables
        self._table = np.array(
            [
                table_of[kernel.gather] if kernel.gather and kernel.family == "embedding_bag" else -1
                for kernel in kernels
            ],
            dtype=np.intp,
        )

    def at(self, pass_seconds: Floats, before: Before) -> Moments:
        """The moments in passes that take so long, after others that did.

        Parameters
        ----------
        pass_seconds : (n,) float array
            How long a pass takes, roughly. [s]
        before : Before
            What runs before it.
        """
        lifetime_s = self._caches.l3_lifetime_s
        lifetimes = _mean(before, before.seconds) / before.utilisation / lifetime_s
        from_l3 = self._missed_rows(1, self._levels[1] * lifetimes)
        return Moments(
            reuse_bytes=_mean(before, self._reuse),
            evicted=_all_evicted(self._reuse, pass_seconds, before, self._levels, lifetime_s),
            since_bytes=self._since,
            before_bytes=self._before,
            missed=_and_none(self._from_l2.rows, from_l3.rows),
            entries_missed=_and_none(self._from_l2.entries, from_l3.entries),
            pages_missed=self._pages,
            table=self._table,
        )

    def _missed_rows(self, level: int, others_bytes: Floats) -> Missed:
        capacity = self._levels[level]
        return missed_rows(self._lookups, self._batch_size, capacity, others_bytes, self._earlier)


def moments(
    kernels: Sequence[Kernel], batch_size: Floats, caches: Caches, pass_seconds: Floats, before: Before
) -> Moments:
    """The moments of the kernels in passes that take so long.

    Source: `Passes`.

    Parameters
    ----------
    kernels, batch_size, caches
        As of `Passes`.
    pass_seconds : (n,) float array
        How long a pass takes, roughly. [s]
    before : Before
        What runs before it.
    """
    return Passes(kernels, batch_size, caches, before.share, before.batch_size).at(pass_seconds, before)


def _and_none(*levels: Floats) -> Floats:
    """What the tables miss at each level, and nothing for what has no table: `(levels, tables + 1, n)`."""
    found = np.array(levels)
    return np.concatenate([found, np.zeros_like(found, shape=(len(levels), 1, found.shape[-1]))], axis=1)


def _since_bytes(kernels: Sequence[Kernel], bytes_of: Floats) -> Floats:
    """Touched since a call of each kernel's kind last ran, in the pass before and in this one. [bytes]"""
    keys, num = [surface_key(kernel) for kernel in kernels], len(kernels)
    last = {key: index for index, key in enumerate(keys)}
    since = np.zeros_like(bytes_of[:num])
    for index, key in enumerate(keys, start=num):
        if last[key] + 1 < index:
            since[index - num] = bytes_of[last[key] + 1 : index].sum(axis=0)
        last[key] = index
    return since


def _mean(before: Before, values: Floats) -> Floats:
    """Mean over the sizes of the pass before, `(n,)`."""
    return np.asarray(before.share @ values)


def _touched_bytes(kernels: Sequence[Kernel], batch_size: Floats) -> Floats:
    """Operands and results of all calls, `(kernels, n)`; inputs are prepared before the pass. [bytes]"""
    of_kernels = np.array([_touched_by(kernel) for kernel in kernels])
    is_query, calls, weights, per_item, rows, table = of_kernels[..., None].transpose(1, 0, 2)
    items = np.where(is_query > 0.0, 1.0, batch_size)
    return np.asarray(calls * (weights + per_item * items - np.maximum(rows * items - table, 0.0)))


def _touched_by(kernel: Kernel) -> tuple[float, ...]:
    """Whether it is the query's; its calls; of one, bytes, bytes an item, and of rows, and of their table."""
    gather = kernel.gather
    rows, table = (
        (0.0, 0.0) if gather is None else (gather.rows_per_item * gather.row_bytes, gather.table_bytes)
    )
    if kernel.family == "input":
        return (0.0,) * 6
    return (
        float(kernel.scope == "query"),
        float(kernel.calls),
        kernel.weight_bytes + kernel.read_bytes_per_query,
        kernel.activation_bytes_per_item,
        rows,
        table,
    )


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
