"""Measuring one load: pieces of the trace, and pieces of the anchor between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

import numpy as np

from calibration.measure.probes import PROBED_BYTES, l3_lifetime_s
from calibration.measure.visits import Pool, allocate_pool
from calibration.serving.served import Served, ServedQueries
from calibration.validation.anchor import Samples
from calibration.validation.bench import Bench, Interrupted
from calibration.validation.prediction import Trace, UnitTrace
from perfmodel.planning.question import Question
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

T = TypeVar("T")

SEGMENT_S = 5.0
"""A run is cut into pieces of about this length, with pieces of the anchor between them: this machine's level
drifts within seconds, and both must see the same of it."""

ANCHOR_SHARE = 0.5
"""Time of the anchor over that of the run."""

SHORTEST_ANCHOR_S = 0.5

STALL_S = 3e-3
"""A worker that lost its core for longer met another program."""

WINDOW_S = 0.25
SLOW = 1.25
"""A window whose service times are this much above the piece's median met a busy neighbour on the host: a
core shared with one is slowed 1.3 to 1.7 times, and no counter inside a virtual machine shows it."""

ATTEMPTS = 2
"""How often a disturbed piece is measured before it is taken as it is."""
PACES = (0.2, 0.95)
"""Utilisations at which the anchor may be paced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a validation measured, in the order in which it did.

    Attributes
    ----------
    segments : tuple of Queries
        The trace, piece by piece; those that were served.
    runs : tuple
        What became of each.
    anchors : tuple of Served
        The paced runs around them.
    l3_lifetime_s : float
        Of lines in the last-level cache that nobody reads: the median of probes before the pieces. [s]
    repeated : int
        Pieces that were repeated because something else disturbed them.
    interrupted : bool
        Whether the user ended it early; what was measured until then is here.
    """

    segments: tuple[Queries, ...]
    runs: tuple[tuple[Served, ServedQueries], ...]
    anchors: tuple[Served, ...]
    l3_lifetime_s: float = inf
    repeated: int = 0
    interrupted: bool = False


def measure(
    bench: Bench,
    question: Question,
    segments: tuple[Queries, ...],
    *,
    duration_s: float,
    service: ServiceTimes,
    with_anchor: bool,
) -> Measured:
    """Serve the pieces of a trace, with pieces of the anchor before, between and after them.

    Parameters
    ----------
    segments : tuple of Queries
        The pieces, together about `duration_s` long.
    service : ServiceTimes
        Says how fast to pace the anchor; its shape does not matter.
    """
    log = _Log(bench, question, service, duration_s / (len(segments) + 1))
    expected = Trace(segments).predict(service, question.policy)
    log.pace = min(PACES[1], max(PACES[0], expected.utilisation))
    log.mean_service_s = expected.service_time_s
    try:
        for number, queries in enumerate(segments, start=1):
            if with_anchor:
                log.anchor()
            rate = f"{question.traffic.rate_qps:.4g}"
            bench.say(f"piece {number} of {len(segments)}: {len(queries)} queries at {rate}/s")
            log.run(queries)
        if with_anchor:
            log.anchor()
    except (Interrupted, KeyboardInterrupt) as error:  # the latter between two pieces
        piece = error.piece if isinstance(error, Interrupted) else None
        if piece is not None:
            log.runs.append((piece.served, piece.latencies))
            segments = (*segments[: len(log.runs) - 1], piece.queries)
        if not log.runs or (with_anchor and not log.anchors):
            raise
        log.interrupted = True
    return Measured(
        segments=segments[: len(log.runs)],
        runs=tuple(log.runs),
        anchors=tuple(log.anchors),
        l3_lifetime_s=float(np.median(log.lifetimes_s)),
        repeated=log.repeated,
        interrupted=log.interrupted,
    )


@dataclass(slots=True)
class _Log:
    """What has been measured so far."""

    bench: Bench
    question: Question
    service: ServiceTimes
    piece_s: float
    pace: float = 0.5
    mean_service_s: float = 1e-3
    runs: list[tuple[Served, ServedQueries]] = field(default_factory=list)
    anchors: list[Served] = field(default_factory=list)
    repeated: int = 0
    interrupted: bool = False
    probed: Pool = field(default_factory=lambda: allocate_pool(PROBED_BYTES))
    lifetimes_s: list[float] = field(default_factory=list)

    def run(self, queries: Queries) -> None:
        """Serve a piece of the trace, again where another program disturbed it."""
        self.lifetimes_s.append(l3_lifetime_s(self.probed))
        self.runs.append(self._undisturbed(lambda: self.bench.run(queries), lambda run: run[0]))

    def anchor(self) -> None:
        """Serve a piece of the anchor; the last one knows the mean service time better than the profile."""
        seconds = max(SHORTEST_ANCHOR_S, ANCHOR_SHARE * self.piece_s)

        def paced() -> Served:
            return self.bench.anchor(seconds, utilisation=self.pace, mean_service_s=self.mean_service_s)

        self.anchors.append(self._undisturbed(paced, lambda served: served))
        self.mean_service_s = float(self.anchors[-1].service_s.mean())

    def _undisturbed(self, measure: Callable[[], T], served_of: Callable[[T], Served]) -> T:
        for _ in range(ATTEMPTS - 1):
            result = measure()
            if not is_disturbed(served_of(result), self.service):
                return result
            self.repeated += 1
        return measure()


def is_disturbed(served: Served, service: ServiceTimes) -> bool:
    """Say whether a piece tells more of other programs or neighbours than of the model."""
    return served.longest_stall_s >= STALL_S or slowest_window(served, service) > SLOW


def slowest_window(served: Served, service: ServiceTimes) -> float:
    """Level of service times in the slowest quarter second, over the median of all quarters. [1]"""
    samples = Samples.of([served])
    if len(samples.service_s) == 0:
        return 1.0
    window = (served.start_s[served.on_cores] / WINDOW_S).astype(np.int64)
    counts = np.bincount(window)
    measured_s = np.bincount(window, samples.service_s)[counts > 0]
    expected_s = np.bincount(window, samples.predicted_s(service))[counts > 0]
    # Half full windows at the end are too short to say anything.
    full = measured_s >= 0.5 * float(np.median(measured_s))
    levels = measured_s[full] / expected_s[full]
    return float(levels.max() / np.median(levels))


def segments_of(question: Question, duration_s: float, *, rate_qps: float) -> UnitTrace:
    """Pieces of the traffic that together last `duration_s` at a rate; a recorded trace is one piece."""
    traffic, seed = question.traffic, question.simulation.seed
    if traffic.num_recorded is not None:
        return UnitTrace(traffic, 1, min(traffic.num_recorded, max(1, round(rate_qps * duration_s))), seed)
    pieces = max(1, round(duration_s / SEGMENT_S))
    return UnitTrace(traffic, pieces, max(1, round(rate_qps * duration_s / pieces)), seed)
