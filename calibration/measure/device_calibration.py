"""A calibration of an accelerator from start to end: probes, then visits for as long as the budget lasts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from calibration.measure.calibration import Calibration, fit_records, spread_between_passes
from calibration.measure.device_issue import issue_costs, issue_error
from calibration.measure.device_probes import (
    busy_power_w,
    copies,
    host_beside_workers,
    idle_power_w,
    launches,
    memory_bandwidth_bytes_per_s,
    peak_flop_per_s,
)
from calibration.measure.device_profile import device_values
from calibration.measure.device_visits import device_visits
from calibration.measure.levels import host_level, quiet_probe_s
from calibration.measure.records import Records
from calibration.measure.sequences import DRAWN_BY
from calibration.measure.visits import TABLE_SHARE, Pool, allocate_pool
from calibration.power import EnergyMeter
from calibration.runtime.accelerator import SIGNIFICAND_BITS, Accelerator
from calibration.runtime.host_level import LaunchProbe
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.domain.hardware import Caches
from perfmodel.errors import InputError
from perfmodel.threads import threads_here

_POOL_BYTES = 16e9
_POOL_SHARE = 0.4
"""Of the free memory; results of a pass may take as much again."""
_REPEATED = 0.1
"""Share of the time for visiting sequences again: the spread between passes."""
_POWER_SHARE = 0.02
"""Share of the time for power at rest, and for power at work, where a counter can be read."""
_BESIDE = 0.05
"""Share of the time for launches and copies beside busy workers of the host."""
_SAVED_EVERY_S = 10.0


@dataclass(slots=True, kw_only=True)
class DeviceCalibration(Calibration):
    """The run of a CPU's calibration, with another machine to visit.

    Attributes
    ----------
    accelerator : Accelerator
        The machine.
    meter : EnergyMeter or None
        Reads its energy; None: power is not measured.
    power_limit_w : float or None
        Its TDP, where it says so. [W]
    """

    accelerator: Accelerator
    meter: EnergyMeter | None = None
    power_limit_w: float | None = None
    probe: LaunchProbe = field(init=False)

    def __post_init__(self) -> None:
        self.probe = LaunchProbe(self.accelerator)

    def measure(self) -> None:
        """Spend the budget; what was measured is on disk, also if interrupted."""
        require_kind(self.records, accelerated=True)
        self._require_precision()
        pool = self._pool()
        self.records.facts |= {"drawn_by": DRAWN_BY, "most_table_bytes": pool.most_table_bytes}
        try:
            self._probe()
            alone_s = self.budget_s * (1.0 - _REPEATED)
            self._visit_new(pool, until_s=alone_s)
            self._visit_again(pool, until_s=self.budget_s)
        finally:
            self._keep()

    def _require_precision(self) -> None:
        """Refuse to add to measurements in another precision; those that do not say are in fp32."""
        facts, precision = self.records.facts, self.accelerator.precision
        bits = SIGNIFICAND_BITS[precision]
        if self.records.visits and facts.get("significand_bits", SIGNIFICAND_BITS["fp32"]) != bits:
            raise InputError(f"{self.raw}: was measured in another --precision than {precision}; start anew")
        facts["significand_bits"] = bits

    def _pool(self) -> Pool:
        """As large as it was before, where measurements are added to: sequences are drawn by its size."""
        facts, card = self.records.facts, self.accelerator
        room_bytes = min(_POOL_BYTES, _POOL_SHARE * card.free_bytes())
        before_bytes = round(facts.get("most_table_bytes", 0.0) / TABLE_SHARE)
        if before_bytes > room_bytes:
            raise InputError(f"{self.raw}: was measured with more free memory than there is now; start anew")
        if facts.get("drawn_by", DRAWN_BY) != DRAWN_BY:
            raise InputError(f"{self.raw}: expected sequences as this version draws them; start anew")
        return allocate_pool(before_bytes or room_bytes, card.device, card.dtype)

    def _probe(self) -> None:
        """What is measured once."""
        card, facts = self.accelerator, self.records.facts
        if self.power_limit_w is not None:
            facts["power_limit_w"] = self.power_limit_w
        is_new = "idle_w" not in facts  # power takes longer than what is added to a calibration
        if self.meter is not None and is_new:  # at rest first: a card takes seconds to calm down
            self.progress("power at rest", self._spent_s())
            facts |= idle_power_w(self.meter, _POWER_SHARE * self.budget_s)
        self.progress("launches and copies", self._spent_s())
        before_s = self.probe.launch_s()
        latency_s, output_s = launches(card)
        facts |= {"launch_latency_s": latency_s, "output_s": output_s}
        for kind in ("pageable", "pinned"):
            fixed_s, bandwidth = copies(card, pinned=kind == "pinned")
            facts |= {f"copy_{kind}_s": fixed_s, f"copy_{kind}_bytes_per_s": bandwidth}
        facts["copies_probe_s"] = (before_s + self.probe.launch_s()) / 2.0
        workers = len(threads_here()) - 1
        if workers and "beside.workers" not in facts:
            self.progress("launches and copies beside busy workers", self._spent_s())
            facts |= host_beside_workers(self.probe, card, workers, _BESIDE * self.budget_s)
        facts["bandwidth_bytes_per_s"] = memory_bandwidth_bytes_per_s(card)
        facts["peak_flop_per_s"] = peak_flop_per_s(card)
        facts |= {"l2_bytes": card.l2_bytes, "memory_bytes": card.memory_bytes, "clock_hz": card.clock_hz}
        facts["num_multiprocessors"] = card.num_multiprocessors
        if self.meter is not None and is_new:
            self.progress("power at work", self._spent_s())
            facts |= busy_power_w(self.meter, card, _POWER_SHARE * self.budget_s)

    def _visit(self, number: int, phase: str, seed: int, pool: Pool) -> None:
        self.records.visits += [(number, visit) for visit in device_visits([seed], pool, self.probe)]
        self.progress(phase, self._spent_s())
        if time.monotonic() - self.saved_s > _SAVED_EVERY_S:
            self._keep()
            self.saved_s = time.monotonic()


def require_kind(records: Records, *, accelerated: bool) -> None:
    """Refuse to add a device's measurements to those of another kind.

    Raises
    ------
    InputError
        If the records are of the other kind.
    """
    if records.visits and ("memory_bytes" in records.facts) != accelerated:
        there = "the CPU's" if accelerated else "an accelerator's"
        raise InputError(f"--resume: these measurements are {there}; choose another --out, or start anew")


def calibrated_device_values(
    records: Records, taken: Fingerprint, *, card: str, name: str, raw: str
) -> dict[str, Any]:
    """Fit the records and give the profile's plain values.

    Parameters
    ----------
    records : Records
        Of a `DeviceCalibration`.
    taken : Fingerprint
        The machine with the card.
    card : str
        What its maker calls it.
    name, raw : str
        Of the profile, and of the file with the measurements.
    """
    fitted = fit_records(records, card_caches(records.facts))
    visits = [visit for _, visit in records.visits]
    quiet_s, most = quiet_probe_s(visits), records.facts["most_table_bytes"]
    known_s = records.facts.get(
        "mean_probe_s"
    )  # over more visits to such machines than the calibration's own
    level = known_s / quiet_s if known_s and quiet_s else host_level(visits, quiet_s)
    costs = issue_costs(visits, most_table_bytes=most, quiet_s=quiet_s)
    host_error = issue_error(visits, costs, most_table_bytes=most, level=level)
    return device_values(
        fitted,
        costs,
        taken,
        facts=on_a_quiet_host(records.facts, quiet_s)
        | {
            "quiet_probe_s": quiet_s,
            "host_level": level,
            "device_error": fitted.relative_error,
            "host_error": host_error,
            # A pass waits for the card or for its host: it is as far off as the worse known of the two.
            "relative_error": max(fitted.relative_error, host_error),
            "error_correlation": fitted.error_correlation,
            "spread_between_passes": spread_between_passes(records),
        },
        card=card,
        name=name,
        raw=raw,
    )


def on_a_quiet_host(facts: Mapping[str, float], quiet_s: float) -> dict[str, float]:
    """What was measured once, with what the host needs for a copy scaled to a quiet one."""
    level = facts["copies_probe_s"] / quiet_s if quiet_s and "copies_probe_s" in facts else 1.0
    times = {key: facts[key] / level for key in ("output_s", "copy_pageable_s")}
    rate = "copy_pageable_bytes_per_s"  # the host copies to where the device reads
    return {**facts, **times, rate: facts[rate] * level}


def card_caches(facts: Mapping[str, float]) -> Caches:
    """The card's L2 as the only cache: it stands for both levels of a CPU."""
    return Caches(l2_bytes=facts["l2_bytes"], l3_bytes=facts["l2_bytes"], exclusive=False)
