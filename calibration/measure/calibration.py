"""A calibration from start to end: measure within a budget, fit, and give the profile's values."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, hypot, inf, log
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from calibration.children import interrupts_held
from calibration.fingerprint import fingerprint
from calibration.measure.bandwidth import SharedReads, read_bandwidth_bytes_per_s, saturation
from calibration.measure.fit import fit_surface, held_out_seconds
from calibration.measure.given import GIVEN_SEEDS, given_visits
from calibration.measure.left_out import left_out_errors
from calibration.measure.levels import at_mean_level, level_spread, was_disturbed
from calibration.measure.points import points_by_call
from calibration.measure.probes import co_located_slowdowns, l3_lifetime_s, power_w
from calibration.measure.profile import (
    hardware_values,
    multiply_add_seconds,
    profile_values,
    with_fitted_values,
)
from calibration.measure.records import Records
from calibration.measure.sequences import ATTENTION_SEEDS, DRAWN_BY, GENERAL_SEEDS, LATER_SEEDS
from calibration.measure.served import (
    FIRST_TABLE_BYTES,
    FLAT_ROUND,
    ModuleCosts,
    ServedBench,
    module_costs,
    next_seed,
    table_bytes_here,
)
from calibration.measure.threaded import threaded_ratios
from calibration.measure.unrest import unrest, unrest_section
from calibration.measure.visits import TABLE_SHARE, Pool, allocate_pool, visits
from calibration.power import rapl_meter
from calibration.runtime.memory import available_bytes
from perfmodel.costmodel.kernels import ELEMENT_BYTES
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.domain.hardware import Caches
from perfmodel.domain.model import RecModel
from perfmodel.domain.surface import Surface
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import bare_device
from perfmodel.loading.profile_sections import HardwareSection

_POOL_BYTES = 8e9
_POOL_BYTES_PER_S = 6e7  # of the budget: filling the pool is not what it is for
_POOL_SHARE = 0.5
_REPEATED = 0.12
"""Share of the time for visiting sequences again: the spread between passes."""
_CO_LOCATED = 0.12
"""Share of the time for contention."""
_GENERAL_EVERY = 5
"""After so many sequences comes one of general operators: products of activations, norms, functions."""
_LATER_EVERY = 6
"""After so many one of layers side by side, attention, convolutions or LSTMs."""
_ATTENTION_EVERY = 7
"""After so many one of attention in one call, or of products of one row."""
_BESIDE = (
    (GENERAL_SEEDS, _GENERAL_EVERY),
    (LATER_SEEDS, _LATER_EVERY),
    (ATTENTION_SEEDS, _ATTENTION_EVERY),
)
_THREADS = 0.05
"""Share of the time for threads in a worker."""
_UNREST = 0.02
"""Share of the time for scatter and pauses with all workers at work."""
_SERVED = 0.3
"""Share of the time for what modules cost beside the flat list of calls."""
_POWER_SHARE = 0.015
"""Share of the time for power at rest, and for power at work, where a counter can be read."""
_SAVED_EVERY_S = 10.0
_PROBED_EVERY_S = 1.5
"""Neighbours' use of the L3 changes within seconds; a probe takes 0.05 s."""
_SHARED_EVERY_S = 10.0
"""A look at what workers read together takes half a second."""
_PROBED_BYTES = 512e6
"""Memory in which the life of lines is probed where nothing else is measured in it. [bytes]"""
_FEWEST_CALLS = 12
_FEWEST_SEQUENCES = 5
"""Behind a kind of call: its error is that on sequences left out, a fifth of them at a time."""
_STREAMED = ("weight_beyond_l3", "thin_multiply_add_beyond_l3")
"""Terms of elements that come from memory. Each adds at most its bytes over what one core reads a second:
few sequences have weights beyond the last cache, and a free fit put three times that on one host's."""
_LARGEST_ERROR = log(2.0)
"""Root mean square error of whole sequences up to which a profile is written: one that is off by more says
nothing of a machine, since servers of neighbouring generations differ by 1.2 to 2 times. [ln]"""

Progress = Callable[[str, float], None]
"""Told the phase and the seconds of the budget that are used."""


@dataclass(slots=True)
class Calibration:
    """The run: its clock, its records, and where they are kept."""

    budget_s: float
    raw: Path
    records: Records
    progress: Progress
    started_s: float = field(default_factory=time.monotonic)
    saved_s: float = field(default_factory=time.monotonic)
    l3_lifetime_s: float = inf
    probed_s: float = -inf
    shared: SharedReads = field(default_factory=lambda: SharedReads(()))
    shared_s: float = -inf

    def measure(self) -> None:
        """Spend the budget; what was measured is on disk, also if interrupted."""
        facts = self.records.facts
        facts.setdefault("drawn_by", DRAWN_BY)
        _require_this_draw(self.records)
        pool = allocate_pool(self._pool_bytes())
        facts["most_table_bytes"] = pool.most_table_bytes
        try:
            self._measure(pool)
        finally:
            self._keep()

    def measure_given(self, models: Sequence[RecModel]) -> None:
        """Spend the budget on passes of these models alone, beside what was measured before."""
        pool = allocate_pool(_PROBED_BYTES)
        self.l3_lifetime_s = l3_lifetime_s(pool)
        try:
            for visit in given_visits(models, self.records.models, lambda: self._spent_s() < self.budget_s):
                self.records.visits.append((0, replace(visit, l3_lifetime_s=self.l3_lifetime_s)))
                self.progress("given models", self._spent_s())
                self._keep_now_and_then()
        finally:
            self._keep()

    def _keep(self) -> None:
        """Write what was measured, if anything was: an earlier file is worth more than an empty one."""
        if self.records.visits:
            with interrupts_held():
                self.records.write(self.raw)

    def _pool_bytes(self) -> float:
        """As much as it was before, where measurements are added to: sequences are drawn by its size."""
        before_bytes = round(self.records.facts.get("most_table_bytes", 0.0) / TABLE_SHARE)
        free_bytes = _POOL_SHARE * available_bytes()
        if before_bytes > free_bytes:
            raise InputError(f"{self.raw}: was measured with more free memory than there is now; start anew")
        return before_bytes or min(_POOL_BYTES, free_bytes, _POOL_BYTES_PER_S * self.budget_s)

    def _measure(self, pool: Pool) -> None:
        facts, cores = self.records.facts, fingerprint().machine.cores
        facts["bandwidth_bytes_per_s"] = read_bandwidth_bytes_per_s(pool)
        if (meter := rapl_meter()) is not None:
            facts |= power_w(meter, pool, cores, _POWER_SHARE * self.budget_s)
        counts = [count for count in (2, 4, 8, 16, 32, 64, 128) if count < cores] + [cores] * (cores > 1)
        self.shared = SharedReads(counts)
        contention_s = self.budget_s * _CO_LOCATED if counts else 0.0
        threads_s = self.budget_s * _THREADS if counts else 0.0
        alone_s = self.budget_s * (1.0 - _SERVED - _UNREST) - contention_s - threads_s
        self._visit_new(pool, until_s=alone_s * (1.0 - _REPEATED))
        self._visit_again(pool, until_s=alone_s)
        for number, count in enumerate(counts):
            until_s = alone_s + contention_s * (number + 1) / len(counts)
            self._measure_neighbours(pool, count, until_s)
        for count in counts:
            self._measure_threads(pool, count, threads_s / len(counts))
        self.progress("scatter and pauses", self._spent_s())
        facts |= unrest(pool, self.budget_s * _UNREST, cores)
        self._visit_served(until_s=self.budget_s)

    def _visit_new(self, pool: Pool, *, until_s: float) -> None:
        done = self.records.seeds(0)
        done -= set(GIVEN_SEEDS)
        others = {seeds: max(done.intersection(seeds), default=seeds[0] - 1) + 1 for seeds, _ in _BESIDE}
        seed = max(done.difference(*others), default=-1) + 1
        while self._spent_s() < until_s:
            self._visit(0, "operators", seed, pool)
            for seeds, every in _BESIDE:
                if seed % every == 0:
                    self._visit(0, "operators", others[seeds], pool)
                    others[seeds] += 1
            seed += 1

    def _visit_again(self, pool: Pool, *, until_s: float) -> None:
        first = sorted(self.records.seeds(0) - self.records.seeds(1) - set(GIVEN_SEEDS))
        order = np.random.default_rng(0).permutation(len(first))
        for index in order:
            if self._spent_s() >= until_s:
                return
            self._visit(1, "spread between passes", first[index], pool)

    def _visit_served(self, *, until_s: float) -> None:
        """Sequences as modules, beside the flat list of calls."""
        known = self.records.seeds(FLAT_ROUND)
        here = FIRST_TABLE_BYTES if known else table_bytes_here()
        most_bytes = self.records.facts.setdefault("served_table_bytes", here)
        with ServedBench(most_bytes) as bench:
            if "mapped_kib_s" not in self.records.facts:
                self.records.facts["mapped_kib_s"] = bench.mapped_kib_s()
            while self._spent_s() < until_s:
                seed = next_seed(self.records.seeds(FLAT_ROUND))
                self.records.visits += bench.visits(seed)
                self.progress("modules", self._spent_s())
                self._keep_now_and_then()

    def _measure_neighbours(self, pool: Pool, workers: int, until_s: float) -> None:
        self.progress(f"{workers} busy workers", self._spent_s())
        left_s = until_s - self._spent_s()
        ratios = co_located_slowdowns(pool, left_s, workers)
        for family, ratio in ratios.items():
            self.records.facts[f"co_located.{family}.{workers}"] = ratio

    def _measure_threads(self, pool: Pool, threads: int, duration_s: float) -> None:
        self.progress(f"{threads} threads", self._spent_s())
        for family, ratio in threaded_ratios(pool, duration_s, threads).items():
            self.records.facts[f"threads.{family}.{threads}"] = ratio

    def _visit(self, number: int, phase: str, seed: int, pool: Pool) -> None:
        if time.monotonic() - self.probed_s > _PROBED_EVERY_S:
            self.l3_lifetime_s, self.probed_s = l3_lifetime_s(pool), time.monotonic()
        if time.monotonic() - self.shared_s > _SHARED_EVERY_S:
            self.records.facts |= self.shared.look(pool)
            self.shared_s = time.monotonic()
        self.records.visits += [
            (number, replace(visit, l3_lifetime_s=self.l3_lifetime_s)) for visit in visits([seed], pool)
        ]
        self.progress(phase, self._spent_s())
        self._keep_now_and_then()

    def _keep_now_and_then(self) -> None:
        if time.monotonic() - self.saved_s > _SAVED_EVERY_S:
            self._keep()
            self.saved_s = time.monotonic()

    def _spent_s(self) -> float:
        return time.monotonic() - self.started_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Surfaces of every kind of call, how many calls are behind each, and errors on sequences left out.

    `relative_error` is the root mean square of whole passes: at the mean level of the machine, and with what
    its level differs by from moment to moment. `error_correlation` is that between kinds of calls, whose own
    errors are the surfaces'.
    """

    surfaces: Mapping[str, Surface]
    calls: Mapping[str, int]
    relative_error: float
    error_correlation: float


def fit_records(records: Records, caches: Caches) -> Fitted:
    """Fit a surface to each kind of call that was measured often enough; errors are cross-validated."""
    _require_this_draw(records)
    first = [(number, visit) for number, visit in records.visits if number == 0]
    points = points_by_call(
        (visit for _, visit in at_mean_level(first)),
        caches,
        most_table_bytes=records.facts["most_table_bytes"],
        models=records.models,
    )
    most = dict.fromkeys(_STREAMED, ELEMENT_BYTES / records.facts["bandwidth_bytes_per_s"])
    often = {
        call: replace(found, most=most)
        for call, found in points.items()
        if len(found.seconds) >= _FEWEST_CALLS and len(np.unique(found.groups)) >= _FEWEST_SEQUENCES
    }
    if missing := [call for call in _NEEDED if call not in often]:
        raise InputError(
            f"too little was measured to fit anything: {len(records.seeds(0))} sequences, and too few "
            f"calls of {', '.join(missing)}; {_MORE}"
        )
    surfaces = {call: fit_surface(found) for call, found in often.items()}
    errors = left_out_errors(
        often, {call: held_out_seconds(surface, often[call]) for call, surface in surfaces.items()}
    )
    if not errors.whole <= _LARGEST_ERROR:
        raise InputError(
            f"too little was measured: {len(records.seeds(0))} sequences, of which those left out of the fit "
            f"are off by a factor of {exp(errors.whole):.2f}, and a profile may be by one of "
            f"{exp(_LARGEST_ERROR):.0f}; {_MORE}"
        )
    return Fitted(
        surfaces={
            call: replace(surface, relative_error=errors.by_kind[call]) for call, surface in surfaces.items()
        },
        calls={call: len(found.seconds) for call, found in often.items()},
        relative_error=hypot(errors.whole, level_spread([visit for _, visit in first])),
        error_correlation=errors.correlation,
    )


_NEEDED = ("fc", "embedding_bag.pooled", "concat.features", "activation.relu")
"""Calls off whose laws the formulas' constants are read: a profile without one would charge nothing there."""

_MORE = "calibrate with --resume, or with a larger --budget"


def _require_this_draw(records: Records) -> None:
    if records.facts.get("drawn_by") != DRAWN_BY:
        raise InputError("measurements: expected sequences as this version draws them; calibrate anew")


def spread_between_passes(records: Records) -> float:
    """Median distance of two visits of the same sequence, relative to the first, by call. [1]"""
    first = {(visit.seed, visit.batch_size): visit for number, visit in records.visits if number == 0}
    ratios = [
        visit.seconds[same] / first[key].seconds[same]
        for number, visit in records.visits
        if number == 1
        and (key := (visit.seed, visit.batch_size)) in first
        and len(same := np.flatnonzero(visit.seconds))
        and len(first[key].seconds) == len(visit.seconds)
    ]
    return float(np.median(np.abs(np.concatenate(ratios) - 1.0))) if ratios else 0.0


def disturbed_passes(records: Records) -> int:
    """Passes that the fit left out, since the machine was disturbed beside them."""
    return sum(was_disturbed([visit for number, visit in records.visits if number == 0]))


def calibrated_values(records: Records, taken: Fingerprint, *, name: str, raw: str) -> dict[str, Any]:
    """Fit the records and give the profile's plain values; `taken` is where they were measured."""
    caches = caches_of(taken, records.facts)
    fitted = fit_records(records, caches)
    facts = dict(records.facts)
    facts |= {
        "peak_flop_per_s": 2.0 / multiply_add_seconds(fitted.surfaces),
        "relative_error": fitted.relative_error,
        "level_spread": level_spread([visit for number, visit in records.visits if number == 0]),
        "error_correlation": fitted.error_correlation,
        "spread_between_passes": spread_between_passes(records),
        "l3_lifetime_s": float(
            np.median(
                [visit.l3_lifetime_s for _, visit in records.visits if visit.l3_lifetime_s < inf] or [inf]
            )
        ),
    }
    if (shared := saturation(facts)) is not None:
        facts["node_bandwidth_bytes_per_s"], facts["saturation_sharpness"] = shared
    return with_fitted_values(
        profile_values(
            name=name,
            taken=taken,
            surfaces=fitted.surfaces,
            calls=fitted.calls,
            co_located=_co_located(facts),
            threaded=_by_family(facts, "threads"),
            unrest=unrest_section(facts, f"measured: {raw}"),
            facts=facts,
            served=costs_of_ways(records, caches),
            raw=raw,
        )
    )


def costs_of_ways(records: Records, caches: Caches) -> dict[str, ModuleCosts]:
    """What each way to serve modules costs that was measured often enough, by its name."""
    most_bytes = records.facts.get("served_table_bytes", FIRST_TABLE_BYTES)
    return module_costs(
        records.visits,
        most_table_bytes=most_bytes,
        l2_bytes=caches.l2_bytes,
        mapped_kib_s=records.facts.get("mapped_kib_s", 0.0),
    )


def caches_of(taken: Fingerprint, facts: Mapping[str, float]) -> Caches:
    """The caches that the profile will state: what fitting needs to know of the machine."""
    section = HardwareSection.model_validate(
        hardware_values(taken.machine, dict(facts) | {"peak_flop_per_s": 1e9}, "measured: here")
    )
    caches = bare_device(section).caches
    if caches is None:
        raise AssertionError("a CPU without caches")
    return caches


def _co_located(facts: Mapping[str, float]) -> dict[str, dict[int, float]]:
    """Slow-downs by family and count, from their flat names: at least 1, and no less beside more workers.

    What is measured the other way round is noise: then neighbouring counts share their mean.
    """
    found = _by_family(facts, "co_located")
    for family, by_count in found.items():
        counts = sorted(by_count)
        rising = isotonic_regression([max(1.0, by_count[count]) for count in counts]).x
        found[family] = {count: round(float(ratio), 4) for count, ratio in zip(counts, rising, strict=True)}
    return found


def _by_family(facts: Mapping[str, float], word: str) -> dict[str, dict[int, float]]:
    """Facts named `word.family.count`, by family and count."""
    found: dict[str, dict[int, float]] = {}
    for key, ratio in facts.items():
        first, _, rest = key.partition(".")
        if first == word:
            family, _, count = rest.rpartition(".")
            found.setdefault(family, {})[int(count)] = ratio
    return found
