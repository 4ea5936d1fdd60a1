"""Queueing formulas: quick answers, and the tests' oracle.

Rates are of queries, lambda = `arrival_rate_qps`; services are of one request a query, mu = 1 / E[S] the
rate of one executor, c = `executors`; one FIFO queue. Every formula needs a utilisation below 1 and raises
`UnstableError` otherwise.
"""

from __future__ import annotations

from math import exp, expm1, inf, isclose, log

from perfmodel.errors import InputError, UnstableError


def utilisation(arrival_rate_qps: float, mean_service_s: float, executors: int = 1) -> float:
    """Fraction of the executors' time that the load needs: rho = lambda E[S] / c. [1]

    Derived here: the work that arrives in a second, over what c executors do in one.

    Parameters
    ----------
    arrival_rate_qps : float
        Rate lambda at which queries arrive, >= 0. [queries/s]
    mean_service_s : float
        Mean service time E[S], > 0. [s]
    executors : int, default 1
        Executors c, >= 1.

    Raises
    ------
    InputError
        If a value is outside these.

    Examples
    --------
    >>> utilisation(30.0, 0.1, executors=4)
    0.75
    """
    if not (arrival_rate_qps >= 0 and mean_service_s > 0 and executors >= 1):
        raise InputError(
            f"queueing: expected a rate >= 0, a service time > 0 and at least 1 executor, "
            f"got {arrival_rate_qps}, {mean_service_s} and {executors}"
        )
    return arrival_rate_qps * mean_service_s / executors


def stable_utilisation(arrival_rate_qps: float, mean_service_s: float, executors: int = 1) -> float:
    """Return the utilisation where it is below 1, and raise `UnstableError` where it is not. [1]

    Source: `utilisation`.

    Parameters
    ----------
    arrival_rate_qps, mean_service_s, executors
        As of `utilisation`. [queries/s], [s], [1]

    Raises
    ------
    InputError
        As `utilisation`.
    UnstableError
        From a utilisation of 1 up: the queue then has no stationary law.
    """
    rho = utilisation(arrival_rate_qps, mean_service_s, executors)
    if rho >= 1:
        raise UnstableError(f"the load needs {rho:.3g} times what the executors can serve", utilisation=rho)
    return rho


def littles_law_mean_number(arrival_rate_qps: float, mean_time_s: float) -> float:
    """Mean number present, from the mean time spent there: L = lambda W [1]_. [1]

    Parameters
    ----------
    arrival_rate_qps : float
        Rate lambda at which queries arrive and, in the mean, leave. [queries/s]
    mean_time_s : float
        Mean time W that a query spends there: in the queue, in service, or in both. [s]

    References
    ----------
    .. [1] J. D. C. Little, "A proof for the queuing formula L = λW", Operations Research 9(3), 1961.

    Examples
    --------
    >>> littles_law_mean_number(400.0, 0.25)
    100.0
    """
    return arrival_rate_qps * mean_time_s


def erlang_c(arrival_rate_qps: float, mean_service_s: float, executors: int) -> float:
    """Probability that a query waits in M/M/c: Erlang's delay formula. [1]

    B(0) = 1, B(j) = a B(j-1) / (j + a B(j-1)), C = B(c) / (1 - rho (1 - B(c))), with a = lambda E[S]
    ([1]_, section 2.3): no factorials, so no overflow at any c.

    Parameters
    ----------
    arrival_rate_qps : float
        Rate lambda of the Poisson arrivals. [queries/s]
    mean_service_s : float
        Mean E[S] of the exponential service. [s]
    executors : int
        Executors c.

    Raises
    ------
    InputError, UnstableError
        As `stable_utilisation`.

    References
    ----------
    .. [1] D. Gross et al., "Fundamentals of Queueing Theory", 4th ed., Wiley, 2008.

    Examples
    --------
    >>> round(erlang_c(3.0, 0.5, 2), 6)  # a = 1.5: 9/14 by hand
    0.642857
    """
    rho = stable_utilisation(arrival_rate_qps, mean_service_s, executors)
    load = rho * executors
    blocked = 1.0
    for servers in range(1, executors + 1):
        blocked = load * blocked / (servers + load * blocked)
    return blocked / (1.0 - rho * (1.0 - blocked))


def mmc_mean_wait_s(arrival_rate_qps: float, mean_service_s: float, executors: int) -> float:
    """Mean wait in M/M/c: C E[S] / (c (1 - rho)) ([1]_, section 2.3). [s]

    Parameters
    ----------
    arrival_rate_qps, mean_service_s, executors
        As of `erlang_c`, which gives C. [queries/s], [s], [1]

    Raises
    ------
    InputError, UnstableError
        As `stable_utilisation`.

    References
    ----------
    .. [1] D. Gross et al., "Fundamentals of Queueing Theory", 4th ed., Wiley, 2008.

    Examples
    --------
    >>> mmc_mean_wait_s(0.5, 1.0, 1)  # M/M/1: rho / (1 - rho)
    1.0
    """
    rho = stable_utilisation(arrival_rate_qps, mean_service_s, executors)
    waits = erlang_c(arrival_rate_qps, mean_service_s, executors)
    return waits * mean_service_s / (executors * (1.0 - rho))


def mmc_wait_exceeds(time_s: float, arrival_rate_qps: float, mean_service_s: float, executors: int) -> float:
    """Probability that a query of M/M/c waits longer: C exp(-(c mu - lambda) t) ([1]_, section 2.3). [1]

    Parameters
    ----------
    time_s : float
        Time t in the queue, >= 0. [s]
    arrival_rate_qps, mean_service_s, executors
        As of `erlang_c`, which gives C. [queries/s], [s], [1]

    Raises
    ------
    InputError, UnstableError
        As `stable_utilisation`.

    References
    ----------
    .. [1] D. Gross et al., "Fundamentals of Queueing Theory", 4th ed., Wiley, 2008.

    Examples
    --------
    >>> mmc_wait_exceeds(0.0, 0.5, 1.0, 1)  # M/M/1: rho
    0.5
    """
    rho = stable_utilisation(arrival_rate_qps, mean_service_s, executors)
    drain_per_s = executors * (1.0 - rho) / mean_service_s
    return erlang_c(arrival_rate_qps, mean_service_s, executors) * exp(-drain_per_s * time_s)


def mmc_wait_percentile_s(
    percentile: float, arrival_rate_qps: float, mean_service_s: float, executors: int
) -> float:
    """Percentile of the wait in M/M/c; 0 where fewer queries wait. [s]

    Derived here: `mmc_wait_exceeds` solved for the time, t = ln(C / (1 - p)) / (c mu - lambda).

    Parameters
    ----------
    percentile : float
        Fraction p of the queries that wait at most so long, in (0, 1). [1]
    arrival_rate_qps, mean_service_s, executors
        As of `erlang_c`. [queries/s], [s], [1]

    Raises
    ------
    InputError
        If the percentile is no fraction; or as `stable_utilisation`.
    UnstableError
        As `stable_utilisation`.

    Examples
    --------
    >>> round(mmc_wait_percentile_s(0.95, 0.5, 1.0, 1), 3)  # 2 ln(0.5 / 0.05)
    4.605
    """
    _require_fraction(percentile)
    rho = stable_utilisation(arrival_rate_qps, mean_service_s, executors)
    waits = erlang_c(arrival_rate_qps, mean_service_s, executors)
    if waits <= 1.0 - percentile:
        return 0.0
    return log(waits / (1.0 - percentile)) * mean_service_s / (executors * (1.0 - rho))


def mmc_latency_exceeds(
    time_s: float, arrival_rate_qps: float, mean_service_s: float, executors: int
) -> float:
    """Probability that a query of M/M/c takes longer, wait and service. [1]

    Derived here: the convolution of the wait's law (`mmc_wait_exceeds`) with the exponential service; with
    the drain rate d = c mu - lambda, (1 - C) e^(-mu t) + C (d e^(-mu t) - mu e^(-d t)) / (d - mu).

    Parameters
    ----------
    time_s : float
        Time t from arrival to the end of the service, >= 0. [s]
    arrival_rate_qps, mean_service_s, executors
        As of `erlang_c`, which gives C. [queries/s], [s], [1]

    Raises
    ------
    InputError, UnstableError
        As `stable_utilisation`.

    Examples
    --------
    >>> round(mmc_latency_exceeds(2.0, 0.5, 1.0, 1), 6)  # M/M/1: exp(-(mu - lambda) t)
    0.367879
    """
    rho = stable_utilisation(arrival_rate_qps, mean_service_s, executors)
    waits = erlang_c(arrival_rate_qps, mean_service_s, executors)
    service_per_s = 1.0 / mean_service_s
    gap_per_s = executors * (1.0 - rho) / mean_service_s - service_per_s  # d - mu
    gap = gap_per_s * time_s
    # mu (e^(-mu t) - e^(-d t)) / (d - mu), which tends to mu t e^(-mu t) where d = mu.
    shape = 1.0 if isclose(gap, 0.0, abs_tol=1e-12) else -expm1(-gap) / gap
    return exp(-service_per_s * time_s) * (1.0 + waits * service_per_s * time_s * shape)


def mmc_latency_percentile_s(
    percentile: float, arrival_rate_qps: float, mean_service_s: float, executors: int
) -> float:
    """Percentile of the latency in M/M/c. [s]

    Derived here: `mmc_latency_exceeds` = 1 - p, solved for the time by bisection, to 1e-13 of it.

    Parameters
    ----------
    percentile : float
        Fraction p of the queries that take at most so long, in (0, 1). [1]
    arrival_rate_qps, mean_service_s, executors
        As of `erlang_c`. [queries/s], [s], [1]

    Raises
    ------
    InputError
        If the percentile is no fraction; or as `stable_utilisation`.
    UnstableError
        As `stable_utilisation`.

    Examples
    --------
    >>> round(mmc_latency_percentile_s(0.95, 0.5, 1.0, 1), 4)  # -ln(0.05) / (mu - lambda)
    5.9915
    """
    _require_fraction(percentile)
    low_s, high_s = 0.0, mean_service_s
    while mmc_latency_exceeds(high_s, arrival_rate_qps, mean_service_s, executors) > 1.0 - percentile:
        low_s, high_s = high_s, 2.0 * high_s
    while high_s - low_s > 1e-13 * high_s:
        middle_s = 0.5 * (low_s + high_s)
        if middle_s in (low_s, high_s):
            break
        exceeds = mmc_latency_exceeds(middle_s, arrival_rate_qps, mean_service_s, executors)
        low_s, high_s = (middle_s, high_s) if exceeds > 1.0 - percentile else (low_s, middle_s)
    return high_s


def mmc_greatest_rate_qps(
    percentile: float, latency_s: float, mean_service_s: float, executors: int
) -> float | None:
    """Rate at which the percentile of the latency in M/M/c is `latency_s`; None: an idle node is slower.

    Derived here: the root of `mmc_latency_exceeds` = 1 - p in the rate, by bisection to 1e-9 of the greatest:
    the share of late queries grows with the rate. [queries/s]

    Parameters
    ----------
    percentile : float
        Fraction p of the queries that are to be in time, in (0, 1). [1]
    latency_s : float
        Time within which they are to end. [s]
    mean_service_s : float
        Mean E[S] of the exponential service. [s]
    executors : int
        Executors c.

    Raises
    ------
    InputError
        If the percentile is no fraction.

    Examples
    --------
    >>> round(mmc_greatest_rate_qps(0.95, 5.9915, 1.0, 1), 4)  # M/M/1: mu + ln(0.05) / t
    0.5
    """
    _require_fraction(percentile)
    if exp(-latency_s / mean_service_s) > 1.0 - percentile:
        return None
    low_qps, high_qps = 0.0, executors / mean_service_s
    while high_qps - low_qps > 1e-9 * high_qps:
        middle_qps = 0.5 * (low_qps + high_qps)
        late = mmc_latency_exceeds(latency_s, middle_qps, mean_service_s, executors) > 1.0 - percentile
        low_qps, high_qps = (low_qps, middle_qps) if late else (middle_qps, high_qps)
    return low_qps


def mg1_mean_wait_s(arrival_rate_qps: float, mean_service_s: float, service_scv: float) -> float:
    """Mean wait in M/G/1: the Pollaczek-Khinchine formula [1]_. [s]

    W = rho / (1 - rho) (1 + C^2) / 2 E[S]

    Parameters
    ----------
    arrival_rate_qps : float
        Rate of the Poisson arrivals. [queries/s]
    mean_service_s : float
        Mean service time. [s]
    service_scv : float
        Squared coefficient of variation of the service time, Var[S] / E[S]^2, >= 0. [1]

    Raises
    ------
    InputError
        If the variation is negative or infinite; or as `stable_utilisation`.
    UnstableError
        As `stable_utilisation`.

    References
    ----------
    .. [1] L. Kleinrock, "Queueing Systems", vol. 1, Wiley, 1975, equation 5.69.

    Examples
    --------
    >>> mg1_mean_wait_s(0.5, 1.0, 0.0), mg1_mean_wait_s(0.5, 1.0, 1.0), mg1_mean_wait_s(0.5, 1.0, 3.0)
    (0.5, 1.0, 2.0)
    """
    if service_scv < 0 or service_scv == inf:
        raise InputError(f"queueing: expected a finite squared coefficient of variation, got {service_scv}")
    rho = stable_utilisation(arrival_rate_qps, mean_service_s)
    return rho / (1.0 - rho) * (1.0 + service_scv) / 2.0 * mean_service_s


def md1_mean_wait_s(arrival_rate_qps: float, service_s: float) -> float:
    """Mean wait in M/D/1, half that of M/M/1: rho D / (2 (1 - rho)). [s]

    Derived here: `mg1_mean_wait_s` without variation.

    Parameters
    ----------
    arrival_rate_qps : float
        Rate of the Poisson arrivals. [queries/s]
    service_s : float
        Time D of every service. [s]

    Raises
    ------
    InputError, UnstableError
        As `stable_utilisation`.

    Examples
    --------
    >>> md1_mean_wait_s(0.5, 2.0e-1) == 0.5 * 0.1 / 0.9 * 0.2
    True
    """
    return mg1_mean_wait_s(arrival_rate_qps, service_s, 0.0)


def _require_fraction(percentile: float) -> None:
    if not 0 < percentile < 1:
        raise InputError(f"percentile: expected a fraction between 0 and 1, got {percentile}")
