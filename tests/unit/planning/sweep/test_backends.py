"""Workers beside this process: what they hear of an interrupt."""

from __future__ import annotations

import os
import signal

import pytest

from perfmodel.loading.over import SweptValue
from perfmodel.planning.sweep.backends import processes
from perfmodel.planning.sweep.journal import Finished
from perfmodel.planning.sweep.points import Point


def blocked(point: Point) -> Finished:
    """Whether an interrupt waits, in the process that answers, which is named."""
    held = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return {"point": point.name, "row": {"pid": os.getpid(), "blocked": held}, "files": {}}


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks of signals here")
def test_workers_hear_of_no_interrupt_and_this_process_goes_on_hearing() -> None:
    pytest.importorskip("joblib")
    points = [
        Point(number=number, keys=("a",), values=(SweptValue(str(number), number),)) for number in range(2)
    ]
    rows = [finished["row"] for finished in processes(2)(blocked, points)]
    assert len(rows) == 2
    assert all(row["pid"] != os.getpid() and row["blocked"] for row in rows)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
