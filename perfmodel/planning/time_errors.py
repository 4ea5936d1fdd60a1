"""The error of a node's service times: the spread of their logarithm, device by device.

A profile states errors of what its fit had not seen: of whole passes, and where single calls were measured of
each kind of call. They are weighed by what the node runs: which kinds take the time, in which batches, with
how many cores at work.
"""

from __future__ import annotations

from collections.abc import Container
from math import hypot, log, log1p, sqrt

import numpy as np

from perfmodel.costmodel.contention import paired_fraction
from perfmodel.costmodel.issue import BESIDE_CORES_SPREAD
from perfmodel.costmodel.kernels import Floats, is_stand_in, measured_as, surface_key
from perfmodel.costmodel.service_time import BatchTime
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.planning.node import ServingNode, is_issued_beside_cores
from perfmodel.planning.sensitivity import SHARDED_SPREAD
from perfmodel.sim.policies import Policy, Pool, SizedPolicy
from perfmodel.sim.query_sizes import SizePmf

UNMEASURED_SPREAD = log(2.0)
"""Assumed where nothing was measured of a kind of call: off by a factor of two, either way. [ln]"""
EDITED_SPREAD = log(1.5)
"""Assumed of a profile that was edited by hand: off by a factor of 1.5, beside its own errors. [ln]"""
_MOST_LEFT_OUT = 0.99
"""Share from which a file says nothing about its module's time: its spread ends at a factor of 100. [1]"""


def device_error(device: Device, model: str, time: BatchTime, shares: Floats) -> float:
    """Spread of the time of a mix of passes, each as often as its share. [ln]

    Where calls were measured one by one, each kind has its own spread, s_k, and w_k of the time:
    (1 - r) sum (w_k s_k)^2 + r (sum w_k s_k)^2, r being the correlation between kinds that the calibration
    found in sequences left out. What lies beyond what was measured of a kind is off by a factor of two, as
    what was never measured. Elsewhere a model's passes have the spread that the profile states, and kinds
    that its figures did not contain come on top, together: a formula without a fit errs alike in all.

    Parameters
    ----------
    device : Device
        With its stack.
    model : str
        Name of what runs.
    time : BatchTime
        Passes of the sizes in the mix.
    shares : (n,) float array
        How often each size comes.
    """
    parts = _kind_shares(time, shares, device.surfaces)
    if device.surfaces:
        spreads = [
            (share - far) * (UNMEASURED_SPREAD if surface is None else surface.relative_error)
            + far * UNMEASURED_SPREAD
            for kind, (share, far) in parts.items()
            if (surface := device.surfaces.get(kind[1])) is not None or kind[0] != "input"
        ]
        correlation = device.errors.correlation
        together = correlation * sum(spreads) ** 2
        found = sqrt((1.0 - correlation) * sum(spread**2 for spread in spreads) + together)
        # Kinds are of the card's time, or of a flat list of calls: the host's, the modules' is in the whole.
        if device.launches is not None or device.modules is not None:
            found = max(found, device.errors.of_model(model))
        if device.modules is not None:
            found = hypot(found, _of_narrow_tables(device, time, shares))
    else:
        known = device.errors.kinds
        unlike = sum(
            share for (family, _), (share, _) in parts.items() if known is not None and family not in known
        )
        found = hypot(device.errors.of_model(model), unlike * UNMEASURED_SPREAD)
    return hypot(found, EDITED_SPREAD) if device.is_edited else found


def _of_narrow_tables(device: Device, time: BatchTime, shares: Floats) -> float:
    """What lookups in tables of shorter elements add: the error of their own law by their share. [ln]"""
    from perfmodel.costmodel.module_costs import table_law  # few stacks were measured as modules

    total_s = sum(float(shares @ timed.seconds) for timed in time.kernels)
    laws = ((timed, table_law(timed.kernel, device)) for timed in time.kernels)
    off_s = sum(float(shares @ timed.seconds) * law.relative_error for timed, law in laws if law is not None)
    return off_s / total_s


def left_out_spread(model: RecModel) -> float:
    """Spread of the time of a model whose file leaves a share of its work out: -ln(1 - share). [ln]

    By so much the time would be longer if what is left out took as long as its share of the work.

    Parameters
    ----------
    model : RecModel
        The model.
    """
    if model.unmodelled is None:
        return 0.0
    return -log1p(-min(model.unmodelled.share, _MOST_LEFT_OUT))


def loaded_spread(cpu: Device, cores: int) -> float:
    """What the slow-down by a serving stack adds, all `cores` being busy. [ln]

    Answers turn where all are. A time grows as 1 + (f - 1) u with the share u of the other cores that is
    busy: f being off by a share moves it by f u / (1 + (f - 1) u) of that.
    """
    factor = cpu.interference.node_factor
    used = min(1.0, (cores - 1) / max(1, cpu.num_cores - 1))
    return cpu.interference.node_factor_spread * factor * used / (1.0 + (factor - 1.0) * used)


def paired_spread(cpu: Device, cores: int) -> float:
    """What an assumed slow-down of two workers on a core adds, all `cores` being busy. [ln]

    A mean request takes 1 / (1 - p + p / f) times as long, p being the share of the workers that are paired:
    f being off by a share moves that by (p / f) / (1 - p + p / f) of it. Of products and lookups the
    smaller f is taken, which moves more.
    """
    shared = cpu.interference
    paired = float(paired_fraction(cpu, np.array(float(cores)), copies=False))
    carried = paired / min(shared.hyper_thread_gemm, shared.hyper_thread_lookup)
    return shared.hyper_thread_spread * carried / (1.0 - paired + carried)


def _kind_shares(
    time: BatchTime, shares: Floats, measured: Container[str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Share of the time of each kind of call, by family and name of its surface; and what is far out. [1]"""
    seconds: dict[tuple[str, str], tuple[float, float]] = {}
    for timed in time.kernels:
        key = measured_as(timed.kernel, measured)
        if key is None or is_stand_in(timed.kernel, key):  # of what stands in, no error is known
            key = surface_key(timed.kernel)
        kind = timed.kernel.family, key
        own_s, far_s = seconds.get(kind, (0.0, 0.0))
        of_kernel_s = float(shares @ timed.seconds)
        is_far = timed.basis is Basis.EXTRAPOLATED
        seconds[kind] = own_s + of_kernel_s, far_s + is_far * of_kernel_s
    total_s = sum(own_s for own_s, _ in seconds.values())
    return {kind: (own_s / total_s, far_s / total_s) for kind, (own_s, far_s) in seconds.items()}


def accelerator_error(node: ServingNode, policy: Policy, sizes: SizePmf) -> float | None:
    """Of launches of the queries that go there; None without any."""
    if node.accelerator is None or not node.num_accelerators:
        return None
    items = mean_offloaded_items(policy, sizes)
    if items is None:
        return None
    time = node.accelerator_time(items)
    assert time is not None, "there is an accelerator"
    found = device_error(node.accelerator, node.model.name, time, np.ones(1))
    found = hypot(found, left_out_spread(node.model))
    if node.card_tiers is not None or node.shards is not None:
        found = hypot(found, SHARDED_SPREAD)
    beside = is_issued_beside_cores(node, policy, sizes.max_items)
    return hypot(found, BESIDE_CORES_SPREAD) if beside else found


def mean_offloaded_items(policy: Policy, sizes: SizePmf) -> float | None:
    """Mean size of the queries that go to an accelerator; None without any. [items]"""
    offloaded = _offloaded(policy, sizes)
    if not offloaded.any():
        return None
    items, weights = sizes.values[offloaded], sizes.probabilities[offloaded]
    return float(weights @ items / weights.sum())


def _offloaded(policy: Policy, sizes: SizePmf) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which sizes go to the accelerator; where more than the size decides, all may."""
    if isinstance(policy, SizedPolicy):
        thresholds = [lane.from_items for lane in policy.lanes if lane.pool is Pool.ACCELERATOR]
        return np.asarray(sizes.values >= min(thresholds, default=np.inf))
    sends = policy.largest_launch_items(Pool.ACCELERATOR, sizes.max_items) > 0
    return np.full(len(sizes.values), sends)
