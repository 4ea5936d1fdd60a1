"""Run the user's factory, and make sure of a module, its example inputs and their batch size."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from perfmodel.errors import InputError
from perfmodel.loading.words import cut, quoted

_MOST_OBJECTS = 10_000
"""That are searched for tensors, of an input or an output."""
_AGREE = 0.01
"""How far the work of two passes on the same inputs may be apart. [1]"""
DEFAULT_BATCH = 4
"""Items in a batch that is made here; 1 would hide which dimension is the batch. [items]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A module in evaluation mode, with inputs that it accepts, for `batch_size` items.

    `of_items` are the inputs, as leaves, of which each item has its own; None: those that have a dimension of
    `batch_size`. `is_distinctive`: no other size is a multiple of it. `compiled`: the module as it is served,
    where that is through `torch.compile`; `module` is what was compiled.
    """

    target: str
    module: nn.Module
    inputs: tuple[Any, ...]
    batch_size: int
    of_items: frozenset[int] | None = None
    is_distinctive: bool = False
    compiled: nn.Module | None = None


def load_example(target: str, *, batch_size: int | None = None) -> Example:
    """Import `MODULE:FACTORY`, call the factory, and run the module once on its example inputs.

    Parameters
    ----------
    target : str
        An importable module or the path of a Python file, a colon, and a function without arguments in it
        that returns the module or (module, inputs).
    batch_size : int, optional
        Items in the example inputs; by default read off the output's first dimension.

    Raises
    ------
    InputError
        If there is no such module or function, if it fails, or if the module rejects the inputs.
    """
    made = _call_factory(target)
    module, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        got = type(module).__name__
        raise InputError(f"{target}: expected a torch.nn.Module or (module, example inputs), got {got}")
    with suppress(NotImplementedError):  # an exported programme is as it was exported
        module = module.eval()
    if inputs is None:
        inputs = _made_inputs(module, target, batch_size or DEFAULT_BATCH)
    elif isinstance(inputs, dict) and _are_arguments(module, inputs):
        module, inputs = Named(module, tuple(inputs)).eval(), tuple(inputs.values())
    elif not isinstance(inputs, tuple):
        inputs = tuple(inputs) if isinstance(inputs, list) else (inputs,)
    plain = _uncompiled(module)
    with torch.no_grad(), _one_line(f"{target}: the module fails on its example inputs"):
        twin = _twin(plain)
        output = plain(*inputs)
    for parameter in plain.parameters():
        with suppress(RuntimeError):  # of one that was computed
            parameter.requires_grad = False  # hooks that count find no way through gradients
    _require_no_memory(target, twin, inputs)
    return Example(
        target=target,
        module=plain,
        inputs=inputs,
        batch_size=_batch_size(target, inputs, output, batch_size),
        compiled=None if plain is module else module,
    )


def _twin(module: nn.Module) -> nn.Module | None:
    """A copy that shares all weights, and has run as often as the module has; None: there can be none."""
    weights = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    with suppress(Exception):
        return copy.deepcopy(module, weights)
    return None


def _work(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """FLOP of a pass's products, and elements that it looks up."""
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_LOOKED_UP) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def _looked_up(*_: Any, out_shape: Any = None, **__: Any) -> int:
    """Elements of the first result of a lookup."""
    nested = out_shape and not isinstance(out_shape[0], int)
    return math.prod(out_shape[0] if nested else out_shape or ())


_LOOKED_UP = dict.fromkeys(
    (
        torch.ops.aten.embedding,
        torch.ops.aten._embedding_bag,
        torch.ops.aten._embedding_bag_forward_only,
        torch.ops.aten.index_select,
        torch.ops.aten.index,
    ),
    _looked_up,
)


def _require_no_memory(target: str, module: nn.Module | None, inputs: tuple[Any, ...]) -> None:
    """Refuse a module whose second pass does something else than its first, such as one with a cache.

    Raises
    ------
    InputError
        If the work of both, on the same inputs, differs by more than 1 %.
    """
    if module is None:
        return
    try:
        first, second = (_work(module, inputs) for _ in range(2))
    except Exception:  # what cannot be counted is told where all of it is counted
        return
    if abs(first - second) > _AGREE * max(first, second):
        raise InputError(
            f"{target}: one pass takes {first:,.0f} FLOP and elements looked up, the next on the same inputs "
            f"{second:,.0f}: expected a module that keeps no results from pass to pass (a cache), or one "
            "whose factory has run it until all passes are alike"
        )


def _uncompiled(module: nn.Module) -> nn.Module:
    """The module without `torch.compile`, or itself where nothing of it is compiled; they share weights."""
    if isinstance(module, torch.jit.ScriptModule):
        return module
    if (original := module._modules.get("_orig_mod")) is not None:
        return _uncompiled(original)
    parts = {name: part for name, part in module._modules.items() if part is not None}
    plain_parts = {name: _uncompiled(part) for name, part in parts.items()}
    if all(plain_parts[name] is part for name, part in parts.items()):
        return module if module._compiled_call_impl is None else copy.copy(module)  # a copy is not compiled
    plain = copy.copy(module)
    plain._modules = {**module._modules, **plain_parts}
    return plain


class Named(nn.Module):
    """A module whose arguments are given by their names, as one that takes them in the order of the names."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.names = names

    def forward(self, *inputs: Any) -> Any:
        """What the module gives for arguments in the order of their names."""
        return self.module(**dict(zip(self.names, inputs, strict=True)))


def _are_arguments(module: nn.Module, inputs: dict[Any, Any]) -> bool:
    """Whether a dictionary holds the arguments of `forward` by their names, and not the one that it takes."""
    try:
        arguments = inspect.signature(module.forward).parameters
        inspect.signature(module.forward).bind(**inputs)
    except (TypeError, ValueError):
        return False
    return bool(inputs) and set(inputs) <= {
        name for name, one in arguments.items() if one.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _call_factory(target: str) -> Any:
    """What the factory returns, with anything it raises as one line."""
    where, colon, path = target.rpartition(":")
    if not colon or not where or not path:
        raise InputError(
            f"expected MODULE:FACTORY, such as my_models:dlrm or my_models.py:dlrm, got {quoted(target)}"
        )
    found: Any = _import(where)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise InputError(f"{cut(target)}: {where} has no {quoted(name)}") from None
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise InputError(f"{target}: expected a function or a module, got {type(found).__name__}")
    with _one_line(f"{target}: the factory failed"):
        return found()


def _import(where: str) -> Any:
    """Import by module name, from the working directory too, or by the path of a file."""
    if where.endswith(".py"):
        return _import_file(Path(where))
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(where)
    except ModuleNotFoundError:
        found = None
    except Exception as error:
        raise InputError(f"{where}: importing failed: {_described(error)}") from error
    if found is None:
        raise InputError(f"no module named {where!r} here or among the installed packages")
    with _one_line(f"{where}: importing failed"):
        return importlib.import_module(where)


def source_of(target: str) -> Path | None:
    """The file that a module, once imported, is written in; None: in none, or not in Python."""
    where = target.rpartition(":")[0]
    file = where if where.endswith(".py") else getattr(sys.modules.get(where), "__file__", None)
    return None if file is None else Path(file)


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.insert(0, folder)  # as for a script: modules beside it are imported by their names
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickles look their module up there
    with _one_line(f"{path}: importing failed"):
        spec.loader.exec_module(module)
    return module


def _made_inputs(module: nn.Module, target: str, batch_size: int) -> tuple[Any, ...]:
    """Inputs from the module's own `example_inputs(batch_size)`, or for a chain that begins with a layer."""
    own: Callable[[int], Any] | None = getattr(module, "example_inputs", None)
    if callable(own):
        with _one_line(f"{target}: example_inputs({batch_size}) failed"):
            inputs = own(batch_size)
        return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    first = next((layer for layer in module.modules() if isinstance(layer, (nn.Linear, nn.Embedding))), None)
    if isinstance(module, (nn.Sequential, nn.Linear)) and isinstance(first, nn.Linear):
        return (torch.rand(batch_size, first.in_features),)
    raise InputError(
        f"{target}: the module came without example inputs; return (module, inputs) from the factory, "
        f"or give the module a method example_inputs(batch_size)"
    )


def _batch_size(target: str, inputs: tuple[Any, ...], output: Any, wanted: int | None) -> int:
    """Items in the inputs: as said, else the output's rows; an input must have so many, or be jagged."""
    leaves = [leaf for leaf in tensors_in(tree_leaves(inputs)) if leaf.dim()]
    outputs = tensors_in(tree_leaves(output))
    if not leaves or not outputs:
        raise InputError(f"{target}: expected tensors as inputs and output of forward")
    if wanted is None and outputs[0].dim() == 0:
        raise InputError(
            f"{target}: the output has no batch dimension; say the batch size: --batch-example N"
        )
    size = int(outputs[0].shape[0]) if wanted is None else wanted
    if wanted is None:
        _require_no_other(target, size, leaves, outputs)
    of_output = bool(outputs[0].dim()) and size == outputs[0].shape[0]
    if any(size in leaf.shape for leaf in leaves) or (of_output and any(map(is_jagged, leaves))):
        return size
    shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
    way = "say their batch size: --batch-example N" if wanted is None else "as --batch-example says"
    raise InputError(
        f"{target}: no input of the example has a dimension of {size}, its batch size: {shapes}; {way}"
    )


def _require_no_other(
    target: str, size: int, inputs: list[torch.Tensor], outputs: list[torch.Tensor]
) -> None:
    """Refuse an output with fewer rows than a later one that has as many as an input: which are the items?

    Raises
    ------
    InputError
        Naming both numbers.
    """
    firsts = {int(leaf.shape[0]) for leaf in inputs}
    rows = {int(each.shape[0]) for each in outputs[1:] if each.dim()}
    others = sorted(other for other in rows & firsts if other > size)
    if others:
        raise InputError(
            f"{target}: the outputs have {size} and {others[-1]} rows: expected one number of items; say it: "
            f"--batch-example {others[-1]}"
        )


def tensors_in(objects: Iterable[Any]) -> list[torch.Tensor]:
    """Tensors among objects, and inside those of types of the module's own, such as a library's batch."""
    found: list[torch.Tensor] = []
    seen: set[int] = set()
    todo = list(objects)[::-1]
    while todo and len(seen) < _MOST_OBJECTS:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            found.append(thing)
        elif isinstance(thing, dict):
            todo += reversed(list(thing.values()))
        elif isinstance(thing, (list, tuple, set)):
            todo += reversed(list(thing))
        elif not isinstance(thing, (str, bytes, int, float, type(None), type)) and hasattr(thing, "__dict__"):
            todo += reversed(list(vars(thing).values()))
    return found


def is_jagged(tensor: torch.Tensor) -> bool:
    """Whether an input is a list of whole numbers that may hold several, or their lengths, for each item."""
    return not tensor.dtype.is_floating_point and tensor.dim() == 1 and tensor.shape[0] > 1


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn anything that the user's code raises into one line; the cause stays attached."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise InputError(f"{what}: {_described(error)}") from error


def _described(error: BaseException) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
