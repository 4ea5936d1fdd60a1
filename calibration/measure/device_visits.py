"""Visiting sequences of operators on an accelerator: each call's time there, and the host's to issue it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from calibration.measure.visits import (
    LARGEST_BATCH,
    Pool,
    Visit,
    pooled_elements,
    random_start,
    sequence_of,
    spread_sizes,
)
from calibration.runtime.device_timing import device_call_seconds, issue_call_seconds
from calibration.runtime.host_level import LaunchProbe
from calibration.runtime.memory import pooled_weights
from calibration.runtime.programme import Inputs, Programme, programme_with
from calibration.runtime.timing import Floats, kernel_seconds
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import RecModel

_WARM, _ISSUED, _TIMED, _FEWEST = 6, 11, 7, 3
"""Passes: the first ones load kernels and take memory; then the host is timed, then the device."""
_MOST_LOOKUPS, _MOST_DRAWN = 3e6, 15e6
"""Of one batch, and of all batches of a visit: the host draws them, which takes longer than using them."""
_SHORTEST_S = 1e-7
"""Of a kernel's device time: shorter ones are rounding of the time stamps."""


def device_visits(seeds: Sequence[int], pool: Pool, probe: LaunchProbe) -> Iterator[Visit]:
    """Visit sequences one after the other; the pool is on the accelerator."""
    with torch.inference_mode():
        for seed in seeds:
            yield from _visit(seed, pool, probe)


def _visit(seed: int, pool: Pool, probe: LaunchProbe) -> Iterator[Visit]:
    rng = np.random.default_rng((seed, 1))
    model = sequence_of(seed, pool)
    batches = spread_sizes(largest_batch(model, room_bytes=4.0 * pool.memory.numel()), rng)
    elements = pooled_elements(model)
    if not batches or elements >= pool.memory.numel():
        return
    weights = pooled_weights(pool.memory, random_start(pool, elements, rng))
    programme = programme_with(model, weights, probe.accelerator.device, probe.accelerator.dtype)
    for batch_size in batches:
        yield _visit_at(programme, seed, batch_size, rng, probe)


def largest_batch(model: RecModel, *, room_bytes: float) -> float:
    """The largest batch whose results fit into memory and whose lookups are drawn in time. [items]"""
    kernels = lower(model)
    result_bytes = sum(kernel.calls * kernel.written_bytes_per_item for kernel in kernels)
    lookups = max(model.lookups_per_item, 1e-9)
    return min(LARGEST_BATCH, room_bytes / max(result_bytes, 1.0), _MOST_LOOKUPS / lookups)


def _visit_at(
    programme: Programme, seed: int, batch_size: int, rng: np.random.Generator, probe: LaunchProbe
) -> Visit:
    """Every timed pass looks up rows of its own, which the device's cache has not seen."""
    accelerator = probe.accelerator
    drawn = batch_size * max(programme.model.lookups_per_item, 1e-9)
    timed = int(np.clip(_MOST_DRAWN / drawn - _WARM, _FEWEST, _TIMED))
    batches = [
        given.to(accelerator.device) for given in programme.many_inputs(batch_size, _WARM + timed, rng)
    ]
    for given in batches[:_WARM]:
        programme.run(given)
    before_s = probe.launch_s()
    issue = issue_call_seconds(programme, _in_turn(batches, _ISSUED), accelerator)
    probe_s = (before_s + probe.launch_s()) / 2.0
    device = device_call_seconds(programme, batches[_WARM:], accelerator, np.median(issue, axis=0))
    by_kernel = np.maximum(kernel_seconds(programme, device), _SHORTEST_S * _is_run(programme))
    low, middle, high = np.percentile(by_kernel, (25, 50, 75), axis=0)
    return Visit(
        seed=seed,
        batch_size=batch_size,
        seconds=middle,
        spread=(high - low) / 2.0 / np.maximum(middle, _SHORTEST_S),
        issue_s=np.asarray(np.median(kernel_seconds(programme, issue), axis=0)),
        probe_s=probe_s,
    )


def _in_turn(batches: Sequence[Inputs], count: int) -> list[Inputs]:
    return [batches[index % len(batches)] for index in range(count)]


def _is_run(programme: Programme) -> Floats:
    """1 for kernels whose time some call is charged to, 0 for the others."""
    run = np.zeros(len(programme.kernels))
    run[[call.kernels[-1] for call in programme.calls]] = 1.0
    return run
