"""Visiting sequences of operators: each call's time at a few batch sizes, medians over passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from calibration.measure.sequences import sequence_of_seed
from calibration.runtime import operators
from calibration.runtime.host_level import CallProbe
from calibration.runtime.memory import pooled_weights
from calibration.runtime.programme import CPU, Mode, Programme, programme_with
from calibration.runtime.timing import Floats, call_seconds, fresh_inputs, kernel_seconds, pass_seconds
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import RecModel

LARGEST_BATCH = 1280
"""Beyond the largest query of the published distributions (1024), so that it lies inside. [items]"""
_BATCHES = 3
"""Batch sizes of each sequence: a sequence costs more to build than to run."""
_LONGEST_PASS_S, _LONGEST_OF_LOOKUPS_S = 0.05, 0.15
"""Lookups of a large batch take a server's longest passes: a million rows, and as long as they take."""
_SINGLE = 0.3
"""How often a sequence is also timed at batch 1, where a call's fixed cost is all there is."""
_FEWEST, _MOST, _TIMED_S = 5, 21, 0.03
_WARM_PASSES = 40
_WARM_S = 0.03
"""The first passes of a programme are slower by half: they stop mattering after ten or a few milliseconds."""
TABLE_SHARE = 0.75
"""Of a pool that the tables of one sequence may take. [1]"""
_SWEPT_BYTES = 80e6
"""Tables that may stay in a cache are read once before they are timed."""
_WITH_PADDING = 1.01
"""Of tensors to whole cache lines: an upper bound of what it adds to a sequence. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Times of one sequence at one batch size.

    Attributes
    ----------
    seed : int
        Of the sequence.
    seconds, spread : (kernels,) arrays
        Median time of all calls of each kernel [s], and half the distance of its quartiles over it [1].
    l3_lifetime_s : float
        Of lines that nobody reads, at that time: neighbours come and go. [s]
    issue_s : (kernels,) array or None
        On an accelerator, whose own time `seconds` are: what the host needed to issue the calls. [s]
    probe_s : float
        What a call that is always the same took just then: on an accelerator, its host to issue it; 0: not
        measured. [s]
    """

    seed: int
    batch_size: int
    seconds: Floats
    spread: Floats
    l3_lifetime_s: float = inf
    issue_s: Floats | None = None
    probe_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A block of filled memory that sequences cut their weights out of."""

    memory: torch.Tensor

    @property
    def most_table_bytes(self) -> float:
        """What the tables of one sequence may take, with a third of that for its layers. [bytes]"""
        return TABLE_SHARE * 4.0 * self.memory.numel()


def allocate_pool(size_bytes: float, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Pool:
    """A pool of random values, repeated; shorter ones than fp32 are as many."""
    memory = torch.empty(int(size_bytes / 4), device=device, dtype=dtype)
    block = torch.rand(2**22, device=device).sub_(0.5).mul_(0.05).to(dtype)
    for start in range(0, memory.numel(), block.numel()):
        part = memory[start : start + block.numel()]
        part.copy_(block[: part.numel()])
    return Pool(memory)


def sequence_of(seed: int, pool: Pool) -> RecModel:
    """The sequence of a seed."""
    return sequence_of_seed(seed, most_table_bytes=pool.most_table_bytes)


def visit(seed: int, pool: Pool) -> Iterator[Visit]:
    """Build the sequence of a seed and time it at its batch sizes."""
    rng = np.random.default_rng((seed, 1))
    model = sequence_of(seed, pool)
    batches = batch_sizes(model, rng)
    if not batches or pooled_elements(model) >= pool.memory.numel():
        return
    programme = _in_pool(model, pool, rng)
    for batch_size in batches:
        yield visit_at(programme, seed, batch_size, rng)


def built_sequence(seed: int, pool: Pool, library: operators.Library, mode: Mode) -> Programme | None:
    """The sequence of a seed with the calls of a library; None where it does not fit the pool."""
    model = sequence_of(seed, pool)
    if pooled_elements(model) >= pool.memory.numel():
        return None
    return _in_pool(model, pool, np.random.default_rng((seed, 2)), library, mode)


def _in_pool(
    model: RecModel,
    pool: Pool,
    rng: np.random.Generator,
    library: operators.Library = operators,
    mode: Mode = torch.inference_mode,
) -> Programme:
    """The programme with weights cut somewhere out of the pool."""
    elements = pooled_elements(model)
    start = random_start(pool, elements, rng)
    programme = programme_with(
        model, pooled_weights(pool.memory, start), dtype=pool.memory.dtype, library=library, mode=mode
    )
    if model.embedding_bytes < _SWEPT_BYTES:
        pool.memory[start : start + elements].sum()
    return programme


def pooled_elements(model: RecModel) -> int:
    """What a sequence takes of the pool, at most."""
    return int(_WITH_PADDING * (model.embedding_bytes + model.dense_parameter_bytes) / 4)


def random_start(pool: Pool, elements: int, rng: np.random.Generator) -> int:
    """Where in the pool so many elements are cut, at the start of a cache line."""
    return int(rng.integers(0, (pool.memory.numel() - elements) // 32)) * 16


def batch_sizes(model: RecModel, rng: np.random.Generator) -> list[int]:
    """Sizes spread log-uniformly from 1 to the largest whose pass stays short."""
    per_item, of_rows = expected_seconds(model)
    longest = _LONGEST_OF_LOOKUPS_S if of_rows > 0.5 * per_item else _LONGEST_PASS_S
    return spread_sizes(min(LARGEST_BATCH, longest / per_item), rng)


def spread_sizes(largest: float, rng: np.random.Generator) -> list[int]:
    """A few sizes spread log-uniformly from 1 to the largest, 1 itself now and then; none below it."""
    if largest < 1.0:
        return []
    parts = (rng.permutation(_BATCHES) + rng.random(_BATCHES)) / _BATCHES
    sizes = {round(float(np.exp(part * np.log(largest)))) for part in parts}
    return sorted(sizes | {1} if rng.random() < _SINGLE else sizes)


def expected_seconds(model: RecModel) -> tuple[float, float]:
    """Rough time of an item, to keep passes short, and of its rows: 50 GFLOP/s, 5 GB/s, 20 ns a row. [s]"""
    one = np.array(1.0)
    works = [(kernel.work(one), kernel) for kernel in lower(model) if kernel.family != "input"]
    rows_s = float(sum(w.random_rows * 20e-9 for w, _ in works))
    rest_s = float(sum(w.flop / 50e9 + (w.bytes_moved - k.calls * k.weight_bytes) / 5e9 for w, k in works))
    return rows_s + rest_s, rows_s


def visit_at(programme: Programme, seed: int, batch_size: int, rng: np.random.Generator) -> Visit:
    """Time the calls of a programme at one batch size, medians over passes, after warming it up."""
    programme.touch_pages()
    inputs = fresh_inputs(programme, batch_size, rng)
    first = pass_seconds(programme, inputs, 2)
    warm = int(np.clip(_WARM_S / first[-1], 2, _WARM_PASSES))
    pass_seconds(programme, inputs[2:] or inputs, warm)
    passes = int(np.clip(_TIMED_S / first[-1], _FEWEST, _MOST))
    timed = inputs[2 + warm :] if len(inputs) > 2 + warm + passes else inputs
    probe = CallProbe()
    before_s = probe.call_s()
    by_kernel = kernel_seconds(programme, call_seconds(programme, timed, passes))
    probe_s = (before_s + probe.call_s()) / 2.0
    low, middle, high = np.percentile(by_kernel, (25, 50, 75), axis=0)
    spread = (high - low) / 2.0 / np.maximum(middle, 1e-9)
    return Visit(seed=seed, batch_size=batch_size, seconds=middle, spread=spread, probe_s=probe_s)


def visits(seeds: Sequence[int], pool: Pool) -> Iterator[Visit]:
    """Visit sequences one after the other."""
    with torch.inference_mode():
        for seed in seeds:
            yield from visit(seed, pool)
