"""Capture a module's forward pass as a graph of ATen calls with the shape of every result."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from calibration.importing.factory import Example
from perfmodel.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The calls in order; `weights` maps nodes that stand for parameters and buffers to their names."""

    nodes: tuple[fx.Node, ...]
    weights: Mapping[str, str]
    method: str


def capture(example: Example) -> Graph:
    """Trace with torch.export; where that fails, symbolically with torch.fx.

    Raises
    ------
    InputError
        If neither can follow the forward pass, as with control flow that depends on values.
    """
    with _silence(), torch.no_grad(), call_by_call():
        return _capture(example)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's warnings, log lines and prints to itself: what matters becomes the error's one line."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def call_by_call() -> Iterator[None]:
    """Have PyTorch run encoder layers as the calls that they are made of, not as one opaque call."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _capture(example: Example) -> Graph:
    try:
        return _exported(example)
    except Exception as error:
        first = error
    try:
        return _traced(example)
    except Exception as error:
        reasons = [_reason(first), _reason(error)]
        also = "" if reasons[1] == reasons[0] else f" (torch.fx: {reasons[1]})"
        raise InputError(f"{example.target}: forward cannot be traced: {reasons[0]}{also}") from first


def _exported(example: Example) -> Graph:
    programme = torch.export.export(example.module, example.inputs, strict=False)
    signature = programme.graph_signature
    weights = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return Graph(nodes=tuple(programme.graph.nodes), weights=weights, method="torch.export")


def _traced(example: Example) -> Graph:
    """Trace symbolically, which refuses control flow on values; then write the calls down as export does."""
    traced = fx.symbolic_trace(example.module)
    flat, structure = tree_flatten(example.inputs)

    def call(*leaves: Any) -> Any:
        return traced(*tree_unflatten(leaves, structure))

    module = make_fx(call, tracing_mode="fake", pre_dispatch=True, _allow_non_fake_inputs=True)(*flat)
    names = {id(tensor): name for name, tensor in _tensors(example.module)}
    weights = {
        node.name: names.get(id(getattr(module, str(node.target))), node.name)
        for node in module.graph.nodes
        if node.op == "get_attr"
    }
    return Graph(nodes=tuple(module.graph.nodes), weights=weights, method="torch.fx")


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _reason(error: Exception) -> str:
    """The first line of what torch says; for control flow on values, what it means."""
    text = str(error)
    if any(word in text for word in ("data-dependent", "control flow", "Could not guard")):
        return "its control flow depends on the values of tensors"
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"
