"""The hill climb and the exhaustive search, on tables of rates that stand in for a node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.planning.tune.answer import Tuning
from perfmodel.planning.tune.computation import TIE, Tuner
from perfmodel.planning.tune.load_test import LoadTest
from perfmodel.planning.tune.question import Configuration, Grid, Objective
from tests.examples import examples

CPU_W, NODE_W = 240.0, 490.0


class TableTest:
    """A load test whose answers are given: a rate by batch size and threshold, else none."""

    def __init__(self, qps: dict[tuple[int, int | None], float]) -> None:
        self._qps = qps
        self.node = SimpleNamespace(cores_tdp_w=CPU_W, tdp_w=NODE_W, num_accelerators=1)
        self.sla = None
        self.final_queries = 1
        self.simulated_queries = 0
        self.tried: list[Configuration] = []

    def pilot_qps(self, configuration: Configuration, *, above_qps: float = 0.0) -> float | None:
        self.tried.append(configuration)
        qps = self._of(configuration)
        return qps if qps is not None and qps > above_qps else None

    def final_qps(self, configuration: Configuration, about_qps: float) -> float | None:  # noqa: ARG002
        return self._of(configuration)

    def saturation_qps(self, configuration: Configuration, *, contended: bool) -> float:  # noqa: ARG002
        return 2.0 * (self._of(configuration) or 1.0)

    def _of(self, configuration: Configuration) -> float | None:
        return self._qps.get((configuration.batch_size, configuration.offload_threshold_items))


def tuned(
    qps: dict[tuple[int, int | None], float], *, objective: Objective = "qps", static: int = 2, **options: Any
) -> Tuning:
    return tuner(qps, objective=objective, static=static).tune(**options)


def tuner(
    qps: dict[tuple[int, int | None], float], *, objective: Objective = "qps", static: int = 2
) -> Tuner:
    batches = tuple(sorted({batch for batch, _ in qps} | {1}))
    thresholds = tuple(sorted({threshold for _, threshold in qps if threshold is not None}))
    grid = Grid(batch_sizes=batches, thresholds=thresholds)
    test = cast(LoadTest, TableTest(qps))
    return Tuner(test, grid, Configuration(static), objective)


def by_batch(*rates: float | None) -> dict[tuple[int, int | None], float]:
    return {(2**power, None): qps for power, qps in enumerate(rates) if qps is not None}


def test_the_climb_stops_at_the_first_fall_and_the_exhaustive_search_does_not() -> None:
    found = tuned(by_batch(10, 20, 30, 25, 40))
    assert [tried.configuration.batch_size for tried in found.climbed] == [1, 2, 4, 8]
    assert (found.climb.batch_size, found.exhaustive.batch_size) == (4, 16)
    assert not found.climb_found_optimum
    assert found.climb_shortfall == pytest.approx(0.25)


def test_the_climb_goes_on_over_a_dip_within_the_noise() -> None:
    found = tuned(by_batch(10, 20, 19.9, 40, 10))
    assert found.climb.batch_size == 8
    assert found.climb_found_optimum


def test_the_climb_ends_where_it_rose_last_however_little() -> None:
    # What ties is for the recommendation: a climb charged with a tie of its own would miss the optimum.
    found = tuned(by_batch(10, 20, 20.1, 20.15, 10))
    assert found.climb.batch_size == 8
    assert found.exhaustive.batch_size == 2
    assert found.climb_found_optimum
    assert found.climb_shortfall == 0.0


def test_a_baseline_that_may_not_be_set_is_not_recommended() -> None:
    rates = by_batch(10, 20, 30)
    rates[3, None] = 50.0
    grid = Grid(batch_sizes=(1, 2, 4))
    test = cast(LoadTest, TableTest(rates))
    found = Tuner(test, grid, Configuration(3), static_competes=False).tune()
    assert found.exhaustive.batch_size == 4
    assert found.static.latency_bounded_qps == 50.0
    assert found.gain == pytest.approx(0.6)


def test_the_climb_starts_where_no_load_meets_the_sla() -> None:
    found = tuned(by_batch(None, None, 5, 7, 3))
    assert found.climb.batch_size == 8


def test_without_a_climb_the_best_is_the_same_and_bad_batches_are_not_searched() -> None:
    rates = by_batch(10, 20, 30, 25, 40)
    test = TableTest(rates)
    found = Tuner(cast(LoadTest, test), Grid(batch_sizes=(1, 2, 4, 8, 16)), Configuration(2)).best()
    assert (found.exhaustive.batch_size, found.static.latency_bounded_qps, found.gain) == (16, 20, 2.0)
    assert [tried.latency_bounded_qps for tried in found.by_batch] == [None, 20, None, None, 40]
    assert test.tried[0] == Configuration(16)  # what promises most comes first


def test_of_equally_good_batches_the_smallest_is_set() -> None:
    assert tuned(by_batch(10, 99.8, 100, 99.9)).exhaustive.batch_size == 2


def test_the_threshold_is_climbed_from_everything_offloaded_upward() -> None:
    rates: dict[tuple[int, int | None], float] = {(1, None): 10, (2, None): 20, (4, None): 15}
    rates |= {(2, 1): 12, (2, 100): 30, (2, 200): 50, (2, 300): 40, (2, 400): 60}
    found = tuned(rates)
    thresholds = [tried.configuration.offload_threshold_items for tried in found.climbed]
    assert thresholds == [None, None, None, 1, 100, 200, 300]
    assert (found.climb.offload_threshold_items, found.exhaustive.offload_threshold_items) == (200, 400)
    assert found.gain == pytest.approx(60 / 20)
    assert found.gain_per_w == pytest.approx((60 / NODE_W) / (20 / CPU_W))


def test_a_card_that_does_not_pay_for_its_watts_is_left_out() -> None:
    rates: dict[tuple[int, int | None], float] = {(1, None): 10, (2, None): 20, (2, 100): 30}
    assert tuned(rates).exhaustive.offload_threshold_items == 100
    per_watt = tuned(rates, objective="qps-per-watt").exhaustive
    assert (per_watt.offload_threshold_items, per_watt.power_w) == (None, CPU_W)


def test_where_nothing_is_carried_there_is_no_gain() -> None:
    found = tuned({})
    assert (found.exhaustive.latency_bounded_qps, found.gain, found.climb_shortfall) == (None, None, None)


def test_the_static_baseline_is_a_candidate_too() -> None:
    rates = by_batch(10, 20, 30)
    rates[3, None] = 50.0
    grid = Grid(batch_sizes=(1, 2, 4))
    found = Tuner(cast(LoadTest, TableTest(rates)), grid, Configuration(3)).tune()
    assert found.exhaustive.batch_size == 3
    assert found.gain == 1.0


def test_curves_hold_a_rate_for_everything_on_both_axes() -> None:
    rates: dict[tuple[int, int | None], float] = {(batch, None): 5.0 * batch for batch in (1, 2, 4)}
    rates |= {(batch, threshold): 10.0 * batch + threshold for batch in (1, 2, 4) for threshold in (5, 9)}
    found = tuned(rates, curves=True)
    assert [tried.latency_bounded_qps for tried in found.by_batch] == [19.0, 29.0, 49.0]
    assert [tried.latency_bounded_qps for tried in found.by_threshold] == [45.0, 49.0, 20.0]


def test_what_a_node_without_accelerator_carries_is_not_tried_again() -> None:
    rates: dict[tuple[int, int | None], float] = {(1, None): 10, (2, None): 20, (2, 100): 30, (1, 100): 5}
    cpu_only = Tuner(cast(LoadTest, TableTest(rates)), Grid(batch_sizes=(1, 2)), Configuration(2))
    cpu_only.tune()
    test = TableTest(rates)
    tuner = Tuner(cast(LoadTest, test), Grid(batch_sizes=(1, 2), thresholds=(100,)), Configuration(2))
    tuner.knows_from(cpu_only)
    assert tuner.tune().exhaustive.offload_threshold_items == 100
    assert {tried.offload_threshold_items for tried in test.tried} == {100}


@pytest.mark.thorough
@examples(50)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([None, 1, 100, 200])),
        st.floats(min_value=1.0, max_value=1000.0),
        min_size=1,
    )
)
def test_the_exhaustive_search_finds_the_greatest_rate(qps: dict[tuple[int, int | None], float]) -> None:
    for found in (tuned(qps), tuner(qps).best()):
        assert found.exhaustive.latency_bounded_qps is not None
        assert found.exhaustive.latency_bounded_qps >= (1.0 - TIE) * max(qps.values())
        assert found.static.latency_bounded_qps == qps.get((2, None))
    for tried in found.tried:
        configuration = tried.configuration
        true_qps = qps.get((configuration.batch_size, configuration.offload_threshold_items))
        if tried.below_qps is not None:
            assert true_qps is None or true_qps <= tried.below_qps
        else:
            assert tried.latency_bounded_qps == true_qps
