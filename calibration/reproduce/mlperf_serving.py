"""How the CPU submissions of MLPerf's dlrm-v2 serve, as their scripts say: a queue and what is around it.

All of them run one container image of Intel's. What is said of its code stands in [1]_, with the file's name
at each constant; what a step costs was measured on another machine (`python -m benchmarks.queue_hops`), and
of the audited runs themselves nothing is used but the Offline rate.

References
----------
.. [1] github.com/mlcommons/inference_results_v5.1 at 965182b, closed/Intel/code/dlrm-v2-99.9/pytorch-cpu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from calibration.published.observations import read_rows
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.running_clock import RunningClock
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.units import MS, US

DATA_FILE = "mlperf_v51_dlrmv2_cpu.csv"
LATENCY_LIMIT_S = 0.060
"""Of the Server scenario's p99 (MLPerf inference rules). [s]"""
RUN_S = 600.0
"""A run takes at least so long (mlperf.conf, `min_duration`). [s]"""

CORES_OF_ONE = 256
"""run_mlperf.sh: on 256 cores an instance has one core, on the others two (`CPUS_PER_INSTANCE`)."""
CORES_FOR_LOADGEN = 1
"""run_mlperf.sh: `CPUS_FOR_LOADGEN`; runner.py, `calc_core_bind`: instances on those cores are left out."""
BATCH_ITEMS = 100
"""run_mlperf.sh: `BATCH_SIZE`; queries of just so many items are handed out at once. [items]"""
PLACES = 4
"""runner.py, `ServerQueueRunner`: a larger query waits in one of four places until its turn comes round."""

HOP_S = 175.0 * US
"""From one process of Python to another through `multiprocessing.Queue`: half of them take less. [s]"""
CALLS_S = 200.0 * US
"""consumer.py, `get_samples` and `handle_tasks`: 54 calls before the model and four after it, most of which
cost what a call costs, whatever the query's size. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedServer:
    """One system as it was audited.

    Attributes
    ----------
    submitter, system : str
        Who submitted it, and its name there.
    cores : int
        Of all its processors.
    offline_qps, server_qps, scheduled_qps : float
        Queries per second: of the Offline run, of the Server run, and as that was asked to. [queries/s]
    measured_ms : mapping of str to float
        The Server run's latencies by their column: `mean_ms`, `p50_ms` … [ms]
    """

    submitter: str
    system: str
    cores: int
    offline_qps: float
    server_qps: float
    scheduled_qps: float
    measured_ms: Mapping[str, float]

    @property
    def is_virtual(self) -> bool:
        """Whether a virtual machine served."""
        return self.system.endswith("VM")

    @property
    def label(self) -> str:
        """Submitter and system."""
        return f"{self.submitter}, {self.system}"

    @property
    def cores_an_instance(self) -> int:
        """Cores of an instance."""
        return 1 if self.cores == CORES_OF_ONE else 2

    @property
    def instances(self) -> int:
        """Processes that serve, each one query at a time; those on LoadGen's cores are left out."""
        return self.cores // self.cores_an_instance - ceil(CORES_FOR_LOADGEN / self.cores_an_instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Which of the server's parts are in a prediction, beyond a queue in front of executors."""

    loadgen_core: bool = True
    held: bool = True
    hops: bool = True
    calls: bool = True


PLAIN = Steps(loadgen_core=False, held=False, hops=False, calls=False)


def audited_servers() -> list[AuditedServer]:
    """Read the published table."""
    return [
        AuditedServer(
            submitter=row["submitter"].replace("_", " "),
            system=row["system"],
            cores=int(row["cpus"]) * int(row["cores_per_cpu"]),
            offline_qps=float(row["offline_samples_per_s"]),
            server_qps=float(row["server_samples_per_s"]),
            scheduled_qps=float(row["scheduled_samples_per_s"]),
            measured_ms={name: float(value) for name, value in row.items() if name.endswith("_ms")},
        )
        for row in read_rows(DATA_FILE)
    ]


def sizes() -> SizePmf:
    """The 20 equiprobable sizes of queries, 270 items in the mean."""
    known = named_sizes("mlperf-dlrm")
    return SizePmf(known.num_items, known.probabilities)


def service_times(server: AuditedServer, steps: Steps) -> ServiceTimes:
    """Times of an instance: from the Offline rate, in which every instance is busy with query after query.

    A mean query takes instances / rate; what is not the calls' is in proportion to the items.
    """
    law = sizes()
    executors = server.instances if steps.loadgen_core else server.cores // server.cores_an_instance
    calls_s = CALLS_S if steps.calls else 0.0
    item_s = (executors / server.offline_qps - calls_s) / law.mean_items
    times_s = calls_s + item_s * np.arange(1.0, law.max_items + 1)
    return ServiceTimes(cpu_s=np.repeat(times_s[:, None], executors, axis=1))


def held_until_s(arrival_s: FloatArray, num_items: IntArray) -> FloatArray:
    """When each query is handed out, of those that come one after another. [s]

    The places have turns. A query of one batch is handed out at once where its place is empty; a larger one
    stays there. Either moves the turn on, and whoever waits in the next place is handed out then: so a larger
    query leaves when three others have come.

    Examples
    --------
    >>> held_until_s(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([200, 100, 300, 200, 200])).tolist()
    [3.0, 1.0, 5.0, 5.0, 5.0]
    """
    arrivals, items = arrival_s.tolist(), num_items.tolist()
    ends = arrival_s[-1] + float(np.diff(arrival_s).mean())  # what waits at the end is flushed
    out = [ends] * len(arrivals)
    places: list[int | None] = [None] * PLACES
    turn = 0
    for query, now_s in enumerate(arrivals):
        if items[query] == BATCH_ITEMS:  # its place is empty: it was emptied when its turn began
            out[query] = now_s
        else:
            places[turn] = query
        turn = (turn + 1) % PLACES
        waiting = places[turn]
        if waiting is not None:
            out[waiting], places[turn] = now_s, None
    return np.array(out)


def latencies_s(
    server: AuditedServer,
    num_queries: int,
    *,
    steps: Steps | None = None,
    rate_qps: float | None = None,
    seed: int = 1,
    stall: tuple[float, float] | None = None,
) -> FloatArray:
    """Latencies of queries that arrive as LoadGen sends them, without the warm-up. [s]

    Parameters
    ----------
    server : AuditedServer
        Who serves.
    num_queries : int
        How many arrive.
    steps : Steps, optional
        What is in the prediction; all by default.
    rate_qps : float, optional
        By default that which the run was asked for. [queries/s]
    seed : int
        Of arrivals and sizes.
    stall : (float, float), optional
        When the whole node stands still once, and for how long; then nothing is cut off. [s]
    """
    steps = Steps() if steps is None else steps
    rate_qps = server.scheduled_qps if rate_qps is None else rate_qps
    queries = TrafficSource(arrivals=PoissonArrivals(rate_qps=rate_qps), sizes=sizes()).draw(
        num_queries, seed=seed
    )
    out_s = held_until_s(queries.arrival_s, queries.num_items) if steps.held else queries.arrival_s
    order = np.argsort(out_s, kind="stable")
    at_s = out_s[order] + (HOP_S if steps.hops else 0.0)
    clock = None
    if stall is not None:
        clock = RunningClock.of_events(np.array([stall[0]]), np.array([stall[1]]))
        at_s = clock.running_s(at_s)
    whole = SplitAndOffload(batch_size=sizes().max_items)
    end_s = simulate(Queries(at_s, queries.num_items[order]), service_times(server, steps), whole).finish_s
    finish_s = np.empty(num_queries)
    finish_s[order] = end_s if clock is None else clock.wall_s(end_s)
    found_s: FloatArray = finish_s + (HOP_S if steps.hops else 0.0) - queries.arrival_s
    return found_s if stall is not None else found_s[warm_up_queries(num_queries) :]


def without(step: str) -> Steps:
    """All steps but one, by its name."""
    return replace(Steps(), **{step: False})


def others_stall_s(server: AuditedServer, servers: list[AuditedServer]) -> float:
    """The longest latency that the other bare machines logged, in the mean: how long one stands still. [s]

    Of the other systems' Server runs, never of its own.
    """
    others = [
        each.measured_ms["max_ms"] for each in servers if each.label != server.label and not each.is_virtual
    ]
    return float(np.median(others)) * MS
