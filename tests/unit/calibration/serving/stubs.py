"""Models that take a stated time, so that a test knows what the server should measure."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np


@dataclass(frozen=True, slots=True)
class Spinner:
    """Spins for a time that grows with the batch."""

    fixed_s: float = 0.0
    item_s: float = 0.0

    def inputs(self, batch_size: int, rng: np.random.Generator) -> int:  # noqa: ARG002
        return batch_size

    def run(self, inputs: int) -> None:
        end_s = perf_counter() + self.fixed_s + inputs * self.item_s
        while perf_counter() < end_s:
            pass


class Failing(Spinner):
    """Raises at the first request."""

    def run(self, inputs: int) -> None:
        raise ValueError(f"no batch of {inputs}")
