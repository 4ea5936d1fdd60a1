"""Work side by side: how many threads this process may use, and the ways to use them.

For numpy and the compiled engines, which run without the interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def threads_here() -> list[int]:
    """Hardware threads that this process may run on; all, where the system has no notion of it."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


_AT_MOST: ContextVar[int | None] = ContextVar("threads at most", default=None)
"""Of the work at hand; None: as many as there are here."""


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Let what runs within use so many threads: where processes share the cores. With one, none is started.

    Examples
    --------
    >>> with at_most(1):
    ...     both(lambda: 1, lambda: "two")
    (1, 'two')
    """
    before = _AT_MOST.set(threads)
    try:
        yield
    finally:
        _AT_MOST.reset(before)


def _is_alone() -> bool:
    """Whether one thread has to do."""
    return _AT_MOST.get() == 1


Tell = Callable[[float], None]
"""Takes how much of some work is done, from 0 to 1."""


def untold(share: float) -> None:
    """Nobody watches."""


def part_of(tell: Tell, begin: float, end: float) -> Tell:
    """What a part of the work tells, as a share of the whole.

    Examples
    --------
    >>> part_of(print, 0.5, 1.0)(0.5)
    0.75
    """
    return lambda share: tell(begin + share * (end - begin))


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that begin nothing more after an error, and that nobody waits for after an interrupt.

    An interrupt reaches the main thread alone: what the others are at goes on, for minutes maybe.
    """
    threads = ThreadPoolExecutor(max_workers=count)
    try:
        yield threads
    except (KeyboardInterrupt, GeneratorExit):
        threads.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        threads.shutdown(cancel_futures=True)
        raise
    threads.shutdown()


def side_by_side(
    work: Callable[[T], U], items: Iterable[T], tell: Tell = untold, *, most: int | None = None
) -> list[U]:
    """Results of work on each item, in order; as many at a time as there are threads here.

    Parameters
    ----------
    most : int, optional
        Fewer at a time: where each takes much memory.
    tell : callable
        Takes how much of it is done.

    Examples
    --------
    >>> side_by_side(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    todo = list(items)
    if _is_alone():
        return _one_by_one(work, todo, tell)
    limits = (len(todo), len(threads_here()), most, _AT_MOST.get())
    workers = min(limit for limit in limits if limit is not None)
    with _threads(max(1, workers)) as threads:
        asked = [threads.submit(copy_context().run, work, item) for item in todo]
        for done, _ in enumerate(as_completed(asked) if tell is not untold else (), start=1):
            tell(done / len(todo))
        return [each.result() for each in asked]


def _one_by_one(work: Callable[[T], U], todo: list[T], tell: Tell) -> list[U]:
    """The same in this thread."""
    found = []
    for done, item in enumerate(todo, start=1):
        found.append(work(item))
        tell(done / len(todo))
    return found


def both(one: Callable[[], T], other: Callable[[], U]) -> tuple[T, U]:
    """Results of two pieces of work that have nothing to do with each other.

    Examples
    --------
    >>> both(lambda: 1, lambda: "two")
    (1, 'two')
    """
    if _is_alone():
        return one(), other()
    with _threads(1) as thread:
        beside = thread.submit(copy_context().run, one)
        found = other()
        return beside.result(), found


def ahead(make: Callable[[], T], count: int) -> Iterator[T]:
    """Yield what `count` calls return, one after the other; each is made while the one before is used.

    Examples
    --------
    >>> list(ahead(iter("abc").__next__, 3))
    ['a', 'b', 'c']
    """
    if _is_alone():
        for _ in range(count):
            yield make()
        return
    with _threads(1) as thread:
        made = [thread.submit(make)] if count else []
        for number in range(count):
            value = made.pop().result()
            if number + 1 < count:
                made.append(thread.submit(make))
            yield value
