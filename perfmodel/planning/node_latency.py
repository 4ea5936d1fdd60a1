"""Times of single requests on a scenario's node, no queue: as the simulation is told them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfmodel.costmodel.tabulated import tabulated_basis
from perfmodel.domain.estimate import Basis
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.planning.breakdown import BatchBreakdown, LatencyTable, break_down
from perfmodel.planning.question import Question
from perfmodel.planning.sent_sizes import sizes_on_cores
from perfmodel.planning.table_node import TableNode

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
    node, cpu_s = question.node, question.times.table.cpu_s
    if busy > node.num_workers:
        raise InputError(f"--busy: expected at most the node's {node.num_workers} executors, got {busy}")
    sizes = tuple(batch_sizes) or _some(sizes_on_cores(question.policy, question.traffic.size_pmf))
    if not sizes or max(sizes) > len(cpu_s):
        sent = f"requests of up to {len(cpu_s)} items" if sizes else "no requests"
        raise InputError(f"--batch: expected sizes that {question.name} sends to its cores, {sent}")
    rows = tuple(_row(question, size, busy) for size in sizes)
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
        service_times_of=question.service_times_of,
        without=(),
        co_located=1,
        busy=busy,
        rows=rows,
        assumptions=node.assumptions,
        inputs=question.inputs,
        notes=question.node_notes,
    )


def _some(sizes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[int, ...]:
    """At most so many of the sizes, evenly chosen."""
    if not len(sizes):
        return ()
    chosen = np.linspace(0, len(sizes) - 1, min(MOST_ROWS, len(sizes))).round().astype(int)
    return tuple(int(sizes[index]) for index in dict.fromkeys(chosen.tolist()))


def _row(question: Question, size: int, busy: int) -> BatchBreakdown:
    """The time that the simulation is told; where a model runs, its operators beside it."""
    node, seconds = question.node, float(question.times.table.cpu_s[size - 1, busy - 1])
    if isinstance(node, TableNode):
        basis = tabulated_basis(node.table, np.array([float(size)]), np.array([float(busy)]))
        return BatchBreakdown(batch_size=size, seconds=seconds, basis=basis, operators=())
    mix = node.mix(question.policy, question.traffic.size_pmf)
    found = break_down(node.cpu_time(size, busy * node.threads, mix))
    return BatchBreakdown(batch_size=size, seconds=seconds, basis=found.basis, operators=found.operators)
