"""The example with another number of items: one that divides no other size tells items from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from itertools import combinations
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from calibration.importing.factory import Example
from calibration.importing.weights import weights_of

_PRIMES = (
    11,
    13,
    17,
    19,
    23,
    29,
    31,
    37,
    41,
    43,
    47,
    53,
    59,
    61,
    67,
    71,
    73,
    79,
    83,
    89,
    97,
    101,
    103,
    107,
    109,
)
_MOST_INPUTS = 6
"""Of which each is left out in turn, to find one that has as many rows as there are items by chance."""


def rebatched(example: Example) -> Iterator[Example]:
    """Examples of the same module with a prime number of items, the likeliest reading of its inputs first.

    An input belongs to the items if the module still runs, and its output has as many rows more, once the
    input's first dimension (or another of that size) is made longer or shorter.
    """
    leaves, structure = tree_flatten(example.inputs)
    sizes = [
        size
        for tensor in (*leaves, *(tensor for _, tensor in weights_of(example.module)))
        if isinstance(tensor, torch.Tensor)
        for size in tensor.shape
    ]
    for items in _candidates(example.batch_size, sizes):
        found = False
        for dims, is_strict in _readings(leaves, example.batch_size):
            changed = _with_items(leaves, dims, example.batch_size, items)
            inputs = tree_unflatten(changed, structure)
            if _runs(example, inputs, items, is_strict=is_strict):
                found = True
                of_items = frozenset(dims)
                yield replace(
                    example, inputs=inputs, batch_size=items, is_distinctive=True, of_items=of_items
                )
        if found:
            return


def _candidates(batch_size: int, sizes: list[int]) -> list[int]:
    """Primes that divide no size, the nearest to the example's own number of items first."""
    free = [prime for prime in _PRIMES if all(size % prime for size in sizes if size > 1)]
    return sorted(free, key=lambda prime: (abs(prime - batch_size), prime))[:2]


def _readings(leaves: list[Any], batch_size: int) -> Iterator[tuple[dict[int, int], bool]]:
    """Which dimension of which input counts the items."""
    tensors = {
        index: leaf for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.dim()
    }
    first = {index: 0 for index, leaf in tensors.items() if leaf.shape[0] == batch_size}
    other = {
        index: leaf.shape.index(batch_size)
        for index, leaf in tensors.items()
        if index not in first and batch_size in leaf.shape
    }
    if batch_size > 1 and 1 < len(first) <= _MOST_INPUTS:
        for left_out in combinations(first, 1):
            yield {index: dim for index, dim in first.items() if index not in left_out}, True
    if first:
        yield first, False
    if other and batch_size > 1:
        yield first | other, False


def _with_items(leaves: list[Any], dims: dict[int, int], before: int, items: int) -> list[Any]:
    places = torch.arange(items) % before
    return [
        leaf.index_select(dims[index], places.to(leaf.device)) if index in dims else leaf
        for index, leaf in enumerate(leaves)
    ]


def _runs(example: Example, inputs: Any, items: int, *, is_strict: bool) -> bool:
    """Whether the module takes the inputs, and gives that many rows wherever it gave the example's."""
    try:
        with torch.no_grad(), redirect_stderr(StringIO()):  # traced modules print what they raise
            output = example.module(*inputs)
            before = example.module(*example.inputs)
    except Exception:  # whatever the module does with sizes that it was not written for
        return False
    pairs = [
        (old.shape[dim], new.shape[dim])
        for old, new in zip(tree_leaves(before), tree_leaves(output), strict=False)
        if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor)
        for dim in range(min(old.dim(), new.dim()))
    ]
    had = example.batch_size
    scaled = [old * items == new * had for old, new in pairs]
    kept = [old == new for old, new in pairs]
    if is_strict and any(same and old == had for (old, _), same in zip(pairs, kept, strict=True)):
        return False
    return any(scaled) and all(a or b for a, b in zip(scaled, kept, strict=True))
