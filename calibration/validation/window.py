"""A window of a measured run with every request in it: what a trace shows, as of a simulated one."""

from __future__ import annotations

import numpy as np

from calibration.serving.served import Served, ServedQueries
from perfmodel.planning.predict.window import WARM_UP, LoggedWindow
from perfmodel.sim.records import RequestLog, RunRecord


def measured_window(served: Served, queries: ServedQueries, num_queries: int) -> LoggedWindow:
    """A window of one piece of a run: as many queries, after as many that fill the server.

    A piece of fewer queries is shown from as late as it can be. What arrives until the window's last query
    has ended is in the record, since it takes executors; what arrives later is not.

    Parameters
    ----------
    served : Served
        The requests of the piece.
    queries : ServedQueries
        Those of its queries that were served.
    num_queries : int
        Of the window.
    """
    number = len(queries.index)
    warm_up = min(round(WARM_UP * num_queries), max(0, number - num_queries))
    last = min(number, warm_up + num_queries) - 1
    until_s = float(queries.finish_s[warm_up : last + 1].max())
    kept = max(last + 1, int(np.searchsorted(queries.arrival_s, until_s, side="right")))
    log = _log(served, queries, kept)
    on_cores = ~log.on_accelerator
    held_s = log.finish_s - log.start_s
    record = RunRecord(
        arrival_s=queries.arrival_s[:kept],
        num_items=queries.num_items[:kept],
        finish_s=queries.finish_s[:kept],
        offloaded=queries.offloaded[:kept],
        cpu_busy_s=float(held_s[on_cores].sum()),
        accelerator_busy_s=float(held_s[~on_cores].sum()),
        num_executors=served.num_workers,
        num_accelerators=int(not served.on_cores.all()),
        requests=log,
    )
    begin_s, end_s = float(record.arrival_s[warm_up]), float(record.arrival_s[last])
    return LoggedWindow(record=record, begin_s=begin_s, end_s=end_s, how="measured")


def _log(served: Served, queries: ServedQueries, kept: int) -> RequestLog:
    """The requests of the first queries that were served, in the order in which they started."""
    # Those of a query that an interruption cut short are left out, as the query is.
    place = np.searchsorted(queries.index, served.requests.query)
    known = place < kept
    known[known] = queries.index[place[known]] == served.requests.query[known]
    chosen = np.flatnonzero(known)
    chosen = chosen[np.argsort(served.start_s[chosen], kind="stable")]
    offloaded = served.requests.offloaded[chosen]
    return RequestLog(
        query=place[chosen],
        num_items=served.requests.num_items[chosen],
        start_s=served.start_s[chosen],
        finish_s=served.finish_s[chosen],
        # The worker of the accelerator has the number after those of the cores.
        executor=np.where(offloaded, 0, served.worker[chosen]),
        num_busy=served.num_busy[chosen],
        on_accelerator=offloaded,
        launch=np.arange(len(chosen)),
    )
