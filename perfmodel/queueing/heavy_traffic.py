"""A queue that is nearly full: its backlog wanders as a Brownian motion does that is reflected at zero."""

from __future__ import annotations

from math import inf, log, sqrt


def late_share_deviation(
    share: float, *, wait_s: float, arrival_rate_qps: float, utilisation: float, num_queries: int
) -> float:
    """Relative standard deviation of the share of a run's queries that wait longer than a bound. [1]

    A backlog of drift -m and variance v a second, m = 1 - rho, is beyond t for a share p = exp(-2 m t / v)
    of time, so that p tells v, and forgets in tau = v / m^2 = 2 t / (m ln(1/p)). Over a time T that share has
    the variance 2 p (1 - p + p ln p) tau / T: the mean of v g'^2, where g solves Poisson's equation
    v g''/2 - m g' = p - 1{w > t}. Where all arrivals and all work of the run are those of its rate, as of
    balanced traffic, what the noise of the whole load explains is gone: (p ln p)^2 tau / T less.

    Parameters
    ----------
    share : float
        Of the queries, p, that wait longer, in (0, 1). [1]
    wait_s : float
        The bound t, > 0. [s]
    arrival_rate_qps : float
        Of queries, > 0. [queries/s]
    utilisation : float
        rho: inf is returned from 1 on. [1]
    num_queries : int
        Of the run.

    References
    ----------
    Derived here. The reflected Brownian motion, and the same for its mean: W. Whitt, "Planning queueing
    simulations", Management Science 35(11), 1989.

    Examples
    --------
    With a run of 200 times what the backlog takes to forget, a share of 5 % is known to a third:

    >>> forgets_queries = 2.0 * 100.0 / (0.03 * log(20.0))
    >>> round(late_share_deviation(0.05, wait_s=100.0, arrival_rate_qps=1.0, utilisation=0.97,
    ...                            num_queries=round(200 * forgets_queries)), 3)
    0.339
    """
    if utilisation >= 1.0:
        return inf
    forgets_s = 2.0 * wait_s / ((1.0 - utilisation) * log(1.0 / share))
    by_load = share * log(share)
    variance = 2.0 * share * (1.0 - share + by_load) - by_load**2
    return sqrt(variance * forgets_s * arrival_rate_qps / num_queries) / share
