"""How a call of the walk becomes a function of PyTorch: what it is bound to, and the common forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from calibration.runtime import operators as calls
from calibration.runtime.memory import Weights
from perfmodel.costmodel.walk import Call
from perfmodel.domain.operators import EmbeddingTable


@dataclass(frozen=True, slots=True)
class Materials:
    """What calls are bound to: weights, where they are, and who makes the calls with weights.

    `device` is where the weights are, and so where constants must be; `tables` holds those that several
    lookups share, by the label of their memory.
    """

    model: str
    weights: Weights
    device: torch.device
    dtype: torch.dtype = torch.float32
    library: calls.Library = calls
    tables: dict[str, torch.Tensor] = field(default_factory=dict)

    def held(self, call: Call) -> tuple[torch.Tensor, ...]:
        """New weights of a call."""
        return tuple(self.weights(*shape) for shape in call.weights)

    def rows(self, table: EmbeddingTable) -> torch.Tensor:
        """The table, once for all that read the same memory."""
        if table.memory is None:
            return self._new_rows(table)
        if table.memory not in self.tables:
            self.tables[table.memory] = self._new_rows(table)
        return self.tables[table.memory]

    def _new_rows(self, table: EmbeddingTable) -> torch.Tensor:
        rows = self.weights(table.num_rows, table.dim)
        return rows if table.precision == "fp32" else calls.narrowed(rows, table.precision)


Binding = Callable[[Call, Materials], calls.Function]
"""Makes the function of a call: its weights and settings in, PyTorch out."""


def plain(function: calls.Function) -> Binding:
    """A call without weights or settings."""
    return lambda call, materials: function  # noqa: ARG005  # one signature for all


def made(make: Callable[..., calls.Function]) -> Binding:
    """A call that is made by its settings."""
    return lambda call, materials: make(**call.settings)  # noqa: ARG005  # one signature for all


def held(make: Callable[..., calls.Function]) -> Binding:
    """A call that is made by its weights and its settings."""
    return lambda call, materials: make(*materials.held(call), **call.settings)
