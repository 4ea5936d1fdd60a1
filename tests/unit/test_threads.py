"""Work side by side: results in order, no more threads than there are, errors not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from perfmodel import threads
from perfmodel.threads import ahead, at_most, both, side_by_side


def test_results_come_in_the_order_of_the_items_on_at_most_as_many_threads_as_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "threads_here", lambda: [3, 5])
    meeting = threading.Barrier(2, timeout=10.0)
    seen: set[int] = set()

    def work(item: int) -> int:
        seen.add(threading.get_ident())
        meeting.wait()  # two at a time, or it breaks
        return 10 * item

    assert side_by_side(work, range(6)) == [0, 10, 20, 30, 40, 50]
    assert len(seen) == 2
    assert side_by_side(work, []) == []


def test_two_pieces_of_work_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10.0)

    def meets(name: str) -> Callable[[], str]:
        return lambda: f"{name} {meeting.wait() in (0, 1)}"

    assert both(meets("one"), meets("other")) == ("one True", "other True")


def test_what_comes_next_is_made_while_the_last_is_used_and_nothing_is_made_in_vain() -> None:
    made: list[int] = []
    second = threading.Event()

    def make() -> int:
        made.append(len(made))
        if len(made) == 2:
            second.set()
        return made[-1]

    for value in ahead(make, 3):
        if value == 0:
            assert second.wait(timeout=10.0)  # the second is there before the first was used up
    assert made == [0, 1, 2]
    assert list(ahead(make, 0)) == []
    assert made == [0, 1, 2]


@pytest.mark.parametrize(
    "use",
    [
        lambda fails: side_by_side(lambda _: fails(), [1, 2]),
        lambda fails: both(fails, lambda: 1),
        lambda fails: both(lambda: 1, fails),
        lambda fails: list(ahead(fails, 2)),
    ],
)
def test_an_error_in_a_thread_is_raised(use: Callable[[Callable[[], None]], object]) -> None:
    def fails() -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        use(fails)


def test_an_interrupt_does_not_wait_for_what_is_at_work_and_begins_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "threads_here", lambda: [3, 5])
    goes_on, begun = threading.Event(), list[int]()

    def work(item: int) -> None:
        begun.append(item)
        if item:
            goes_on.wait(timeout=60.0)

    def tell(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(100), tell)
    goes_on.set()  # whoever waited for them would never have come here
    assert len(begun) < 10


def here(_: Any = None) -> int:
    return threading.get_ident()


def test_one_thread_is_this_one() -> None:
    me = here()
    with at_most(1):
        assert side_by_side(here, range(3)) == [me] * 3
        assert both(here, here) == (me, me)
        assert list(ahead(here, 2)) == [me, me]
    assert side_by_side(here, range(1)) != [me]


def test_the_bound_holds_in_the_threads_that_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "threads_here", lambda: list(range(8)))
    started = threading.Barrier(2, timeout=30)

    def inner(_: int) -> int:
        started.wait()  # two at a time, or never
        return len(side_by_side(abs, [1, 2]))

    with at_most(2):
        assert side_by_side(inner, range(4)) == [2] * 4


def test_what_is_done_is_told_by_one_thread_too() -> None:
    told: list[float] = []
    with at_most(1):
        side_by_side(abs, [1, 2], told.append)
    assert told == [0.5, 1.0]
