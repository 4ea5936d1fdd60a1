"""What a resumed calibration takes over from the measurements that it adds to."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from calibration.measure.calibration import Calibration
from calibration.measure.records import Records
from calibration.measure.visits import allocate_pool


def ignored(phase: str, spent_s: float) -> None:
    """No progress bar."""


@pytest.mark.parametrize("size_bytes", [8e6, 1_234_568.0, 16_777_220.0])
def test_sequences_are_drawn_by_the_room_that_there_was(size_bytes: float) -> None:
    before = allocate_pool(size_bytes)
    records = Records()
    records.facts["most_table_bytes"] = before.most_table_bytes
    again = Calibration(budget_s=3600.0, raw=Path("raw.csv"), records=records, progress=ignored)
    assert allocate_pool(again._pool_bytes()).most_table_bytes == before.most_table_bytes
