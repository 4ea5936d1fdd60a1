"""Keys that scripts rely on stay: what changes the schema of a document says so."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from tests.golden.schemas import ALL_KINDS, PROMISED, broken, promise

PROMISES = json.loads(PROMISED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ALL_KINDS)
def test_a_document_has_the_keys_that_were_promised(name: str) -> None:
    assert promise(name) == PROMISES[name]


def test_a_key_that_goes_is_noticed_unless_the_version_rises() -> None:
    now = deepcopy(PROMISES)
    now["predict"]["keys"].remove("latency_ms.p95")
    assert broken(PROMISES, now) == ["predict: latency_ms.p95"]
    now["predict"]["version"] += 1
    assert broken(PROMISES, now) == []
