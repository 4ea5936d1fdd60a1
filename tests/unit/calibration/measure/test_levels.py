"""Visits of a machine whose speed comes and goes: told apart by probes beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure.levels import at_mean_level, level_spread, was_disturbed
from calibration.measure.visits import Visit

QUIET_S = 5e-6
LEVELS = np.where(np.random.default_rng(1).random(200) < 0.4, 1.6, 1.0)
"""The core is shared for 0.4 of the time, and all that runs then takes 1.6 times as long."""
VISITS = [
    (
        0,
        Visit(
            seed=number,
            batch_size=8,
            seconds=level * np.array([1e-4, 0.0, 2e-5]),
            spread=np.zeros(3),
            probe_s=level * QUIET_S,
        ),
    )
    for number, level in enumerate(LEVELS)
]


def test_times_are_those_at_the_mean_level_whatever_the_level_was() -> None:
    seconds = np.array([visit.seconds for _, visit in at_mean_level(VISITS)])
    assert seconds == pytest.approx(np.tile(np.mean(LEVELS) * np.array([1e-4, 0.0, 2e-5]), (200, 1)))


def test_what_a_pass_at_any_moment_is_off_by_is_the_spread_of_levels() -> None:
    share = np.mean(LEVELS > 1.0)
    expected = np.log(1.6) * np.sqrt(share * (1.0 - share))
    assert level_spread([visit for _, visit in VISITS]) == pytest.approx(expected)


def test_a_probe_that_an_interrupt_hit_does_not_make_its_visit_instant() -> None:
    many = [(0, replace(visit, probe_s=100.0 * QUIET_S)) for _, visit in VISITS[:50]]
    first = at_mean_level([*many, *VISITS[50:]])[0][1]
    assert first.seconds[0] > 0.5 * VISITS[0][1].seconds[0]


def test_visits_beside_a_rare_disturbance_are_left_out() -> None:
    """One in a hundred took 1.6 times as long by the probe, and seven times in truth."""
    still = [
        (number, replace(visit, seconds=QUIET_S * visit.seconds / visit.probe_s, probe_s=QUIET_S))
        for number, visit in VISITS
    ]
    struck = [replace(visit, seconds=7.0 * visit.seconds, probe_s=1.6 * QUIET_S) for _, visit in still[:2]]
    assert sum(was_disturbed([*struck, *(visit for _, visit in still[2:])])) == 2
    kept = at_mean_level([*((0, visit) for visit in struck), *still[2:]])
    assert len(kept) == len(VISITS) - 2
    assert np.ptp([visit.seconds[0] for _, visit in kept]) == 0.0


def test_visits_without_probes_and_those_of_a_card_stay_as_they_are() -> None:
    without = [(number, replace(visit, probe_s=0.0)) for number, visit in VISITS]
    assert at_mean_level(without) == without
    assert level_spread([visit for _, visit in without]) == 0.0
    of_a_card = [(number, replace(visit, issue_s=visit.seconds)) for number, visit in VISITS]
    assert at_mean_level(of_a_card) == of_a_card
    assert at_mean_level(VISITS[:10]) == VISITS[:10]  # too few to know a quiet one
