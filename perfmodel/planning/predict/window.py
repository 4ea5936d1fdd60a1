"""A window of a run with every request in it: what a trace shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perfmodel.errors import InputError
from perfmodel.planning.question import Question
from perfmodel.sim.engines import simulate
from perfmodel.sim.records import RunRecord

WARM_UP = 1.0
"""Queries before the window, over those in it: the node is not empty when it begins. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedWindow:
    """A run whose requests are logged, and the part of it to look at.

    Attributes
    ----------
    record : RunRecord
        The run from its first query on, `requests` included.
    begin_s, end_s : float
        Arrivals of the window's first and last query. [s]
    how : {"simulated", "measured"}
        What made the run: an engine, or a server here.
    """

    record: RunRecord
    begin_s: float
    end_s: float
    how: Literal["simulated", "measured"] = "simulated"


def logged_window(question: Question, num_queries: int) -> LoggedWindow:
    """Simulate the first queries of a question again, and log every request.

    The queries are those of `predict` with the same seed, and so is what happens to them; as many as the
    window has are served before it. After its last query nothing arrives: the node runs empty.

    Raises
    ------
    InputError
        If the node has pauses of single executors, of which no engine logs the requests.
    """
    warm_up = round(WARM_UP * num_queries)
    asked = num_queries + warm_up
    if question.traffic.num_recorded is not None and question.traffic.num_recorded < asked:
        asked = question.traffic.num_recorded
        warm_up = max(0, asked - num_queries)
    service = question.times.table
    if service.core_pauses:
        raise InputError("--trace-out: expected a node without pauses of single executors: none logs those")
    queries = question.traffic.draw(asked, seed=question.simulation.seed)
    record = simulate(queries, service, question.policy, log_requests=True)
    arrivals_s = record.arrival_s[warm_up:]
    return LoggedWindow(record=record, begin_s=float(arrivals_s[0]), end_s=float(arrivals_s[-1]))
