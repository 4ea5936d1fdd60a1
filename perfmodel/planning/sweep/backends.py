"""Who answers the points: this process, processes beside it, or the workers of a Dask cluster.

Each yields what is finished as it finishes. A point that was under way where a worker ended is asked again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from perfmodel.errors import InputError, Note
from perfmodel.planning.sweep.journal import Finished, sources_digest
from perfmodel.planning.sweep.points import Point
from perfmodel.threads import at_most, threads_here

Ask = Callable[[Point], Finished]
Backend = Callable[[Ask, Sequence[Point]], Iterator[Finished]]

MOST_ENDED = 3
"""Times that workers may be ended in a row without a point finished in between: then it is the points."""

WATCH = "perfplan-watch"
WATCH_EVERY_S = 0.5
"""Name of the thread of a worker that looks whether its parent still is there, and how often. [s]"""

CONNECT_S = 10.0
"""How long a Dask scheduler may take to answer. [s]"""

AT_A_TIME = 4
"""Points that a Dask cluster has before it, for each of its threads."""


def this_process(ask: Ask, points: Sequence[Point]) -> Iterator[Finished]:
    """Answer one after the other."""
    return map(ask, points)


def processes(jobs: int | None = None) -> Backend:
    """Answer in processes beside this one, as many as there are threads here unless `jobs` says.

    One, or where joblib is missing and nobody asked for more, is this process itself.
    """
    wanted = len(threads_here()) if jobs is None else jobs
    if wanted == 1:
        return this_process
    try:
        joblib = import_module("joblib")
    except ImportError:
        if jobs is None:
            warnings.warn(Note("one process: more take joblib (pip install 'perfplan[jobs]')"), stacklevel=2)
            return this_process
        needs = f"--jobs {jobs} needs joblib: pip install 'perfplan[jobs]'; --jobs 1 does not"
        raise InputError(needs) from None

    def answer(ask: Ask, points: Sequence[Point]) -> Iterator[Finished]:
        if len(points) < 2:
            yield from this_process(ask, points)
            return
        yield from _until_all_finished(lambda left: _by_joblib(joblib, wanted, ask, left), points)

    return answer


def _by_joblib(joblib: Any, jobs: int, ask: Ask, points: Sequence[Point]) -> Iterator[Finished]:
    share = max(1, len(threads_here()) // min(jobs, len(points)))
    pool = joblib.Parallel(
        n_jobs=min(jobs, len(points)), return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
    )
    for tracker in ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker"):
        import_module(tracker).ensure_running()  # before: its start lets interrupts in
    with _interrupts_held_back():
        return iter(pool(joblib.delayed(_beside)(os.getpid(), share, ask, point) for point in points))


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let an interrupt wait until workers are started: they inherit that, and hear of none themselves.

    This process ends them. One that is interrupted while it imports what it needs would print where it was.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _beside(parent: int, threads: int, ask: Ask, point: Point) -> Finished:
    """Answer in a worker, which does not outlive the process that started it, on so many threads."""
    if os.getpid() != parent and WATCH not in {thread.name for thread in threading.enumerate()}:
        threading.Thread(target=_end_with, args=(parent,), name=WATCH, daemon=True).start()
    with at_most(threads):
        return ask(point)


def _end_with(parent: int) -> None:
    """End this process once another is its parent: loky's workers wait for work for minutes, or for ever."""
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    os._exit(1)


def _until_all_finished(
    start: Callable[[Sequence[Point]], Iterator[Finished]], points: Sequence[Point]
) -> Iterator[Finished]:
    """Start again with what is left where the system ended a worker, for want of memory say."""
    ended_by_system: type[BaseException] = import_module(
        "joblib.externals.loky.process_executor"
    ).BrokenProcessPool
    left = {point.name: point for point in points}
    ended = 0
    while left:
        try:
            for finished in start(list(left.values())):
                ended = 0
                del left[finished["point"]]
                yield finished
        except ended_by_system:
            ended += 1
            if ended == MOST_ENDED:
                raise InputError(
                    "sweep: the system ended a worker again and again, for want of memory most likely: "
                    "--jobs 1 takes the least"
                ) from None


def dask_cluster(address: str) -> Backend:
    """Answer on the workers of a Dask cluster, which must have this version of perfplan.

    Parameters
    ----------
    address : str
        Of its scheduler, such as `tcp://10.0.0.1:8786`.
    """
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise InputError("--backend dask needs distributed: pip install 'perfplan[dask]'") from None

    def answer(ask: Ask, points: Sequence[Point]) -> Iterator[Finished]:
        try:
            client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"--address {address}: no Dask scheduler answers: {said}") from None
        with client:
            _require_same_code(client, address)
            yield from _by_dask(distributed, client, ask, points)

    return answer


def _by_dask(distributed: Any, client: Any, ask: Ask, points: Sequence[Point]) -> Iterator[Finished]:
    """A few points for each thread at a time; the scheduler gives those of a lost worker to another."""
    shared = client.scatter(ask, broadcast=True)
    waiting, under_way = list(reversed(points)), distributed.as_completed(loop=client.loop)
    named: dict[str, Point] = {}

    def submit() -> None:
        if waiting:
            point = waiting.pop()
            # A key of its own: an answer that another sweep left on the cluster is not taken for this one's.
            future = client.submit(_answer, shared, point, pure=False)
            named[future.key] = point
            under_way.add(future)

    threads = sum(client.nthreads().values()) or 1
    for _ in range(AT_A_TIME * threads):
        submit()
    for future in under_way:
        try:
            yield future.result()
        except distributed.KilledWorker:
            row = {"exit_code": 1, "reason": "every worker that computed it was lost", "stack": None}
            yield {"point": named[future.key].name, "row": row, "files": {}}
        submit()


def _answer(ask: Ask, point: Point) -> Finished:
    return ask(point)


def _require_same_code(client: Any, address: str) -> None:
    """Refuse workers that would answer by other code, and a cluster without any."""
    found = client.run(sources_digest, on_error="return")
    if not found:
        raise InputError(f"--address {address}: the cluster has no workers")
    for worker, digest in found.items():
        if digest != sources_digest():
            raise InputError(f"--address {address}: {worker} has another version of perfplan, or none")
