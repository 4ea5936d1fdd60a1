"""What an answer needs of a node's service times: their table, basis and error, and what is in them in words.

Their error is the spread of their logarithm, device by device. A profile states errors of what its fit had
not seen: of whole passes, and where single calls were measured of each kind of call. They are weighed by what
the node runs: which kinds take the time, in which batches, with how many cores at work. The words are the
second line of every answer.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from functools import cached_property
from math import hypot, log, log1p, sqrt
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.costmodel.kernels import Floats, is_stand_in, measured_as, surface_key
from perfmodel.costmodel.service_time import NEGLIGIBLE, BatchTime
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import ExtrapolationError
from perfmodel.planning.node import AnyNode, ServingNode, request_mix
from perfmodel.planning.sensitivity import ANCHORED_SPREAD, NEAR_MEMORY_SPREAD, SHARDED_SPREAD, Errors
from perfmodel.planning.table_node import TableNode, TableTimes
from perfmodel.sim.policies import Policy, Pool, SizedPolicy, largest_cpu_launch_items
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.units import GB, GIB, MB

if TYPE_CHECKING:
    from perfmodel.costmodel.moments import Mix

UNMEASURED_SPREAD = log(2.0)
"""Assumed where nothing was measured of a kind of call: off by a factor of two, either way. [ln]"""
BESIDE_CORES_SPREAD = 0.41
"""What busy cores do to the host that issues to a card, which was measured while they rested: 15 of them made
offloaded requests take 1.51 times as long as the profile says. One run of one model pins it
(docs/reports/validate-h200-overloaded.json), so it is an error either way and no correction. [ln]"""
EDITED_SPREAD = log(1.5)
"""Assumed of a profile that was edited by hand: off by a factor of 1.5, beside its own errors. [ln]"""
_MOST_LEFT_OUT = 0.99
"""Share from which a file says nothing about its module's time: its spread ends at a factor of 100. [1]"""

WORTH_SAYING = 0.005
"""Share of the time from which the conversion of inputs is mentioned. [1]"""
EDITED = "edited by hand since it was fitted: an extrapolation, off by a factor of 1.5 either way"


class NodeTimes:
    """A node's service times under one policy and one law of sizes, each evaluated once.

    Parameters
    ----------
    node : ServingNode
        What serves.
    policy : Policy
        What splits and places queries.
    sizes : SizePmf
        Of the queries.
    """

    def __init__(self, node: ServingNode, policy: Policy, sizes: SizePmf) -> None:
        self._node, self._policy, self._sizes = node, policy, sizes
        self._largest = largest_cpu_launch_items(policy, sizes.max_items)
        self._offloaded = policy.largest_launch_items(Pool.ACCELERATOR, sizes.max_items)

    @cached_property
    def table(self) -> ServiceTimes:
        """What the simulation needs: see `ServingNode.service_times`."""
        return self._node.service_times(self._policy, self._sizes.max_items, self._sizes)

    @cached_property
    def errors(self) -> Errors:
        """Root mean square error of the logarithm of the service times, on the cores and on the accelerator.

        Of the cores, 0 where they serve nothing; of the accelerator, None where no query goes there: an idle
        device moves no answer. [ln]
        """
        node, cpu = self._node, 0.0
        if self._mix is not None:
            alone = (
                hypot(ANCHORED_SPREAD, log1p(node.anchor_error or 0.0))
                if node.is_anchored
                else device_error(node.cpu, node.model.name, self._of_mix, self._mix.share)
            )
            elsewhere = SHARDED_SPREAD if node.shards is not None or node.tiers is not None else 0.0
            if node.near_memory is not None:
                elsewhere = NEAR_MEMORY_SPREAD
            cpu = hypot(alone, loaded_spread(node.cpu, node.cores), left_out_spread(node.model), elsewhere)
        return Errors(cpu, _accelerator_error(node, self._policy, self._sizes))

    @cached_property
    def serving_w(self) -> float | None:
        """Power of an accelerator while it serves what it is sent; None: it is sent nothing. [W]"""
        if self._node.accelerator is None or not self._node.num_accelerators:
            return None
        items = _mean_offloaded_items(self._policy, self._sizes)
        return None if items is None else self._node.serving_w(items)

    @cached_property
    def asking_share(self) -> float:
        """Share of a request's time that cores of shards look rows up for it. [1]"""
        if self._node.shards is None or self._mix is None:
            return 0.0
        time, share = self._of_mix, self._mix.share
        looked = [
            timed.seconds
            for timed in time.kernels
            if timed.kernel.is_elsewhere and timed.kernel.family == "embedding_bag"
        ]
        looking_s = float(share @ sum(looked, np.zeros_like(share))) / self._node.shards.slowest
        return looking_s / float(share @ time.seconds)

    @property
    def words(self) -> str:
        """Whose software's times they are, and how much of a core's time its input conversion takes."""
        node, card = self._node, self._node.accelerator
        # Only a stack that all devices have can be named.
        cpu = node.cpu if card is None else replace(node.cpu, without_input=None)
        converting = None if self._mix is None else input_share(self._of_mix, self._mix.share)
        said = device_words(cpu, converting, option="--set node.stack=")
        if card is None:
            return said
        own = "" if card.describes == node.cpu.describes else f": {card.describes}"
        edited = f", {EDITED}" if card.is_edited else ""
        return said + (f"; {card.name}{own}{edited}" if own or edited else "")

    @property
    def basis(self) -> Basis:
        """How far the times are to be trusted, over all batches that the policy can send.

        Those of a profile that was edited by hand are extrapolations, within its range too.
        """
        used = (self._node.cpu, self._largest), (self._node.accelerator, self._offloaded)
        edited = any(device is not None and device.is_edited and items for device, items in used)
        edited = edited or bool(self._node.model.reduced_precision)
        return Basis.EXTRAPOLATED if edited else self._basis_in_range

    def require_calibrated(self) -> None:
        """Refuse batches beyond the calibrated range.

        Raises
        ------
        ExtrapolationError
            Naming the range and what exceeds it.
        """
        if reduced := self._node.model.reduced_precision:
            raise ExtrapolationError(
                f"{self._node.model.name}: {reduced}: costs are known of fp32 only (--extrapolate answers as "
                "if all were fp32, marked)"
            )
        if self._basis_in_range is not Basis.EXTRAPOLATED:
            return
        cpu, card = self._node.cpu, self._node.accelerator
        if unlike := self._unlike_any_measured():
            raise ExtrapolationError(
                f"outside the calibrated range: {words_of_shares(unlike)} of {self._node.model.name} at "
                f"{self._largest} items: {cpu.name} has measured nothing like it (--extrapolate answers, "
                "marked; perfplan calibrate --for measures it)"
            )
        ranges = f"{cpu.name} covers batches {cpu.batch_range[0]} to {cpu.batch_range[1]}"
        if card is not None:
            low, high = card.batch_range
            ranges += f", {card.name} {low} to {high}"
        sent = f"requests of up to {self._largest} items"
        if self._offloaded:
            sent += f", launches of up to {self._offloaded} on the accelerator"
        raise ExtrapolationError(
            f"outside the calibrated range: {ranges}; this sends {sent} (--extrapolate answers, marked)"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any answer about this node must know of it."""
        cpu, card = self._node.cpu, self._node.accelerator
        notes = [*self._node.model.notes]
        if self._node.anchor is not None:
            stated = "" if self._node.anchor_error is not None else "; how far off that is, nobody stated"
            notes.append(f"times are corrected by the table {self._node.anchor.name}, size by size{stated}")
        if self._node.num_accelerators and not self._offloaded:
            notes.append(
                "no query is offloaded: the accelerator is paid for and idle; set "
                "policy.offload_threshold_items, or let tune find it"
            )
        if card is not None and card.stack != cpu.stack:
            stacks = f"{cpu.stack} on the cores, {card.stack} on the accelerator"
            notes.append(f"mixed stacks: {stacks}; software is compared here, not hardware alone")
        if card is not None and card.launches is not None and self._largest and self._offloaded:
            notes.append(
                f"{card.name}: measured while the cores rested; busy ones slow its host's copies and "
                "launches, which is not in these times, but in their error, by a factor of 1.5"
            )
        if card is not None and card.launches is not None and self._node.cores >= cpu.num_cores:
            notes.append(
                f"all {cpu.num_cores} cores serve: one has to issue to {card.name}, so set "
                f"node.cores={cpu.num_cores - self._node.num_accelerators}"
            )
        notes += self._query_notes
        notes += self._shard_notes
        notes += self._near_memory_notes
        notes += self._tier_notes
        if self._mix is not None and (advice := tuning_advice(self._of_mix, cpu, self._mix.share)):
            notes.append(advice)
        if self.basis is not Basis.EXTRAPOLATED and (far := self._unlike_any_measured()):
            share = sum(far.values())
            if share >= NEGLIGIBLE / 5.0:
                notes.append(
                    f"{100 * share:.0f} % of the time of {self._largest} items is extrapolated, and taken to "
                    f"be off by a factor of two: {words_of_shares(far)}; perfplan calibrate --for measures it"
                )
        for device in (cpu, card):
            if device is not None and device.is_edited:
                notes.append(
                    f"{device.name}: its hardware or costs are not those that were fitted; nobody measured "
                    "this machine"
                )
        return tuple(notes)

    @property
    def _query_notes(self) -> list[str]:
        """What is assumed of work of the query, and of histories whose lengths differ."""
        node, notes = self._node, list[str]()
        if self._policy.share_query_work:
            sent, rate = node.model.shared_bytes / 1e3, node.cpu.stream_bytes_per_s / GB
            notes.append(
                "policy.share_query_work, a what-if: a query's first request computes its work and the "
                f"others wait for it off the cores; assumed: {sent:.3g} kB of results are sent on to each at "
                f"{rate:.3g} GB/s, and nothing else is lost"
            )
        if node.lengths is not None:
            notes.append(
                f"traffic.lengths: histories of {node.lengths.values[0]} to {node.lengths.max_items}, "
                f"{node.lengths.mean_items:.3g} in the mean, as up to 12 lengths that stand for their "
                "neighbours; where a launch joins queries, all are padded to the longest; where a batch's "
                "time goes is shown of the mean length"
            )
        return notes

    @property
    def _shard_notes(self) -> list[str]:
        """Where the tables are, what is sent for them, and what is assumed of it."""
        node, shards = self._node, self._node.shards
        if shards is None:
            return []
        from perfmodel.costmodel.shard_lookups import sent_bytes  # few nodes have shards
        from perfmodel.costmodel.table_groups import table_groups

        groups = table_groups(node.model)
        what = "rows" if shards.by_row else "tables"
        parts = f"{shards.num_shards} shard{'s' if shards.num_shards > 1 else ''}"
        copies = "" if shards.replicas == 1 else f" on {shards.replicas} nodes each"
        most = shards.held_bytes.max() / GIB
        notes = [
            f"node.shards: {what} in {parts}{copies}, {most:.3g} GiB in the fullest; power counts all "
            f"{node.num_machines} machines of a node, and node.price_usd_per_h is of each machine"
        ]
        if shards.network is None:
            notes.append("node.shards.network: none, a what-if: shards answer at once, which no network does")
        elif self._largest:
            out, back = sent_bytes(groups, shards, np.array(float(self._largest)))
            notes.append(
                f"a request of {self._largest} items sends {out / MB:.3g} MB of indices and gets "
                f"{back / MB:.3g} MB of vectors"
                + ("" if shards.slowest == 1.0 else f"; the slowest takes {shards.slowest:.3g} times one")
            )
        if (hot := shards.hot) is not None:
            kept = "looked up last" if hot.is_cache else "looked up most"
            notes.append(
                f"node.shards.hot_rows: the main node keeps rows {kept}, {hot.held_bytes / GIB:.3g} GiB of "
                f"its memory, and finds {100 * hot.lookups_share:.3g} % of the lookups there"
            )
        notes.append(
            "assumed of shards: workers wait for the answer, nothing overlaps with it, popular rows are "
            "spread evenly, and a shard, with as many cores, has one free; a quarter (0.22 in the logarithm) "
            "is added to the error"
        )
        if self._node.model.embedding_bytes + self._node.model.dense_parameter_bytes <= (
            node.cpu.memory.capacity_bytes
        ):
            notes.append(f"{node.model.name} fits one {node.cpu.name} without shards")
        return notes

    @property
    def _near_memory_notes(self) -> list[str]:
        """What the memory's modules find and save, and what is assumed of them."""
        node, memory = self._node, self._node.near_memory
        if memory is None or not self._largest:
            return []
        from perfmodel.costmodel.near_memory import near_memory_facts  # few nodes have it

        facts = near_memory_facts(node.model, memory, float(self._largest))
        told = "" if memory.settings.channels else ", as many of DDR4-2400 as the profile's bandwidth"
        cached = "" if memory.settings.cache_kib is None else f"{100 * facts.hit_rate:.3g} % of rows cached, "
        saved = 100.0 * (facts.energy_j / facts.host_energy_j - 1.0)
        notes = [
            f"node.near_memory: {memory.channels} channels{told}; a request of {self._largest} items: "
            f"{cached}the fullest rank of a packet reads {facts.fullest:.3g} times the mean",
            f"energy of memory for its lookups: {1e3 * facts.energy_j:.3g} mJ instead of "
            f"{1e3 * facts.host_energy_j:.3g} mJ ({saved:+.0f} %), which is no part of TDP, and so not of "
            f"queries per watt; the {memory.units_w:.3g} W of logic in the modules are",
        ]
        if memory.settings.cache_kib is not None and not facts.has_skew:
            notes.append(
                f"no table of {node.model.name} has a skew (zipf_exponent of its file): all rows are equally "
                "popular, and caches find few of them"
            )
        if facts.left_on_core:
            notes.append(f"not pooled, and left to the cores: {', '.join(facts.left_on_core)}")
        notes.append(
            "assumed of near memory: workers wait for their lookups, each table lies in one channel, tables "
            "are spread evenly over channels, and other traffic is not held up; a quarter (0.22 in the "
            "logarithm) is added to the error"
        )
        return notes

    @property
    def _tier_notes(self) -> list[str]:
        """Where the rows are, how often each memory is read, what that takes, and what is assumed of it."""
        node, tiers = self._node, self._node.tiers
        if tiers is None:
            return []
        time = self._of_ends[-1] if self._of_ends else None
        seconds = {} if time is None else {t.kernel.operator: float(t.seconds[-1]) for t in time.kernels}
        parts = [f"memory has the rows of {100 * tiers.lookups_share[0]:.3g} % of the lookups"]
        for index, tier in enumerate(tiers.beyond, start=1):
            spent = f", {1e3 * seconds[tier.name]:.3g} ms of" if tier.name in seconds else ", nothing of"
            price = "" if tier.price_usd_per_h is None else f", {tier.price_usd_per_h:g} USD/h"
            parts.append(
                f"{tier.name} {100 * tiers.lookups_share[index]:.3g} % "
                f"({tiers.used_bytes[index] / GIB:.4g} GiB{spent} a request of {self._largest} items{price}; "
                f"{tier.source})"
            )
        notes = [f"node.tiers: {'; '.join(parts)}"]
        if (cards := node.card_tiers) is not None:
            each = [f"own {100 * cards.lookups_share[0]:.3g} %"]
            each += [
                f"{tier.name} {100 * share:.3g} %"
                for tier, share in zip(cards.beyond, cards.lookups_share[1:], strict=True)
            ]
            notes.append(f"lookups of a card, by memory: {', '.join(each)}")
        notes.append(
            "assumed of tiers: rows keep their places, a worker waits for its reads, tier by tier, and "
            "computes nothing meanwhile; a quarter (0.22 in the logarithm) is added to the error"
        )
        return notes

    @cached_property
    def _mix(self) -> Mix | None:
        """Sizes of the requests on the cores; None where no query is served there."""
        node = self._node
        return request_mix(self._policy, self._sizes, workers=node.threads * node.num_workers)

    @cached_property
    def _of_mix(self) -> BatchTime:
        """Times of those sizes with all cores busy, or with none but one where calls were measured.

        Which of those take the time hardly depends on the load, and is dear to work out.
        """
        assert self._mix is not None
        return self._node.cpu_time(
            self._mix.batch_size, 1 if self._node.cpu.surfaces else self._node.busy_cores[-1]
        )

    @cached_property
    def _of_ends(self) -> tuple[BatchTime, ...]:
        """Times of the smallest and the largest batch on the cores, all of them busy; none without any.

        Where calls were measured, of the largest alone, which is the batch that is asked for.
        """
        if not self._largest:
            return ()
        ends, cpu = [1.0, float(self._largest)], self._node.cpu
        if cpu.surfaces and cpu.batch_range[0] <= 1:
            return (self._node.cpu_time(ends[1], self._node.busy_cores[-1]),)
        return (self._node.cpu_time(np.array(ends), self._node.busy_cores[-1]),)

    @cached_property
    def _basis_in_range(self) -> Basis:
        bases = [time.basis for time in self._of_ends]
        if self._offloaded and (launch := self._node.accelerator_time(self._offloaded)) is not None:
            bases.append(launch.basis)
            if self._policy.streams > 1:
                bases.append(Basis.ASSUMED)
        return max(bases)

    def _unlike_any_measured(self) -> Mapping[str, float]:
        """Operators that the CPU's surfaces do not reach, at a batch that lies within its range. [1]"""
        cpu = self._node.cpu
        if not (self._largest and cpu.surfaces and self._largest <= cpu.batch_range[1]):
            return {}
        return self._of_ends[-1].extrapolated


AnyTimes = NodeTimes | TableTimes
"""What an answer needs of a node's service times, of either kind of node."""


def times_of(node: AnyNode, policy: Policy, sizes: SizePmf) -> AnyTimes:
    """Return what answers need of a node's service times under a policy and a law of sizes."""
    if isinstance(node, TableNode):
        return TableTimes(node, policy, sizes)
    return NodeTimes(node, policy, sizes)


def device_error(device: Device, model: str, time: BatchTime, shares: Floats) -> float:
    """Spread of the time of a mix of passes, each as often as its share. [ln]

    Where calls were measured one by one, each kind has its own spread, s_k, and w_k of the time:
    (1 - r) sum (w_k s_k)^2 + r (sum w_k s_k)^2, r being the correlation between kinds that the calibration
    found in sequences left out. What lies beyond what was measured of a kind is off by a factor of two, as
    what was never measured. Elsewhere a model's passes have the spread that the profile states, and kinds
    that its figures did not contain come on top, together: a formula without a fit errs alike in all.

    Parameters
    ----------
    device : Device
        With its stack.
    model : str
        Name of what runs.
    time : BatchTime
        Passes of the sizes in the mix.
    shares : (n,) float array
        How often each size comes.
    """
    parts = _kind_shares(time, shares, device.surfaces)
    if device.surfaces:
        spreads = [
            (share - far) * (UNMEASURED_SPREAD if surface is None else surface.relative_error)
            + far * UNMEASURED_SPREAD
            for kind, (share, far) in parts.items()
            if (surface := device.surfaces.get(kind[1])) is not None or kind[0] != "input"
        ]
        correlation = device.errors.correlation
        together = correlation * sum(spreads) ** 2
        found = sqrt((1.0 - correlation) * sum(spread**2 for spread in spreads) + together)
        # Kinds are of the card's time, or of a flat list of calls: the host's, the modules' is in the whole.
        if device.launches is not None or device.modules is not None:
            found = max(found, device.errors.of_model(model))
    else:
        known = device.errors.kinds
        unlike = sum(
            share for (family, _), (share, _) in parts.items() if known is not None and family not in known
        )
        found = hypot(device.errors.of_model(model), unlike * UNMEASURED_SPREAD)
    return hypot(found, EDITED_SPREAD) if device.is_edited else found


def tuning_advice(time: BatchTime, cpu: Device, shares: Floats) -> str | None:
    """Say what the best other way to serve the same module would take off a request's time, if it matters.

    Parameters
    ----------
    time : BatchTime
        Passes of the sizes in the mix, as `cpu` serves them.
    cpu : Device
        With its stack and the profile's other ways.
    shares : (n,) float array
        How often each size comes.
    """
    if not cpu.module_ways:
        return None
    from perfmodel.costmodel.module_costs import module_seconds  # few stacks were measured as modules

    more_s = {
        way: float(shares @ sum(module_seconds(timed.kernel, law, time.batch_size) for timed in time.kernels))
        for way, law in cpu.module_ways.items()
    }
    best = min(more_s, key=lambda way: more_s[way])
    saved = (more_s[cpu.stack] - more_s[best]) / float(shares @ time.seconds)
    if saved < WORTH_SAYING:
        return None
    return (
        f"tuning the process would take {100 * saved:.0f} % off a request's time: `--set node.stack={best}` "
        "answers for it"
    )


def left_out_spread(model: RecModel) -> float:
    """Spread of the time of a model whose file leaves a share of its work out: -ln(1 - share). [ln]

    By so much the time would be longer if what is left out took as long as its share of the work.

    Parameters
    ----------
    model : RecModel
        The model.
    """
    if model.unmodelled is None:
        return 0.0
    return -log1p(-min(model.unmodelled.share, _MOST_LEFT_OUT))


def loaded_spread(cpu: Device, cores: int) -> float:
    """What the slow-down by a serving stack adds, all `cores` being busy. [ln]

    Answers turn where all are. A time grows as 1 + (f - 1) u with the share u of the other cores that is
    busy: f being off by a share moves it by f u / (1 + (f - 1) u) of that.
    """
    factor = cpu.interference.node_factor
    used = min(1.0, (cores - 1) / max(1, cpu.num_cores - 1))
    return cpu.interference.node_factor_spread * factor * used / (1.0 + (factor - 1.0) * used)


def _kind_shares(
    time: BatchTime, shares: Floats, measured: Container[str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Share of the time of each kind of call, by family and name of its surface; and what is far out. [1]"""
    seconds: dict[tuple[str, str], tuple[float, float]] = {}
    for timed in time.kernels:
        key = measured_as(timed.kernel, measured)
        if key is None or is_stand_in(timed.kernel, key):  # of what stands in, no error is known
            key = surface_key(timed.kernel)
        kind = timed.kernel.family, key
        own_s, far_s = seconds.get(kind, (0.0, 0.0))
        of_kernel_s = float(shares @ timed.seconds)
        is_far = timed.basis is Basis.EXTRAPOLATED
        seconds[kind] = own_s + of_kernel_s, far_s + is_far * of_kernel_s
    total_s = sum(own_s for own_s, _ in seconds.values())
    return {kind: (own_s / total_s, far_s / total_s) for kind, (own_s, far_s) in seconds.items()}


def words_of_shares(operators: Mapping[str, float], most: int = 5) -> str:
    """Operators with their shares of the time, those that are worth saying.

    Examples
    --------
    >>> words_of_shares({"joined": 0.124, "user": 0.031, "joined.relu": 0.0001})
    'joined (12 %), user (3 %)'
    """
    listed = [f"{name} ({100 * share:.0f} %)" for name, share in operators.items() if share >= WORTH_SAYING]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _accelerator_error(node: ServingNode, policy: Policy, sizes: SizePmf) -> float | None:
    """Of launches of the queries that go there; None without any."""
    if node.accelerator is None or not node.num_accelerators:
        return None
    items = _mean_offloaded_items(policy, sizes)
    if items is None:
        return None
    time = node.accelerator_time(items)
    assert time is not None, "there is an accelerator"
    found = device_error(node.accelerator, node.model.name, time, np.ones(1))
    found = hypot(found, left_out_spread(node.model))
    if node.card_tiers is not None:
        found = hypot(found, SHARDED_SPREAD)
    issued_beside_cores = node.accelerator.launches and largest_cpu_launch_items(policy, sizes.max_items)
    return hypot(found, BESIDE_CORES_SPREAD) if issued_beside_cores else found


def _mean_offloaded_items(policy: Policy, sizes: SizePmf) -> float | None:
    """Mean size of the queries that go to an accelerator; None without any. [items]"""
    offloaded = _offloaded(policy, sizes)
    if not offloaded.any():
        return None
    items, weights = sizes.values[offloaded], sizes.probabilities[offloaded]
    return float(weights @ items / weights.sum())


def _offloaded(policy: Policy, sizes: SizePmf) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which sizes go to the accelerator; where more than the size decides, all may."""
    if isinstance(policy, SizedPolicy):
        thresholds = [lane.from_items for lane in policy.lanes if lane.pool is Pool.ACCELERATOR]
        return np.asarray(sizes.values >= min(thresholds, default=np.inf))
    sends = policy.largest_launch_items(Pool.ACCELERATOR, sizes.max_items) > 0
    return np.full(len(sizes.values), sends)


def device_words(device: Device, converting: float | None, *, option: str) -> str:
    """Say what is in a device's times.

    Parameters
    ----------
    device : Device
        With its stack.
    converting : float or None
        Share of the time that converting inputs takes; None: not known. [1]
    option : str
        What names another stack on the command line, the stack's name to follow.
    """
    text = device.describes
    if converting is not None and converting >= WORTH_SAYING:
        text += f": {100 * converting:.0f} % of this {'core' if device.kind == 'cpu' else 'card'}'s time"
    if device.without_input is not None:
        text += f"; `{option}{device.without_input}` leaves it out"
    return f"{text}; {device.name} was {EDITED}" if device.is_edited else text


def input_share(time: BatchTime, shares: Floats) -> float:
    """Share of input conversion in the time of a mix of passes, each as often as its share. [1]"""
    return float(shares @ time.family_s("input") / (shares @ time.seconds))
