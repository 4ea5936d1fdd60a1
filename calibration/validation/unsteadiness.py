"""What a run shows of scatter and pauses: how times of one size differ, and when cores were taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from calibration.serving.served import Served
from calibration.validation.stops import Stops, stops_of
from perfmodel.sim.arrays import BoolArray, FloatArray, IntArray
from perfmodel.units import MS

PAUSED_S = 0.5 * MS
"""A request without its core for longer was paused; below, it is the clock's grain and interrupts. [s]"""
LEAST_ALIKE = 20
"""Requests of one size beside as many busy workers, from which on their mean is worth comparing with."""
LEAST_COMPARED = 200
"""Requests in all such groups, from which on a spread is worth stating."""
ALL_LENGTHS = 1 << 16
"""More than there are lengths that stand for all."""
GROUP_OF_BUSY = 4
"""Busy workers whose numbers differ by less are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsteadiness:
    """Scatter and pauses of the cores in a run, and stops of the node.

    Attributes
    ----------
    requests : int
        On the cores.
    compared : int
        Those with enough others like them.
    relative_std : float or None
        Standard deviation of the time of a request over the mean of its like, pauses taken off; None where
        too few are alike. [1]
    p99_over_p50 : float or None
        Of the same factors. [1]
    pauses_per_s : float
        Requests that were without their core, over the cores' busy time. [1/s]
    pause_s : float or None
        For how long, in the mean; None: none was. [s]
    stops : Stops
        What struck the whole node at once; requests that it made slow count neither as scatter nor as pauses.
    """

    requests: int
    compared: int
    relative_std: float | None
    p99_over_p50: float | None
    pauses_per_s: float
    pause_s: float | None
    stops: Stops = field(default_factory=Stops)

    @property
    def taken_share(self) -> float:
        """Time that cores were away, over the time that they worked. [1]"""
        return self.pauses_per_s * (self.pause_s or 0.0)

    def to_dict(self) -> dict[str, object]:
        """The entry of the JSON document; `node` is what a scenario says to have it."""
        node: dict[str, object] = {}
        if self.relative_std:
            node["scatter"] = {"distribution": "lognormal", "relative_std": self.relative_std}
        pauses: list[dict[str, object]] = []
        if self.pause_s is not None:
            kind = {"rate_per_s": self.pauses_per_s, "length_ms": self.pause_s / MS, "scope": "executor"}
            pauses.append({**kind, "lengths": "exponential"})
        if (stop := self.stops.pauses) is not None:
            kind = {"rate_per_s": stop.rate_per_s, "length_ms": stop.length_s / MS, "scope": "node"}
            pauses.append({**kind, "lengths": "constant"})
        if pauses:
            node["pauses"] = pauses
        return {
            "requests": self.requests,
            "compared": self.compared,
            "relative_std": self.relative_std,
            "p99_over_p50": self.p99_over_p50,
            "pauses_per_s": self.pauses_per_s,
            "pause_ms": None if self.pause_s is None else self.pause_s / MS,
            "stops": self.stops.to_dict(),
            "node": node,
        }


def unsteadiness(runs: Sequence[Served]) -> Unsteadiness:
    """Measure scatter and pauses of the cores from the stamps and processor times of served requests.

    A request's time without its core is how much longer it lasted than its processor time. What is left is
    compared with the mean of requests of its size beside about as many busy workers, so that neither sizes
    nor contention count as scatter.
    """
    stops = stops_of(runs)
    parts = [_on_cores(run.only(~struck)) for run, struck in zip(runs, stops.struck, strict=True)]
    service_s, without_s, busy, like = (np.concatenate(column) for column in zip(*parts, strict=True))
    paused = without_s >= PAUSED_S
    factors = _factors(np.where(paused, service_s - without_s, service_s), busy, like)
    enough = len(factors) >= LEAST_COMPARED
    busy_s = float(service_s.sum())
    return Unsteadiness(
        requests=len(service_s),
        compared=len(factors),
        relative_std=float(factors.std(ddof=1)) if enough else None,
        p99_over_p50=float(np.quantile(factors, 0.99) / np.median(factors)) if enough else None,
        pauses_per_s=int(paused.sum()) / busy_s if busy_s else 0.0,
        pause_s=float(without_s[paused].mean()) if paused.any() else None,
        stops=stops,
    )


def _on_cores(run: Served) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    """Times, times without a core, busy workers, and what are alike of the requests on the cores. [s], [s]"""
    mine: BoolArray = run.on_cores
    service_s = run.service_s[mine]
    sizes, variety = run.requests.num_items[mine], run.requests.variety[mine]
    like = sizes * (2 * ALL_LENGTHS) + variety
    return service_s, service_s - run.cpu_s[mine], run.num_busy[mine], like


def _factors(time_s: FloatArray, busy: IntArray, alike: IntArray) -> FloatArray:
    """Times over the mean of their like; of groups that are too small, none. [1]"""
    if not len(time_s):
        return time_s
    like = np.stack([alike, (busy - 1) // GROUP_OF_BUSY])
    _, group, count = np.unique(like, axis=1, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    mean_s = np.bincount(group, time_s) / count
    found: FloatArray = (time_s / mean_s[group])[count[group] >= LEAST_ALIKE]
    return found
