"""What is measured once of an accelerator: launches, copies, memory bandwidth, its peak, and power."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice, repeat
from time import monotonic, perf_counter, sleep
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls

from calibration.measure.neighbours import busy_neighbours, run_sequences
from calibration.measure.visits import allocate_pool
from calibration.power import EnergyMeter, energy_of
from calibration.runtime.accelerator import Accelerator
from calibration.runtime.device_timing import held_intervals_s, stamp_overhead_s
from calibration.runtime.host_level import LaunchProbe
from calibration.runtime.memory import available_bytes

_REPEATS = 101
_RUNS = 7
_HOLD_S = 1e-3
_COPIED_BYTES = tuple(4096 * 4**power for power in range(8))
"""4 KiB to 64 MiB."""
_COPIED_FROM_BYTES = 1e9
_WRITTEN_BYTES = 2**16
"""Up to here the bytes copied are always the same, as short lists that were just written lie in a cache;
longer ones are others each time, and in no cache: twice as long a copy. Chosen after the models' errors with
either were seen (docs/gpu.md)."""
_IN_A_ROW = 8
"""Copies before the host waits for them: a pass makes several, and waits once."""
_MOST_MOVED_BYTES = 1e9
_MOST_ROWS = 8192
_ROOM = 0.1
"""Share of the free memory that a probe's tensor may take. [1]"""
_WORKED_ON_BYTES = 2e9
"""Memory that busy workers of the host read and write, all together. [bytes]"""
_STARTED_S = 0.3
_AT_A_TIME, _LAUNCHES = 4, 500
"""Calls of work between two looks at the clock: large ones, and small ones, which the card waits for."""


class Launches(NamedTuple):
    """Costs of launching that no call has for itself. [s]"""

    latency_s: float
    output_s: float


def launches(accelerator: Accelerator) -> Launches:
    """From a launch to the host's seeing its end, and what copying a small result back adds. [s]

    Medians of: issue a kernel on one element and wait, less the time to issue it and its time on the
    device; the same with a copy in place of waiting, less the former.
    """
    element = torch.zeros(1, device=accelerator.device)
    rows = np.array([_launched(element, accelerator) for _ in range(_REPEATS)])
    issue_s, waited_s, copied_s = np.median(rows, axis=0)
    device_s = device_seconds(lambda: element.add_(1.0), accelerator)
    return Launches(max(0.0, waited_s - issue_s - device_s), max(0.0, copied_s - waited_s))


def _launched(element: torch.Tensor, accelerator: Accelerator) -> tuple[float, float, float]:
    accelerator.synchronise()
    start = perf_counter()
    element.add_(1.0)
    issued = perf_counter()
    accelerator.synchronise()
    waited = perf_counter()
    element.add_(1.0)
    element.cpu()
    return issued - start, waited - start, perf_counter() - waited


def device_seconds(work: Callable[[], object], accelerator: Accelerator) -> float:
    """Median time of some work on the device, the host being ahead of it. [s]"""

    def issue() -> list[object]:
        start = accelerator.event()
        work()
        return [start, accelerator.event()]

    overhead_s = stamp_overhead_s(accelerator)
    work()
    seconds = [held_intervals_s(accelerator, issue, hold_s=_HOLD_S) for _ in range(_RUNS)]
    return max(1e-9, float(np.median(seconds)) - overhead_s)


class Copies(NamedTuple):
    """t = fixed + bytes / bandwidth, of copies that follow each other. [s], [bytes/s]"""

    fixed_s: float
    bandwidth_bytes_per_s: float


def copies(accelerator: Accelerator, *, pinned: bool) -> Copies:
    """Copies from the host's memory to the device, fitted to relative errors over 4 KiB to 64 MiB."""
    block = torch.rand(int(min(_COPIED_FROM_BYTES, _ROOM * accelerator.free_bytes()) / 4))
    block = accelerator.pinned(block) if pinned else block
    sizes = [size for size in _COPIED_BYTES if size <= 4 * len(block)]
    seconds = []
    for size in sizes:
        sources = _sources(block, size)
        seconds.append(float(np.median([_copied_s(sources, accelerator) for _ in range(_RUNS)])))
    return fitted_copies(np.array(sizes, float), np.array(seconds))


def _sources(block: torch.Tensor, size_bytes: int) -> Iterator[torch.Tensor]:
    """What is copied: the same bytes again and again where they are few, else one stretch after the other."""
    count = size_bytes // 4
    if size_bytes <= _WRITTEN_BYTES:
        return repeat(block[:count])
    return cycle(torch.split(block, count)[: len(block) // count])


def _copied_s(sources: Iterator[torch.Tensor], accelerator: Accelerator) -> float:
    chosen = list(islice(sources, _IN_A_ROW))
    accelerator.synchronise()
    start = perf_counter()
    for source in chosen:
        source.to(accelerator.device, non_blocking=True)
    accelerator.synchronise()
    return (perf_counter() - start) / _IN_A_ROW


def fitted_copies(size_bytes: np.ndarray, seconds: np.ndarray) -> Copies:
    """The line through times of copies, with relative errors and no negative part.

    Examples
    --------
    >>> sizes = np.array([1e4, 1e6, 1e8])
    >>> fixed_s, bandwidth = fitted_copies(sizes, 5e-6 + sizes / 10e9)
    >>> round(fixed_s * 1e6, 3), round(bandwidth / 1e9, 3)
    (5.0, 10.0)
    """
    amounts = np.stack([np.ones_like(size_bytes), size_bytes / 1e9], axis=1) / seconds[:, None]
    (fixed_s, per_gb_s), _ = nnls(amounts, np.ones_like(seconds))
    return Copies(float(fixed_s), 1e9 / max(float(per_gb_s), 1e-6))


def memory_bandwidth_bytes_per_s(accelerator: Accelerator) -> float:
    """Rate at which the device reads and writes its memory in a large copy. [bytes/s]"""
    source, target = _halves(accelerator)
    return 2.0 * 4.0 * len(source) / device_seconds(lambda: target.copy_(source), accelerator)


def _halves(accelerator: Accelerator) -> tuple[torch.Tensor, torch.Tensor]:
    """What a large copy reads and writes."""
    count = int(min(_MOST_MOVED_BYTES, _ROOM * accelerator.free_bytes()) / 4)
    source = torch.rand(count, device=accelerator.device)
    return source, torch.empty_like(source)


def peak_flop_per_s(accelerator: Accelerator) -> float:
    """Rate of a large square product in the accelerator's precision. [FLOP/s]"""
    left, right, out = _square_matrices(accelerator)
    return 2.0 * len(left) ** 3 / device_seconds(lambda: torch.mm(left, right, out=out), accelerator)


def idle_power_w(meter: EnergyMeter, seconds: float) -> dict[str, float]:
    """Power at rest, over so many seconds: `idle_w`. [W]

    A counter that does not move (some drivers', of virtual cards) gives nothing.
    """
    with energy_of(meter) as idle:
        sleep(seconds)
    return {"idle_w": idle.mean_w} if idle.mean_w else {}


def busy_power_w(meter: EnergyMeter, accelerator: Accelerator, seconds: float) -> dict[str, float]:
    """Power at three kinds of work, each over so many seconds, after as many of launches. [W]

    A card that multiplied just before draws a tenth more with small kernels for some seconds.
    `launched_w`: small kernels one after the other, as the host issues them; `copied_w`: a copy within the
    card's memory; `busy_w`: products of large matrices.
    """
    element = torch.zeros(1, device=accelerator.device)
    source, target = _halves(accelerator)
    left, right, out = _square_matrices(accelerator)
    launched: tuple[int, Callable[[], object]] = (_LAUNCHES, lambda: element.add_(1.0))
    works = {
        "settling": launched,
        "launched_w": launched,
        "copied_w": (_AT_A_TIME, lambda: target.copy_(source)),
        "busy_w": (_AT_A_TIME, lambda: torch.mm(left, right, out=out)),
    }
    found = {}
    for name, (calls, work) in works.items():
        accelerator.synchronise()
        with energy_of(meter) as energy:
            end_s = perf_counter() + seconds
            while perf_counter() < end_s:
                for _ in range(calls):
                    work()
                accelerator.synchronise()
        if energy.mean_w and name != "settling":
            found[name] = energy.mean_w
    return found


def _square_matrices(accelerator: Accelerator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = int(min(_MOST_ROWS, (_ROOM * accelerator.free_bytes() / 4) ** 0.5))
    left, right = (
        torch.rand(rows, rows, device=accelerator.device, dtype=accelerator.dtype) for _ in range(2)
    )
    return left, right, torch.empty_like(left)


def host_beside_workers(
    probe: LaunchProbe, accelerator: Accelerator, workers: int, duration_s: float
) -> dict[str, float]:
    """What the host's launches and copies take beside so many busy workers, and alone, in turn.

    The workers run sequences of operators over memory of their own, as on cores that serve. A look at either
    state takes a second: neighbours outside of this machine meet both.

    Returns
    -------
    dict of str to float
        `beside.launch_s`, `beside.copy_s` [s], `beside.copy_bytes_per_s` [bytes/s], the same of `apart`, and
        `beside.workers` [1]: medians over the looks.
    """
    found: dict[str, list[float]] = defaultdict(list)
    pool = allocate_pool(min(_WORKED_ON_BYTES, _ROOM * available_bytes()))
    end_s = monotonic() + duration_s
    with busy_neighbours(workers, partial(run_sequences, pool)) as running:
        while not found or monotonic() < end_s:
            for state in ("apart", "beside"):
                if state == "beside":
                    running.set()
                    sleep(_STARTED_S)
                launch_s = [probe.launch_s()]
                fixed_s, bandwidth = copies(accelerator, pinned=False)
                launch_s.append(probe.launch_s())
                running.clear()
                found[f"{state}.launch_s"] += launch_s
                found[f"{state}.copy_s"].append(fixed_s)
                found[f"{state}.copy_bytes_per_s"].append(bandwidth)
    return {name: float(np.median(values)) for name, values in found.items()} | {"beside.workers": workers}
