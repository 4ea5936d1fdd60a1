"""A node driven as DeepRecSys's controller drives it: blocking puts, and a walk over arrival rates.

What it does is read from its repository (harvard-acc/DeepRecSys: `DeepRecSys.py`, `loadGenerator.py`,
`scheduler.py`); `docs/deeprecsys-mode.md` says which rule stands where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.arrivals import whole_ms_law
from perfmodel.sim.deeprecsys_loop import serve_scheduled, walk
from perfmodel.sim.policies import WHOLE, SplitAndOffload, check_covers
from perfmodel.sim.query_sizes import SizePmf, draw_num_items
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries
from perfmodel.units import MS

QUERIES_PER_READING = 4
"""Random numbers of a walk, in windows' lengths for each reading: an overloaded node reads late."""


class QueueBounds(NamedTuple):
    """Requests that wait before the generator is blocked; None: it never is.

    DeepRecSys: `Queue(maxsize=1024)` before the cores, `Queue(maxsize=32)` before the accelerator.
    """

    cpu: int | None
    accelerator: int | None


UNBOUNDED = QueueBounds(None, None)


class Driven(NamedTuple):
    """What a generator that may be blocked saw of each query.

    Attributes
    ----------
    stamp_s : (num_queries,) float
        When the generator began to put it: what DeepRecSys calls its arrival. [s]
    finish_s : (num_queries,) float
        The end of its last request. [s]
    """

    stamp_s: FloatArray
    finish_s: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkRules:
    """How the controller looks for a rate.

    Attributes
    ----------
    mean_gaps_s : tuple of float
        The grid of mean gaps, ascending. [s]
    first_gap_s : float
        The walk starts at the grid's gap closest to this. [s]
    window : int
        Queries behind one reading of the percentile.
    num_readings : int
        Steps of the walk.
    num_kept : int
        The last steps, whose median is the answer.
    margin : float
        A reading between target / (1 + margin) and the target leaves the rate as it is. [1]
    whole_ms : bool
        Gaps are Poisson-distributed whole milliseconds; else exponential.
    num_sizes : int or None
        So many query sizes are drawn, and replayed in this order; None: every query draws its own.
    """

    mean_gaps_s: tuple[float, ...]
    first_gap_s: float
    window: int
    num_readings: int
    num_kept: int
    margin: float
    whole_ms: bool
    num_sizes: int | None

    def __post_init__(self) -> None:
        gaps = np.array(self.mean_gaps_s)
        if len(gaps) == 0 or gaps[0] <= 0 or np.any(np.diff(gaps) <= 0):
            raise InputError("deeprecsys: expected ascending mean gaps > 0")
        if min(self.window, self.num_readings, self.num_kept, self.num_sizes or 1) < 1:
            raise InputError("deeprecsys: expected windows, readings and sizes of at least 1")


class Walked(NamedTuple):
    """Where a walk ended.

    Attributes
    ----------
    gap_s : float
        The median gap of the last steps. [s]
    tried_gaps_s : (num_steps,) float
        The gap after each reading. [s]
    """

    gap_s: float
    tried_gaps_s: FloatArray


def drive(
    queries: Queries, service: ServiceTimes, policy: SplitAndOffload, bounds: QueueBounds = UNBOUNDED
) -> Driven:
    """Serve a schedule of queries through bounded queues.

    A query's gap counts from the end of the previous query's puts, so that all that block it add up.
    """
    check_covers(service, policy, int(queries.num_items.max()))
    stamp_s, finish_s = np.empty(len(queries)), np.empty(len(queries))
    threshold, cpu, accelerator = _pools(service, policy, bounds)
    serve_scheduled(
        queries.arrival_s,
        queries.num_items,
        policy.batch_size,
        threshold,
        cpu,
        accelerator,
        stamp_s,
        finish_s,
    )
    return Driven(stamp_s, finish_s)


def walk_rates(
    sizes: SizePmf,
    service: ServiceTimes,
    policy: SplitAndOffload,
    rules: WalkRules,
    bounds: QueueBounds,
    *,
    percentile: float,
    target_s: float,
    seed: int,
    replication: int = 0,
    size_replication: int | None = None,
) -> Walked:
    """Let the controller look for the rate of one configuration, starting with an idle node.

    `size_replication` chooses the sizes apart from the gaps: the controller draws sizes once for all the
    configurations that it tries.
    """
    check_covers(service, policy, sizes.max_items)
    num_queries = rules.window * (rules.num_readings + 1) * QUERIES_PER_READING
    num_items = draw_num_items(
        sizes,
        rules.num_sizes or num_queries,
        seed=seed,
        replication=replication if size_replication is None else size_replication,
    )
    uniform = stream(seed, "arrivals", replication).random(num_queries)
    gaps_s = np.array(rules.mean_gaps_s)
    first_ms, gap_cdf = _whole_ms_laws(gaps_s) if rules.whole_ms else _no_laws(len(gaps_s))
    threshold, cpu, accelerator = _pools(service, policy, bounds)
    tried = np.empty(rules.num_readings, dtype=np.int64)
    steps = walk(
        uniform,
        np.asarray(num_items),
        gaps_s,
        first_ms,
        gap_cdf,
        int(np.argmin(np.abs(gaps_s - rules.first_gap_s))),
        rules.window,
        percentile,
        target_s,
        rules.margin,
        policy.batch_size,
        threshold,
        cpu,
        accelerator,
        tried,
    )
    tried_gaps_s = gaps_s[tried[:steps]]
    # A node so slow that no window ever closed is left at the longest gap.
    answer_s = float(np.median(tried_gaps_s[-rules.num_kept :])) if steps else float(gaps_s[-1])
    return Walked(answer_s, tried_gaps_s)


PoolArrays = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def _pools(
    service: ServiceTimes, policy: SplitAndOffload, bounds: QueueBounds
) -> tuple[int, PoolArrays, PoolArrays]:
    """The threshold, and both pools as they are before the first query."""
    if service.by_query is not None:
        raise InputError(
            "deeprecsys: the published controller knows times by size alone; expected no traffic.lengths, "
            "and no policy.share_query_work"
        )
    if service.num_accelerators > 1 and service.streams_per_accelerator > 1:
        raise InputError("deeprecsys: expected one accelerator where it has several streams")
    accelerator_s = service.accelerator_by_streams_s
    if service.num_accelerators > 1:
        accelerator_s = np.repeat(accelerator_s, service.num_accelerators, axis=1)
    threshold = WHOLE if policy.offload_threshold_items is None else policy.offload_threshold_items
    return threshold, _pool(service.cpu_s, bounds.cpu), _pool(accelerator_s, bounds.accelerator)


def _pool(table_s: FloatArray, bound: int | None) -> PoolArrays:
    if bound is not None and bound < 1:
        raise InputError(f"deeprecsys: expected queues of at least 1 request, got {bound}")
    free_s = np.full(max(1, table_s.shape[1]), -np.inf)
    return np.array(table_s), free_s, np.full(bound or 0, -np.inf), np.array([0.0, 0.0])


def _no_laws(num_gaps: int) -> tuple[IntArray, FloatArray]:
    return np.zeros(num_gaps, dtype=np.int64), np.empty((num_gaps, 0))


def _whole_ms_laws(gaps_s: FloatArray) -> tuple[IntArray, FloatArray]:
    """A row of cumulated probabilities for each mean gap, the last one repeated to equal lengths."""
    laws = [whole_ms_law(gap_s / MS) for gap_s in gaps_s]
    cdf = np.ones((len(laws), max(len(law.cdf) for law in laws)))
    for row, law in zip(cdf, laws, strict=True):
        row[: len(law.cdf)] = law.cdf
    return np.array([law.first_ms for law in laws]), cdf
