"""Fresh inputs for a user's module: as it makes them itself, or drawn after its example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from calibration.importing.factory import Example
from perfmodel.errors import InputError


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A tensor of the example: its values, the dimension of its items, and the rows that each index may name.

    `rows` has the tensor's shape; 0 where no table reads the element, whose values are then the example's.
    """

    values: torch.Tensor
    items: int | None
    rows: torch.Tensor | None


@dataclass(slots=True)
class InputMaker:
    """Draws inputs of any number of items for a module.

    A module with a method `example_inputs(batch_size)` makes its own, each time with another seed. Of any
    other, items of the example are drawn with replacement, and each index anew among all rows of the table
    that reads it, which a pass over the example finds out: repeated rows would be found in caches.

    Attributes
    ----------
    example : Example
        The module and inputs that it takes.
    words : str
        How inputs are made.
    """

    example: Example
    words: str = ""
    _leaves: tuple[Any, ...] = ()
    _structure: Any = field(default=None)

    def __post_init__(self) -> None:
        if callable(getattr(self.example.module, "example_inputs", None)):
            self.words = "inputs by the module's own example_inputs"
            return
        leaves, self._structure = tree_flatten(self.example.inputs)
        rows = _rows_of_indices(self.example, [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)])
        self._leaves = tuple(
            self._leaf(leaf, rows) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves
        )
        told = [
            leaf for leaf in self._leaves if isinstance(leaf, _Leaf) and not leaf.values.is_floating_point()
        ]
        known = sum(leaf.rows is not None for leaf in told)
        self.words = (
            f"inputs drawn after the example's {self.example.batch_size} items; indices of {known} of "
            f"{len(told)} whole-number tensors among all rows of their tables"
        )

    def inputs(self, batch_size: int, rng: np.random.Generator) -> tuple[Any, ...]:
        """Inputs of so many items."""
        seed = int(rng.integers(2**31))
        if self._structure is None:
            torch.manual_seed(seed)
            make: Callable[[int], Any] = self.example.module.example_inputs  # type: ignore[assignment]
            made = make(batch_size)
            return tuple(made) if isinstance(made, (tuple, list)) else (made,)
        generator = torch.Generator().manual_seed(seed)
        drawn = [
            _drawn(leaf, batch_size, self.example.batch_size, generator) if isinstance(leaf, _Leaf) else leaf
            for leaf in self._leaves
        ]
        return tuple(tree_unflatten(drawn, self._structure))

    def _leaf(self, tensor: torch.Tensor, rows: dict[int, torch.Tensor]) -> _Leaf:
        items = next((d for d, size in enumerate(tensor.shape) if size == self.example.batch_size), None)
        return _Leaf(tensor, items, rows.get(id(tensor)))


def _drawn(leaf: _Leaf, batch_size: int, of: int, generator: torch.Generator) -> torch.Tensor:
    values, rows = leaf.values, leaf.rows
    if leaf.items is not None:
        chosen = torch.randint(0, of, (batch_size,), generator=generator)
        values = values.index_select(leaf.items, chosen)
        rows = None if rows is None else rows.index_select(leaf.items, chosen)
    if rows is None:
        return values
    fresh = (torch.rand(values.shape, generator=generator, dtype=torch.float64) * rows).long()
    return torch.where(rows > 0, fresh.to(values.dtype), values)


def _rows_of_indices(example: Example, leaves: list[torch.Tensor]) -> dict[int, torch.Tensor]:
    """For each tensor of the example that tables read: how many rows each of its elements may name."""
    found: dict[int, torch.Tensor] = {}
    by_storage = {leaf.untyped_storage().data_ptr(): leaf for leaf in leaves if leaf.numel()}

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        indices, number = given[0], int(str(module.num_embeddings))
        leaf = by_storage.get(indices.untyped_storage().data_ptr())
        if leaf is None or not leaf.is_contiguous():
            return
        rows = found.setdefault(id(leaf), torch.zeros(leaf.numel(), dtype=torch.long))
        at = torch.arange(leaf.untyped_storage().nbytes() // leaf.element_size())
        at = at.as_strided(indices.shape, indices.stride(), indices.storage_offset()) - int(
            leaf.storage_offset()
        )
        rows[at.flatten()] = number

    tables = [each for each in example.module.modules() if isinstance(each, (nn.Embedding, nn.EmbeddingBag))]
    hooks = [table.register_forward_pre_hook(note) for table in tables]
    try:
        with torch.no_grad():
            example.module(*example.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    shapes = {id(leaf): leaf.shape for leaf in leaves}
    return {key: rows.view(shapes[key]) for key, rows in found.items()}


@dataclass(frozen=True, slots=True)
class ModuleServable:
    """A user's module as it is, behind the interface of what workers serve."""

    maker: InputMaker

    def inputs(self, batch_size: int, rng: np.random.Generator) -> tuple[Any, ...]:
        """Draw the inputs of one batch."""
        return self.maker.inputs(batch_size, rng)

    def run(self, inputs: tuple[Any, ...]) -> Any:
        """One forward pass, as its owner serves it: `no_grad`, and nothing else."""
        with torch.no_grad():
            example = self.maker.example
            return (example.module if example.compiled is None else example.compiled)(*inputs)


def servable_of(example: Example) -> ModuleServable:
    """The module with inputs of any size, tried at two sizes.

    Raises
    ------
    InputError
        If it does not take them: its items are in no dimension that can be told.
    """
    servable = ModuleServable(InputMaker(example))
    for batch_size in (1, example.batch_size + 3):
        try:
            servable.run(servable.inputs(batch_size, np.random.default_rng(batch_size)))
        except Exception as error:  # whatever the user's code or torch says
            why = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(
                f"{example.target}: the module does not run on {batch_size} items drawn after its example: "
                f"{why}; give it a method example_inputs(batch_size)"
            ) from error
    return servable
