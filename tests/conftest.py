"""What the runtime sets in its own processes, and these tests in theirs, is put back after them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what they leave in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt what they start, and wait


def pytest_itemcollected(item: pytest.Item) -> None:
    """Cases that `by_default` does not name are thorough."""
    kept = item.get_closest_marker("by_default")
    if kept is not None and isinstance(item, pytest.Function) and item.callspec.id not in kept.args:
        item.add_marker(pytest.mark.thorough)


@pytest.fixture(autouse=True, scope="module")
def small_numbers_stay() -> Iterator[None]:
    """Numbers below 2e-308 are no zeros any more."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
