"""How far off the service times of a node may be: the spread of their logarithm, device by device.

A profile states errors of what its fit had not seen: of whole passes, and where single calls were measured of
each kind of call. This module weighs them by what the node runs: which kinds take the time, in which batches,
with how many cores at work.
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from perfmodel.costmodel.kernels import Floats, surface_key
from perfmodel.costmodel.service_time import BatchTime
from perfmodel.domain.hardware import Device
from perfmodel.planning.node import ServingNode
from perfmodel.planning.request_mix import request_mix
from perfmodel.planning.sensitivity import Errors
from perfmodel.sim.policies import Policy, Pool, SizedPolicy
from perfmodel.sim.query_sizes import SizePmf

UNMEASURED_SPREAD = log(2.0)
"""Assumed where nothing was measured of a kind of call: off by a factor of two, either way. [ln]"""


def service_errors(node: ServingNode, policy: Policy, sizes: SizePmf) -> Errors:
    """Root mean square error of the logarithm of the service times, on the cores and on the accelerator.

    Parameters
    ----------
    node : ServingNode
        What serves.
    policy : Policy
        What splits and places queries.
    sizes : SizePmf
        Of the queries.

    Returns
    -------
    Errors
        Of the cores, 0 where they serve nothing; of the accelerator, None where no query goes there: an idle
        device moves no answer. [ln]
    """
    cpu = 0.0
    mix = request_mix(policy, sizes, workers=node.threads * node.num_workers)
    if mix is not None:
        time = node.cpu_time(mix.batch_size, node.cores, mix if node.cpu.surfaces else None)
        cpu = device_error(node.cpu, time, mix.share)
    return Errors(cpu, _accelerator_error(node, policy, sizes))


def device_error(device: Device, time: BatchTime, shares: Floats) -> float:
    """Spread of the time of a mix of passes, each as often as its share. [ln]"""
    by_kind: dict[str, float] = {}
    for timed in time.kernels:
        kind = surface_key(timed.kernel)
        by_kind[kind] = by_kind.get(kind, 0.0) + float(shares @ timed.seconds)
    total_s = sum(by_kind.values())
    if not device.surfaces:
        return device.relative_error
    squares = [(seconds / total_s * _kind_error(device, kind)) ** 2 for kind, seconds in by_kind.items()]
    return sqrt(sum(squares))


def _kind_error(device: Device, kind: str) -> float:
    surface = device.surfaces.get(kind)
    return UNMEASURED_SPREAD if surface is None else surface.relative_error


def _accelerator_error(node: ServingNode, policy: Policy, sizes: SizePmf) -> float | None:
    """Of launches of the queries that go there; None without any."""
    if node.accelerator is None or not node.num_accelerators:
        return None
    offloaded = _offloaded(policy, sizes)
    if not offloaded.any():
        return None
    items, weights = sizes.values[offloaded], sizes.probabilities[offloaded]
    time = node.accelerator_time(float(weights @ items / weights.sum()))
    assert time is not None, "there is an accelerator"
    return device_error(node.accelerator, time, np.ones(1))


def _offloaded(policy: Policy, sizes: SizePmf) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which sizes go to the accelerator; where more than the size decides, all may."""
    if isinstance(policy, SizedPolicy):
        thresholds = [lane.from_items for lane in policy.lanes if lane.pool is Pool.ACCELERATOR]
        return np.asarray(sizes.values >= min(thresholds, default=np.inf))
    sends = policy.largest_launch_items(Pool.ACCELERATOR, sizes.max_items) > 0
    return np.full(len(sizes.values), sends)
