"""One run on real workers: fork them over the built model, start them together, collect what they wrote."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from time import perf_counter, sleep

import numpy as np

from calibration.children import child, end, start
from calibration.serving.board import NOT_RUN, Board, new_board
from calibration.serving.exchange import Exchange
from calibration.serving.inputs import InputPool, Servable
from calibration.serving.processes import cores_for, spare_cores
from calibration.serving.requests import RequestList
from calibration.serving.served import Served
from calibration.serving.worker import Load, Role, work
from perfmodel.errors import PerfplanError
from perfmodel.sim.arrays import FloatArray

WARM_UP_S = 0.6
HEAD_START_S = 0.05
POLL_S = 0.25
GRACE_S = 5.0

Notify = Callable[[float], None]


def keep_threads(threads: int) -> None:
    """Set nothing: for models, and accelerators, that run in one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What serves: the model, and how many processes run it.

    Attributes
    ----------
    servable : Servable
        Runs on the cores; its weights are shared, since workers are forked after it was built.
    num_workers, threads : int
        Processes on the cores, and threads (each with a core of its own) in each.
    accelerated : Servable or None
        Runs offloaded requests, in one process of its own, on a core that the others leave where they leave
        one; None: there is no accelerator.
    set_threads : callable
        Tells the tensor library how many threads to use; called in each worker.
    by_variety : tuple of Servable
        What runs each kind of pass on the cores, by length and by whether it does the query's work
        (`RequestList.variety`); empty: all passes are alike.
    shared_bytes : int
        Of a query's results that its first request sends to the others; 0: each does its own. [bytes/query]
    """

    servable: Servable
    num_workers: int
    threads: int = 1
    accelerated: Servable | None = None
    set_threads: Callable[[int], None] = keep_threads
    by_variety: tuple[Servable, ...] = ()
    shared_bytes: int = 0

    @property
    def on_cores(self) -> tuple[Servable, ...]:
        """What runs each variety of pass on the cores."""
        return self.by_variety or (self.servable,)


def serve(
    workers: Workers,
    requests: RequestList,
    pool: InputPool,
    *,
    pause_s: FloatArray | None = None,
    limit_s: float | None = None,
    notify: Notify | None = None,
) -> Served:
    """Serve a list of requests, and return what was measured.

    The load is open: request i is due at its scheduled arrival, whatever has become of the others, and
    the worker that becomes free takes the next one. FIFO with equal workers needs no dispatcher, so no
    core is lost to one. With `pause_s` the loop is closed and paced: a worker pauses, then runs.

    Parameters
    ----------
    workers, requests, pool
        What serves, what is asked, and the inputs drawn for it.
    pause_s : (num_requests,) float, optional
        Pauses of a paced closed loop; arrivals are then ignored. [s]
    limit_s : float, optional
        Stop after this time, keeping what was measured. [s]
    notify : callable, optional
        Told the seconds since the start, four times a second.

    Raises
    ------
    PerfplanError
        If a worker fails; with the last line of what it raised.
    KeyboardInterrupt
        Never: an interruption ends the run early, and what was measured is returned.
    """
    context = get_context("fork")
    cores = cores_for(workers.num_workers, workers.threads)
    exchange = Exchange(workers.shared_bytes) if pause_s is None and requests.sends.any() else None
    queues = _queues(workers, requests, pause_s, exchange)
    board = new_board(len(requests), len(queues), context)
    errors: SimpleQueue[str] = context.SimpleQueue()
    roles = [
        Role(worker=index, queue=0, cores=mine, warm_up_s=WARM_UP_S, set_threads=workers.set_threads)
        for index, mine in enumerate(cores)
    ]
    if workers.accelerated is not None:
        spare, last = spare_cores(cores), len(roles)
        roles.append(Role(worker=last, queue=1, cores=spare, warm_up_s=WARM_UP_S, set_threads=keep_threads))
    servables = [workers.on_cores, (workers.accelerated or workers.servable,)]
    processes: list[BaseProcess] = [
        child(
            context,
            _run_worker,
            (role, board, queues[role.queue], servables[role.queue], pool, errors),
        )
        for role in roles
    ]
    interrupted = False
    try:
        for process in processes:
            start(process)
        _start_together(board, processes, errors)
        _wait(board, processes, errors, limit_s, notify)
    except KeyboardInterrupt:
        interrupted = True  # what was measured until here is the result
    finally:
        board.stop()
        _end(processes)
    return _collect(board, requests, workers.num_workers, interrupted=interrupted)


def _queues(
    workers: Workers, requests: RequestList, pause_s: FloatArray | None, exchange: Exchange | None
) -> list[Load]:
    """One queue for the cores, and one for the accelerator where there is one."""
    due_s = requests.arrival_s if pause_s is None else None
    offloaded = requests.offloaded & (workers.accelerated is not None)
    masks = [~offloaded] if workers.accelerated is None else [~offloaded, offloaded]
    return [
        Load(order=np.flatnonzero(mask), requests=requests, due_s=due_s, pause_s=pause_s, exchange=exchange)
        for mask in masks
    ]


def _run_worker(
    role: Role,
    board: Board,
    load: Load,
    servables: Sequence[Servable],
    pool: InputPool,
    errors: SimpleQueue[str],
) -> None:
    """Entry point of a forked worker: what it raises is told to the parent."""
    try:
        work(role, board, load, servables, pool)
    except Exception as error:
        traceback.print_exc()
        errors.put(f"{type(error).__name__}: {error}")
        board.stop()


def _start_together(board: Board, processes: Sequence[BaseProcess], errors: SimpleQueue[str]) -> None:
    """Wait until every worker is warm, then set the origin of time a moment ahead."""
    while board.num_ready < len(processes):
        sleep(0.01)
        _require_alive(board, processes, errors)
    board.origin_s[0] = perf_counter() + HEAD_START_S


def _wait(
    board: Board,
    processes: Sequence[BaseProcess],
    errors: SimpleQueue[str],
    limit_s: float | None,
    notify: Notify | None,
) -> None:
    """Sleep until the workers are done; poll rarely, since the workers need the cores."""
    while alive := [process for process in processes if process.is_alive()]:
        alive[0].join(POLL_S)
        _require_alive(board, processes, errors)
        elapsed_s = perf_counter() - float(board.origin_s[0])
        if notify is not None:
            notify(elapsed_s)
        if limit_s is not None and elapsed_s > limit_s:
            board.stop()


def _require_alive(board: Board, processes: Sequence[BaseProcess], errors: SimpleQueue[str]) -> None:
    """Raise what a worker raised, or that one was killed."""
    if not errors.empty():
        raise PerfplanError(f"a worker failed: {errors.get()}")
    if any(process.exitcode not in (None, 0) for process in processes):
        board.stop()
        raise PerfplanError("a worker was killed; was there enough memory?")


def _end(processes: Sequence[BaseProcess]) -> None:
    """Let the workers end; those that do not are killed."""
    for process in processes:
        if process.pid is not None:
            process.join(GRACE_S)
            end(process)


def _collect(board: Board, requests: RequestList, num_workers: int, *, interrupted: bool) -> Served:
    """Copy what was served out of the shared memory."""
    done = np.flatnonzero(board.worker != NOT_RUN)
    return Served(
        requests=requests.only(board.worker != NOT_RUN),
        start_s=board.start_s[done].copy(),
        finish_s=board.finish_s[done].copy(),
        cpu_s=board.cpu_s[done].copy(),
        worker=board.worker[done].copy(),
        num_workers=num_workers,
        interrupted=interrupted,
        origin_s=float(board.origin_s[0]),
    )
