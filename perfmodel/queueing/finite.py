"""Closed form of the machine repairman, M/M/k//N: so many users, who think, and wait for their answers."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from perfmodel.errors import InputError


class Repairman(NamedTuple):
    """What so many users see in the mean.

    Attributes
    ----------
    throughput_qps : float
        What they ask, and get answered, together. [queries/s]
    mean_latency_s : float
        From a query to its answer. [s]
    """

    throughput_qps: float
    mean_latency_s: float


def repairman(users: int, think_s: float, mean_service_s: float, executors: int) -> Repairman:
    """Mean latency and throughput of N users over k executors, all times exponential.

    With n queries under way they end at min(n, k) / S and come at (N - n) / Z; the law of n is that of a
    birth and death process ([1]_, section 3.8), throughput the mean rate at which they end, and latency by
    Little's law that of n over it.

    Parameters
    ----------
    users : int
        N, at least 1.
    think_s, mean_service_s : float
        Means Z and S. [s]
    executors : int
        k, at least 1.

    Raises
    ------
    InputError
        If a number is below 1, or a time not above 0.

    Examples
    --------
    Two users and one executor, all means 1 s: states 0, 1 and 2 with weights 1, 2 and 2.

    >>> two_users = repairman(2, 1.0, 1.0, 1)
    >>> print(f"{two_users.throughput_qps:.3g}, {two_users.mean_latency_s:.3g}")
    0.8, 1.5

    References
    ----------
    .. [1] L. Kleinrock, "Queueing Systems", volume 1, Wiley, 1975.
    """
    if users < 1 or executors < 1:
        raise InputError(f"repairman: expected users and executors >= 1, got {users} and {executors}")
    if not (think_s > 0 and mean_service_s > 0):
        raise InputError(f"repairman: expected times > 0, got {think_s:g} and {mean_service_s:g}")
    ratio = mean_service_s / think_s
    steps = [(users - n) * ratio / min(n + 1, executors) for n in range(users)]
    weights = [1.0, *accumulate(steps, lambda product, step: product * step)]
    total = sum(weights)
    under_way = sum(n * weight for n, weight in enumerate(weights)) / total
    busy = sum(min(n, executors) * weight for n, weight in enumerate(weights)) / total
    throughput_qps = busy / mean_service_s
    return Repairman(throughput_qps, under_way / throughput_qps)
