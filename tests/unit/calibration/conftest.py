"""What the runtime sets in its own processes, and these tests in theirs, is put back after them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def small_numbers_stay() -> Iterator[None]:
    """Numbers below 2e-308 are no zeros any more."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
