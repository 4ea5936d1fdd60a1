"""The search for the most closed users: exact where it can be, from wherever it looks first, and not long."""

from __future__ import annotations

from functools import cache

import pytest

from perfmodel.domain.workload import MOST_USERS
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.capacity.users import (
    INTERPRETED_QUERIES,
    MOST_INTERPRETED_QUERIES,
    PROBE_QUERIES,
    _Search,
)
from perfmodel.planning.prepare import prepare
from perfmodel.planning.sensitivity import GIVEN

CLOSED = "traffic.arrivals={process: closed, users: 20, think_s: 0.05}"
SHEDDING = "policy.shedding={queue_limit_requests: 50}"


@cache
def search_of(*settings: str) -> _Search:
    return _Search(prepare(load_scenario("rm3_skylake", [CLOSED, *settings])), "auto")


@pytest.mark.parametrize("most", [0, 1, 2, 3, 95, 400, 4711, MOST_USERS])
@pytest.mark.parametrize("near", [None, 1, 90, 100, 5000])
def test_the_most_users_are_found_from_anywhere(
    most: int, near: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def meets(_: _Search, users: int, *__: object) -> bool:
        assert 1 <= users <= MOST_USERS
        tried.append(users)
        return users <= most

    search = search_of()
    monkeypatch.setattr(_Search, "_meets", meets)
    found = search.greatest(GIVEN, 0, near)
    assert (found or 0) == pytest.approx(most, abs=max(0.5, 0.002 * most))
    assert (found is None) == (most == 0)
    assert len(tried) < 50
    if near in (90, 100) and most == 95:
        assert len(tried) <= 6  # what other searches have found is not searched for again


def test_what_only_python_can_serve_is_tried_by_fewer_queries() -> None:
    assert search_of().queries_for(20) == PROBE_QUERIES
    assert search_of(SHEDDING).queries_for(20) == INTERPRETED_QUERIES
    assert search_of(SHEDDING, "sla.percentile=0.999").queries_for(20) == MOST_INTERPRETED_QUERIES
    assert search_of(SHEDDING).queries_for(50_000) == 10 * 50_000
