"""Inputs drawn before the run, so that workers spend their time on the model alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.units import GIB

INDEX_BYTES = 8
FLOAT_BYTES = 4
MAX_VARIANTS = 64
"""Different inputs of one size. A repeated one finds its rows in the cache, which fresh users do not."""

LEAST_VARIANTS = 4
"""Of one kind of pass and size, where there are many kinds."""

BUDGET_BYTES = 1 << 30

MOST_BYTES = 8 * BUDGET_BYTES
"""Of one input of each size and kind: more than that is refused."""

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
    bytes_per_item: float | FloatArray,
    bytes_per_query: float | FloatArray = 0.0,
    budget_bytes: float = BUDGET_BYTES,
    most_bytes: float = MOST_BYTES,
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
    bytes_per_item, bytes_per_query : float or (varieties,) float
        What the inputs of an item, and those of its query, occupy. [bytes]
    budget_bytes, most_bytes : float
        What all inputs may occupy while there are several of a size, and at all. [bytes]
    variety : (num_requests,) int, optional
        What kind of pass each is; left out: all are alike.
    by_variety : sequence of Servable
        What runs each kind of pass, where they differ.

    Raises
    ------
    InputError
        If one of each size and kind is more than may be.
    """
    kinds = np.zeros_like(num_items) if variety is None else variety
    (which, sizes), counts = np.unique(np.stack([kinds, num_items]), axis=1, return_counts=True)
    # Of one size there are as many different ones as ever, those of all kinds together.
    variants = max(LEAST_VARIANTS, MAX_VARIANTS // max(1, len(by_variety)))
    each_bytes = sizes * _of_kinds(bytes_per_item, which) + _of_kinds(bytes_per_query, which)
    while variants > 1 and each_bytes @ np.minimum(counts, variants) > budget_bytes:
        variants //= 2
    if (least_bytes := each_bytes @ np.minimum(counts, variants)) > most_bytes:
        raise InputError(
            f"inputs of {len(sizes)} sizes and kinds of requests would take {least_bytes / GIB:.3g} GiB, "
            f"expected at most {most_bytes / GIB:.3g}: a smaller policy.batch_size or shorter traffic.lengths"
        )
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
    """Memory of one item's inputs: an index for each lookup and table, a float for each dense feature."""
    return INDEX_BYTES * (model.lookups_per_item + model.num_tables) + FLOAT_BYTES * model.dense_features


def input_bytes_per_query(model: RecModel) -> float:
    """Memory of the inputs that come with a query, whatever its items. [bytes/query]"""
    return INDEX_BYTES * model.lookups_per_query + FLOAT_BYTES * model.query_dense_features


def _of_kinds(given: float | FloatArray, which: IntArray) -> FloatArray:
    """One figure for all kinds of passes, or that of each."""
    each = np.atleast_1d(np.asarray(given, dtype=np.float64))
    return each[which] if len(each) > 1 else np.broadcast_to(each, which.shape)
