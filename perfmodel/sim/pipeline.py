"""Stages one after the other: what leaves one arrives at the next, less what is filtered away.

Every stage has executors of its own, so that nothing which happens in one reaches back into those before it:
a run of the whole is a run of the first stage, then of the second on the first's departures, and so on. That
is exact, in either engine, and to the last bit the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perfmodel.sim.arrays import BoolArray, IntArray
from perfmodel.sim.policies import Policy, SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.records import RunRecord
from perfmodel.sim.scatter import Luck
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import Queries


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaterStage:
    """A stage after the first.

    Attributes
    ----------
    service : ServiceTimes
        Of its own executors.
    policy : Policy
        Who serves what there; none that sheds.
    most_items : int
        Best items of a query that reach it. [items]
    """

    service: ServiceTimes
    policy: Policy
    most_items: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pipeline:
    """The stages after the first.

    Attributes
    ----------
    stages : tuple of LaterStage
        In order.
    sub_batches : int
        Parts that each query is shared out to; a query of fewer items has a part for each.
    handover_s : float
        From the end of a part in a stage to its arrival at the next. [s]
    """

    stages: tuple[LaterStage, ...]
    sub_batches: int = 1
    handover_s: float = 0.0

    @property
    def most_items(self) -> tuple[int, ...]:
        """Items of a query that reach each stage, at the most. [items]"""
        return tuple(stage.most_items for stage in self.stages)

    def scaled(self, cpu: float, accelerator: float) -> Pipeline:
        """Return the same stages with all of their times so many times as long."""
        return self._with_service(lambda service: service.scaled(cpu, accelerator))

    def steady(self, made_steady: Callable[[ServiceTimes], ServiceTimes]) -> Pipeline:
        """Return the same stages without what their times vary by."""
        return self._with_service(made_steady)

    def _with_service(self, changed: Callable[[ServiceTimes], ServiceTimes]) -> Pipeline:
        stages = tuple(replace(each, service=changed(each.service)) for each in self.stages)
        return replace(self, stages=stages)

    def longest_query_s(self, max_items: int) -> float:
        """No query takes longer in the idle stages after the first, what launches wait for included. [s]"""
        return sum(
            each.service.longest_query_s(min(max_items, each.most_items))
            + self.handover_s
            + max(
                (lane.joining.wait_s for lane in each.policy.lanes if lane.joining is not None), default=0.0
            )
            for each in self.stages
        )


def part_items(num_items: IntArray, parts: IntArray, rank: IntArray) -> IntArray:
    """Items of the part of this rank, from 0, where so many are shared out to so many parts. [items]

    ceil((n - j) / p): parts differ by one at most, and a part of fewer items is never the larger.

    Examples
    --------
    >>> part_items(np.full(3, 8), np.full(3, 3), np.arange(3)).tolist()
    [3, 3, 2]
    """
    items: IntArray = (num_items + parts - 1 - rank) // parts
    return items


def stage_laws(law: SizePmf, most_items: Sequence[int], sub_batches: int) -> list[SizePmf]:
    """The law of the items of a part, stage by stage, the first included.

    Parameters
    ----------
    law : SizePmf
        Of the queries.
    most_items : sequence of int
        Items of a query that reach each stage after the first, at the most.
    sub_batches : int
        Parts of a query.

    Examples
    --------
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> laws = stage_laws(pmf_of_list([3, 8]), [4], sub_batches=2)
    >>> [(law.values.tolist(), law.probabilities.tolist()) for law in laws]
    [([1, 2, 4], [0.25, 0.25, 0.5]), ([1, 2], [0.25, 0.75])]
    """
    parts = np.minimum(law.values, sub_batches)
    weights = np.repeat(law.probabilities, parts)
    owner, rank = _parts(parts)
    laws, kept = [], law.values
    for most in (law.max_items, *most_items):
        kept = np.minimum(kept, most)
        sizes = part_items(kept[owner], parts[owner], rank)
        values, index = np.unique(sizes, return_inverse=True)
        laws.append(SizePmf(values, np.bincount(index, weights=weights) / weights.sum()))
    return laws


def mean_parts(law: SizePmf, sub_batches: int) -> float:
    """Parts of a query in the mean. [1]"""
    return law.expect(lambda num_items: np.minimum(num_items, sub_batches))


def stages_of(service: ServiceTimes, policy: Policy) -> Iterator[tuple[ServiceTimes, Policy]]:
    """Every stage by itself, the first included."""
    yield replace(service, pipeline=None), policy
    if service.pipeline is not None:
        yield from ((each.service, each.policy) for each in service.pipeline.stages)


def _parts(parts: IntArray) -> tuple[IntArray, IntArray]:
    """Of each part, which query it belongs to, and its rank among that query's."""
    owner = np.repeat(np.arange(len(parts)), parts)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    return owner, rank


Simulate = Callable[[Queries, ServiceTimes, Policy], RunRecord]


def simulate_stages(queries: Queries, service: ServiceTimes, policy: Policy, simulate: Simulate) -> RunRecord:
    """Serve every query in all stages, and return the record of the whole, which holds each stage's.

    Parameters
    ----------
    queries, service, policy
        What arrives, and the first stage; `service.pipeline` are the others.
    simulate : callable
        Serves one stage.
    """
    pipeline = service.pipeline
    assert pipeline is not None, "asked of several stages"
    parts = np.minimum(queries.num_items, pipeline.sub_batches)
    owner, rank = _parts(parts)
    most_items = (int(queries.num_items.max(initial=1)), *pipeline.most_items)
    kept, at_s = queries.num_items, queries.arrival_s[owner]
    records: list[RunRecord] = []
    for number, (own, whose) in enumerate(stages_of(service, policy)):
        kept = np.minimum(kept, most_items[number])
        sizes = part_items(kept[owner], parts[owner], rank)
        if number:
            at_s = at_s + pipeline.handover_s
        order = np.argsort(at_s, kind="stable")
        record = simulate(Queries(at_s[order], sizes[order], _luck(queries.luck, number)), own, whose)
        records.append(record)
        at_s = np.empty_like(at_s)
        at_s[order] = record.finish_s
    first = np.cumsum(parts) - parts
    none = len(queries) == 0
    of_parts = records[0].offloaded  # in the queries' own order: they came to the first stage in it
    whole: BoolArray = np.zeros(0, dtype=np.bool_) if none else np.logical_or.reduceat(of_parts, first)
    return RunRecord(
        arrival_s=queries.arrival_s,
        num_items=queries.num_items,
        finish_s=at_s if none else np.maximum.reduceat(at_s, first),
        offloaded=whole,
        cpu_busy_s=sum(record.cpu_busy_s for record in records),
        accelerator_busy_s=sum(record.accelerator_busy_s for record in records),
        num_executors=sum(record.num_executors for record in records),
        num_accelerators=sum(record.num_accelerators for record in records),
        idle_end_s=records[-1].idle_end_s,
        last_end_s=records[-1].last_end_s,
        cpu_launches=_launches(records, service, policy),
        engine=records[0].engine,
        running_share=min(record.running_share for record in records),
        stages=tuple(records),
    )


def _luck(luck: Luck, stage: int) -> Luck:
    """What happens by chance in a stage: other numbers in each, the same at every rate."""
    if stage == 0:
        return luck
    seed = int(stream(luck.seed, f"stage {stage}", luck.replication).integers(2**62))
    return Luck(seed, luck.replication, luck.first)


def _launches(records: list[RunRecord], service: ServiceTimes, policy: Policy) -> int | None:
    """Launches on the cores of all stages; None where one does not count them."""
    total = 0
    for record, (_, whose) in zip(records, stages_of(service, policy), strict=True):
        if record.cpu_launches is not None:
            total += record.cpu_launches
        elif isinstance(whose, SplitAndOffload):
            on_cores = record.num_items[~record.offloaded]
            total += int((-(-on_cores // whose.batch_size)).sum())
        else:
            return None
    return total
