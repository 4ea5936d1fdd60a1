"""Passes of models that somebody names: what a calibration adds where random sequences did not reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import torch

from calibration.measure.visits import LARGEST_BATCH, Visit, expected_seconds, visit_at
from calibration.runtime.programme import build_programme
from perfmodel.domain.model import RecModel

GIVEN_SEEDS = range(400_000, 500_000)
"""Numbers by which measurements name passes of given models: a model and a batch size each."""
_SIZES = 8
"""Batch sizes of each model: a kind of call that only it makes is then seen often enough to be fitted."""
_LONGEST_PASS_S = 0.5
"""Of the largest batch: a model's own lookups and layers may be large. [s]"""


class GivenPass(NamedTuple):
    """A model, with as many rows as fit here, in one batch size, and the number of its measurements."""

    seed: int
    model: RecModel
    batch_size: int


def passes_of(models: Sequence[RecModel], known: Mapping[int, RecModel]) -> list[GivenPass]:
    """The passes to time, each with a number of its own: those that a model had before, or new ones."""
    free = count(max(known, default=GIVEN_SEEDS[0] - 1) + 1)
    return [
        GivenPass(next(free), model, batch_size) for model in models for batch_size in _batch_sizes(model)
    ]


def _batch_sizes(model: RecModel) -> list[int]:
    """From 1 to the largest batch whose pass stays short, equally far apart."""
    per_item_s, _ = expected_seconds(model)
    largest = int(np.clip(_LONGEST_PASS_S / per_item_s, 1, LARGEST_BATCH))
    return sorted({round(size) for size in np.geomspace(1, largest, _SIZES)})


def given_visits(
    models: Sequence[RecModel],
    known: dict[int, RecModel],
    time_left: Callable[[], bool],
) -> Iterator[Visit]:
    """Time the models' passes while there is time; `known` learns which number stands for which model.

    Tables have as many rows as fit into memory: the programme's model, which is kept, says how many.
    """
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        for model in models:
            programme = build_programme(model, shrink_tables=True)
            for one in passes_of([programme.model], known):
                if not time_left():
                    return
                known[one.seed] = programme.model
                yield visit_at(programme, one.seed, one.batch_size, rng)
