"""A serving node: a model on a CPU with some cores, and perhaps accelerators; its service times and power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.costmodel.service_time import BatchTime, batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import ExtrapolationError
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.service import ServiceTimes


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
    """

    model: RecModel
    cpu: Device
    cores: int
    accelerator: Device | None = None
    num_accelerators: int = 0

    def cpu_time(self, batch_size: float, busy: float) -> BatchTime:
        """Time of one batch on one core with `busy` cores at work."""
        return batch_time(self.model, self.cpu, np.array([float(batch_size)]), busy)

    def accelerator_time(self, num_items: float) -> BatchTime | None:
        """Time of one whole query on an accelerator."""
        if self.accelerator is None:
            return None
        return batch_time(self.model, self.accelerator, np.array([float(num_items)]))

    def service_times(self, policy: SplitAndOffload, max_items: int) -> ServiceTimes:
        """Tabulate what the simulation needs for queries of up to `max_items` items.

        The CPU table has a row for each batch size that the policy can send and a column for each number
        of busy cores; the accelerator's has an entry for each query size.
        """
        threshold = policy.offload_threshold_items
        on_cpu = max_items if threshold is None else min(max_items, max(1, threshold - 1))
        batches = np.arange(1.0, min(policy.batch_size, on_cpu) + 1)
        busy = np.arange(1.0, self.cores + 1)
        cpu_s = batch_time(self.model, self.cpu, batches[:, None], busy[None, :]).seconds
        if self.accelerator is None or self.num_accelerators == 0:
            return ServiceTimes(cpu_s=cpu_s)
        whole = batch_time(self.model, self.accelerator, np.arange(1.0, max_items + 1)).seconds
        return ServiceTimes(cpu_s=cpu_s, accelerator_s=whole, num_accelerators=self.num_accelerators)

    def basis(self, policy: SplitAndOffload, max_items: int) -> Basis:
        """How far the service times are to be trusted, over all batches that the policy can send."""
        threshold = policy.offload_threshold_items
        bases = []
        if threshold is None or threshold > 1:
            largest = min(policy.batch_size, max_items if threshold is None else threshold - 1, max_items)
            bases += [self.cpu_time(size, self.cores).basis for size in (1, largest)]
        if self.accelerator is not None and policy.offloads(max_items):
            whole = batch_time(self.model, self.accelerator, np.array([float(max_items)]))
            bases.append(whole.basis)
        return max(bases)

    def require_calibrated(self, policy: SplitAndOffload, max_items: int) -> None:
        """Refuse batches beyond the calibrated range.

        Raises
        ------
        ExtrapolationError
            Naming the range and what exceeds it.
        """
        if self.basis(policy, max_items) is not Basis.EXTRAPOLATED:
            return
        ranges = f"{self.cpu.name} covers batches {self.cpu.batch_range[0]} to {self.cpu.batch_range[1]}"
        if self.accelerator is not None:
            low, high = self.accelerator.batch_range
            ranges += f", {self.accelerator.name} {low} to {high}"
        sent = f"requests of up to {min(policy.batch_size, max_items)} items"
        if policy.offloads(max_items):
            sent += f", offloaded queries of up to {max_items}"
        raise ExtrapolationError(
            f"outside the calibrated range: {ranges}; this sends {sent} (--extrapolate answers, marked)"
        )

    @property
    def tdp_w(self) -> float:
        """Static power as DeepRecSys charges it: the TDP of everything in the node. [W]"""
        cards = self.num_accelerators * (self.accelerator.power.tdp_w if self.accelerator else 0.0)
        return self.cpu.power.tdp_w + cards

    def power_w(self, cpu_utilisation: float, accelerator_utilisation: float | None) -> float:
        """Power at a load: idle + utilisation x (peak - idle), CPU and accelerators. [W]"""
        power = self.cpu.power
        total = power.idle_w + cpu_utilisation * (power.peak_w - power.idle_w)
        if self.accelerator is not None:
            card = self.accelerator.power
            used = accelerator_utilisation or 0.0
            total += self.num_accelerators * (card.idle_w + used * (card.peak_w - card.idle_w))
        return total

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Costs that no fit stands behind, by device."""
        devices = [self.cpu] + ([self.accelerator] if self.accelerator else [])
        return tuple(f"{device.name}: {entry}" for device in devices for entry in device.assumptions)
