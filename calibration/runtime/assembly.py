"""A model's calls bound to PyTorch: a flat list of steps, each a function with its weights.

Which calls there are, what they read and which kernels they carry out is `walk_over`'s; here each name gets
its function. A name without one is found by a test, which holds `BINDINGS` to the calls of
every kind of operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from calibration.runtime import broadcast, tensor_operators
from calibration.runtime import operators as calls
from calibration.runtime.binding import Binding, Materials, held, made, plain
from calibration.runtime.memory import Weights
from perfmodel.costmodel.lowering import walk_over
from perfmodel.costmodel.walk import Call, Walk
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import EmbeddingTable
from perfmodel.domain.shapes import DeviceKind
from perfmodel.errors import InputError


@dataclass(frozen=True, slots=True)
class Step:
    """One call: its function, the slots that it reads and writes, and the kernels that it carries out.

    `is_query`: its result is the query's.
    """

    function: calls.Function
    reads: tuple[int, ...]
    writes: int
    kernels: tuple[int, ...]
    is_query: bool = False


@dataclass(frozen=True, slots=True)
class Assembly:
    """The steps of a model, and the walk that they follow."""

    walk: Walk
    steps: tuple[Step, ...]


def kind_of(device: torch.device) -> DeviceKind:
    """What a model file calls such a device."""
    return "cpu" if device.type == "cpu" else "gpu"


def assemble(
    model: RecModel,
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    library: calls.Library = calls,
) -> Assembly:
    """Bind a model's calls to PyTorch on a device, in their order; calls with weights are the library's.

    Raises
    ------
    InputError
        If a table's elements are of 8 bytes, or of one byte and not summed.
    """
    walk = walk_over(model, kind_of(device))
    materials = Materials(model.name, weights, device, dtype, library)
    return Assembly(walk, tuple(bound(call, materials) for call in walk.calls))


def bound(call: Call, materials: Materials) -> Step:
    """Make the function of a call."""
    function = BINDINGS[call.name](call, materials)
    if call.gives_vector:
        function = calls.as_vector(function)
    return Step(function, call.reads, call.writes, call.kernels, call.is_query)


def _linear(call: Call, materials: Materials) -> calls.Function:
    return materials.library.linear(*materials.held(call))


def _activation(call: Call, materials: Materials) -> calls.Function:
    return materials.library.activation(call.settings["function"], in_place=call.settings["in_place"])


def _prelu(call: Call, materials: Materials) -> calls.Function:  # noqa: ARG001  # one signature for all
    return materials.library.prelu(torch.full((1,), 0.25, device=materials.device, dtype=materials.dtype))


def _embedding(call: Call, materials: Materials) -> calls.Function:
    table = _known(call, materials)
    rows = materials.rows(table)
    if table.precision != "fp32":
        return calls.converted_rows(rows, materials.dtype)
    return materials.library.embedding(rows)


def _embedding_bag(call: Call, materials: Materials) -> calls.Function:
    table, pooling = _known(call, materials), call.settings["pooling"]
    if table.precision == "int8" and (call.settings["weighted"] or pooling != "sum"):
        raise InputError(
            f"{materials.model}: {call.operator}: the runtime sums rows of one byte an element, no more"
        )
    rows = materials.rows(table)
    if call.settings["weighted"]:
        return calls.weighted_bag(rows, materials.dtype)
    if pooling == "sum" and table.precision == "fp32":
        return materials.library.embedding_bag(rows)
    return calls.embedding_bag(rows, pooling, materials.dtype)


def _known(call: Call, materials: Materials) -> EmbeddingTable:
    """The table, whose elements are of a size that lookups have a call for."""
    table: EmbeddingTable = call.settings["table"]
    if table.element_bytes not in (1, 2, 4):
        got = f"got {table.element_bytes} bytes an element"
        raise InputError(f"{materials.model}: {call.operator}: the runtime runs tables of 1, 2 or 4, {got}")
    if table.precision == "int8" and materials.device.type != "cpu":
        raise InputError(f"{materials.model}: {call.operator}: tables of 1 byte an element run on cores only")
    return table


def _recurrent(call: Call, materials: Materials) -> calls.Function:
    return materials.library.recurrent(
        call.settings["cell"], materials.held(call), last=call.settings["last"]
    )


def _activation_units(call: Call, materials: Materials) -> calls.Function:
    """Each unit's layers, weights and bias by turns."""
    held, units = materials.held(call), call.settings["units"]
    each = len(held) // units
    layers = [held[first : first + each] for first in range(0, len(held), each)]
    return calls.activation_units([list(zip(own[::2], own[1::2], strict=True)) for own in layers])


def _parameters(call: Call, materials: Materials) -> calls.Function:
    """The model's own numbers, one copy for all items."""
    length, width = call.settings["length"], call.settings["width"]
    held = materials.weights(1, length * width)
    held = held if length == 1 else held.view(1, length, width)
    return lambda: held


def _take_pairs(call: Call, materials: Materials) -> calls.Function:
    n = call.settings["vectors"]
    offset = 0 if call.settings["with_self"] else -1
    row, column = torch.tril_indices(n, n, offset=offset, device=materials.device)
    return calls.take(row * n + column)


def _concat(*, along_length: bool, repeats: bool) -> calls.Function:
    if repeats:
        return broadcast.concat(along_length=along_length)
    return calls.concat_length if along_length else calls.concat_features


BINDINGS: Mapping[str, Binding] = {
    **tensor_operators.BINDINGS,
    "activation": _activation,
    "activation_units": _activation_units,
    "add": plain(calls.add),
    "addcmul": plain(calls.cross_residual),
    "all_pairs": plain(calls.all_pairs),
    "attention_scores": made(calls.attention_scores),
    "attention_values": made(calls.attention_values),
    "augru": lambda call, materials: calls.augru(materials.held(call), **call.settings),
    "cast": held(calls.cast),
    "concat": made(_concat),
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
    "fused_attention": made(calls.fused_attention),
    "grouped_linear": held(calls.grouped_linear),
    "join_unit_inputs": plain(calls.join_unit_inputs),
    "linear": _linear,
    "match": plain(calls.match),
    "parameters": _parameters,
    "prelu": _prelu,
    "recurrent": _recurrent,
    "repeat": plain(broadcast.repeat),
    "routed_linear": held(calls.routed_linear),
    "shared_attention_scores": made(broadcast.attention_scores),
    "shared_attention_values": made(broadcast.attention_values),
    "shared_batch_matmul": made(broadcast.products),
    "shared_state_scores": plain(broadcast.state_scores),
    "shared_weigh": plain(broadcast.weigh),
    "softmax": plain(calls.softmax),
    "softmax_scores": plain(calls.softmax_scores),
    "state_scores": plain(calls.state_scores),
    "sum_vectors": plain(calls.sum_vectors),
    "take_pairs": _take_pairs,
    "weigh": plain(calls.weigh),
}
"""PyTorch's part of each call that the walk puts down."""

OWNING = frozenset({"embedding", "embedding_bag", "parameters", "prelu"})
"""Calls that have weights of their own beside those that the walk lists."""
