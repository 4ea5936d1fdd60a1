"""The minutes after a loss: backlogs worked out by hand, and a storm that capacity alone does not end."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from perfmodel.sim.transient import LostNodes, after_loss

PATIENT = LostNodes(
    rate_qps=950.0,
    kept_qps=900.0,
    lost_qps=100.0,
    detection_s=0.0,
    timeout_s=10_000.0,
    retries=0,
    restart_s=60.0,
    cold_speed=1.0,
    warm_up_s=0.0,
    limit_s=0.1,
    horizon_s=900.0,
)
HURRIED = LostNodes(
    rate_qps=850.0,
    kept_qps=900.0,
    lost_qps=100.0,
    detection_s=5.0,
    timeout_s=20.0,
    retries=1,
    restart_s=inf,
    cold_speed=1.0,
    warm_up_s=0.0,
    limit_s=0.1,
    horizon_s=900.0,
)


def test_a_backlog_is_lost_capacity_times_time_and_drains_at_what_is_spare() -> None:
    found = after_loss(PATIENT)
    backlog = (950.0 - 900.0) * 60.0  # until the node is back
    drains_s = backlog / (900.0 - 0.9 * 950.0)  # the nine get nine tenths again
    assert found.ending == "recovers"
    assert found.most_backlog == pytest.approx(backlog, rel=0.02)
    assert found.recovers_after_s == pytest.approx(60.0 + drains_s, rel=0.02)
    assert found.most_wait_s == pytest.approx(backlog / 900.0, rel=0.02)
    assert (found.retried, found.failed) == (0.0, 0.0)


def test_what_went_to_lost_nodes_is_asked_again_a_time_out_later() -> None:
    found = after_loss(HURRIED)
    unanswered = 0.1 * 850.0 * 5.0  # the lost node's share until it is found out
    backlog = (850.0 * 1.1 - 900.0) * 5.0  # from 20 s to 25 s both are asked for
    assert found.retried == pytest.approx(unanswered, rel=0.02)
    assert found.most_backlog == pytest.approx(backlog, rel=0.05)
    assert found.recovers_after_s == pytest.approx(25.0 + backlog / 50.0, rel=0.02)
    assert found.failed == 0.0
    assert found.late >= unanswered * 0.98


def test_without_retries_what_went_to_lost_nodes_has_failed() -> None:
    found = after_loss(replace(HURRIED, retries=0))
    assert found.failed == pytest.approx(0.1 * 850.0 * 5.0, rel=0.02)
    assert found.retried == 0.0
    assert found.recovers_after_s == pytest.approx(5.0, abs=2.1)


@pytest.mark.thorough
def test_a_storm_of_retries_goes_on_with_all_nodes_back_and_ends_without_retries() -> None:
    # Half of the nodes are away for a minute. Then 1,000 queries/s are served and 600 asked for: enough.
    # But what waits longer than the time-out is served for nobody, and 600 x 3 tries are more than 1,000.
    shock = replace(
        PATIENT, rate_qps=600.0, kept_qps=500.0, lost_qps=500.0, timeout_s=1.0, retries=2, detection_s=1.0
    )
    storm = after_loss(shock)
    assert storm.ending == "retry_storm"
    assert storm.recovers_after_s is None
    assert storm.failed > 0.9 * 600.0 * (900.0 - 61.0) * 0.9, "nearly nothing is answered in time"
    assert storm.retried == pytest.approx(2 * 600.0 * 900.0, rel=0.05)
    patient = after_loss(replace(shock, retries=0))
    assert patient.ending == "recovers"
    roomy = after_loss(replace(shock, rate_qps=320.0))  # three tries fit: 960 of 1,000
    assert roomy.ending == "recovers"


def test_less_capacity_than_demand_for_good_is_an_overload() -> None:
    assert after_loss(replace(PATIENT, restart_s=inf)).ending == "overloaded"


def test_a_cold_node_that_gets_a_full_share_has_a_backlog_of_its_own() -> None:
    cold = replace(PATIENT, rate_qps=800.0, cold_speed=0.5, warm_up_s=10.0)
    found = after_loss(cold)
    # It is asked for 80/s and serves 50/s, growing by 5/s each second: short until 6 s, by 30 x 6 / 2 in all.
    assert found.most_backlog == pytest.approx(90.0, rel=0.05)
    assert found.ending == "recovers"
    # Then 5 t^2 / 2 of spare until it is warm at 10 s, 20/s after.
    left = 90.0 - 5.0 * 4.0**2 / 2.0
    assert found.recovers_after_s == pytest.approx(70.0 + left / 20.0, rel=0.02)


def test_steps_do_not_decide() -> None:
    coarse = after_loss(HURRIED)
    fine = after_loss(replace(HURRIED, horizon_s=HURRIED.horizon_s / 3))
    assert fine.recovers_after_s == pytest.approx(coarse.recovers_after_s, rel=0.03)
    assert fine.most_backlog == pytest.approx(coarse.most_backlog, rel=0.05)
