"""Capture a module's forward pass as a graph of ATen calls with the shape of every result."""

from __future__ import annotations

import inspect
import logging
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.proxy import TracerBase
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_flatten_with_path, tree_leaves, tree_unflatten

from calibration.importing.factory import Example, is_jagged, tensors_in
from calibration.importing.packed import Packed, named_holders, unpacked
from calibration.importing.weights import alive, parameters_of, weights_of
from perfmodel.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The calls in order.

    Attributes
    ----------
    weights : mapping of str to str
        Names of the module's tensors by the nodes that stand for them.
    parameters : frozenset of str
        Those of them that are parameters.
    inputs, of_items : frozenset of Node
        What comes with the request, and that of it of which each item has its own.
    is_distinctive : bool
        Whether a size that is a multiple of the batch size can only mean items.
    names : mapping of Node to str
        What the module calls its inputs.
    packed : mapping of str to (str, tuple of Packed)
        What quantised layers hold, and their names, by the nodes that stand for it.
    """

    nodes: tuple[fx.Node, ...]
    weights: Mapping[str, str]
    parameters: frozenset[str]
    inputs: frozenset[fx.Node]
    of_items: frozenset[fx.Node]
    is_distinctive: bool
    method: str
    names: Mapping[fx.Node, str] = field(default_factory=dict)
    packed: Mapping[str, tuple[str, tuple[Packed, ...]]] = field(default_factory=dict)


def capture(example: Example, *, is_taken_apart: bool = False) -> Graph:
    """Record the calls of one forward pass; where that fails, trace with torch.export.

    Sizes that depend on values, and branches on ids, are those of the example. `is_taken_apart`: the calls
    that PyTorch makes of the module's own, which says what is behind a transform such as `vmap`.

    Raises
    ------
    InputError
        If neither can follow the forward pass.
    """
    with _silence(), torch.no_grad(), call_by_call():
        if is_taken_apart:
            with sdpa_kernel(SDPBackend.MATH):
                return _recorded(example, pre_dispatch=False)
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
        with _Views():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _Views(TorchFunctionMode):
    """Lets modules see what the calls of an encoder layer give as they see what the one opaque call gives.

    That one's result is contiguous, theirs need not be: a `view` of it is then a `reshape`.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func is torch.Tensor.view and not kwargs and not args[0].is_contiguous():
            shape = args[1:] if len(args) > 2 else args[1]
            if not isinstance(shape, torch.dtype):
                return args[0].reshape(shape)
        return func(*args, **(kwargs or {}))


def _capture(example: Example) -> Graph:
    try:
        return _recorded(example)
    except Exception as error:
        first = error
    try:
        return _exported(example)
    except Exception as error:
        reasons = [_reason(first), _reason(error)]
        also = "" if reasons[1] == reasons[0] else f" (torch.export: {reasons[1]})"
        where = place_of(first) or example.target
        raise InputError(f"{where}: forward cannot be traced: {reasons[0]}{also}") from first


def place_of(error: BaseException) -> str:
    """File and line, outside PyTorch and this package, where an error came up; empty where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


_NOT_THE_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")


def _is_users(filename: str) -> bool:
    """Whether code is neither PyTorch's nor this package's, nor made while it ran."""
    return not filename.startswith(_NOT_THE_USERS)


@contextmanager
def _all_calls() -> Iterator[None]:
    """Keep calls whose result nothing reads: the module makes them all the same. Note the line of each."""
    eliminate, frames = fx.Graph.eliminate_dead_code, TracerBase._filter_traceback_frames
    fx.Graph.eliminate_dead_code = lambda *_, **__: False  # type: ignore[method-assign]
    TracerBase._filter_traceback_frames = _users_frames  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        fx.Graph.eliminate_dead_code = eliminate  # type: ignore[method-assign]
        TracerBase._filter_traceback_frames = frames  # type: ignore[method-assign]


def _users_frames(_: Any, summary: traceback.StackSummary) -> traceback.StackSummary:
    """The line of the module's own code that makes a call, in whichever of its methods that stands."""
    frames = list(summary)
    begin = next((place for place, frame in enumerate(frames) if _is_first(frame)), len(frames))
    own = [frame for frame in frames[begin + 1 :] if _is_users(frame.filename)]
    return traceback.StackSummary.from_list(own[-1:])


def _is_first(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is the one that calls the module."""
    return frame.filename == __file__ and frame.name == "call"


def _recorded(example: Example, *, pre_dispatch: bool = True) -> Graph:
    """Write the calls of one real pass down, before PyTorch takes composite ones apart."""
    flat, structure = tree_flatten(example.inputs)
    tensors = [index for index, leaf in enumerate(flat) if isinstance(leaf, torch.Tensor)]
    hidden = {id(one) for one in tensors_in(leaf for leaf in flat if not isinstance(leaf, torch.Tensor))}

    def call(*given: torch.Tensor) -> Any:
        leaves = list(flat)
        for index, tensor in zip(tensors, given, strict=True):
            leaves[index] = tensor
        return tensors_in(tree_leaves(example.module(*tree_unflatten(leaves, structure))))

    before = alive()  # held, so that none that the pass makes takes the place of one that is gone
    with _all_calls():
        module = make_fx(
            call,
            tracing_mode="real",
            pre_dispatch=pre_dispatch,
            _error_on_data_dependent_ops=False,
            record_stack_traces=True,
        )(*(flat[index] for index in tensors))
    names = {id(tensor): name for name, tensor in weights_of(example.module)}
    brought_in = hidden | {id(flat[index]) for index in tensors}
    nobodys = {id(tensor) for tensor in before} - brought_in  # of no module, such as a global
    holders = {hash(holder): name for name, holder in named_holders(example.module)}
    nodes = tuple(module.graph.nodes)
    known = {node: getattr(module, str(node.target)) for node in nodes if node.op == "get_attr"}
    places = [node for node in nodes if node.op == "placeholder"]
    brought = {node: flat[index] for node, index in zip(places, tensors, strict=True)}
    brought |= {node: tensor for node, tensor in known.items() if id(tensor) in hidden}
    lists = {flat[index].shape[0] for index in tensors if is_jagged(flat[index])}
    of_items = {
        node
        for node, index in zip(places, tensors, strict=True)
        if (example.of_items is None and _has_items(flat[index], example.batch_size, lists))
        or index in (example.of_items or ())
    }
    of_items |= {
        node
        for node, tensor in known.items()
        if id(tensor) in hidden and _has_items(tensor, example.batch_size)
    }
    return Graph(
        nodes=nodes,
        weights={
            node.name: names.get(id(tensor), node.name)
            for node, tensor in known.items()
            if id(tensor) in names or id(tensor) in nobodys
        },
        parameters=frozenset(name for name, _ in parameters_of(example.module)),
        inputs=frozenset(brought),
        of_items=frozenset(of_items),
        is_distinctive=example.is_distinctive,
        method="a recorded pass",
        names=dict(zip(places, [_names(example)[index] for index in tensors], strict=True)),
        packed={
            node.name: (holders.get(hash(holder), f"{node.name}.weight"), unpacked(holder))
            for node, holder in known.items()
            if isinstance(holder, torch.ScriptObject)
        },
    )


def _names(example: Example) -> list[str]:
    """What the module calls each leaf of its inputs."""
    try:
        arguments = list(inspect.signature(example.module.forward).parameters)
    except (TypeError, ValueError):
        arguments = []
    names = []
    for path, _ in tree_flatten_with_path(example.inputs)[0]:
        place = getattr(path[0], "idx", 0)
        words = [arguments[place] if place < len(arguments) else f"input_{place}"]
        for key in path[1:]:
            words.append(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", "")))))
        names.append(".".join(word for word in words if word))
    return names


def _has_items(tensor: torch.Tensor, batch_size: int, lists: Collection[int] = ()) -> bool:
    """Whether an input has a dimension of as many as the example has items, or several for each of them.

    `lists` are lengths of lists of ids, several for each item: as many numbers are theirs, such as weights.
    """
    if batch_size in tensor.shape:
        return True
    if tensor.is_floating_point() and tensor.dim() == 1 and tensor.shape[0] in lists:
        return tensor.shape[0] % batch_size == 0
    return is_jagged(tensor) and batch_size > 1


def _exported(example: Example) -> Graph:
    programme = torch.export.export(example.module, example.inputs, strict=False)
    signature = programme.graph_signature
    weights = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    nodes = tuple(programme.graph.nodes)
    inputs = [
        node
        for node in nodes
        if node.op == "placeholder"
        and node.name not in weights
        and isinstance(node.meta.get("val"), torch.Tensor)
    ]
    return Graph(
        nodes=nodes,
        weights=weights,
        parameters=frozenset(signature.inputs_to_parameters.values()),
        inputs=frozenset(inputs),
        of_items=frozenset(node for node in inputs if _has_items(node.meta["val"], example.batch_size)),
        is_distinctive=example.is_distinctive,
        method="torch.export",
    )


def _reason(error: Exception) -> str:
    """The first line of what torch says; for control flow on values, what it means."""
    text = str(error)
    if any(word in text for word in ("data-dependent", "control flow", "Could not guard")):
        return "its control flow depends on the values of tensors"
    advice = next((advice for word, advice in _ADVICE.items() if word in text), None)
    if advice is not None:
        return advice
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"


_ADVICE = {
    "Quantized": "activations in packed whole numbers (static quantisation) cannot be recorded: expected the "
    "module before it was converted, or quantize_dynamic's",
    "nested_tensor": "nested tensors cannot be recorded: expected padded ones and a mask, or offsets",
}
"""What is expected instead, by a word of what PyTorch says."""
