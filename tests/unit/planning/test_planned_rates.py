"""What one command says to plan for, the other says is met: their runs are others, and both know it."""

from __future__ import annotations

import pytest

from benchmarks.planned_rates import asked


@pytest.mark.thorough
def test_who_asks_about_the_rate_to_plan_for_is_told_that_it_is_met() -> None:
    found = [each for each in asked("rm3_skylake", 1) if each.stated_by == "capacity"]
    assert [each.meets for each in found] == [True, True]
    rooms = [each.room for each in found if each.room is not None]
    assert len(rooms) == 2
    assert max(rooms) < 0.02, "no more of the rate is given up than that takes"


@pytest.mark.slow
def test_so_it_is_for_nineteen_seeds_and_scenarios_of_twenty() -> None:
    scenarios = ("rm3_skylake", "rm1_broadwell", "ncf_skylake", "rm1_broadwell_gtx1080ti", "wnd_broadwell")
    found = [each for name in scenarios for seed in (1, 2) for each in asked(name, seed)]
    answers = [each.meets for each in found if each.stated_by == "capacity"]
    assert len(answers) == 20
    assert sum(answers) >= 19
