"""How well a run of a nearly full queue knows its late queries: against queues that are run many times."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest

from perfmodel.queueing.heavy_traffic import late_share_deviation

RUNS = 300
UTILISATION = 0.95


def late_shares(share: float, num_queries: int, *, balanced: bool) -> tuple[float, np.ndarray]:
    """A bound on the wait, and the share of M/M/1's queries beyond it in each run: services of a second."""
    # The wait of M/M/1 is beyond t with the probability rho exp(-(1 - rho) t).
    wait_s = log(UTILISATION / share) / (1.0 - UTILISATION)
    random = np.random.default_rng(7)
    services_s = random.exponential(1.0, (num_queries, RUNS))
    gaps_s = random.exponential(1.0 / UTILISATION, (num_queries, RUNS))
    if balanced:
        services_s /= services_s.mean(axis=0)
        gaps_s /= UTILISATION * gaps_s.mean(axis=0)
    waits_s = random.exponential(1.0 / (1.0 - UTILISATION), RUNS) * (random.random(RUNS) < UTILISATION)
    late = np.zeros(RUNS)
    for service_s, gap_s in zip(services_s, gaps_s, strict=True):
        late += waits_s > wait_s
        waits_s = np.maximum(0.0, waits_s + service_s - gap_s)
    return wait_s, late / num_queries


@pytest.mark.thorough
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_balanced_run_knows_its_late_queries_as_well_as_said(share: float) -> None:
    num_queries = 40_000
    wait_s, shares = late_shares(share, num_queries, balanced=True)
    said = late_share_deviation(
        share,
        wait_s=wait_s,
        arrival_rate_qps=UTILISATION,
        utilisation=UTILISATION,
        num_queries=num_queries,
    )
    # A standard deviation of 300 runs is known to 4 %, more where few episodes make it skewed.
    assert shares.std() / share == pytest.approx(said, rel=0.15)
    _, by_luck = late_shares(share, num_queries, balanced=False)
    assert by_luck.std() > 1.1 * shares.std(), "what the load explains is not in it"


def test_a_full_queue_never_knows() -> None:
    assert (
        late_share_deviation(0.05, wait_s=1.0, arrival_rate_qps=1.0, utilisation=1.0, num_queries=10) == inf
    )


def test_four_times_as_long_a_run_knows_twice_as_well() -> None:
    short, long = (
        late_share_deviation(0.05, wait_s=1.0, arrival_rate_qps=90.0, utilisation=0.9, num_queries=queries)
        for queries in (1_000, 4_000)
    )
    assert short == pytest.approx(2.0 * long)
