"""A serving node: a model on a CPU with some cores, and perhaps accelerators; its service times and power."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.engine import in_flight_factor
from perfmodel.costmodel.issue import BESIDE_CORES
from perfmodel.costmodel.kernels import Floats
from perfmodel.costmodel.moments import Mix
from perfmodel.costmodel.service_time import BatchTime, batch_time
from perfmodel.costmodel.tabulated import tabulated_s
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.service_table import ServiceTable
from perfmodel.domain.unsteady import PauseSettings, ScatterSettings
from perfmodel.planning.sent_sizes import lanes_on_cores
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.arrays import BoolArray
from perfmodel.sim.policies import (
    Policy,
    Pool,
    SizedPolicy,
    largest_cpu_launch_items,
    requests_by_size,
)
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.scatter import in_part, product_of
from perfmodel.sim.service import ServiceTimes

if TYPE_CHECKING:
    from perfmodel.costmodel.rank_cache import NearMemory
    from perfmodel.costmodel.shard_places import Shards
    from perfmodel.costmodel.tiers import Tiers
    from perfmodel.domain.shards import ShardSettings
    from perfmodel.domain.tiers import NodeTiers
    from perfmodel.sim.query_times import QueryTimes

_GROUPS = 8
"""Sizes that stand for all: a mean over the caches' contents needs no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingNode:
    """One machine as one buys it, with the model that it serves.

    Attributes
    ----------
    model : RecModel
        What every executor runs.
    cpu : Device
        The CPU with its software stack.
    cores : int
        Cores that serve requests, hyper-threads included where more than the physical ones.
    accelerator : Device or None
        The kind of accelerator.
    num_accelerators : int
        How many of them; 0 without.
    threads : int
        Cores that work together on a request: threads of a worker process.
    instances : int or None
        Processes, each pinned to as many cores of one socket, with a copy of the tables; None: one copy.
    scatter : ScatterSettings or None
        How times of one size differ from request to request.
    pauses : tuple of PauseSettings
        Times in which executors, or the whole node, stand still.
    anchor : ServiceTable or None
        Measured times of the model on this node, by which its own are corrected, size by size.
    anchor_error : float or None
        How far off those may be, root mean square; None: nobody knows. [1]
    level : float or None
        Factor on all times that a load test found; None: there was none. [1]
    shards : Shards or None
        Where the tables are; None: in its own memory.
    shard_settings : ShardSettings or None
        The same as they were asked for.
    tiers, card_tiers : Tiers or None
        Where rows are that its own memory, or that of each accelerator, does not hold; None: it holds all.
    tier_settings : NodeTiers or None
        The same as they were asked for, with what they cost.
    shard_factors : (n,) float array or None
        Equiprobable times of the slowest shard over their mean; None: all the same. [1]
    near_memory : NearMemory or None
        Memory whose modules do the lookups; None: the cores do.
    lengths : SizePmf or None
        How long the queries' histories are; None: all as long as the model file says.
    beside : int
        Cores of the same machine that serve other stages of a pipeline: all of them count as busy.
    """

    model: RecModel
    cpu: Device
    cores: int
    accelerator: Device | None = None
    num_accelerators: int = 0
    threads: int = 1
    instances: int | None = None
    scatter: ScatterSettings | None = None
    pauses: tuple[PauseSettings, ...] = ()
    lengths: SizePmf | None = None
    anchor: ServiceTable | None = None
    anchor_error: float | None = None
    level: float | None = None
    shards: Shards | None = None
    shard_factors: Floats | None = None
    near_memory: NearMemory | None = None
    tiers: Tiers | None = None
    card_tiers: Tiers | None = None
    tier_settings: NodeTiers | None = None
    shard_settings: ShardSettings | None = None
    beside: int = 0

    def placed_anew(self, **changes: Any) -> ServingNode:
        """The node with another model, memory or tiers, its rows where they lie then; shards stay as many.

        Raises
        ------
        InputError
            If they do not fit.
        """
        node = replace(self, **changes)
        if node.tier_settings is not None:
            from perfmodel.costmodel.tiers import place_rows  # few nodes have tiers

            card, asked = node.accelerator, node.tier_settings
            return replace(
                node,
                tiers=place_rows(node.model, node.cpu, asked),
                card_tiers=None if card is None else place_rows(node.model, card, asked),
            )
        if node.shards is not None and node.shard_settings is not None:
            from perfmodel.costmodel.shard_places import place_tables  # few nodes have shards

            as_many = node.shard_settings.model_copy(update={"count": node.shards.num_shards})
            before = node.shards
            shards = place_tables(node.model, node.cpu, as_many, slowest=before.slowest, on=before.on)
            return replace(node, shards=shards)
        return node

    @property
    def model_name(self) -> str | None:
        """What runs."""
        return self.model.name

    @property
    def stack(self) -> str | None:
        """Software that the times are of."""
        return self.cpu.stack

    @property
    def where(self) -> str:
        """The cores, for the head of a page."""
        cores = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        where = f"{cores} of {self.cpu.name} ({self.cpu.stack})"
        if self.instances is not None:
            where += f", {self.instances} pinned process{'' if self.instances == 1 else 'es'}"
        if self.beside:
            where += f", beside {self.beside} of other stages"
        if self.near_memory is not None:
            settings = self.near_memory.settings
            cached = "" if settings.cache_kib is None else f" with {settings.cache_kib:g} KiB each"
            return (
                f"{where}, memory that pools rows: {self.near_memory.channels} channels of "
                f"{settings.ranks} ranks{cached}"
            )
        if self.tier_settings is not None:
            return f"{where}, rows in {', '.join(each.name for each in self.tier_settings.beyond)} too"
        if self.shards is None:
            return where
        more = "machine" if self.shards.num_nodes == 1 else "machines"
        kind = "" if self.shards.on is None else f", {self.shards.on.cores} cores of {self.shard_cpu.name}"
        return f"{where}, tables on {self.shards.num_nodes} more {more}{kind}"

    @property
    def shard_cpu(self) -> Device:
        """What machines that hold tables have; the main node's where they are like it."""
        return self.cpu if self.shards is None or self.shards.on is None else self.shards.on.device

    @property
    def short_name(self) -> str:
        """The same in a word."""
        return self.cpu.name

    @property
    def threads_scale(self) -> bool:
        """Whether the profile knows how threads of a worker share out its work."""
        return bool(self.cpu.thread_scaling)

    @property
    def is_measured_by_call(self) -> bool:
        """Whether the cores' times come from calls measured one by one: they hang on what ran before."""
        return bool(self.cpu.surfaces)

    @property
    def is_anchored(self) -> bool:
        """Whether the whole model was measured, and not the sum of its calls alone."""
        if self.shards is not None or self.near_memory is not None or self.tiers is not None:
            return False
        return self.anchor is not None or self.level is not None or self.model.name in self.cpu.anchors

    @property
    def num_workers(self) -> int:
        """Worker processes; cores that make up no whole worker idle."""
        return self.cores // self.threads

    @property
    def num_places(self) -> int:
        """Requests in flight on the cores at most: one a worker, or two where its stack converts ahead."""
        return self.num_workers * self.cpu.engine.places

    def cpu_time(
        self,
        batch_size: float | npt.NDArray[np.float64],
        busy: float | npt.NDArray[np.float64],
        mix: Mix | None = None,
    ) -> BatchTime:
        """Time of each batch on one worker with `busy` cores at work, among requests of a mix or its like."""
        alone = self._pass_time(np.atleast_1d(np.asarray(batch_size, float)), busy, mix)
        return self._on_threads(alone)

    def _on_threads(self, time: BatchTime) -> BatchTime:
        """The time on all threads of a worker."""
        if self.threads == 1:
            return time
        from perfmodel.costmodel.threads import with_threads  # few workers have several

        return with_threads(time, self.cpu.thread_scaling, self.threads)

    def _pass_time(self, batch_size: Floats, busy: Floats | float, mix: Mix | None) -> BatchTime:
        """Time of each batch on one thread of a core, wherever the tables are."""
        if self.shards is not None:
            from perfmodel.costmodel.sharding import sharded_time  # few nodes have shards

            return sharded_time(self.model, self.cpu, self.shards, batch_size, busy, mix=mix, served=True)
        if self.near_memory is not None:
            # Imported where it is used, as few nodes have it: an answer without starts sooner.
            from perfmodel.costmodel.near_memory import near_memory_time

            return near_memory_time(
                self.model, self.cpu, self.near_memory, batch_size, busy, mix=mix, served=True
            )
        if self.tiers is not None:
            from perfmodel.costmodel.tiers import tiered_time  # few nodes have tiers

            return tiered_time(self.model, self.cpu, self.tiers, batch_size, busy, mix=mix, served=True)
        return batch_time(self.model, self.cpu, batch_size, busy, mix=mix, served=True)

    def _launch_time(self, launches: Floats) -> BatchTime:
        """Time of launches on an accelerator, wherever the rows are."""
        assert self.accelerator is not None, "a node with an accelerator"
        if self.shards is not None:
            from perfmodel.costmodel.sharding import sharded_launch_time  # see above

            return sharded_launch_time(self.model, self.cpu, self.accelerator, self.shards, launches)
        if self.card_tiers is not None:
            from perfmodel.costmodel.tiers import tiered_time  # see above

            return tiered_time(self.model, self.accelerator, self.card_tiers, launches)
        return batch_time(self.model, self.accelerator, launches)

    def accelerator_time(self, num_items: float) -> BatchTime | None:
        """Time of one whole query on an accelerator."""
        if self.accelerator is None:
            return None
        return self._launch_time(np.array([float(num_items)]))

    def service_times(self, policy: Policy, max_items: int, sizes: SizePmf | None = None) -> ServiceTimes:
        """As tabulated, longer or shorter by what a load test found: see `tabulated`."""
        found = self.tabulated(policy, max_items, sizes)
        return found if self.level is None else found.scaled(self.level, self.level)

    def tabulated(self, policy: Policy, max_items: int, sizes: SizePmf | None = None) -> ServiceTimes:
        """Tabulate what the simulation needs for queries of up to `max_items` items.

        The CPU table has a row for each batch size that the policy can send and a column for each number
        of busy workers, and of requests in flight where a worker converts one ahead; the accelerator's has a
        row for each launch size, and a column for each number of busy streams of one accelerator.

        Parameters
        ----------
        policy : Policy
            What splits and places queries.
        max_items : int
            Of a query. [items]
        sizes : SizePmf, optional
            Of the queries, which says what each request follows. None: requests of its own size.
        """
        if (by_query := self._by_query(policy, max_items, sizes)) is not None:
            steady = ServiceTimes(
                cpu_s=by_query.mean_cpu_s,
                accelerator_s=by_query.mean_accelerator_s,
                num_accelerators=self.num_accelerators,
                by_query=by_query,
            )
            return self._unsteady(steady)
        time = self.cpu_times(policy, max_items, sizes)
        cpu_s = self.in_flight_s(time, self.mix(policy, sizes))
        steady = ServiceTimes(cpu_s=cpu_s)
        if self.accelerator is not None and self.num_accelerators > 0:
            steady = ServiceTimes(
                cpu_s=cpu_s,
                accelerator_s=self.accelerator_times_s(policy, max_items),
                num_accelerators=self.num_accelerators,
            )
        return self._unsteady(steady) if self.shard_factors is None else self._with_slowest(steady, time)

    def _by_query(self, policy: Policy, max_items: int, sizes: SizePmf | None) -> QueryTimes | None:
        """Times by kind of query; None where the size of a request alone decides."""
        if self.lengths is None and not self.model.has_query_work:
            return None
        from perfmodel.planning.query_times import times_by_query  # few models tell queries apart

        return times_by_query(self, policy, max_items, sizes)

    def _unsteady(self, service: ServiceTimes) -> ServiceTimes:
        """The times as they scatter, on a node that pauses."""
        if self.scatter is None and not self.pauses:
            return service
        from perfmodel.planning.unsteady import made_unsteady  # few scenarios say so

        return made_unsteady(service, self.scatter, self.pauses)

    def _with_slowest(self, service: ServiceTimes, time: BatchTime) -> ServiceTimes:
        """The times, of which the wait for shards scatters, in the largest share that it has at any load."""
        from perfmodel.costmodel.sharding import waited_share  # see above

        assert self.shard_factors is not None, "asked where answers scatter"
        table = in_part(self.shard_factors, waited_share(time).max(axis=1))
        unsteady = self._unsteady(service)
        found = replace(unsteady, cpu_scatter=product_of(table, unsteady.cpu_scatter))
        if service.accelerator_s is None:
            return found
        launches = self._launch_time(np.arange(1.0, len(service.accelerator_s) + 1))
        of_card = in_part(self.shard_factors, waited_share(launches))
        return replace(found, accelerator_scatter=product_of(of_card, unsteady.accelerator_scatter))

    def cpu_times(self, policy: Policy, max_items: int, sizes: SizePmf | None = None) -> BatchTime:
        """Time of each batch that the policy can send, for each number of busy workers; without anchors."""
        batches = np.arange(1.0, max(1, largest_cpu_launch_items(policy, max_items)) + 1)
        busy, mix = self.busy_cores[None, :], self.mix(policy, sizes)
        time = self._pass_time(batches[:, None], busy, mix)
        return self._on_threads(time)

    @property
    def busy_cores(self) -> npt.NDArray[np.float64]:
        """Cores at work while 1, 2, ... requests are in flight: all workers', where some have two.

        Those of other stages on the machine are at work too.
        """
        workers = np.minimum(self.num_workers, np.arange(1.0, self.num_places + 1))
        return np.asarray(self.beside + self.threads * workers)

    def in_flight_s(self, time: BatchTime, mix: Mix | None = None) -> npt.NDArray[np.float64]:
        """Times of `cpu_times`, anchored, with what else is in flight on the same workers. [s]"""
        own_s = self.anchored_s(time.seconds, mix)
        if self.cpu.engine.places == 1:
            return own_s
        in_flight = np.arange(1.0, self.num_places + 1)
        beyond = np.maximum(0.0, in_flight - self.num_workers) / self.num_workers
        return own_s * in_flight_factor(time.family_s("input"), time.seconds, self.cpu, beyond)

    def accelerator_times_s(self, policy: Policy, max_items: int) -> npt.NDArray[np.float64]:
        """Times of launches on an accelerator: see `service_times`. [s]

        Longer than alone where its host issues them beside cores that serve; waits for shards are not.
        """
        assert self.accelerator is not None
        alone_s, stretch = self._launches_alone_s(policy, max_items), launch_stretch(self, policy, max_items)
        if self.shards is None or stretch == 1.0:
            return alone_s * stretch
        time = self._launch_time(np.arange(1.0, len(alone_s) + 1))
        waited_s = sum(
            (timed.seconds for timed in time.kernels if timed.kernel.is_elsewhere), np.zeros(len(alone_s))
        )
        waited_s = waited_s.reshape(-1, *[1] * (alone_s.ndim - 1))
        return np.asarray(waited_s + (alone_s - waited_s) * stretch)

    def _launches_alone_s(self, policy: Policy, max_items: int) -> npt.NDArray[np.float64]:
        largest = max(max_items, policy.largest_launch_items(Pool.ACCELERATOR, max_items))
        launches = np.arange(1.0, largest + 1)
        if policy.streams == 1:
            return self._launch_time(launches).seconds
        return self._streamed_s(launches, policy.streams)

    def mix(self, policy: Policy, sizes: SizePmf | None) -> Mix | None:
        """What the cores serve; None where it does not matter: nothing was measured call by call."""
        if sizes is None or not self.cpu.surfaces:
            return None
        return request_mix(policy, sizes, workers=self.threads * self.num_workers)

    def anchored_s(self, cpu_s: npt.NDArray[np.float64], mix: Mix | None = None) -> npt.NDArray[np.float64]:
        """Correct times by what was measured of the whole model: by a table, or by the profile's. [s]"""
        if self.shards is not None or self.near_memory is not None or self.tiers is not None:
            return cpu_s
        if self.anchor is not None:
            return self._by_table_s(self.anchor, cpu_s, mix)
        anchor = self.cpu.anchors.get(self.model.name)
        if anchor is None:
            return cpu_s
        batches, workers = (np.arange(1.0, length + 1) for length in cpu_s.shape)
        others = (workers - 1) / max(1, len(workers) - 1)
        return cpu_s * anchor.factor(batches[:, None], others[None, :])

    def _by_table_s(
        self, table: ServiceTable, cpu_s: npt.NDArray[np.float64], mix: Mix | None
    ) -> npt.NDArray[np.float64]:
        """Times by the ratio of a table's to the own at its rows: between them as in tables, beyond constant.

        A table without numbers of executors is of requests alone, and the slow-down by others stays the own.
        """
        busy = np.ones_like(table.items) if table.busy is None else table.busy
        own_s = self.cpu_time(table.items, self.threads * busy, mix).seconds
        ratios = replace(table, service_s=table.service_s / own_s)
        sizes, workers = (np.arange(1.0, length + 1) for length in cpu_s.shape)
        within = np.clip(sizes, *table.items_range), np.clip(workers, busy.min(), busy.max())
        return np.asarray(cpu_s * tabulated_s(ratios, *within))

    def _streamed_s(self, launches: npt.NDArray[np.float64], streams: int) -> npt.NDArray[np.float64]:
        """Times of launches while 1 to `streams` streams of the accelerator are busy. [s]

        t(s, n) = t_fixed + n (t(s) - t_fixed): the calls' fixed part, which the host spends launching,
        does not stretch, nor does a wait for shards; arithmetic, memory and transfers are shared out among
        the n busy streams. Assumed: no fit stands behind it, and real kernels that leave part of the chip
        idle share better.
        """
        assert self.accelerator is not None
        time = self._launch_time(launches)
        fixed_s = sum(
            (
                timed.seconds
                if self.shards is not None and timed.kernel.is_elsewhere
                else np.minimum(timed.parts.overhead_s, timed.seconds)
                for timed in time.kernels
            ),
            np.zeros(1),
        )
        busy = np.arange(1.0, streams + 1)
        return np.asarray(fixed_s[:, None] + busy * (time.seconds - fixed_s)[:, None])

    @property
    def cores_tdp_w(self) -> float:
        """Static power of the node without its accelerators. [W]"""
        holding_w = (self.num_machines - 1) * self.shard_cpu.power.tdp_w
        return self.cpu.power.tdp_w + holding_w + self._units_w

    @property
    def _units_w(self) -> float:
        """Of the logic in memory modules, and of tiers beyond memory. [W]"""
        modules_w = 0.0 if self.near_memory is None else self.near_memory.units_w
        return modules_w + (0.0 if self.tier_settings is None else self.tier_settings.tdp_w)

    @property
    def num_machines(self) -> int:
        """Itself and those that hold its tables."""
        return 1 if self.shards is None else 1 + self.shards.num_nodes

    @property
    def tdp_w(self) -> float:
        """Static power as DeepRecSys charges it: the TDP of everything in the node. [W]"""
        cards = self.num_accelerators * (self.accelerator.power.tdp_w if self.accelerator else 0.0)
        return self.cores_tdp_w + cards

    def serving_w(self, num_items: float, stretch: float = 1.0) -> float:
        """Power of an accelerator while it serves launches of this size, one after the other. [W]

        A launch that takes `stretch` times as long as alone does the same arithmetic and traffic for the same
        energy: only what being launched on takes goes on for longer. What cores of shards draw for a launch
        is in it, too.
        """
        card, time = self.accelerator, self.accelerator_time(num_items)
        assert card is not None, "a node with an accelerator"
        assert time is not None, "a node with an accelerator"
        seconds, kernels = stretch * float(time.seconds.sum()), [timed.kernel for timed in time.kernels]
        own = [each for each in kernels if self.shards is None or not each.is_elsewhere]
        works = [each.work(time.batch_size) for each in own if each.family not in ("input", "network")]
        flop = sum(float(np.sum(work.flop)) for work in works)
        moved_bytes = sum(float(np.sum(work.bytes_moved)) for work in works)
        return card.power.serving_w(flop / seconds, moved_bytes / seconds) + self._asked_w(time, seconds)

    def _asked_w(self, time: BatchTime, seconds: float) -> float:
        """What a core of each shard draws more than idle for a launch of so long, in the mean. [W]"""
        if self.shards is None:
            return 0.0
        from perfmodel.costmodel.sharding import looking_s  # see above

        power, on = self.shard_cpu.power, self.shards.on
        core_w = (power.peak_w - power.idle_w) / (self.cores if on is None else on.cores)
        return self.shards.num_shards * core_w * float(looking_s(time, self.shards).sum()) / seconds

    def power_w(
        self,
        cpu_utilisation: float,
        accelerator_utilisation: float | None,
        serving_w: float | None = None,
        asking_share: float = 0.0,
    ) -> float:
        """Power at a load: idle + utilisation x (serving - idle), CPU, accelerators, shards, tiers. [W]

        Cores draw their peak while they serve, an accelerator `serving_w`, where that is known. A shard's
        cores serve for the share of a request's time that its lookups are, `asking_share`. [W], [1]
        """
        power = self.cpu.power
        total = power.idle_w + cpu_utilisation * (power.peak_w - power.idle_w) + self._units_w
        if self.shards is not None:
            each, power = cpu_utilisation * asking_share / self.shards.replicas, self.shard_cpu.power
            if self.shards.on is not None:  # as many cores look rows up, of another number
                each = min(1.0, each * self.num_workers / self.shards.on.cores)
            total += self.shards.num_nodes * (power.idle_w + each * (power.peak_w - power.idle_w))
        if self.accelerator is not None:
            card = self.accelerator.power
            used = accelerator_utilisation or 0.0
            busy_w = card.peak_w if serving_w is None else serving_w
            total += self.num_accelerators * (card.idle_w + used * (busy_w - card.idle_w))
        return total

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Costs that no fit stands behind, by device, what slows all down first."""
        devices = [self.cpu] + ([self.accelerator] if self.accelerator else [])
        devices += [self.shard_cpu] if self.shard_cpu.name != self.cpu.name else []
        return tuple(f"{device.name}: {entry}" for device in devices for entry in device.assumptions)


AnyNode = ServingNode | TableNode
"""What serves: a model on profiles, or a node that is known by its service times."""


def request_mix(policy: Policy, law: SizePmf, *, workers: float) -> Mix | None:
    """Sizes of the requests on the cores and how often each comes; None where no query is served there.

    A policy that looks at more than a query's size is taken to split all queries at its largest request.

    Parameters
    ----------
    policy : Policy
        What splits and places queries.
    law : SizePmf
        Sizes of the queries.
    workers : float
        Cores that serve.

    Examples
    --------
    Queries of 300 items split at 128: two full requests, and one of 44 items.

    >>> from perfmodel.sim.policies import SplitAndOffload
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> mix = request_mix(SplitAndOffload(batch_size=128), pmf_of_list([300]), workers=2)
    >>> mix.batch_size.tolist(), mix.share.round(3).tolist()
    ([44.0, 128.0], [0.333, 0.667])
    """
    shares = np.zeros(law.max_items + 1)
    for request_items, served in _on_cores(policy, law):
        for sizes, times in requests_by_size(law.values[served], request_items):
            some = times > 0
            shares += np.bincount(sizes[some], law.probabilities[served][some] * times[some], len(shares))
    occurring = np.flatnonzero(shares)
    if not len(occurring):
        return None
    share: Floats = shares[occurring]
    return _grouped(occurring.astype(np.float64), share / share.sum(), workers)


def _on_cores(policy: Policy, law: SizePmf) -> Iterator[tuple[int, BoolArray]]:
    """Largest request of each of the cores' lanes, and which sizes of queries it serves. [items]"""
    if not isinstance(policy, SizedPolicy):
        if largest := largest_cpu_launch_items(policy, law.max_items):
            yield largest, np.ones(len(law.values), dtype=np.bool_)
        return
    for lane, served in lanes_on_cores(policy, law):
        yield lane.request_items, served


def _grouped(sizes: Floats, share: Floats, workers: float) -> Mix:
    """A few groups of neighbouring sizes, each as large a share as the others, with its mean size."""
    group = np.minimum(_GROUPS * (np.cumsum(share) - 0.5 * share), _GROUPS - 1).astype(np.int64)
    weight = np.bincount(group, share).astype(np.float64)
    some = weight > 0.0
    means = np.bincount(group, share * sizes)[some] / weight[some]
    return Mix(batch_size=means, share=weight[some], workers=workers)


def is_issued_beside_cores(node: ServingNode, policy: Policy, max_items: int) -> bool:
    """Whether cores serve beside the one that issues to an accelerator whose launches were measured alone."""
    return bool(node.accelerator and node.accelerator.launches) and bool(
        largest_cpu_launch_items(policy, max_items)
    )


def launch_stretch(node: ServingNode, policy: Policy, max_items: int) -> float:
    """Time of a launch on an accelerator over that of it alone. [1]

    Parameters
    ----------
    node : ServingNode
        What serves.
    policy : Policy
        What splits and places queries.
    max_items : int
        Of a query. [items]
    """
    return BESIDE_CORES if is_issued_beside_cores(node, policy, max_items) else 1.0
