"""Times of single requests on a scenario's node, no queue: as the simulation is told them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.tabulated import tabulated_basis
from perfmodel.domain.estimate import Basis
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.planning.breakdown import BatchBreakdown, LatencyTable, break_down
from perfmodel.planning.node import AnyNode
from perfmodel.planning.question import Question
from perfmodel.planning.sent_sizes import sizes_on_cores
from perfmodel.planning.service_times import AnyTimes
from perfmodel.planning.stages import StageTimes
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_sizes import SizePmf

MOST_ROWS = 8
"""Sizes that are shown where none were asked for."""


def node_latency(
    question: Question, batch_sizes: Sequence[int] = (), *, busy: int = 1, extrapolate: bool = False
) -> LatencyTable:
    """Time requests of these sizes on one executor of a scenario's node.

    Parameters
    ----------
    question : Question
        A prepared scenario: its policy and its query sizes say what ran before.
    batch_sizes : sequence of int
        Empty: up to eight of those that the policy sends, from the smallest to the largest. [items]
    busy : int
        Executors at work, this one included.
    extrapolate : bool
        Answer outside of a profile's range, or of a table's rows, too, marked.

    Raises
    ------
    InputError
        If the node has not so many executors, or its cores are sent no requests of such a size.
    ExtrapolationError
        If a size is outside the calibrated range and `extrapolate` is not set.
    """
    times = question.times
    assert not isinstance(times, StageTimes), "of several stages each has its own"
    asked = _Requests(question.node, question.policy, question.traffic.size_pmf, times, question.name)
    return _table(asked, question, batch_sizes, busy, extrapolate, question.node_notes)


def stage_latencies(
    question: Question, batch_sizes: Sequence[int] = (), *, busy: int = 1, extrapolate: bool = False
) -> tuple[LatencyTable, ...]:
    """The same of each stage of a pipeline that sends its cores any requests, of the sizes that it sends.

    Parameters
    ----------
    question, batch_sizes, busy, extrapolate
        As of `node_latency`; of sizes that were asked for each stage has those that reach it.

    Raises
    ------
    InputError, ExtrapolationError
        As `node_latency`; or if no stage is sent any of the sizes.
    """
    times = question.times
    assert isinstance(times, StageTimes), "asked of a pipeline"
    found = []
    for stage, law, own in zip(question.stages, times.laws, times.by_stage, strict=True):
        sizes = tuple(size for size in batch_sizes if size <= len(own.table.cpu_s))
        if (batch_sizes and not sizes) or not len(sizes_on_cores(stage.policy, law)):
            continue
        asked = _Requests(stage.node, stage.policy, law, own, stage.name)
        found.append(_table(asked, question, sizes, busy, extrapolate, own.notes))
    if not found:
        raise InputError(f"--batch: expected sizes that a stage of {question.name} sends to its cores")
    return tuple(found)


class _Requests(NamedTuple):
    """What is sent to a node's cores, and how long that takes there; `name`: of what sends it."""

    node: AnyNode
    policy: Policy
    sizes: SizePmf
    times: AnyTimes
    name: str


def _table(
    asked: _Requests,
    question: Question,
    batch_sizes: Sequence[int],
    busy: int,
    extrapolate: bool,
    notes: tuple[str, ...],
) -> LatencyTable:
    node, cpu_s = asked.node, asked.times.table.cpu_s
    if busy > node.num_workers:
        raise InputError(f"--busy: expected at most the node's {node.num_workers} executors, got {busy}")
    sizes = tuple(batch_sizes) or _some(sizes_on_cores(asked.policy, asked.sizes))
    if not sizes or max(sizes) > len(cpu_s):
        sent = f"requests of up to {len(cpu_s)} items" if sizes else "no requests"
        raise InputError(f"--batch: expected sizes that {asked.name} sends to its cores, {sent}")
    rows = tuple(_row(asked, size, busy) for size in sizes)
    for row in rows:
        if row.basis is Basis.EXTRAPOLATED and not extrapolate:
            raise ExtrapolationError(
                f"batch {row.batch_size} is outside what {node.short_name} covers "
                "(--extrapolate answers, marked)"
            )
    return LatencyTable(
        model=node.model_name,
        device=node.short_name,
        stack=node.stack,
        service_times_of=asked.times.words,
        without=(),
        co_located=1,
        busy=busy,
        rows=rows,
        assumptions=node.assumptions,
        inputs=question.inputs,
        notes=notes,
    )


def _some(sizes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[int, ...]:
    """At most so many of the sizes, evenly chosen."""
    if not len(sizes):
        return ()
    chosen = np.linspace(0, len(sizes) - 1, min(MOST_ROWS, len(sizes))).round().astype(int)
    return tuple(int(sizes[index]) for index in dict.fromkeys(chosen.tolist()))


def _row(asked: _Requests, size: int, busy: int) -> BatchBreakdown:
    """The time that the simulation is told; where a model runs, its operators beside it."""
    node, seconds = asked.node, float(asked.times.table.cpu_s[size - 1, busy - 1])
    if isinstance(node, TableNode):
        basis = tabulated_basis(node.table, np.array([float(size)]), np.array([float(busy)]))
        return BatchBreakdown(batch_size=size, seconds=seconds, basis=basis, operators=())
    mix = node.mix(asked.policy, asked.sizes)
    found = break_down(node.cpu_time(size, busy * node.threads, mix))
    return BatchBreakdown(batch_size=size, seconds=seconds, basis=found.basis, operators=found.operators)
