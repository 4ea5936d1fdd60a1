"""Pauses: times in which a core, or the whole node, stands still and what runs there waits to go on.

Pauses come as a Poisson process in running time; lengths are constant or exponential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.scatter import Luck
from perfmodel.sim.streams import stream

DRAWN_AT_ONCE = 256
NODE_PAUSES, CORE_PAUSES = "pauses of the node", "pauses of cores"
"""Names of the random streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Pauses of one kind.

    Attributes
    ----------
    rate_per_s : float
        Per second of running time: of each core, or of the node. [1/s]
    length_s : float
        Mean length. [s]
    exponential : bool
        Whether lengths are exponentially distributed; else all are the same.
    """

    rate_per_s: float
    length_s: float
    exponential: bool = False

    @property
    def load(self) -> float:
        """Paused time for each second of running time. [1]"""
        return self.rate_per_s * self.length_s


class PauseEvents:
    """Pauses of several kinds, drawn as far as they are asked for; a longer draw begins with the same.

    Parameters
    ----------
    kinds : sequence of Pauses
        What pauses there are.
    luck : Luck
        Of the run.
    name : str
        Of the random streams: each kind, its lengths, and whom they strike have their own.
    executors : int, default 1
        How many things are paused, each at the kinds' rates.

    Attributes
    ----------
    start_s, length_s, pick : (n,) float
        Ascending starts in running time, lengths [s], and a number in [0, 1) that says whom it strikes.
    """

    def __init__(self, kinds: Sequence[Pauses], luck: Luck, name: str, *, executors: int = 1) -> None:
        self._kinds, self._executors = kinds, executors
        self._starts = [stream(luck.seed, f"{name} {index}", luck.replication) for index in range(len(kinds))]
        self._lengths = [
            stream(luck.seed, f"{name} {index}: lengths", luck.replication) for index in range(len(kinds))
        ]
        self._picks = [
            stream(luck.seed, f"{name} {index}: picks", luck.replication) for index in range(len(kinds))
        ]
        self._drawn: list[list[FloatArray]] = [[np.zeros((3, 0))] for _ in kinds]
        self._last_s = [0.0] * len(kinds)
        self.start_s = self.length_s = self.pick = np.zeros(0)

    def cover(self, until_s: float) -> None:
        """Draw all pauses that begin up to a running time, and some beyond."""
        if all(last_s > until_s for last_s in self._last_s):
            return
        for index, kind in enumerate(self._kinds):
            while self._last_s[index] <= until_s:
                gaps_s = self._starts[index].standard_exponential(DRAWN_AT_ONCE)
                gaps_s /= kind.rate_per_s * self._executors
                gaps_s[0] += self._last_s[index]
                starts_s = np.cumsum(gaps_s)
                lengths_s = np.full(DRAWN_AT_ONCE, kind.length_s)
                if kind.exponential:
                    lengths_s *= self._lengths[index].standard_exponential(DRAWN_AT_ONCE)
                picks = self._picks[index].random(DRAWN_AT_ONCE)
                self._drawn[index].append(np.array([starts_s, lengths_s, picks]))
                self._last_s[index] = float(starts_s[-1])
        every = np.concatenate([part for drawn in self._drawn for part in drawn], axis=1)
        # Beyond the first kind's last start others are still missing.
        known = every[:, every[0] <= min(self._last_s)]
        self.start_s, self.length_s, self.pick = known[:, np.argsort(known[0], kind="stable")]
