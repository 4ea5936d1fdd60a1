"""Inputs drawn before the run, so that workers spend their time on the model alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from perfmodel.domain.model import RecModel
from perfmodel.sim.arrays import IntArray

INDEX_BYTES = 8
FLOAT_BYTES = 4
MAX_VARIANTS = 64
"""Different inputs of one size. A repeated one finds its rows in the cache, which fresh users do not."""

LEAST_VARIANTS = 4
"""Of one kind of pass and size, where there are many kinds."""

BUDGET_BYTES = 1 << 30

Bytes = npt.NDArray[np.uint8]


class Servable(Protocol):
    """A model that can be run: what `calibration.runtime.programme` builds, or a stand-in."""

    def inputs(self, batch_size: int, rng: np.random.Generator) -> Any:
        """Draw the inputs of one batch."""

    def run(self, inputs: Any) -> Any:
        """Run one forward pass."""


class Sending(Servable, Protocol):
    """A pass that tells what came out of its query's work as soon as that is done."""

    def run(self, inputs: Any, send: Callable[[Bytes], None] | None = None) -> Any:
        """Run one forward pass; `send` takes the query's results."""


class Receiving(Servable, Protocol):
    """A pass on what another one made of the query; run by itself it takes results that stand ready."""

    def run(self, inputs: Any, received: Bytes | None = None) -> Any:
        """Run one forward pass without the work of the query."""


@dataclass(frozen=True, slots=True)
class InputPool:
    """Inputs of every variety of pass and request size; requests of one size take them in turn."""

    by_size: Mapping[tuple[int, int], Sequence[Any]]

    def of(self, num_items: int, turn: int, variety: int = 0) -> Any:
        """Return the inputs of the `turn`-th request."""
        variants = self.by_size[variety, num_items]
        return variants[turn % len(variants)]


def draw_inputs(
    servable: Servable,
    num_items: IntArray,
    rng: np.random.Generator,
    *,
    bytes_per_item: float,
    budget_bytes: float = BUDGET_BYTES,
    variety: IntArray | None = None,
    by_variety: Sequence[Servable] = (),
) -> InputPool:
    """Draw inputs for requests of these sizes: as many different ones as the budget allows.

    Parameters
    ----------
    servable : Servable
        What will run them.
    num_items : (num_requests,) int
        Sizes of all requests. [items]
    rng : numpy Generator
        Where indices and features come from.
    bytes_per_item : float
        What an item's inputs occupy. [bytes]
    budget_bytes : float
        What all inputs may occupy. [bytes]
    variety : (num_requests,) int, optional
        What kind of pass each is; left out: all are alike.
    by_variety : sequence of Servable
        What runs each kind of pass, where they differ.
    """
    kinds = np.zeros_like(num_items) if variety is None else variety
    (which, sizes), counts = np.unique(np.stack([kinds, num_items]), axis=1, return_counts=True)
    # Of one size there are as many different ones as ever, those of all kinds together.
    variants = max(LEAST_VARIANTS, MAX_VARIANTS // max(1, len(by_variety)))
    while variants > 1 and _items(sizes, counts, variants) * bytes_per_item > budget_bytes:
        variants //= 2
    return InputPool(
        {
            (kind, size): [
                (by_variety[kind] if by_variety else servable).inputs(size, rng)
                for _ in range(min(count, variants))
            ]
            for kind, size, count in zip(which.tolist(), sizes.tolist(), counts.tolist(), strict=True)
        }
    )


def input_bytes_per_item(model: RecModel) -> float:
    """Memory of one item's inputs: an index for each lookup and table, a float for each dense feature.

    Of a request of one item: those of its query are counted with them.
    """
    indices = model.lookups_per_item + model.lookups_per_query + model.num_tables
    return INDEX_BYTES * indices + FLOAT_BYTES * (model.dense_features + model.query_dense_features)


def _items(sizes: IntArray, counts: IntArray, variants: int) -> float:
    """Items in all inputs, for `variants` different ones of each size. [items]"""
    return float((sizes * np.minimum(counts, variants)).sum())
