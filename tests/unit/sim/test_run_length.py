"""What a note asks to set can be set."""

from __future__ import annotations

from perfmodel.domain.bounds import MOST_QUERIES
from perfmodel.sim.run_length import MOST_RECORDED, _setting


def test_a_number_that_a_run_may_have_is_a_setting() -> None:
    assert _setting("min_queries", MOST_RECORDED, MOST_RECORDED) == "simulation.min_queries=20000000"
    assert _setting("max_queries", MOST_QUERIES, MOST_QUERIES) == "simulation.max_queries=200000000"


def test_a_number_that_would_be_refused_is_no_setting() -> None:
    said = _setting("min_queries", MOST_RECORDED + 1, MOST_RECORDED)
    assert said == "20,000,001 queries, more than a run may have"
