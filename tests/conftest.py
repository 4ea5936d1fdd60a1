"""What the runtime sets in its own processes, and these tests in theirs, is put back after them."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
from collections.abc import Iterator
from fractions import Fraction

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what they leave in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt what they start, and wait


CASES = ("by_default", "thorough_cases")
"""Marks that name cases of a parametrised test."""

WHOLE_ANSWERS = ("perfmodel/__init__.py", "perfmodel/library/")
"""Where examples in docstrings simulate: thorough, too."""


KEPT_BYTES = 1 << 30
"""Of memory that was freed, at most so much stays with the process. [bytes]"""

MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_MMAP_THRESHOLD": -3}
"""Names of settings in glibc's malloc.h."""


def pytest_configure(config: pytest.Config) -> None:
    """Properties are tried with a sixteenth of their examples where thorough tests are left out.

    Arrays that a run frees stay with the process for the next one: to hand them back and fault them in again
    took a tenth of the time of tests that simulate.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for setting in MALLOPT.values():
            libc.mallopt(setting, KEPT_BYTES)
    if "not thorough" in config.option.markexpr:
        from tests import examples  # imports hypothesis, which takes half a second

        examples.share = Fraction(1, 16)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the cases that `thorough_cases` names, and those that `by_default` does not name, as thorough."""
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        kept, long = (item.get_closest_marker(name) for name in CASES)
        case = item.callspec.id
        if (kept is not None and case not in kept.args) or (long is not None and case in long.args):
            item.add_marker(pytest.mark.thorough)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark examples; refuse names of cases that are none, where all cases of a test have been collected."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and item.nodeid.startswith(WHOLE_ANSWERS):
            item.add_marker(pytest.mark.thorough)
    if any("::" in argument for argument in config.args):
        return
    named: dict[str, set[str]] = {}
    for item in items:
        marks = [mark for name in CASES if (mark := item.get_closest_marker(name)) is not None]
        if marks and isinstance(item, pytest.Function):
            test = item.nodeid.partition("[")[0]
            left = named.setdefault(test, {case for mark in marks for case in mark.args})
            left.discard(item.callspec.id if hasattr(item, "callspec") else "")
    if wrong := {test: sorted(left) for test, left in named.items() if left}:
        raise pytest.UsageError(f"marks that name cases which do not exist: {wrong}")


def pytest_collection_finish() -> None:
    """Leave what was collected, a million objects, out of every search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def small_numbers_stay() -> Iterator[None]:
    """Numbers below 2e-308 are no zeros any more."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
