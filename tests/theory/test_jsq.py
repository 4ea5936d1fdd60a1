"""Routing against queueing theory: one core a node, exponential services of 1 s, Poisson arrivals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import spsolve
from scipy.special import gammaincc

from perfmodel.domain.fleet import Routing
from perfmodel.queueing.closed_forms import mmc_latency_percentile_s, mmc_mean_wait_s
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_engines import simulate_fleet
from perfmodel.sim.statistics import Interval, mean_interval, percentile_interval
from tests.textbook import exponential_queue

# Student's t with 19 degrees of freedom, 99.9 % over 95 %: a dozen claims are tested at once.
SAFETY = 3.883 / 2.093


def latencies_s(routing: Routing, utilisation: float, num_nodes: int, num_queries: int) -> FloatArray:
    """Latencies from a tenth of the run on."""
    queue = exponential_queue(utilisation, 1)
    fleet = Fleet((NodeKind(service=queue.service, policy=queue.policy),), (num_nodes,))
    queries = queue.traffic.at_rate(num_nodes * utilisation).draw(num_queries, seed=3)
    return simulate_fleet(queries, fleet, routing, seed=3).latency_s[num_queries // 10 :]


def assert_agrees(measured: Interval, expected_s: float, *, offset_s: float = 0.0) -> None:
    half_width_s = SAFETY * (measured.high_s - measured.low_s) / 2
    assert half_width_s < 0.05 * expected_s, "too noisy to prove anything"
    assert measured.value_s - offset_s == pytest.approx(expected_s, abs=half_width_s)


def two_queues_mean_latency_s(utilisation: float, most: int) -> float:
    """Join the shorter of two M/M/1 queues, by the stationary law of its chain on {0..most}^2."""
    first, second = (axis.ravel() for axis in np.meshgrid(*[np.arange(most + 1)] * 2, indexing="ij"))
    state = first * (most + 1) + second
    joins_first = first <= second
    target = np.where(joins_first, state + most + 1, state + 1)
    inside = np.where(joins_first, first, second) < most
    moves = [
        (state[inside], target[inside], 2 * utilisation),
        (state[first > 0], state[first > 0] - most - 1, 1.0),
        (state[second > 0], state[second > 0] - 1, 1.0),
    ]
    rows, columns = (np.concatenate([move[index] for move in moves]) for index in (0, 1))
    rates = np.concatenate([np.full(len(move[0]), move[2]) for move in moves])
    size = len(state)
    leaving = np.bincount(rows, weights=rates, minlength=size)
    balance = coo_matrix((rates, (columns, rows)), (size, size)) - coo_matrix(
        (leaving, (state, state)), (size, size)
    )
    normalised = csr_matrix(balance).tolil()
    normalised[0] = 1.0
    law = spsolve(normalised.tocsc(), np.eye(size, 1)[:, 0])
    return float(law @ (first + second)) / (2 * utilisation)  # Little's law


@pytest.mark.thorough
@pytest.mark.parametrize("utilisation", [0.5, 0.9])
def test_the_shorter_of_two_queues_agrees_with_its_markov_chain(utilisation: float) -> None:
    expected_s = two_queues_mean_latency_s(utilisation, most=70)
    assert 1 + mmc_mean_wait_s(2 * utilisation, 1.0, 2) < expected_s < 1 / (1 - utilisation)
    measured_s = latencies_s(Routing.JOIN_SHORTEST_QUEUE, utilisation, 2, 3_000_000)
    assert_agrees(mean_interval(measured_s), expected_s)


@pytest.mark.thorough
@pytest.mark.parametrize(("num_nodes", "utilisation"), [(1, 0.7), (16, 0.8)])
def test_random_routing_makes_independent_mm1_queues(num_nodes: int, utilisation: float) -> None:
    measured_s = latencies_s(Routing.RANDOM, utilisation, num_nodes, 3_000_000)
    assert_agrees(mean_interval(measured_s), 1 / (1 - utilisation))
    expected_s = mmc_latency_percentile_s(0.95, utilisation, 1.0, 1)
    assert_agrees(percentile_interval(measured_s, 0.95), expected_s)


@pytest.mark.thorough
@pytest.mark.parametrize("num_nodes", [2, 16])
def test_round_robin_makes_queues_with_erlang_gaps(num_nodes: int) -> None:
    # GI/M/1: the wait is sigma / (1 - sigma), where sigma is the gaps' transform at 1 - sigma
    # (Kleinrock, "Queueing Systems" vol. 1, equations 6.7 and 6.17).
    rate_qps = 0.8 * num_nodes

    def residual(sigma: float) -> float:
        return (rate_qps / (rate_qps + 1 - sigma)) ** num_nodes - sigma

    sigma = brentq(residual, 1e-6, 0.999 - 0.1 / num_nodes)
    measured_s = latencies_s(Routing.ROUND_ROBIN, 0.8, num_nodes, 3_000_000)
    assert_agrees(mean_interval(measured_s), sigma / (1 - sigma), offset_s=1.0)


@pytest.mark.thorough
@pytest.mark.parametrize("utilisation", [0.7, 0.9])
def test_power_of_two_agrees_with_the_supermarket_model(utilisation: float) -> None:
    # With many nodes a fraction s_i = rho^(2^i - 1) of them holds at least i queries (Mitzenmacher, IEEE
    # TPDS 12(10), 2001, lemma 3): an arrival joins i others with probability s_i^2 - s_(i+1)^2, and then
    # its latency is the sum of i + 1 exponentials.
    others = np.arange(12)
    at_least = utilisation ** (2.0 ** np.arange(13) - 1)
    joins = at_least[:-1] ** 2 - at_least[1:] ** 2

    def exceeds(time_s: float) -> float:
        return float(joins @ gammaincc(others + 1, time_s))

    measured_s = latencies_s(Routing.POWER_OF_TWO, utilisation, 1000, 4_000_000)
    mean_s = float(joins @ (others + 1))
    assert_agrees(mean_interval(measured_s), mean_s)
    for percentile in (0.95, 0.99):
        expected_s = brentq(lambda time_s, p=percentile: exceeds(time_s) - (1 - p), 0.1, 50)
        assert_agrees(percentile_interval(measured_s, percentile), expected_s)
    assert mean_s < 0.6 / (1 - utilisation), "far below random routing"


@pytest.mark.thorough
def test_the_routings_rank_as_theory_says() -> None:
    """One queue for all nodes < the shortest of all < the shorter of two < round-robin < random."""
    order = [Routing.JOIN_SHORTEST_QUEUE, Routing.POWER_OF_TWO, Routing.ROUND_ROBIN, Routing.RANDOM]
    waits = [mean_interval(latencies_s(routing, 0.9, 16, 1_000_000)) for routing in order]
    bounds = [1 + mmc_mean_wait_s(0.9 * 16, 1.0, 16), *(wait.low_s for wait in waits[1:])]
    assert bounds[0] < waits[0].low_s
    for better, worse in pairwise(waits):
        assert better.high_s < worse.low_s
