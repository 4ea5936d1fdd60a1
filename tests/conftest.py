"""What the runtime sets in its own processes, and these tests in theirs, is put back after them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from fractions import Fraction

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what they leave in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt what they start, and wait


def pytest_configure(config: pytest.Config) -> None:
    """Properties are tried with a quarter of their examples where thorough tests are left out."""
    if "not thorough" in config.option.markexpr:
        from tests import examples  # imports hypothesis, which takes half a second

        examples.share = Fraction(1, 4)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the cases that `thorough_cases` names, and those that `by_default` does not name, as thorough."""
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        kept, long = (item.get_closest_marker(name) for name in ("by_default", "thorough_cases"))
        case = item.callspec.id
        if (kept is not None and case not in kept.args) or (long is not None and case in long.args):
            item.add_marker(pytest.mark.thorough)


@pytest.fixture(autouse=True, scope="module")
def small_numbers_stay() -> Iterator[None]:
    """Numbers below 2e-308 are no zeros any more."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
