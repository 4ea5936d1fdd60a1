"""A node's service times as a table: what the simulation is told, in as few rows as say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.tabulated import tabulated_s
from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.service_table import ServiceTable
from perfmodel.planning.question import Question
from perfmodel.planning.sent_sizes import sizes_on_cores

Floats = npt.NDArray[np.float64]

CLOSE = 0.005
"""How far off a time between two rows may be: well below what any profile states of itself. [1]"""


def node_table(question: Question, name: str) -> ServiceTable:
    """Return the times of the requests that a scenario sends to its cores.

    Rows are added where what lies between them is furthest off, until nothing is by more than 0.5 %.

    Parameters
    ----------
    question : Question
        A prepared scenario.
    name : str
        Of the table.

    Raises
    ------
    ValueErrorAt
        If the node has accelerators in use, which a table has no rows for, or the cores serve nothing.
    """
    if question.node.num_accelerators and question.times.serving_w is not None:
        asked = "expected none: a table of service times is of one pool of executors"
        raise ValueErrorAt(asked, ("node", "accelerators"))
    sizes = sizes_on_cores(question.policy, question.traffic.size_pmf)
    if not len(sizes):
        raise ValueErrorAt("expected a policy that serves some queries on the cores", ("policy",))
    given_s = question.times.table.cpu_s[sizes.astype(int) - 1]
    numbers = np.arange(1.0, given_s.shape[1] + 1)

    def table(of_sizes: Sequence[int], of_numbers: Sequence[int]) -> ServiceTable:
        items, busy = np.meshgrid(sizes[of_sizes], numbers[of_numbers], indexing="ij")
        times_s = given_s[np.ix_(of_sizes, of_numbers)]
        return ServiceTable(name=name, items=items.ravel(), busy=busy.ravel(), service_s=times_s.ravel())

    ends = sorted({0, len(numbers) - 1})

    def off_by_number(chosen: Sequence[int]) -> Floats:
        between_s = np.stack(
            [np.interp(numbers, numbers[chosen], of_size_s[chosen]) for of_size_s in given_s]
        )
        return np.asarray(np.abs(between_s / given_s - 1.0).max(axis=0))

    of_numbers = _chosen(len(numbers), off_by_number)

    def off_by_size(chosen: Sequence[int]) -> Floats:
        between_s = tabulated_s(table(chosen, ends), sizes, numbers[ends])
        return np.asarray(np.abs(between_s / given_s[:, ends] - 1.0).max(axis=1))

    return table(_chosen(len(sizes), off_by_size), of_numbers)


def _chosen(count: int, off: Callable[[Sequence[int]], Floats]) -> list[int]:
    """Indices: the first, the last, and more until all others are close to what lies between."""
    chosen = sorted({0, count - 1})
    while len(chosen) < count:
        errors = off(chosen)
        worst = int(errors.argmax())
        if errors[worst] <= CLOSE or worst in chosen:
            break
        chosen = sorted({*chosen, worst})
    return chosen
