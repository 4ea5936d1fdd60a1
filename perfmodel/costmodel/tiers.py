"""Embedding rows in memories of a node, the most looked up in the fastest: which, and how long reads take.

A pass is what it would be with all rows in the own memory, and the reads of the rows that are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np

from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.moments import Mix
from perfmodel.costmodel.network import shared_transfers_s
from perfmodel.costmodel.popularity import Popular, by_popularity
from perfmodel.costmodel.service_time import BatchTime, TimedKernel, kernels_time
from perfmodel.costmodel.table_groups import TableGroup, require_movable, table_groups
from perfmodel.costmodel.timing import kernel_parts
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import LINK_REACH, Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.tiers import NodeTiers, TierSettings
from perfmodel.errors import InputError
from perfmodel.units import GIB, US


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiers:
    """Where a model's rows lie, for one device.

    Attributes
    ----------
    beyond : tuple of TierSettings
        The memories beyond its own, fastest first.
    placed : Popular
        Rows and shares of lookups by table, of the own memory and then of each tier.
    used_bytes : (1 + tiers,) float array
        What tables take of each. [bytes]
    lookups_share : (1 + tiers,) float array
        Share of all lookups of an item. [1]
    """

    beyond: tuple[TierSettings, ...]
    placed: Popular
    used_bytes: Floats
    lookups_share: Floats


def place_rows(model: RecModel, device: Device, settings: NodeTiers) -> Tiers:
    """Deal a model's rows out to a device's own memory and the tiers beyond it.

    Source: `by_popularity`; rows have of the own memory what the weights leave, at most. A CPU has the host's
    memory as its own.

    Parameters
    ----------
    model : RecModel
        Whose tables.
    device : Device
        Whose memory is the first.
    settings : NodeTiers
        The tiers.

    Raises
    ------
    InputError
        If the model has no tables, a weight is a table too, or all memories together do not hold them.
    """
    groups = table_groups(model, device.kind)
    require_movable(model, groups, "to put in tiers")
    left = device.memory.capacity_bytes - model.dense_parameter_bytes
    is_cpu = device.kind == "cpu"
    asked = inf if settings.memory_gib is None or not is_cpu else settings.memory_gib * GIB
    if left < 0.0:
        raise InputError(f"the weights of {model.name} do not fit the memory of {device.name}")
    if isfinite(asked) and asked > device.memory.capacity_bytes:
        most = device.memory.capacity_bytes / GIB
        raise InputError(f"memory_gib: expected at most {most:.4g}, of {device.name}, got {asked / GIB:g}")
    beyond = _read_by(device, settings)
    capacities = [min(asked, left), *(each.capacity_bytes for each in beyond)]
    total = sum(group.count * group.table_bytes for group in groups)
    if total > sum(capacities):
        there = f"{sum(capacities) / GIB:.1f} GiB of {device.name} and its tiers"
        raise InputError(f"the tables of {model.name}, {total / GIB:.1f} GiB, do not fit the {there}")
    placed = by_popularity(groups, capacities)
    each_bytes = np.array([group.count * group.row_bytes for group in groups])
    lookups = np.array([group.count * group.looked_up_bytes / group.row_bytes for group in groups])
    return Tiers(
        beyond=beyond,
        placed=placed,
        used_bytes=placed.rows @ each_bytes,
        lookups_share=placed.share @ lookups / lookups.sum(),
    )


def _read_by(device: Device, settings: NodeTiers) -> tuple[TierSettings, ...]:
    """The tiers that a device reads, each with a rate."""
    if device.kind == "cpu":
        return tuple(each for each in settings.beyond if not each.is_of_cards)
    for each in settings.beyond:
        if each.link is not None and each.link not in device.links:
            to = "its host" if each.link == "host" else "other cards"
            raise InputError(
                f"{each.name}: expected gb_per_s in place of link: {each.link}, since {device.name} states "
                f"no link to {to} ({each.link.removesuffix('s')}_link_gb_per_s of its profile)"
            )
    return tuple(each.over(device.links, LINK_REACH) for each in settings.beyond)


def tiered_time(
    model: RecModel,
    device: Device,
    tiers: Tiers,
    batch_size: Floats,
    busy: Floats | float = 1.0,
    *,
    mix: Mix | None = None,
    served: bool = False,
) -> BatchTime:
    """Time of a batch on one executor, some of whose rows are read from tiers beyond its memory.

    t = t_own + sum over tiers of N c + max(l max(q, N / d), r). t_own: the pass with all rows in the own
    memory, where a row that was read is summed from, too; N reads, each of a core's time c, and of a latency
    l of which d are in flight at once; q the chance that there is any; r what all reads take of the tier's
    rate, which busy executors share (`shared_transfers_s`). Derived here, assuming that reads of a pass are
    independent of each other, that a worker waits for one tier after the other and computes nothing
    meanwhile, and that rows keep their places.

    Parameters
    ----------
    model : RecModel
        What runs.
    device : Device
        Where.
    tiers : Tiers
        Where its rows are.
    batch_size : (...) float array
        Items in the batch, >= 1.
    busy : (...) float array, default 1
        Busy executors, this one included; broadcasts with `batch_size`.
    mix, served
        As of `batch_time`.
    """
    batch, workers = np.broadcast_arrays(np.asarray(batch_size, float), np.asarray(busy, float))
    weight_bytes = float(model.dense_parameter_bytes)
    kernels = lower(model, device.kind)
    own = kernels_time(kernels, weight_bytes, device, batch, workers, mix=mix, served=served)
    groups = table_groups(model, device.kind)
    reads = [
        _Reads.of(tier, groups, tiers.placed.share[1 + index], batch)
        for index, tier in enumerate(tiers.beyond)
    ]
    reads = [each for each in reads if each.num.any()]
    core_s = sum((each.core_s for each in reads), np.zeros_like(batch))
    waiting_s = [each.waiting_s for each in reads]
    shared_s = shared_transfers_s([each.alone_s for each in reads], waiting_s, own.seconds + core_s, workers)
    timed = [
        _timed(each, each.core_s + seconds, batch) for each, seconds in zip(reads, shared_s, strict=True)
    ]
    after = max(
        (at + 1 for at, kernel in enumerate(own.kernels) if kernel.kernel.family == "embedding_bag"),
        default=0,
    )
    return replace(own, kernels=(*own.kernels[:after], *timed, *own.kernels[after:]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reads:
    """What a pass reads from a tier: how often, of how many bytes, and what that takes of core and tier."""

    tier: TierSettings
    num: Floats
    num_bytes: Floats
    chance: Floats
    alone_s: Floats

    @classmethod
    def of(cls, tier: TierSettings, groups: Sequence[TableGroup], share: Floats, batch: Floats) -> _Reads:
        """Count them; the chance that there is any is 1 less the product of those of each being elsewhere.

        Of lookups that are no whole number, such as half a one an item, the last is made that often.
        """
        num, moved, alone_s = np.zeros_like(batch), np.zeros_like(batch), np.zeros_like(batch)
        log_none = np.zeros_like(batch)
        for group, part in zip(groups, share, strict=True):
            if part <= 0.0:
                continue
            lookups = np.zeros_like(batch)
            for one in group.readers:
                assert one.gather is not None, "what looks rows up says which"
                of_each = one.gather.rows_per_item * one.of(batch)
                lookups = lookups + one.calls * of_each
                log_none = log_none + one.calls * _log_none(of_each, float(part))
            num = num + part * lookups
            moved = moved + part * lookups * max(group.row_bytes, float(tier.read_bytes))
            alone_s = alone_s + part * lookups * tier.read_s(group.row_bytes)
        return cls(tier=tier, num=num, num_bytes=moved, chance=-np.expm1(log_none), alone_s=alone_s)

    @property
    def core_s(self) -> Floats:
        """Of the worker's core. [s]"""
        return np.asarray(self.num * self.tier.core_us_per_read * US)

    @property
    def waiting_s(self) -> Floats:
        """For latencies, so many at once. [s]"""
        rounds = np.maximum(self.chance, self.num / self.tier.reads_in_flight)
        return np.asarray(self.tier.latency_s * rounds)


def _log_none(lookups: Floats, part: float) -> Floats:
    """Logarithm of the chance that none of some lookups is among a part of the rows."""
    whole = np.floor(lookups)
    with np.errstate(divide="ignore", invalid="ignore"):  # all rows are: minus infinity, and none of it
        each = np.where(whole > 0.0, whole * np.log1p(-part), 0.0)
        return np.asarray(each + np.log1p(-part * (lookups - whole)))


def _timed(reads: _Reads, seconds: Floats, batch: Floats) -> TimedKernel:
    kernel = Kernel(
        operator=reads.tier.name,
        family="tier",
        read_bytes_per_item=float(np.max(reads.num_bytes / batch)),
        is_elsewhere=True,
    )
    parts = kernel_parts(batch, lookup=seconds)
    return TimedKernel(kernel=kernel, parts=parts, seconds=seconds, basis=Basis.ASSUMED)
