"""The real server of one scenario: the built model, its inputs, and what can be measured on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from calibration.power import Energy, EnergyMeter, energy_of
from calibration.serving.inputs import (
    InputPool,
    Servable,
    draw_inputs,
    input_bytes_per_item,
    input_bytes_per_query,
)
from calibration.serving.paced import paced_requests
from calibration.serving.requests import RequestList, requests_of, trace_of
from calibration.serving.served import Served, ServedQueries, queries_of
from calibration.serving.server import Workers, serve
from perfmodel.planning.query_times import grouped_lengths
from perfmodel.planning.question import Question
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries

POOL_QUERIES = 10_000

ANCHOR_DRAWS = 1_000
"""Replications of the traffic from here on are the anchors'; those below are measured and predicted."""

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Bench:
    """Measures; nothing but the number of the next anchor changes.

    Attributes
    ----------
    question : Question
        Model, traffic and policy.
    workers : Workers
        What serves.
    pool : InputPool
        Inputs of every request size that the traffic can bring.
    shares : (kinds,) float, or None
        How often each length of a history comes; None: all are of one. [1]
    meter, energies
        What reads the accelerator's energy, and what each trace took.
    say : callable
        Takes a line of progress.
    """

    question: Question
    workers: Workers
    pool: InputPool
    say: Say
    shares: FloatArray | None = None
    meter: EnergyMeter | None = None
    anchors: int = field(default=0)
    energies: list[Energy] = field(default_factory=list)

    @property
    def power_w(self) -> float | None:
        """Mean power of what the meter reads, over the traces that were served. [W]"""
        known = [(one.joules, one.seconds) for one in self.energies if one.joules and one.seconds]
        return sum(joules for joules, _ in known) / sum(s for _, s in known) if known else None

    def run(self, queries: Queries) -> tuple[Served, ServedQueries]:
        """Serve a trace, open loop."""
        requests = requests_of(queries, self.question.policy, self.shares)
        if self.meter is None:
            served = serve(self.workers, requests, self.pool)
        else:
            with energy_of(self.meter) as energy:
                served = serve(self.workers, requests, self.pool)
            self.energies.append(energy)
        if served.interrupted:
            raise Interrupted(first_queries(served, queries))
        return served, queries_of(served, queries)

    def pilot(self, duration_s: float, *, utilisation: float, mean_service_s: float) -> Served:
        """Serve mixed sizes in a paced closed loop, which no rate can overload; each time others."""
        question, workers = self.question, self.workers.num_workers
        self.anchors += 1
        requests, pause_s = paced_requests(
            question.traffic,
            question.policy,
            ceil(workers * duration_s * utilisation / mean_service_s),
            utilisation=utilisation,
            mean_service_s=mean_service_s,
            seed=question.simulation.seed,
            replication=self.anchors,
            shares=self.shares,
        )
        return self._paced(requests, pause_s, duration_s)

    def anchor(self, duration_s: float, *, utilisation: float, mean_service_s: float) -> Served:
        """Serve another draw of the traffic, at the rate that fills this share of the cores.

        What a request takes depends on whether it follows another at once or finds a core that has waited,
        and the requests of one query follow each other: only the traffic itself has both in proportion.
        A recorded trace has no other draw: then the loop is closed and paced, as in `pilot`.
        """
        question = self.question
        if question.traffic.num_recorded is not None:
            return self.pilot(duration_s, utilisation=utilisation, mean_service_s=mean_service_s)
        self.anchors += 1
        probe = requests_of(
            question.traffic.draw(_probed(question), seed=question.simulation.seed), question.policy
        )
        per_query = float((~probe.offloaded).sum()) / _probed(question)
        rate_qps = utilisation * self.workers.num_workers / (mean_service_s * per_query)
        queries = trace_of(
            question.traffic.at_rate(rate_qps),
            duration_s,
            seed=question.simulation.seed,
            replication=ANCHOR_DRAWS + self.anchors,
        )
        requests = requests_of(queries, question.policy, self.shares)
        return self._paced(requests, None, duration_s)

    def _paced(self, requests: RequestList, pause_s: FloatArray | None, duration_s: float) -> Served:
        served = serve(self.workers, requests, self.pool, pause_s=pause_s, limit_s=3.0 * duration_s)
        if served.interrupted:
            raise Interrupted(None)
        return served


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a trace and what became of it."""

    queries: Queries
    served: Served
    latencies: ServedQueries


class Interrupted(Exception):
    """The user ended a measurement; the queries served until then, where it was a piece of the trace."""

    def __init__(self, piece: Piece | None) -> None:
        super().__init__("interrupted")
        self.piece = piece


def first_queries(served: Served, queries: Queries) -> Piece | None:
    """The queries before the first that was not served in full: later ones cannot have delayed them."""
    whole = queries_of(served, queries).index
    number = int(np.count_nonzero(whole == np.arange(len(whole))))
    if number == 0:
        return None
    beginning = queries.first(number)
    kept = served.only(served.requests.query < number)
    return Piece(beginning, kept, queries_of(kept, beginning))


def pool_for(
    question: Question,
    servable: Servable,
    *,
    by_variety: Sequence[Servable] = (),
    shares: FloatArray | None = None,
) -> InputPool:
    """Draw inputs for every request size that the scenario's queries are split into, of every length."""
    law, seed = question.traffic.size_pmf, question.simulation.seed
    drawn = question.traffic.draw(_probed(question), seed=seed).num_items
    # Every size of the law at least once: another run may draw the rare ones.
    sizes = np.concatenate([drawn, law.values])
    every = requests_of(Queries(np.zeros(len(sizes)), sizes), question.policy)
    node = question.serving_node
    lengths = [] if node.lengths is None else grouped_lengths(node.lengths)[0].tolist()
    models = [node.model.with_length(int(length)) for length in lengths] or [node.model]
    num_items, variety = _of_every_length(every, np.ones(1) if shares is None else shares)
    return draw_inputs(
        servable,
        num_items,
        stream(seed, "inputs"),
        bytes_per_item=np.repeat([input_bytes_per_item(model) for model in models], 2),
        bytes_per_query=np.array([input_bytes_per_query(model) * own for model in models for own in (1, 0)]),
        variety=variety,
        by_variety=by_variety,
    )


def _of_every_length(every: RequestList, shares: FloatArray) -> tuple[IntArray, IntArray]:
    """Sizes and varieties of requests, each size and place in its query at least once of each length."""
    pairs, counts = np.unique(np.stack([every.num_items, every.sent]), axis=1, return_counts=True)
    sizes, sent = (np.asarray(row, dtype=np.int64) for row in pairs)
    times = [np.maximum(1, np.ceil(counts * share)).astype(np.int64) for share in shares]
    num_items = np.concatenate([np.repeat(sizes, often) for often in times])
    variety = np.concatenate([np.repeat(2 * kind + sent, often) for kind, often in enumerate(times)])
    return num_items, variety


def _probed(question: Question) -> int:
    """How many queries stand for the traffic."""
    recorded = question.traffic.num_recorded
    return POOL_QUERIES if recorded is None else min(POOL_QUERIES, recorded)
