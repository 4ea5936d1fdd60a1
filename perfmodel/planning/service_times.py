"""What an answer needs of a node's service times: their table, basis and error, and what to say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import exp, hypot, log1p
from typing import TYPE_CHECKING

import numpy as np

from perfmodel.costmodel.issue import BESIDE_CORES, BESIDE_CORES_SPREAD
from perfmodel.costmodel.service_time import NEGLIGIBLE, BatchTime
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.errors import ExtrapolationError
from perfmodel.planning.node import AnyNode, ServingNode, launch_stretch, request_mix
from perfmodel.planning.sensitivity import ANCHORED_SPREAD, NEAR_MEMORY_SPREAD, SHARDED_SPREAD, Errors
from perfmodel.planning.table_node import TableNode, TableTimes
from perfmodel.planning.time_errors import (
    accelerator_error,
    device_error,
    left_out_spread,
    loaded_spread,
    mean_offloaded_items,
    paired_spread,
)
from perfmodel.planning.time_words import (
    EDITED,
    attention_notes,
    device_words,
    input_share,
    near_memory_notes,
    query_notes,
    shard_notes,
    tier_notes,
    tuning_advice,
    words_of_precisions,
    words_of_shares,
)
from perfmodel.sim.policies import Policy, Pool, largest_cpu_launch_items
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes

if TYPE_CHECKING:
    from perfmodel.costmodel.moments import Mix


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
            if node.shard_cpu is not node.cpu:
                theirs = device_error(node.shard_cpu, node.model.name, self._of_mix, self._mix.share)
                alone += self.asking_share * (theirs - alone)
            elsewhere = SHARDED_SPREAD if node.shards is not None or node.tiers is not None else 0.0
            if node.near_memory is not None:
                elsewhere = NEAR_MEMORY_SPREAD
            loaded = hypot(loaded_spread(node.cpu, node.cores), paired_spread(node.cpu, node.cores))
            cpu = hypot(alone, loaded, left_out_spread(node.model), elsewhere)
        return Errors(cpu, accelerator_error(node, self._policy, self._sizes))

    @cached_property
    def serving_w(self) -> float | None:
        """Power of an accelerator while it serves what it is sent; None: it is sent nothing. [W]"""
        if self._node.accelerator is None or not self._node.num_accelerators:
            return None
        items = mean_offloaded_items(self._policy, self._sizes)
        if items is None:
            return None
        # A level that a load test found is of times too: what is computed and moved stays as it is.
        stretch = launch_stretch(self._node, self._policy, self._sizes.max_items)
        return self._node.serving_w(items, stretch * (self._node.level or 1.0))

    @cached_property
    def asking_share(self) -> float:
        """Share of a request's time that cores of shards look rows up for it. [1]"""
        if self._node.shards is None or self._mix is None:
            return 0.0
        from perfmodel.costmodel.sharding import looking_s  # few nodes have shards

        time, share = self._of_mix, self._mix.share
        return float(share @ looking_s(time, self._node.shards)) / float(share @ time.seconds)

    @property
    def words(self) -> str:
        """Whose software's times they are, and how much of a core's time its input conversion takes."""
        node, card = self._node, self._node.accelerator
        # Only a stack that all devices have can be named.
        cpu = node.cpu if card is None else replace(node.cpu, without_input=None)
        converting = None if self._mix is None else input_share(self._of_mix, self._mix.share)
        said = device_words(cpu, converting, option="--set node.stack=")
        card = node.shard_cpu if card is None and node.shard_cpu is not node.cpu else card
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
        on_cores = self._largest or (self._offloaded if self._node.shards is not None else 0)
        used = (  # launches beside shards have their lookups on cores too
            (self._node.cpu, on_cores),
            (self._node.shard_cpu, on_cores),
            (self._node.accelerator, self._offloaded),
        )
        edited = any(device is not None and device.is_edited and items for device, items in used)
        edited = edited or any(self._in_other_precision(device) for device, items in used if items)
        return Basis.EXTRAPOLATED if edited else self._basis_in_range

    def _in_other_precision(self, device: Device | None) -> str:
        """What of the model is in a precision that costs there are not known of."""
        if device is None:
            return ""
        return self._node.model.in_other_precision(device.precision, device.table_precisions)

    def require_calibrated(self) -> None:
        """Refuse batches beyond the calibrated range.

        Raises
        ------
        ExtrapolationError
            Naming the range and what exceeds it.
        """
        for device, items in ((self._node.cpu, self._largest), (self._node.accelerator, self._offloaded)):
            if device is not None and items and (other := self._in_other_precision(device)):
                known = words_of_precisions(device, self._node.model.reduced_precision)
                raise ExtrapolationError(f"{self._node.model.name}: {other}: {known}")
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
        notes = [*self._node.model.notes_on(cpu.precision, cpu.table_precisions, stored=cpu.stored_tables)]
        if card is not None and self._offloaded and card.precision != cpu.precision:
            notes += [
                f"{card.name}: {note}"
                for note in self._node.model.notes_on(card.precision)
                if note not in notes
            ]
        used = (cpu if self._largest else None, card if self._offloaded else None)
        notes += [
            note for each in used if each is not None for note in attention_notes(self._node.model, each)
        ]
        if self._node.anchor is not None:
            stated = "" if self._node.anchor_error is not None else "; how far off that is, nobody stated"
            notes.append(f"times are corrected by the table {self._node.anchor.name}, size by size{stated}")
        if (instances := self._node.instances) is not None:
            processes = "1 process" if instances == 1 else f"{instances} processes, each"
            cores = self._node.cores // instances
            notes.append(
                f"{processes} pinned to {cores} core{'' if cores == 1 else 's'} of one socket, with its own "
                "copy of the tables; assumed: one queue hands requests to whichever has a free worker, and "
                "no process reads another socket's memory"
            )
        if self._node.num_accelerators and not self._offloaded:
            notes.append(f"{IDLE_ACCELERATOR}; set policy.offload_threshold_items, or let tune find it")
        if (extra := self._node.cores - cpu.num_cores) > 0:
            shared = cpu.interference
            assumed = shared.hyper_thread_spread
            source = (
                f"which is assumed, within a factor of {exp(assumed):.2g}" if assumed else "by its profile"
            )
            notes.append(
                f"{cpu.name} has {cpu.num_cores} cores: {2 * extra} of the {self._node.cores} are two on a "
                f"core, as hyper-threads, which takes {shared.hyper_thread_gemm:g} times as long for "
                f"products and {shared.hyper_thread_lookup:g} times for lookups, {source}"
            )
        if card is not None and card.stack != cpu.stack:
            stacks = f"{cpu.stack} on the cores, {card.stack} on the accelerator"
            notes.append(f"mixed stacks: {stacks}; software is compared here, not hardware alone")
        if card is not None and card.launches is not None and self._largest and self._offloaded:
            notes.append(
                f"{card.name}: measured while the cores rested; busy ones slow its host's copies and "
                f"launches, taken as {BESIDE_CORES:g} times as long: eleven runs of three models on one "
                f"kind of host, within a factor of {exp(BESIDE_CORES_SPREAD):.2g}"
            )
        if card is not None and card.launches is not None and self._node.cores >= cpu.num_cores:
            notes.append(
                f"all {cpu.num_cores} cores serve: one has to issue to {card.name}, so set "
                f"node.cores={cpu.num_cores - self._node.num_accelerators}"
            )
        notes += query_notes(self._node, self._policy)
        notes += shard_notes(self._node, self._largest)
        notes += near_memory_notes(self._node, self._largest)
        notes += tier_notes(self._node, self._largest, self._of_ends[-1] if self._of_ends else None)
        if self._mix is not None and (advice := tuning_advice(self._of_mix, cpu, self._mix.share)):
            notes.append(advice)
        if self.basis is not Basis.EXTRAPOLATED and (far := self._unlike_any_measured()):
            share = sum(far.values())
            if share >= NEGLIGIBLE / 5.0:
                notes.append(
                    f"{100 * share:.0f} % of the time of {self._largest} items is extrapolated, and taken to "
                    f"be off by a factor of two: {words_of_shares(far)}; perfplan calibrate --for measures it"
                )
        shard_cpu = None if self._node.shard_cpu is cpu else self._node.shard_cpu
        for device in (cpu, card, shard_cpu):
            if device is not None and device.is_edited:
                whose = "its base's" if device.is_derived else "its"
                notes.append(
                    f"{device.name}: {whose} hardware or costs are not those that were fitted; nobody "
                    "measured this machine"
                )
        return tuple(notes)

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

IDLE_ACCELERATOR = "no query is offloaded: the accelerator is paid for and idle"


def times_of(node: AnyNode, policy: Policy, sizes: SizePmf) -> AnyTimes:
    """Return what answers need of a node's service times under a policy and a law of sizes."""
    if isinstance(node, TableNode):
        return TableTimes(node, policy, sizes)
    return NodeTimes(node, policy, sizes)
