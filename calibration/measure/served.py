"""What modules cost beside a flat list of calls: the same sequences, both ways, in turn.

Processes stand side by side and never run at once: one whose allocator is tuned as the runtime's is, one as
Python starts, and one like that whose weights are in bf16. What disturbs this machine for longer than a
second disturbs all, and leaves their difference alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import torch

from calibration.children import child, end, start
from calibration.measure.fit import least_squares_from_zero
from calibration.measure.levels import was_disturbed
from calibration.measure.probes import mapped_kib_s
from calibration.measure.sequences import sequence_of_seed
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
from calibration.runtime.memory import available_bytes
from calibration.runtime.modules import SERVED, Served
from calibration.runtime.programme import Mode
from calibration.runtime.settings import apply_plain_settings, apply_settings
from perfmodel.costmodel.kernels import Floats, Gather, Kernel
from perfmodel.costmodel.layer_precision import is_layer, layer_amounts
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.module_costs import call_kind, module_amounts, table_part
from perfmodel.costmodel.residency import far_entries
from perfmodel.domain.hardware import CALL_KINDS, LAYER_TERMS, MODULE_TERMS, ModuleLaw
from perfmodel.errors import InputError, PerfplanError

FLAT_ROUND = 2
"""Round under which the flat list of calls is filed that modules were measured beside."""
ROUNDS: Mapping[int, str] = {FLAT_ROUND + 1 + index: way for index, way in enumerate(SERVED)}
"""Rounds of the ways to serve a module."""
LAST_ROUND = max(ROUNDS)
_ALWAYS = next(iter(ROUNDS))
"""What people do unless told: measured on every sequence, the other ways in turn."""
_TURNS = tuple(
    tuple(number for number, way in ROUNDS.items() if number != _ALWAYS and SERVED[way].narrow == narrow)
    for narrow in ("", "layers", "tables")
)
"""The other ways: in fp32, with layers in other precisions, and with tables in others."""
FEWEST_PASSES = 12
"""Behind the costs of a way: fewer than the terms of its law say nothing. With layers in another precision,
whose law has three times as many, three times as many."""
_POOL_BYTES = 3e9
_POOL_SHARE = 0.15
"""Of each of the processes: tables whose page-table entries are far beyond an L2, filled in two seconds; or
of what memory is free. [bytes], [1]"""
FIRST_TABLE_BYTES = TABLE_SHARE * 4.0 * int(1e9 / 4)
"""What the tables of a sequence could take in measurements that do not say so. [bytes]"""
_FIRST_SEED = 510_000
"""Other sequences than those that the flat list of calls is fitted to; from before 510,000 on there were no
LSTMs, convolutions, layers side by side and attention among them."""
_FOLDS = 5
_REWEIGHTED = 5
_NO_TIME_S = 1e-9
_FAR_OFF = 0.05
"""Share of a pass: kernels whose difference is off by more were disturbed, and count less and less. [1]"""


class _Kind(NamedTuple):
    """A process: whether its allocator is tuned, and its weights are in bf16."""

    tuned: bool
    in_bf16: bool

    @property
    def rounds(self) -> tuple[int, ...]:
        """Of the ways that such a process serves."""
        return tuple(
            number
            for number, name in ROUNDS.items()
            if (SERVED[name].tuned, SERVED[name].precision == "bf16") == self
        )


_PLAIN = _Kind(False, False)
_KINDS = (_Kind(True, False), _PLAIN, _Kind(False, True))


class ServedBench(ExitStack):
    """The processes, started on entry.

    Parameters
    ----------
    most_table_bytes : float
        What the tables of a sequence may take (`table_bytes_here`, or what earlier sequences were drawn by).
        [bytes]
    """

    def __init__(self, most_table_bytes: float) -> None:
        super().__init__()
        self._pool_bytes = most_table_bytes / TABLE_SHARE

    def __enter__(self) -> ServedBench:
        super().__enter__()
        context = multiprocessing.get_context("spawn")
        self._talks: list[Connection] = []
        for kind in _KINDS:
            if kind.rounds and not any(SERVED[ROUNDS[number]].is_here for number in kind.rounds):
                continue
            ours, theirs = context.Pipe()
            process = child(context, _serve, (theirs, kind, self._pool_bytes))
            if kind == _PLAIN:
                self._plain = ours
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
            yield from _answer(talk, seed)

    def mapped_kib_s(self) -> float:
        """What a KiB of a result costs whose memory is mapped anew, as Python starts. [s]

        Raises
        ------
        PerfplanError
            If that process is gone.
        """
        return float(_answer(self._plain, None))


def _answer(talk: Connection, asked: int | None) -> Any:
    """What a process gives for a sequence; for None, what memory that is mapped anew costs."""
    try:
        talk.send(asked)
        return talk.recv()
    except (EOFError, OSError):
        raise PerfplanError("a process of this run was killed; was there enough memory?") from None


def next_seed(done: Collection[int]) -> int:
    """The sequence to visit after those that were."""
    return max(done, default=_FIRST_SEED - 1) + 1


def table_bytes_here() -> float:
    """What the tables of a sequence may take on this machine. [bytes]"""
    return TABLE_SHARE * 4.0 * int(min(_POOL_BYTES, _POOL_SHARE * available_bytes()) / 4)


def _serve(talk: Connection, kind: _Kind, pool_bytes: float) -> None:
    """What a process does: run the sequences that it is asked for in the ways that suit it."""
    apply_settings() if kind.tuned else apply_plain_settings()
    pool = allocate_pool(pool_bytes, dtype=torch.bfloat16 if kind.in_bf16 else torch.float32)
    ways: list[tuple[int, operators.Library, Mode]] = [
        (number, SERVED[ROUNDS[number]].library, SERVED[ROUNDS[number]].mode)
        for number in kind.rounds
        if SERVED[ROUNDS[number]].is_here
    ]
    if kind.tuned:
        ways.insert(0, (FLAT_ROUND, operators, torch.inference_mode))
    while True:
        seed = talk.recv()
        talk.send(mapped_kib_s() if seed is None else list(_visits(seed, pool, ways)))


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
    """Rounds of a sequence: two always, and one of each kind: fp32, layers, tables.

    Visits of one programme lie 10 to 20 % apart on shared machines: the costs of the way that most people's
    modules are served in are better known from more sequences than from every way on each.
    """
    return (FLAT_ROUND, _ALWAYS, *(others[seed % len(others)] for others in _TURNS))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCosts:
    """What a way to serve modules takes more than the flat list of calls.

    Attributes
    ----------
    law : ModuleLaw
        Costs, and what its precision makes of other times.
    relative_error : float
        Of whole passes left out of the fit, given the flat list's own time: root mean square. [ln]
    ratio : float
        Time of a pass over that of the flat list, geometric mean. [1]
    passes : int
        That are behind it.
    """

    law: ModuleLaw
    relative_error: float
    ratio: float
    passes: int


def module_costs(
    visits: Sequence[tuple[int, Visit]],
    *,
    most_table_bytes: float,
    l2_bytes: float,
    mapped_kib_s: float = 0.0,
) -> dict[str, ModuleCosts]:
    """Costs of each way that was measured often enough, by its name, where the machine was not disturbed.

    Parameters
    ----------
    visits : sequence of (int, Visit)
        With their rounds.
    most_table_bytes : float
        What the sequences' tables could take. [bytes]
    l2_bytes : float
        Of a core. [bytes]
    mapped_kib_s : float, default 0
        Of a result that malloc maps anew, which few sequences have: measured by itself, not fitted. [s]

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
        fewest = FEWEST_PASSES * (3 if SERVED[name].narrow == "layers" else 1)
        if len(pairs) >= fewest and len({visit.seed for _, visit in pairs}) >= _FOLDS:
            way = SERVED[name]
            mapped_s = 0.0 if way.tuned or way.precision == "bf16" else mapped_kib_s
            found[name] = _costs(_rows(pairs, way, most_table_bytes, l2_bytes, mapped_s), way, mapped_s)
    return found


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row a kernel: amounts of all terms, what they have to sum up to [s], and the time of its pass. [s]

    That is what it took more than in the flat list; its own time, where the terms are those of a layer in
    another precision, or the flat list's time is one of them.
    """

    amounts: Floats
    expected_s: Floats
    pass_of: Floats
    flat_s: Floats
    served_s: Floats
    seeds: Floats


_TERMS = (
    *MODULE_TERMS,
    *(f"layer {term}" for term in LAYER_TERMS),
    *(f"factor {kind}" for kind in CALL_KINDS),
)
"""Of all ways; those that a way has nothing of come out as 0."""
_IS_FACTOR = np.array([term.startswith("factor ") for term in _TERMS])


def _costs(rows: _Rows, way: Served, mapped_kib_s: float) -> ModuleCosts:
    passes = len(rows.seeds)
    place = rows.pass_of.astype(int)
    weights = 1.0 / (rows.served_s if way.narrow else rows.flat_s)[place]
    expected = np.zeros(passes)
    fold = np.unique(rows.seeds, return_inverse=True)[1] % _FOLDS
    for number in range(_FOLDS):
        kept = fold[place] != number
        law = _law(rows.amounts[kept], rows.expected_s[kept], weights[kept])
        off_s = rows.amounts @ law - rows.expected_s
        predicted = rows.served_s + np.bincount(place, off_s, minlength=passes)
        expected[fold == number] = predicted[fold == number]
    errors = np.log(np.maximum(expected, _NO_TIME_S) / rows.served_s)
    found = dict(zip(_TERMS, _law(rows.amounts, rows.expected_s, weights).tolist(), strict=True))
    found["mapped_kib"] = mapped_kib_s
    relative_error = float(np.sqrt(np.mean(errors**2)))
    return ModuleCosts(
        law=_module_law(found, rows.amounts.sum(axis=0), way, relative_error),
        relative_error=relative_error,
        ratio=float(np.exp(np.mean(np.log(rows.served_s / rows.flat_s)))),
        passes=passes,
    )


def _module_law(found: Mapping[str, float], amounts: Floats, way: Served, relative_error: float) -> ModuleLaw:
    """The law of terms by name; kinds of calls that were not measured keep the times of the flat list."""
    seen = dict(zip(_TERMS, amounts.tolist(), strict=True))
    return ModuleLaw(
        costs={term: found[term] for term in MODULE_TERMS},
        precision=way.precision,
        tables=way.tables,
        relative_error=relative_error,
        layers={} if way.precision == "fp32" else {term: found[f"layer {term}"] for term in LAYER_TERMS},
        factors={kind: found[f"factor {kind}"] for kind in CALL_KINDS if seen[f"factor {kind}"] > 0.0},
    )


def _law(amounts: Floats, expected_s: Floats, weights: Floats) -> Floats:
    """Costs >= 0 whose error, as a share of the pass, is least; disturbed kernels count less and less."""
    trust = np.ones_like(weights)
    for _ in range(_REWEIGHTED):
        law = least_squares_from_zero(amounts * (weights * trust)[:, None], expected_s * weights * trust)
        off = (amounts @ law - expected_s) * weights
        trust = 1.0 / np.sqrt(1.0 + (off / _FAR_OFF) ** 2)
    return np.where(_IS_FACTOR & ~amounts.any(axis=0), 1.0, law)  # of what was not seen the flat list's time


def _rows(
    pairs: Sequence[tuple[Visit, Visit]],
    way: Served,
    most_table_bytes: float,
    l2_bytes: float,
    mapped_kib_s: float,
) -> _Rows:
    amounts, expected, pass_of = [], [], []
    for index, (flat, served) in enumerate(pairs):
        kernels = lower(sequence_of_seed(flat.seed, most_table_bytes=most_table_bytes))
        batch = np.array(float(flat.batch_size))
        far = far_entries(kernels, batch, l2_bytes, part=table_part(way.precision, way.tables))
        if max(len(flat.seconds), len(served.seconds)) > len(kernels):
            raise InputError(f"measurements: sequence {flat.seed} has {len(kernels)} kernels, got more")
        for kernel, before_s, after_s in zip(kernels, flat.seconds, served.seconds, strict=False):
            if before_s > 0.0 and after_s > 0.0:
                counted, is_more = _amounts(kernel, batch, float(before_s), way, far)
                after_s = after_s - mapped_kib_s * counted.pop("mapped_kib", 0.0)
                amounts.append([counted.get(term, 0.0) for term in _TERMS])
                expected.append(after_s - before_s if is_more else after_s)
                pass_of.append(index)
    return _Rows(
        amounts=np.array(amounts),
        expected_s=np.array(expected),
        pass_of=np.array(pass_of, dtype=float),
        flat_s=np.array([flat.seconds.sum() for flat, _ in pairs]),
        served_s=np.array([served.seconds.sum() for _, served in pairs]),
        seeds=np.array([flat.seed for flat, _ in pairs], dtype=float),
    )


def _amounts(
    kernel: Kernel, batch: Floats, flat_s: float, way: Served, far: Mapping[Gather, Floats]
) -> tuple[dict[str, float], bool]:
    """Of each term, and whether they are what the kernel takes more; as `served_seconds` adds them up."""
    if way.precision != "fp32" and is_layer(kernel):
        of_layer = layer_amounts(kernel, batch, way.precision)
        return {f"layer {term}": float(amount) for term, amount in of_layer.items()}, False
    counted = {term: float(amount) for term, amount in module_amounts(kernel, batch, far).items()}
    shorter = way.precision == "bf16" or (way.tables != "fp32" and kernel.family == "embedding_bag")
    if shorter:  # as many elements, of fewer bytes
        return counted | {f"factor {call_kind(kernel)}": flat_s}, False
    return counted, True
