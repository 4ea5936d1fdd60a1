from __future__ import annotations

from math import exp, log

import pytest

from perfmodel.errors import InputError, UnstableError
from perfmodel.queueing.closed_forms import (
    erlang_c,
    littles_law_mean_number,
    md1_mean_wait_s,
    mg1_mean_wait_s,
    mmc_greatest_rate_qps,
    mmc_latency_exceeds,
    mmc_latency_percentile_s,
    mmc_mean_wait_s,
    mmc_wait_exceeds,
    mmc_wait_percentile_s,
    utilisation,
)
from perfmodel.queueing.deterministic import solve_mdc


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.95])
def test_one_executor_waits_with_probability_rho(rho: float) -> None:
    assert erlang_c(rho, 1.0, 1) == pytest.approx(rho)


def test_erlang_c_of_two_executors_is_two_rho_squared_over_one_plus_rho() -> None:
    assert erlang_c(1.6, 1.0, 2) == pytest.approx(2 * 0.8**2 / 1.8)


def test_erlang_c_of_a_thousand_executors_does_not_overflow() -> None:
    assert 0 < erlang_c(990.0, 1.0, 1000) < 1


def test_mean_wait_is_the_integral_of_the_wait_law() -> None:
    step_s = 0.01
    tail = sum(mmc_wait_exceeds((i + 0.5) * step_s, 3.2, 1.0, 4) for i in range(10_000)) * step_s
    assert mmc_mean_wait_s(3.2, 1.0, 4) == pytest.approx(tail, rel=1e-5)


def test_mean_latency_is_the_integral_of_the_latency_law() -> None:
    step_s = 0.01
    tail = sum(mmc_latency_exceeds((i + 0.5) * step_s, 3.2, 1.0, 4) for i in range(10_000)) * step_s
    assert 1.0 + mmc_mean_wait_s(3.2, 1.0, 4) == pytest.approx(tail, rel=1e-5)


@pytest.mark.parametrize("time_s", [0.5, 2.0, 8.0])
def test_latency_of_mm1_is_exponential(time_s: float) -> None:
    assert mmc_latency_exceeds(time_s, 0.7, 1.0, 1) == pytest.approx(exp(-0.3 * time_s))


def test_latency_law_is_smooth_where_the_drain_rate_equals_the_service_rate() -> None:
    # c mu - lambda = mu at c = 2, lambda = 1: the partial fractions divide by zero there.
    at, near = mmc_latency_exceeds(3.0, 1.0, 1.0, 2), mmc_latency_exceeds(3.0, 1.0 + 1e-7, 1.0, 2)
    assert at == pytest.approx(near, rel=1e-6)
    assert at == pytest.approx(exp(-3) * (1 + 3 * erlang_c(1.0, 1.0, 2)))


@pytest.mark.parametrize("percentile", [0.01, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("executors", [1, 3, 40])
def test_percentiles_invert_their_laws(percentile: float, executors: int) -> None:
    load = (0.85 * executors, 1.0, executors)
    latency_s = mmc_latency_percentile_s(percentile, *load)
    assert mmc_latency_exceeds(latency_s, *load) == pytest.approx(1 - percentile, rel=1e-9)
    wait_s = mmc_wait_percentile_s(percentile, *load)
    waits = min(erlang_c(*load), 1 - percentile)
    assert mmc_wait_exceeds(wait_s, *load) == pytest.approx(max(waits, mmc_wait_exceeds(wait_s, *load)))


def test_half_of_mm1_queries_at_half_load_do_not_wait() -> None:
    assert mmc_wait_percentile_s(0.5, 0.5, 1.0, 1) == 0.0
    assert mmc_wait_percentile_s(0.75, 0.5, 1.0, 1) == pytest.approx(2 * log(2))


def test_constant_services_halve_the_wait_of_exponential_ones() -> None:
    assert md1_mean_wait_s(0.8, 1.0) == pytest.approx(0.5 * mmc_mean_wait_s(0.8, 1.0, 1))


@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
def test_mdc_with_one_executor_is_md1(rho: float) -> None:
    exact = solve_mdc(rho, 1.0, 1)
    assert exact.mean_wait_s == pytest.approx(md1_mean_wait_s(rho, 1.0), rel=1e-9)
    assert exact.wait_exceeds(0.0) == pytest.approx(rho, rel=1e-9)
    # Erlang 1909: P(W <= x) = (1 - rho) e^(lambda x) for x < D.
    assert 1 - exact.wait_exceeds(0.5) == pytest.approx((1 - rho) * exp(rho * 0.5), rel=1e-9)


@pytest.mark.thorough_cases("20")
@pytest.mark.parametrize("executors", [2, 5, 20])
def test_mean_wait_of_mdc_is_the_integral_of_its_law(executors: int) -> None:
    exact = solve_mdc(0.9 * executors, 1.0, executors)
    step_s = 0.01
    tail = sum(exact.wait_exceeds((i + 0.5) * step_s) for i in range(4000)) * step_s
    assert exact.mean_wait_s == pytest.approx(tail, rel=1e-4)


def test_mdc_waits_about_half_as_long_as_mmc_under_load() -> None:
    # Heavy-traffic limit: (1 + C^2) / 2 of the exponential queue.
    ratio = solve_mdc(9.7, 1.0, 10).mean_wait_s / mmc_mean_wait_s(9.7, 1.0, 10)
    assert ratio == pytest.approx(0.5, abs=0.02)


def test_wait_percentile_of_mdc_inverts_its_law() -> None:
    exact = solve_mdc(3.6, 1.0, 4)
    assert exact.wait_exceeds(exact.wait_percentile_s(0.95)) == pytest.approx(0.05, rel=1e-6)
    assert solve_mdc(0.4, 1.0, 4).wait_percentile_s(0.95) == 0.0


def test_times_scale_with_the_service_time() -> None:
    assert solve_mdc(360.0, 0.01, 4).mean_wait_s == pytest.approx(0.01 * solve_mdc(3.6, 1.0, 4).mean_wait_s)
    assert mmc_mean_wait_s(360.0, 0.01, 4) == pytest.approx(0.01 * mmc_mean_wait_s(3.6, 1.0, 4))


def test_little_counts_what_is_present() -> None:
    assert littles_law_mean_number(100.0, 0.03) == pytest.approx(3.0)


def test_overload_has_no_wait_and_says_by_how_much() -> None:
    with pytest.raises(UnstableError, match=r"1\.25 times") as caught:
        mmc_mean_wait_s(5.0, 1.0, 4)
    assert caught.value.utilisation == 1.25
    with pytest.raises(UnstableError):
        solve_mdc(1.0, 1.0, 1)


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1 executor"):
        utilisation(1.0, 1.0, 0)
    with pytest.raises(InputError, match="percentile"):
        mmc_wait_percentile_s(95, 0.5, 1.0, 1)
    with pytest.raises(InputError, match="variation"):
        mg1_mean_wait_s(0.5, 1.0, -1.0)


def test_an_idle_node_bounds_what_any_rate_can_meet() -> None:
    """Exponential services of 2 s in the mean: exp(-2.5) = 8.2 % take over 5 s, exp(-3) = 4.98 % over 6 s."""
    assert mmc_greatest_rate_qps(0.95, 5.0, 2.0, 4) is None
    rate_qps = mmc_greatest_rate_qps(0.95, 6.0, 2.0, 4)
    assert rate_qps is not None
    assert 0.0 < rate_qps < 2.0
    assert mmc_latency_percentile_s(0.95, rate_qps, 2.0, 4) == pytest.approx(6.0, rel=1e-6)
    assert mmc_greatest_rate_qps(0.92, 5.1, 2.0, 4) is not None  # exp(-2.55) = 7.8 %


def test_utilisation_is_of_one_executor_unless_told() -> None:
    assert utilisation(0.5, 1.0) == 0.5


def test_every_query_waits_longer_than_less_than_nothing() -> None:
    assert solve_mdc(1.0, 0.5, 2).wait_exceeds(-1e-9) == 1.0
