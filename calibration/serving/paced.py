"""A paced closed loop: the mixed request sizes of a scenario, with pauses as under a load."""

from __future__ import annotations

import numpy as np

from calibration.serving.requests import RequestList, requests_of
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.policies import Policy
from perfmodel.sim.streams import stream
from perfmodel.sim.traffic import TrafficSource


def paced_requests(
    traffic: TrafficSource,
    policy: Policy,
    num_requests: int,
    *,
    utilisation: float,
    mean_service_s: float,
    seed: int,
    replication: int = 0,
    shares: FloatArray | None = None,
) -> tuple[RequestList, FloatArray]:
    """Draw requests, those that the policy offloads among them, and the pause before each. [s]

    At utilisation u a request finds its worker idle with probability 1 - u, and idle for an exponential
    time of mean s / u; otherwise it follows at once. Over many requests a worker is then busy for the
    share u of the time, in busy periods as under Poisson arrivals: remainders, co-located work and first
    requests after idling are all in the sample, in about the proportions of the real load. The accelerator
    is one more worker: it is paced by the cores' mean, and what its own requests take beside busy cores
    is seen before a rate is chosen.

    Parameters
    ----------
    traffic, policy
        Where sizes come from, and how queries become requests.
    num_requests : int
        How many.
    utilisation : float
        Share of the time in which a worker is to be busy, in (0, 1]. [1]
    mean_service_s : float
        Expected service time of a request. [s]
    seed, replication : int
        Choose the random streams.
    shares : (kinds,) float, optional
        How often each length of a history comes; none: all are of one. [1]
    """
    sizes_only = requests_of(traffic.draw(num_requests, seed=seed, replication=replication), policy, shares)
    rng = stream(seed, "anchor", replication)
    # Requests of other queries between those of one: the order is shuffled, the mixture stays.
    chosen = rng.permutation(len(sizes_only.query))[:num_requests]
    idle = rng.random(len(chosen)) > utilisation
    pause_s = np.where(idle, rng.exponential(mean_service_s / utilisation, len(chosen)), 0.0)
    listed = RequestList(
        query=np.arange(len(chosen)),
        num_items=sizes_only.num_items[chosen],
        arrival_s=np.zeros(len(chosen)),
        offloaded=sizes_only.offloaded[chosen],
        kind=sizes_only.kind[chosen],
        sent=sizes_only.sent[chosen],  # of somebody, before the loop began: nothing is waited for
    )
    return listed, pause_s
