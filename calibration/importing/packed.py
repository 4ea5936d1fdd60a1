"""Weights that quantised layers hold packed: PyTorch is asked to unpack them for their sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

QUANTISED = "linear_dynamic linear_relu_dynamic linear_dynamic_fp16 linear_relu_dynamic_fp16"
"""Layers with packed weights, whose inputs and results are floats."""
_OWN = re.compile(r"\._(packed_params|all_weight_values)\b.*$")


class Packed(NamedTuple):
    """One matrix, or table, in a packed object.

    Attributes
    ----------
    shape : tuple of int
        Outputs and inputs of a layer; rows and their elements of a table.
    element_bytes : int
        Of an element as it lies in memory. [bytes]
    has_bias : bool
        Whether a vector that is added lies beside it.
    """

    shape: tuple[int, ...]
    element_bytes: Literal[1, 2]
    has_bias: bool = False


def unpacked(holder: Any) -> tuple[Packed, ...]:
    """The matrices that an object holds: one, or those of a recurrent layer; none where it cannot be told."""
    try:
        return _unpacked(holder)
    except (RuntimeError, AttributeError, ValueError, IndexError, TypeError):
        return ()


def _unpacked(holder: Any) -> tuple[Packed, ...]:
    kind = holder._type().name()
    if kind == "CellParamsBase":
        state = holder.__getstate__()[0]
        return tuple(matrix for layer in state[4] for matrix in _unpacked(layer))
    if kind == "EmbeddingPackedParamsBase":
        table = holder.unpack()
        return (Packed(tuple(table.shape), 1),) if table.dtype == torch.quint8 else ()
    if kind == "LinearPackedParamsBase":
        weight, bias = holder.unpack()
        return (Packed(tuple(weight.shape), 1 if weight.is_quantized else 2, bias is not None),)
    return ()


def named_holders(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Packed objects of a module, by the names of the layers that they belong to."""
    for path, part in module.named_modules():
        for key, value in vars(part).items():
            if isinstance(value, torch.ScriptObject):
                yield f"{_OWN.sub('', f'{path}._packed_params.{key}').strip('.')}.weight", value
