"""M/D/c: Poisson arrivals, c executors, every service equally long. Exact."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from perfmodel.errors import InputError
from perfmodel.queueing.closed_forms import stable_utilisation

# States beyond the truncation hold less than this probability.
NEGLIGIBLE = 1e-14
MOST_UTILISED = 0.98


@dataclass(frozen=True, slots=True, eq=False)
class MDc:
    """The stationary law of an M/D/c queue.

    Whoever is in service at time t has left at t + D, and whoever arrived in between has not: the
    number present therefore satisfies N(t + D) = max(N(t) - c, 0) + Poisson(lambda D) [1]_. `solve_mdc`
    solves this chain.

    Attributes
    ----------
    arrival_rate_qps, service_s, executors
        lambda, D and c. [queries/s], [s], [1]
    number_pmf : (m,) float
        Probability of j queries present, waiting or in service. [1]

    References
    ----------
    .. [1] C. D. Crommelin, "Delay probability formulae when the holding times are constant",
       Post Office Electrical Engineers' Journal 25, 1932.
    .. [2] G. J. Franx, "A simple solution for the M/D/c waiting time distribution",
       Operations Research Letters 29(5), 2001, equation 1.
    """

    arrival_rate_qps: float
    service_s: float
    executors: int
    number_pmf: NDArray[np.float64]

    @property
    def mean_wait_s(self) -> float:
        """Mean wait: the mean number that waits over lambda. [s]

        Source: Little's law, see `perfmodel.queueing.closed_forms.littles_law_mean_number`.
        """
        waiting = np.maximum(np.arange(len(self.number_pmf)) - self.executors, 0)
        return float(waiting @ self.number_pmf) / self.arrival_rate_qps

    def wait_exceeds(self, time_s: float) -> float:
        """Probability that a query waits longer than `time_s`: 1 - P(W <= x) of [2]_. [1]

        P(W <= x) = exp(-lambda (k D - x)) sum_{j < k c} Q(k c - 1 - j) (lambda (k D - x))^j / j!
        for (k - 1) D <= x < k D, where Q(m) is the probability that at most m queries wait.

        Parameters
        ----------
        time_s : float
            Time x in the queue; below 0 every query waits longer. [s]

        References
        ----------
        .. [2] G. J. Franx, "A simple solution for the M/D/c waiting time distribution",
           Operations Research Letters 29(5), 2001, equation 1.
        """
        if time_s < 0:
            return 1.0
        periods = floor(time_s / self.service_s) + 1
        slack = self.arrival_rate_qps * (periods * self.service_s - time_s)
        terms = np.arange(periods * self.executors)
        at_most = np.cumsum(self.number_pmf)[self.executors :]  # Q(0), Q(1), …
        queue = np.minimum(periods * self.executors - 1 - terms, len(at_most) - 1)
        arrivals = np.exp(terms * log(slack) - slack - gammaln(terms + 1.0)) if slack > 0 else terms == 0
        return max(0.0, 1.0 - float(at_most[queue] @ arrivals))

    def wait_percentile_s(self, percentile: float) -> float:
        """Percentile of the wait; 0 where fewer queries wait. [s]

        Derived here: `wait_exceeds` = 1 - p, solved for the time by bisection, to 1e-12 of a service.

        Parameters
        ----------
        percentile : float
            Fraction p of the queries that wait at most so long, in (0, 1). [1]

        Raises
        ------
        InputError
            If the percentile is no fraction.
        """
        if not 0 < percentile < 1:
            raise InputError(f"percentile: expected a fraction between 0 and 1, got {percentile}")
        if self.wait_exceeds(0.0) <= 1.0 - percentile:
            return 0.0
        low_s, high_s = 0.0, self.service_s
        while self.wait_exceeds(high_s) > 1.0 - percentile:
            low_s, high_s = high_s, 2.0 * high_s
        while high_s - low_s > 1e-12 * self.service_s:
            middle_s = 0.5 * (low_s + high_s)
            exceeds = self.wait_exceeds(middle_s) > 1.0 - percentile
            low_s, high_s = (middle_s, high_s) if exceeds else (low_s, middle_s)
        return high_s


def solve_mdc(arrival_rate_qps: float, service_s: float, executors: int) -> MDc:
    """Return the stationary law of M/D/c, from the chain truncated where nothing is left.

    The chain is Crommelin's [1]_, N(t + D) = max(N(t) - c, 0) + Poisson(lambda D). Its truncation is derived
    here: the tail of the number present falls like z^-j, with e^(a (z - 1)) = z^c and a = lambda D.

    Parameters
    ----------
    arrival_rate_qps : float
        Rate lambda of the Poisson arrivals, > 0. [queries/s]
    service_s : float
        Time D of every service. [s]
    executors : int
        Executors c.

    Raises
    ------
    InputError
        If the rate is 0, or so close to saturation that the law takes more than 5000 states; or as
        `stable_utilisation`.
    UnstableError
        As `stable_utilisation`.

    References
    ----------
    .. [1] C. D. Crommelin, "Delay probability formulae when the holding times are constant",
       Post Office Electrical Engineers' Journal 25, 1932.

    Examples
    --------
    >>> round(solve_mdc(0.5, 1.0, 1).mean_wait_s, 9)  # M/D/1: rho D / (2 (1 - rho))
    0.5
    >>> round(solve_mdc(0.5, 1.0, 1).wait_exceeds(0.0), 9)  # M/D/1: rho
    0.5
    """
    rho = stable_utilisation(arrival_rate_qps, service_s, executors)
    if rho == 0:
        raise InputError("queueing: M/D/c: expected an arrival rate > 0")
    load = rho * executors
    states = _states_needed(load, executors)
    # Column j of the chain: j arrivals during D on top of whoever was left waiting.
    arrivals = np.exp(np.arange(states) * log(load) - load - gammaln(np.arange(states) + 1.0))
    transition = np.zeros((states, states))
    for present in range(states):
        left = max(present - executors, 0)
        transition[present, left:] = arrivals[: states - left]
    # Probability that leaves the truncation stays in its last state; `_states_needed` makes it negligible.
    transition[:, -1] += 1.0 - transition.sum(axis=1)
    system = transition.T - np.eye(states)
    system[-1] = 1.0
    right_side = np.zeros(states)
    right_side[-1] = 1.0
    number_pmf = np.maximum(np.linalg.solve(system, right_side), 0.0)
    return MDc(arrival_rate_qps, service_s, executors, number_pmf / number_pmf.sum())


def mdc_greatest_rate_qps(
    percentile: float, latency_s: float, service_s: float, executors: int
) -> float | None:
    """Rate at which the percentile of the latency in M/D/c is `latency_s`; None: an idle node is slower.

    Derived here: the root of P(W > t - D) = 1 - p in the rate, by bisection to 1e-7 of it, up to a
    utilisation of 98 %. [queries/s]

    Parameters
    ----------
    percentile : float
        Fraction p of the queries that are to be in time, in (0, 1). [1]
    latency_s : float
        Time t within which they are to end. [s]
    service_s : float
        Time D of every service. [s]
    executors : int
        Executors c.

    Raises
    ------
    InputError
        If the percentile is no fraction, or the rate lies beyond that utilisation.

    Examples
    --------
    The share that waits at all in M/D/1 is the utilisation: 5 % of the queries may, at 0.05 queries/s.

    >>> round(mdc_greatest_rate_qps(0.95, 1.0, 1.0, 1), 6)
    0.05
    """
    if not 0 < percentile < 1:
        raise InputError(f"percentile: expected a fraction between 0 and 1, got {percentile}")
    if latency_s < service_s:
        return None
    low_qps, high_qps = 0.0, MOST_UTILISED * executors / service_s
    if solve_mdc(high_qps, service_s, executors).wait_exceeds(latency_s - service_s) <= 1.0 - percentile:
        raise InputError(
            f"queueing: M/D/c: {latency_s} s are met beyond {MOST_UTILISED:.0%} utilisation; expected less: "
            f"nearer to saturation the law takes too many states to solve"
        )
    while high_qps - low_qps > 1e-7 * high_qps:
        middle_qps = 0.5 * (low_qps + high_qps)
        exceeds = solve_mdc(middle_qps, service_s, executors).wait_exceeds(latency_s - service_s)
        late = exceeds > 1.0 - percentile
        low_qps, high_qps = (low_qps, middle_qps) if late else (middle_qps, high_qps)
    return low_qps


def _states_needed(load: float, executors: int) -> int:
    """Truncate where the geometric tail of the number present, z^-j with e^(load (z - 1)) = z^c, is nil."""
    low, high = 1.0, 2.0
    while load * (high - 1.0) < executors * log(high):
        high *= 2.0
    low = executors / load  # the minimum of load (z - 1) - c log z lies left of the root
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if load * (middle - 1.0) < executors * log(middle) else (low, middle)
    tail = ceil(-log(NEGLIGIBLE) / log(high))
    bulk = ceil(executors + load + 12.0 * sqrt(load))
    if (states := bulk + tail) > 5000:
        raise InputError(
            f"queueing: M/D/c at utilisation {load / executors:.4f} needs {states} states; expected <= 5000"
        )
    return states
