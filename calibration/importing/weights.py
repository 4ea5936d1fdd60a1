"""Tensors that a module holds, wherever it keeps them: what no request brings."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

Named = tuple[str, torch.Tensor]


def parameters_of(module: nn.Module) -> list[Named]:
    """What a module learnt: its parameters, and what freezing made constants of a scripted one's graph."""
    return [*module.named_parameters(), *_frozen(module)]


def weights_of(module: nn.Module) -> list[Named]:
    """Parameters, buffers, and tensors that are plain attributes of a module, alone or in lists, by name."""
    plain = [
        named
        for path, part in module.named_modules()
        for key, value in vars(part).items()
        if not key.startswith("_")
        for named in _inside(f"{path}.{key}".strip("."), value)
    ]
    return [*parameters_of(module), *module.named_buffers(), *plain]


def _inside(name: str, value: Any) -> Iterator[Named]:
    """A tensor, or those of a list or a dictionary."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _inside(f"{name}.{key}", member)
    elif isinstance(value, (list, tuple)):
        for key, member in enumerate(value):
            yield from _inside(f"{name}.{key}", member)


def _frozen(module: nn.Module) -> Iterator[Named]:
    """Constants of fractions in the graphs of scripted modules."""
    for path, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule):
            continue
        try:
            constants = part.graph.findAllNodes("prim::Constant", True)  # type: ignore[attr-defined]
        except RuntimeError:  # a part without a forward pass of its own
            continue
        for node in constants:
            name = f"{path}.{node.output().debugName().removeprefix('self.')}".strip(".")
            for found, tensor in _inside(name, _constant(node)):
                if tensor.dtype.is_floating_point and tensor.dim():
                    yield found, tensor


def _constant(node: Any) -> Any:
    """A constant's value, where it is a tensor or several."""
    kind = node.kindOf("value") if node.hasAttribute("value") else ""
    return {"t": node.t, "ts": node.ts, "ival": node.ival}[kind]("value") if kind in _TENSORS else None


_TENSORS = ("t", "ts", "ival")


def alive() -> list[torch.Tensor]:
    """All tensors that Python knows now: what a pass reads of them was there before it."""
    return [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, nn.Parameter)]
