"""Processes that keep the other cores busy while one is measured."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event

import torch

from calibration.children import child, end, start
from calibration.measure.visits import Pool, visits

_SEEDS = 10**6

Work = Callable[[Event, int], None]
"""Runs for ever, while an event is set, with a seed of its own."""


@contextmanager
def busy_neighbours(count: int, work: Work) -> Iterator[Event]:
    """Processes that work while the event is set; forked, so that they share what `work` holds."""
    context = multiprocessing.get_context("fork")
    running = context.Event()
    processes = [child(context, _in_one_thread, (work, running, index + 1)) for index in range(count)]
    try:
        for process in processes:
            start(process)
        yield running
    finally:
        for process in processes:
            end(process)


def run_sequences(pool: Pool, running: Event, seed: int) -> None:
    """Sequences of operators, other ones for each neighbour."""
    first = _SEEDS * (seed + 1)
    for each in range(first, first + _SEEDS):
        for _ in visits([each], pool):
            running.wait()


def _in_one_thread(work: Work, running: Event, seed: int) -> None:
    torch.set_num_threads(1)
    work(running, seed)
