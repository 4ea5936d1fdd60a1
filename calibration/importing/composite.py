"""Take a call that no handler knows apart into the calls that PyTorch makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from calibration.importing.pointwise import call_name

Inner = tuple[Sequence[fx.Node], Sequence[fx.Node]]
"""Nodes of the calls inside, and the nodes outside that their first ones, the placeholders, stand for."""


def taken_apart(node: fx.Node) -> Inner | None:
    """Calls that a composite one is made of, such as those of an einsum of three operands.

    Nothing is computed: the calls are recorded on tensors without values. None where PyTorch runs the call as
    one, or cannot record it.
    """
    leaves, structure = tree_flatten((node.args, dict(node.kwargs)))
    outside = [leaf for leaf in leaves if isinstance(leaf, fx.Node)]
    tensors = [leaf.meta.get("val") for leaf in outside]
    if not tensors or not all(map(_is_plain, tensors)):
        return None

    def call(*given: torch.Tensor) -> Any:
        left = iter(given)
        filled = [next(left) if isinstance(leaf, fx.Node) else leaf for leaf in leaves]
        args, kwargs = tree_unflatten(filled, structure)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            traced = make_fx(call, tracing_mode="fake")(*map(_without_values, tensors))
    except Exception:  # whatever PyTorch says of a call that it cannot record
        return None
    inside = tuple(traced.graph.nodes)
    calls = [call_name(inner) for inner in inside if inner.op == "call_function"]
    if not calls or set(calls) - {"getitem"} == {call_name(node)}:
        return None
    for inner in inside:
        inner._rename(f"{node.name}_{inner.name}")  # the names of views tell apart what they select
        inner.meta.setdefault("stack_trace", node.meta.get("stack_trace"))
    return inside, outside


def _is_plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided


def _without_values(tensor: Any) -> torch.Tensor:
    """A tensor that looks the same, with memory that nobody touches."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
