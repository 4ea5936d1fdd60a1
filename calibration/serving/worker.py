"""The loop of one worker process: take the next request, wait for its arrival, run it, note the times."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, sleep, thread_time
from typing import Any, cast

from calibration.serving.board import Board
from calibration.serving.exchange import Exchange
from calibration.serving.inputs import InputPool, Servable
from calibration.serving.processes import prepare_process, wait_until
from calibration.serving.requests import RequestList
from perfmodel.sim.arrays import FloatArray, IntArray

READY_POLL_S = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """What the workers of one queue serve, and when.

    Attributes
    ----------
    order : (n,) int
        Indices of the queue's requests, in FIFO order.
    requests : RequestList
        All requests: their sizes and varieties.
    due_s : (num_requests,) float, or None
        Open loop: the scheduled arrivals. None: paced closed loop. [s]
    pause_s : (num_requests,) float, or None
        Paced closed loop: how long the worker pauses before each request. [s]
    exchange : Exchange or None
        Where results of queries are sent on. None: none are, or they stand ready.
    """

    order: IntArray
    requests: RequestList
    due_s: FloatArray | None = None
    pause_s: FloatArray | None = None
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Who a worker is: its number, its queue, its cores, and how long it warms up. [s]"""

    worker: int
    queue: int
    cores: list[int]
    warm_up_s: float
    set_threads: Callable[[int], None]


def work(role: Role, board: Board, load: Load, servables: Sequence[Servable], pool: InputPool) -> None:
    """Serve until the queue is empty, or the board says stop."""
    real_time = prepare_process(role.cores)
    role.set_threads(len(role.cores))
    _warm_up(role, servables, pool, load)
    board.report_ready()
    while board.origin_s[0] == 0.0:
        sleep(READY_POLL_S)
        if board.is_stopped():
            return
    _serve(role, board, load, servables, pool, real_time=real_time)


def _warm_up(role: Role, servables: Sequence[Servable], pool: InputPool, load: Load) -> None:
    """Run requests of the load's own sizes, the largest first: pages touched, caches and branches warm.

    The time counts from the end of the first, which builds what is built lazily.
    """
    if len(load.order) == 0:
        return
    sizes, variety = load.requests.num_items[load.order], load.requests.variety[load.order]
    largest = int(sizes.argmax())
    first = int(variety[largest])
    servables[first].run(pool.of(int(sizes[largest]), role.worker, first))
    end_s = perf_counter() + role.warm_up_s
    for turn, (size, kind) in enumerate(zip(sizes.tolist(), variety.tolist(), strict=True)):
        if perf_counter() > end_s:
            return
        servables[kind].run(pool.of(size, turn + role.worker, kind))


def _serve(
    role: Role, board: Board, load: Load, servables: Sequence[Servable], pool: InputPool, *, real_time: bool
) -> None:
    """The measured loop; everything it needs is looked up beforehand.

    A request holds its worker from the moment at which both are there, the worker free and the request
    due, until the model has run: the hand-over of some microseconds is part of the service time.
    """
    origin_s, take, runs = float(board.origin_s[0]), board.take, [each.run for each in servables]
    order, num_items = load.order.tolist(), load.requests.num_items.tolist()
    variety = load.requests.variety.tolist()
    exchanged = None if load.exchange is None else _Exchanged(load.exchange, load.requests)
    due = None if load.due_s is None else load.due_s.tolist()
    pause = None if load.pause_s is None else load.pause_s.tolist()
    columns = (board.start_s, board.finish_s, board.cpu_s, board.worker)
    starts, finishes, cpus, workers = (cast(MutableSequence[float], column.data) for column in columns)
    stopped, worker, queue = board.is_stopped, role.worker, role.queue
    free_s = origin_s
    while not stopped():
        position = take(queue)
        if position >= len(order):
            return
        request = order[position]
        kind = variety[request]
        inputs, run = pool.of(num_items[request], position, kind), runs[kind]
        due_s = origin_s + due[request] if due is not None else free_s
        if pause is not None:
            due_s += pause[request]
        if not wait_until(due_s, stopped, real_time=real_time):
            return
        if exchanged is not None:
            ready_s, run = exchanged.ready(request, run, stopped)
            if ready_s is None:
                return
            due_s = max(due_s, ready_s)  # it waits for its query's results as for its arrival
        begun_s = thread_time()
        run(inputs)
        finish_s = perf_counter()
        cpus[request] = thread_time() - begun_s
        starts[request] = max(free_s, due_s) - origin_s
        finishes[request] = finish_s - origin_s
        workers[request] = worker
        free_s = finish_s


@dataclass(slots=True)
class _Exchanged:
    """Passes that leave results for others of their query, and passes that wait for them."""

    exchange: Exchange
    requests: RequestList
    query: list[int] = field(init=False)
    sent: list[bool] = field(init=False)
    sends: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        self.query, self.sent = self.requests.query.tolist(), self.requests.sent.tolist()
        self.sends = self.requests.sends.tolist()

    def ready(
        self, request: int, run: Callable[..., Any], stopped: Callable[[], bool]
    ) -> tuple[float | None, Callable[[Any], Any]]:
        """Since when a request can run [s], and how it does; None: the run is over before that."""
        query, exchange = self.query[request], self.exchange
        if self.sends[request]:
            return 0.0, partial(run, send=partial(exchange.send, query))
        if not self.sent[request]:
            return 0.0, run
        there_s = exchange.wait(query, stopped)
        return there_s, lambda inputs: run(inputs, received=exchange.receive(query))
