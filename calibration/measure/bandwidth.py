"""Memory bandwidth: what one worker reads, and how all of them share what the memory gives."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.synchronize import Event

import numpy as np
import torch
from scipy.optimize import least_squares

from calibration.measure.neighbours import busy_neighbours
from calibration.measure.visits import Pool
from perfmodel.costmodel.contention import saturation_stretch

_READ_BYTES = 256e6
_READS = 5
_PIECE_BYTES = 64e6
_ROW_ELEMENTS, _ROWS, _BAGS = 128, 100, 64
"""Rows of 512 bytes: long enough to ask for bandwidth, and looked up at random."""
_INDICES = 64
_LOOK_S = 0.5
_STARTED_S = 0.02
_LEAST_S = 0.05
_LIKELY_SHARPNESS, _SHARPNESS_SPREAD = 4.0, 0.7
"""What is expected of the sharpness, and how far off its logarithm may be: a few counts hardly tell. [1]"""

Reader = Callable[[int], float]
"""Reads its n-th piece of memory; the bytes read."""


def read_bandwidth_bytes_per_s(pool: Pool) -> float:
    """Rate at which one worker reads memory that no cache holds. [bytes/s]"""
    count = int(min(_READ_BYTES / 4, pool.memory.numel()))
    rates = []
    for _ in range(_READS):
        start = time.perf_counter()
        pool.memory[:count].sum()
        rates.append(4.0 * count / (time.perf_counter() - start))
    return float(np.median(rates))


class SharedReads:
    """Short looks, all over a calibration, at what workers read together.

    On a shared host that changes within seconds: virtual cores move, and so does what they share.

    Parameters
    ----------
    counts : sequence of int
        Numbers of workers, looked at in turn.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts, self._turn = counts, 0
        self._found: defaultdict[str, list[float]] = defaultdict(list)

    def look(self, pool: Pool) -> dict[str, float]:
        """Look once more; medians of all looks so far, none without a count. [bytes/s]"""
        if self._counts:
            workers = self._counts[self._turn % len(self._counts)]
            self._turn += 1
            for key, rate in shared_bandwidth(pool, _LOOK_S, workers).items():
                self._found[key].append(rate)
        return {key: float(np.median(rates)) for key, rates in self._found.items()}


def shared_bandwidth(pool: Pool, duration_s: float, workers: int) -> dict[str, float]:
    """What one of `workers` reads, alone and while the others do the same, in turn. [bytes/s]

    Streams, and rows looked up at random: `alone.stream.2`, `shared.stream.2` and so on.
    """
    found: dict[str, float] = {}
    for name, reader_of in _READERS.items():
        alone: list[float] = []
        shared: list[float] = []
        end_s, read = time.monotonic() + duration_s / len(_READERS), reader_of(pool, 0)
        with busy_neighbours(workers - 1, partial(_READ_ON[name], pool)) as running:
            while not shared or time.monotonic() < end_s:
                alone.append(_rate(read))
                running.set()
                time.sleep(_STARTED_S)
                shared.append(_rate(read))
                running.clear()
        found[f"alone.{name}.{workers}"] = float(np.median(alone))
        found[f"shared.{name}.{workers}"] = float(np.median(shared))
    return found


def saturation(facts: Mapping[str, float]) -> tuple[float, float] | None:
    """Bandwidth W of all workers [bytes/s] and sharpness p [1] that fit what was read; None without any.

    n workers that read r bytes/s each, alone, are slowed s(n r / W) / s(r / W) times, s(x) = (1 + x^p)^(1/p).
    """
    names = [key.removeprefix("shared.") for key in facts if key.startswith("shared.")]
    if not names:
        return None
    alone = np.array([facts[f"alone.{name}"] for name in names])
    slowed = np.array([facts[f"alone.{name}"] / facts[f"shared.{name}"] for name in names])
    workers = np.array([float(name.rpartition(".")[2]) for name in names])
    start = np.log([float(np.max(workers * alone / slowed)), _LIKELY_SHARPNESS])

    def errors(logs: np.ndarray) -> np.ndarray:
        bandwidth, sharpness = np.exp(logs)
        demand = alone / bandwidth
        expected = saturation_stretch(workers * demand, sharpness) / saturation_stretch(demand, sharpness)
        likely = (logs[1] - np.log(_LIKELY_SHARPNESS)) / _SHARPNESS_SPREAD
        return np.append(np.log(expected / np.maximum(1.0, slowed)) / _EXPECTED_ERROR, likely)

    bandwidth, sharpness = np.exp(least_squares(errors, start).x).tolist()
    return bandwidth, sharpness


_EXPECTED_ERROR = 0.05
"""Of a slow-down measured beside neighbours that nobody sees. [1]"""


def _rate(read: Reader) -> float:
    """Bytes read a second, over a moment. [bytes/s]"""
    total, turn, start = 0.0, 0, time.perf_counter()
    while time.perf_counter() - start < _LEAST_S:
        total += read(turn)
        turn += 1
    return total / (time.perf_counter() - start)


def _stream_reader(pool: Pool, seed: int) -> Reader:
    """Sums of one stretch of memory after the other."""
    pieces = torch.split(pool.memory, int(_PIECE_BYTES / 4))
    first = seed * len(pieces) // 3  # workers read at different places

    def read(turn: int) -> float:
        piece = pieces[(first + turn) % len(pieces)]
        piece.sum()
        return 4.0 * piece.numel()

    return read


def _row_reader(pool: Pool, seed: int) -> Reader:
    """Pooled lookups of rows all over the memory."""
    rows = pool.memory[: pool.memory.numel() // _ROW_ELEMENTS * _ROW_ELEMENTS].view(-1, _ROW_ELEMENTS)
    generator = torch.Generator().manual_seed(seed)
    shape = (_INDICES, _ROWS * _BAGS)
    indices = torch.randint(0, len(rows), shape, generator=generator).unbind()
    offsets = torch.arange(_BAGS) * _ROWS

    def read(turn: int) -> float:
        torch.nn.functional.embedding_bag(indices[turn % _INDICES], rows, offsets, mode="sum")
        return 4.0 * _ROW_ELEMENTS * _ROWS * _BAGS

    return read


def _read_on(reader_of: Callable[[Pool, int], Reader]) -> Callable[[Pool, Event, int], None]:
    """What a neighbour does: read for as long as it lives, while it may."""

    def work(pool: Pool, running: Event, seed: int) -> None:
        read, turn = reader_of(pool, seed), 0
        while True:
            running.wait()
            read(turn)
            turn += 1

    return work


_READERS: Mapping[str, Callable[[Pool, int], Reader]] = {"stream": _stream_reader, "rows": _row_reader}
_READ_ON = {name: _read_on(reader_of) for name, reader_of in _READERS.items()}
