"""What a module does, counted while it runs: FLOP as torch counts them, and rows that are looked up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from calibration.importing.factory import Example

aten = torch.ops.aten


Shape = Sequence[int]


def _matrix_first(matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


def _matrix_second(_: Any, matrix: Shape, *__: Any, **___: Any) -> int:
    return 2 * math.prod(matrix)


def _trilinear(left: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    outputs, inner, other = weight[-3:]
    return 2 * left[0] * outputs * other * (inner + 1)


def _recurrent(x: Shape, w_input: Shape, w_hidden: Shape, *_: Any, **__: Any) -> int:
    """Each step of a fused recurrent layer multiplies with all weights once."""
    return 2 * math.prod(x[:-1]) * (math.prod(w_input) + math.prod(w_hidden))


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Scores and weighted sums, none of which is left out for a mask."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _missing() -> dict[Any, Any]:
    """Counts of the products that torch's counter leaves out."""
    counts = {
        "mv": _matrix_first,
        "addmv": _matrix_second,
        "dot": _matrix_first,
        "vdot": _matrix_first,
        "_trilinear": _trilinear,
        "mkldnn_rnn_layer": _recurrent,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
    }
    return {getattr(aten, name): count for name, count in counts.items() if hasattr(aten, name)}


def flop_counter() -> FlopCounterMode:
    """torch's counter with the products that it does not know: vectors, bilinear forms, fused LSTMs."""
    return FlopCounterMode(display=False, custom_mapping=_missing())


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one forward pass of the example did.

    Attributes
    ----------
    flop : float
        Of matrix products. [FLOP]
    rows, row_bytes : float
        Rows of weights that were looked up, and their bytes. [rows], [bytes]
    """

    flop: float
    rows: float
    row_bytes: float


class _Lookups(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts rows that are read from parameters."""

    def __init__(self, storages: frozenset[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages = storages
        self.rows = 0.0
        self.row_bytes = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.rpartition("::")[2]
        if name in ("embedding", "_embedding_bag", "_embedding_bag_forward_only"):
            self._count(args[0], args[1].numel(), args[0].shape[-1])
        elif name in ("index", "index_select", "gather", "take") and self._is_weight(args[0]):
            out = result.numel()
            width = 1 if name in ("gather", "take") else _row_width(name, args)
            self._count(args[0], out / width, width)
        return result

    def _is_weight(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self.storages

    def _count(self, table: torch.Tensor, rows: float, width: int) -> None:
        self.rows += rows
        self.row_bytes += rows * width * table.element_size()


def _row_width(name: str, args: Any) -> int:
    table: torch.Tensor = args[0]
    if name == "index_select":
        return table.numel() // int(table.shape[args[1]])
    chosen = [dim for dim, index in enumerate(args[1]) if index is not None]
    sizes: Sequence[int] = table.shape
    return math.prod(size for dim, size in enumerate(sizes) if dim not in chosen)


def count(example: Example) -> Counted:
    """Run the example once; fused attention, which is not counted on CPUs, as the products it stands for."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    lookups = _Lookups(frozenset(_storages(example.module)))
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), flop_counter() as counter, lookups:
            example.module(*example.inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return Counted(flop=float(counter.get_total_flops()), rows=lookups.rows, row_bytes=lookups.row_bytes)


def _storages(module: nn.Module) -> Iterable[int]:
    for tensor in (*module.parameters(), *module.buffers()):
        yield tensor.untyped_storage().data_ptr()
