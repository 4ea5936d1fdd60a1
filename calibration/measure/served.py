"""What modules cost beside a flat list of calls: the same sequences, both ways, in turn.

Two processes stand side by side and never run at once: one whose allocator is tuned as the runtime's is, and
one as Python starts. What disturbs this machine for longer than a second disturbs both, and leaves their
difference alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import torch

from calibration.children import child, end, start
from calibration.measure.fit import least_squares_from_zero
from calibration.measure.levels import was_disturbed
from calibration.measure.sequences import random_sequence
from calibration.measure.visits import (
    TABLE_SHARE,
    Pool,
    Visit,
    allocate_pool,
    batch_sizes,
    built_sequence,
    visit_at,
)
from calibration.runtime import operators
from calibration.runtime.modules import SERVED
from calibration.runtime.programme import Mode
from calibration.runtime.settings import apply_plain_settings, apply_settings
from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.module_costs import module_amounts
from perfmodel.domain.hardware import MODULE_TERMS
from perfmodel.errors import InputError, PerfplanError

FLAT_ROUND = 2
"""Round under which the flat list of calls is filed that modules were measured beside."""
ROUNDS: Mapping[int, str] = {FLAT_ROUND + 1 + index: way for index, way in enumerate(SERVED)}
"""Rounds of the ways to serve a module."""
LAST_ROUND = max(ROUNDS)
_ALWAYS = next(iter(ROUNDS))
"""What people do unless told: measured on every sequence, the other ways in turn."""
FEWEST_PASSES = 12
"""Behind the costs of a way: fewer than the terms of its law say nothing."""
_POOL_BYTES = 1e9
"""Of each of the two processes: tables far beyond any cache, and filled in half a second."""
TABLE_BYTES = TABLE_SHARE * 4.0 * int(_POOL_BYTES / 4)
"""What the tables of a sequence may take there. [bytes]"""
_FIRST_SEED = 5 * 10**5
"""Other sequences than those that the flat list of calls is fitted to."""
_FOLDS = 5
_REWEIGHTED = 5
_FAR_OFF = 0.05
"""Share of a pass: kernels whose difference is off by more were disturbed, and count less and less. [1]"""


class ServedBench(ExitStack):
    """The two processes, started on entry."""

    def __enter__(self) -> ServedBench:
        super().__enter__()
        context = multiprocessing.get_context("spawn")
        self._talks: list[Connection] = []
        for tuned in (True, False):
            ours, theirs = context.Pipe()
            process = child(context, _serve, (theirs, tuned))
            self.callback(end, process)
            start(process)
            theirs.close()
            self._talks.append(ours)
        return self

    def visits(self, seed: int) -> Iterator[tuple[int, Visit]]:
        """One sequence at its batch sizes, with the rounds to file its visits under: as a list of calls, as
        most people serve modules, and in one of the other ways.

        Raises
        ------
        PerfplanError
            If one of the processes is gone.
        """
        for talk in self._talks:
            try:
                talk.send(seed)
                yield from talk.recv()
            except (EOFError, OSError):
                raise PerfplanError("a process of this run was killed; was there enough memory?") from None


def next_seed(done: Collection[int]) -> int:
    """The sequence to visit after those that were."""
    return max(done, default=_FIRST_SEED - 1) + 1


def _serve(talk: Connection, tuned: bool) -> None:
    """What a process does: run the sequences that it is asked for in the ways that suit its allocator."""
    apply_settings() if tuned else apply_plain_settings()
    pool = allocate_pool(_POOL_BYTES)
    ways: list[tuple[int, operators.Library, Mode]] = [
        (number, SERVED[name].library, SERVED[name].mode)
        for number, name in ROUNDS.items()
        if SERVED[name].tuned == tuned
    ]
    if tuned:
        ways.insert(0, (FLAT_ROUND, operators, torch.inference_mode))
    while True:
        talk.send(list(_visits(talk.recv(), pool, ways)))


def _visits(
    seed: int,
    pool: Pool,
    ways: Sequence[tuple[int, operators.Library, Mode]],
) -> Iterator[tuple[int, Visit]]:
    """One sequence in those of the ways whose turn it is, each of its batch sizes in turn."""
    built = [
        (number, built_sequence(seed, pool, library, mode))
        for number, library, mode in ways
        if number in rounds_of(seed)
    ]
    programmes = [(number, programme) for number, programme in built if programme is not None]
    if not programmes:
        return
    for batch_size in batch_sizes(programmes[0][1].model, np.random.default_rng((seed, 1))):
        for number, programme in programmes:
            rng = np.random.default_rng((seed, batch_size))  # the same indices for all
            yield number, visit_at(programme, seed, batch_size, rng)


def rounds_of(seed: int) -> tuple[int, ...]:
    """Rounds that a sequence is measured in: two always, and one of the others.

    Visits of one programme lie 10 to 20 % apart on shared machines: the costs of the way that most people's
    modules are served in are better known from more sequences than from every way on each.
    """
    others = [number for number in ROUNDS if number != _ALWAYS]
    return (FLAT_ROUND, _ALWAYS, others[seed % len(others)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCosts:
    """What a way to serve modules takes more than the flat list of calls.

    Attributes
    ----------
    law : mapping
        Cost of one of each of `MODULE_TERMS`. [s]
    relative_error : float
        Of whole passes left out of the fit, given the flat list's own time: root mean square. [ln]
    ratio : float
        Time of a pass over that of the flat list, geometric mean. [1]
    passes : int
        That are behind it.
    """

    law: Mapping[str, float]
    relative_error: float
    ratio: float
    passes: int


def module_costs(visits: Sequence[tuple[int, Visit]]) -> dict[str, ModuleCosts]:
    """Costs of each way that was measured often enough, by its name, where the machine was not disturbed.

    Raises
    ------
    InputError
        If a measured sequence has other kernels than this version draws.
    """
    both = [(number, visit) for number, visit in visits if number >= FLAT_ROUND]
    disturbed = was_disturbed([visit for _, visit in both])
    visits = [each for each, was in zip(both, disturbed, strict=True) if not was]
    flat = {(v.seed, v.batch_size): v for number, v in visits if number == FLAT_ROUND}
    found = {}
    for number, name in ROUNDS.items():
        pairs = [
            (flat[key], visit)
            for at, visit in visits
            if at == number and (key := (visit.seed, visit.batch_size)) in flat
        ]
        if len(pairs) >= FEWEST_PASSES and len({visit.seed for _, visit in pairs}) >= _FOLDS:
            found[name] = _costs(pairs)
    return found


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row a kernel: its amounts, what it took more [s], and the time of its pass, both ways. [s]"""

    amounts: Floats
    more_s: Floats
    pass_of: Floats
    flat_s: Floats
    served_s: Floats
    seeds: Floats


def _costs(pairs: Sequence[tuple[Visit, Visit]]) -> ModuleCosts:
    rows = _rows(pairs)
    weights = 1.0 / rows.flat_s[rows.pass_of.astype(int)]
    expected = np.zeros(len(pairs))
    fold = np.unique(rows.seeds, return_inverse=True)[1] % _FOLDS
    for number in range(_FOLDS):
        kept = fold[rows.pass_of.astype(int)] != number
        law = _law(rows.amounts[kept], rows.more_s[kept], weights[kept])
        more = np.bincount(rows.pass_of.astype(int), rows.amounts @ law, minlength=len(pairs))
        expected[fold == number] = (rows.flat_s + more)[fold == number]
    errors = np.log(expected / rows.served_s)
    law = _law(rows.amounts, rows.more_s, weights)
    return ModuleCosts(
        law=dict(zip(MODULE_TERMS, law.tolist(), strict=True)),
        relative_error=float(np.sqrt(np.mean(errors**2))),
        ratio=float(np.exp(np.mean(np.log(rows.served_s / rows.flat_s)))),
        passes=len(pairs),
    )


def _law(amounts: Floats, more_s: Floats, weights: Floats) -> Floats:
    """Costs >= 0 whose error, as a share of the pass, is least; disturbed kernels count less and less."""
    trust = np.ones_like(weights)
    for _ in range(_REWEIGHTED):
        law = least_squares_from_zero(amounts * (weights * trust)[:, None], more_s * weights * trust)
        off = (amounts @ law - more_s) * weights
        trust = 1.0 / np.sqrt(1.0 + (off / _FAR_OFF) ** 2)
    return np.asarray(law)


def _rows(pairs: Sequence[tuple[Visit, Visit]]) -> _Rows:
    amounts, more, pass_of = [], [], []
    for index, (flat, served) in enumerate(pairs):
        kernels = _kernels(flat.seed)
        if max(len(flat.seconds), len(served.seconds)) > len(kernels):
            raise InputError(f"measurements: sequence {flat.seed} has {len(kernels)} kernels, got more")
        for kernel, before_s, after_s in zip(kernels, flat.seconds, served.seconds, strict=False):
            if before_s > 0.0 and after_s > 0.0:
                counted = module_amounts(kernel, np.array(float(flat.batch_size)))
                amounts.append([float(counted.get(term, 0.0)) for term in MODULE_TERMS])
                more.append(after_s - before_s)
                pass_of.append(index)
    return _Rows(
        amounts=np.array(amounts),
        more_s=np.array(more),
        pass_of=np.array(pass_of, dtype=float),
        flat_s=np.array([flat.seconds.sum() for flat, _ in pairs]),
        served_s=np.array([served.seconds.sum() for _, served in pairs]),
        seeds=np.array([flat.seed for flat, _ in pairs], dtype=float),
    )


def _kernels(seed: int) -> tuple[Kernel, ...]:
    return lower(random_sequence(np.random.default_rng(seed), most_table_bytes=TABLE_BYTES))
