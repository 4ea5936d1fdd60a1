"""What a module does, counted while it runs: FLOP as torch counts them, and rows that are looked up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from calibration.importing.capture import call_by_call, place_of
from calibration.importing.factory import Example, tensors_in
from calibration.importing.packed import QUANTISED, unpacked
from calibration.importing.weights import alive, weights_of
from perfmodel.errors import InputError

aten = torch.ops.aten


Shape = Sequence[int]
_MOST_LETTERS = 200
"""Of what PyTorch says, in an error's one line."""


def _matrix_first(matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


def _matrix_second(_: Any, matrix: Shape, *__: Any, **___: Any) -> int:
    return 2 * math.prod(matrix)


def _matrices(left: Shape, right: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(left) * right[-1]


def _added_matrices(_: Any, left: Shape, right: Shape, *__: Any, **___: Any) -> int:
    return _matrices(left, right)


def _distances(left: Shape, right: Shape, *_: Any, **__: Any) -> int:
    """A product of all vectors with all: what their distances are made of."""
    return 2 * math.prod(left) * right[-2]


def _packed_rows(x: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    """Weights in bytes or half bytes, packed along what is summed over: a row an output."""
    return 2 * math.prod(x) * weight[0]


def _packed_tiles(x: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    """Half bytes as cards keep them, in tiles of 8 outputs (`_convert_weight_to_int4pack`)."""
    return _packed_rows(x, weight) * 8


def _trilinear(left: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    outputs, inner, other = weight[-3:]
    return 2 * left[0] * outputs * other * (inner + 1)


def _recurrent(x: Shape, w_input: Shape, w_hidden: Shape, *_: Any, **__: Any) -> int:
    """Each step of a fused recurrent layer multiplies with all weights once."""
    return 2 * math.prod(x[:-1]) * (math.prod(w_input) + math.prod(w_hidden))


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Scores and weighted sums, none of which is left out for a mask."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _quantised(x: Shape, holder: Any, *_: Any, **__: Any) -> int:
    """A layer whose weights are packed."""
    return sum(2 * math.prod(x[:-1]) * math.prod(each.shape) for each in unpacked(holder))


def _quantised_recurrent(x: Shape, _: Any, holders: Any, *__: Any, **___: Any) -> int:
    """Each step multiplies with all weights of all layers once."""
    return sum(_quantised(x, holder) for holder in holders)


def _missing() -> dict[Any, Any]:
    """Counts of the products that torch's counter leaves out."""
    counts = {
        "mv": _matrix_first,
        "addmv": _matrix_second,
        "dot": _matrix_first,
        "vdot": _matrix_first,
        "addbmm": _added_matrices,
        "_addmm_activation": _added_matrices,
        "_int_mm": _matrices,
        "_weight_int8pack_mm": _packed_rows,
        "_weight_int4pack_mm_for_cpu": _packed_rows,
        "_weight_int4pack_mm": _packed_tiles,
        "_grouped_mm": _matrices,
        "_cdist_forward": _distances,
        "_euclidean_dist": _distances,
        "_trilinear": _trilinear,
        "mkldnn_rnn_layer": _recurrent,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
    }
    of_aten = counts | dict.fromkeys(("quantized_lstm", "quantized_gru"), _quantised_recurrent)
    packed = dict.fromkeys(QUANTISED.split(), _quantised)
    return {
        getattr(space, name): count
        for space, known in ((aten, of_aten), (torch.ops.quantized, packed))
        for name, count in known.items()
        if hasattr(space, name)
    }


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
    table_bytes : float
        Memory of all that rows were looked up in; what several calls read is there once. [bytes]
    """

    flop: float
    rows: float
    row_bytes: float
    table_bytes: float


class _Lookups(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts rows that are read from parameters, and from what is computed of parameters alone."""

    supports_higher_order_operators = True

    def __init__(self, storages: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages = storages
        self.rows = 0.0
        self.row_bytes = 0.0
        self.weight_bytes = dict[int, int]()  # by where they lie
        self.computed_bytes = 0
        self.of_weights = list[
            torch.Tensor
        ]()  # computed of weights alone; alive, so that no other lies there

    @property
    def table_bytes(self) -> float:
        """Of weights, and of tables that were computed."""
        return float(sum(self.weight_bytes.values()) + self.computed_bytes)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        if given and isinstance(result, torch.Tensor) and all(map(self._is_weight, given)):
            self.of_weights.append(result)
            self.storages.add(result.untyped_storage().data_ptr())
        schema = getattr(func, "_schema", None)  # calls of functions, such as a condition's, have none
        name = schema.name.rpartition("::")[2] if schema else ""
        if name in ("embedding", "_embedding_bag", "_embedding_bag_forward_only"):
            self._count(args[0], args[1].numel(), args[0].shape[-1])
        elif name in ("embedding_byte", "embedding_bag_byte"):
            self._count_packed(args[0], args[1].numel())
        elif name in ("index", "index_select", "gather", "take") and self._is_weight(args[0]):
            out = result.numel()
            width = 1 if name in ("gather", "take") else _row_width(name, args)
            self._count(args[0], out / width, width)
        return result

    def _count_packed(self, holder: Any, rows: float) -> None:
        for table in unpacked(holder):
            self.rows += rows
            self.row_bytes += rows * table.shape[-1] * table.element_bytes
            self.weight_bytes[hash(holder)] = math.prod(table.shape) * table.element_bytes

    def _is_weight(self, tensor: torch.Tensor) -> bool:
        return tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() in self.storages

    def _count(self, table: torch.Tensor, rows: float, width: int) -> None:
        self.rows += rows
        self.row_bytes += rows * width * table.element_size()
        if self._is_weight(table):
            storage = table.untyped_storage()
            self.weight_bytes[storage.data_ptr()] = storage.nbytes()
        else:
            self.computed_bytes += table.numel() * table.element_size()


def _row_width(name: str, args: Any) -> int:
    table: torch.Tensor = args[0]
    if name == "index_select":
        return table.numel() // int(table.shape[args[1]])
    chosen = [dim for dim, index in enumerate(args[1]) if index is not None]
    sizes: Sequence[int] = table.shape
    return math.prod(size for dim, size in enumerate(sizes) if dim not in chosen)


def count(example: Example) -> Counted:
    """Run the example once; fused attention, which is not counted on CPUs, as the products it stands for.

    Raises
    ------
    InputError
        If the module makes a call that nobody can look into.
    """
    before = alive()  # held, so that nothing that the pass makes takes the place of one that is gone
    lookups = _Lookups(set(_storages(example, before)))
    try:
        with (
            torch.no_grad(),
            call_by_call(),
            sdpa_kernel(SDPBackend.MATH),
            flop_counter() as counter,
            lookups,
        ):
            example.module(*example.inputs)
    except Exception as error:  # it has run before: what fails is the look into one of its calls
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        where, why = place_of(error) or example.target, f"{type(error).__name__}: {first[:_MOST_LETTERS]}"
        raise InputError(f"{where}: its work cannot be counted: {why}") from error
    return Counted(
        flop=float(counter.get_total_flops()),
        rows=lookups.rows,
        row_bytes=lookups.row_bytes,
        table_bytes=lookups.table_bytes,
    )


def _storages(example: Example, before: Iterable[torch.Tensor]) -> Iterable[int]:
    """Where the module's weights lie, and all else that is there before a pass and is no input.

    Raises
    ------
    InputError
        Of a sparse one: what its products take is not counted.
    """
    for name, tensor in weights_of(example.module):
        if tensor.layout != torch.strided:
            raise InputError(
                f"{example.target}: expected dense weights, got {name}, which is {tensor.layout}: what its "
                "products take is not known"
            )
        yield tensor.untyped_storage().data_ptr()
    brought = {each.untyped_storage().data_ptr() for each in tensors_in(tree_leaves(example.inputs))}
    for tensor in before:
        with suppress(RuntimeError):  # of one without a place in memory, as inside of `vmap`
            at = tensor.untyped_storage().data_ptr()
            if at and at not in brought:
                yield at
