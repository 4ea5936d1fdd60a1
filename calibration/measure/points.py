"""From raw measurements to points: each call with the work and the place that the cost model gives it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from calibration.measure.fit import Points, Seen, gather_points
from calibration.measure.sequences import sequence_of_seed
from calibration.measure.served import FLAT_ROUND
from calibration.measure.visits import Visit
from perfmodel.costmodel.kernels import Kernel, is_part_of_another, surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.moments import Before, moments
from perfmodel.costmodel.places import place
from perfmodel.domain.hardware import Caches
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError

NO_MODELS: Mapping[int, RecModel] = {}


def points_by_call(
    visits: Iterable[Visit],
    caches: Caches,
    *,
    most_table_bytes: float,
    models: Mapping[int, RecModel] = NO_MODELS,
) -> dict[str, Points]:
    """Points of every kind of call, in the order of their names.

    Parameters
    ----------
    visits : iterable of Visit
        Each sequence's visits follow each other.
    caches : Caches
        What rows may be found in.
    most_table_bytes : float
        What the sequences were drawn with. [bytes]
    models : mapping of int to RecModel
        Models that were given to be measured, by number.
    """
    found: dict[str, list[Seen]] = defaultdict(list)
    seed: int | None = None
    kernels: tuple[Kernel, ...] = ()
    for number, visit in enumerate(visits):
        if visit.seed != seed:
            seed = visit.seed
            model = models.get(seed) or sequence_of_seed(seed, most_table_bytes=most_table_bytes)
            kernels = lower(model)
        batch = np.array([float(visit.batch_size)])
        times = np.zeros(len(kernels))
        times[: len(visit.seconds)] = visit.seconds
        then = replace(caches, l3_lifetime_s=visit.l3_lifetime_s)
        pass_s = np.array([times.sum()])
        found_at = moments(kernels, batch, then, pass_s, Before.alike(batch, pass_s))
        for index, (kernel, seconds) in enumerate(zip(kernels, times, strict=True)):
            if not is_part_of_another(kernel) and not _is_no_call(kernel) and seconds > 0.0:
                at = place(kernel, batch, found_at.of(index))
                one = Seen(at, seconds / kernel.calls, visit.seed, number, kernel.calls)
                found[surface_key(kernel)].append(one)
    return {call: gather_points(found[call]) for call in sorted(found)}


def _is_no_call(kernel: Kernel) -> bool:
    """Whether it may be timed as no call: the sum of one vector, which the runtime once did not copy."""
    one = kernel.read_bytes_per_item == kernel.written_bytes_per_item
    return kernel.family == "sum" and kernel.variant == "vectors" and one


def require_kernels(
    visits: Iterable[tuple[int, Visit]],
    most_table_bytes: float,
    where: str,
    models: Mapping[int, RecModel] = NO_MODELS,
) -> None:
    """Refuse measurements of kernels that their sequences do not have; `where` begins the message.

    Raises
    ------
    InputError
        Naming the sequence.
    """
    numbers: dict[int, int] = {}
    for _, visit in (each for each in visits if each[0] < FLAT_ROUND):
        numbers[visit.seed] = max(numbers.get(visit.seed, 0), len(visit.seconds))
    for seed, number in numbers.items():
        model = models.get(seed) or sequence_of_seed(seed, most_table_bytes=most_table_bytes)
        if number > (there := len(lower(model))):
            raise InputError(f"{where}: sequence {seed} has {there} kernels, got one of number {number - 1}")
