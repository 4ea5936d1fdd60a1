"""What a process does about its memory, and that one as Python starts does nothing, whoever started it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

pytest.importorskip("torch")

from calibration.runtime.settings import apply_plain_settings, apply_settings

HUGE = "THP_MEM_ALLOC_ENABLE"
MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HUGE, raising=False)
    monkeypatch.setenv("PERFPLAN_SET_HUGE_PAGES", "")  # restored afterwards
    monkeypatch.delenv("PERFPLAN_SET_HUGE_PAGES")


def huge_kib(talk: Connection, tuned: bool) -> None:
    """Of a tensor of 100 MB, in pages of 2 MiB."""
    import torch

    apply_settings() if tuned else apply_plain_settings()
    tensor = torch.ones(25_000_000)
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    talk.send((tensor.numel(), int(rollup.partition("AnonHugePages:")[2].split()[0])))


@pytest.mark.thorough
@pytest.mark.skipif(
    not MODE.exists() or "[madvise]" not in MODE.read_text(encoding="ascii"),
    reason="huge pages are given to who asks on some kernels only",
)
def test_a_plain_process_has_no_huge_pages_though_its_parent_asked_for_them() -> None:
    os.environ[HUGE] = os.environ["PERFPLAN_SET_HUGE_PAGES"] = "1"  # as `apply_settings` leaves them
    context = multiprocessing.get_context("spawn")
    found = {}
    for tuned in (True, False):
        ours, theirs = context.Pipe()
        process = context.Process(target=huge_kib, args=(theirs, tuned))
        process.start()
        _, found[tuned] = ours.recv()
        process.join()
    assert found[False] == 0
    assert found[True] > 50_000


def test_what_the_user_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HUGE, "1")
    apply_plain_settings()
    assert os.environ[HUGE] == "1"
