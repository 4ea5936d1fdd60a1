"""Import every model of one library, in that library's environment; a line of JSON each."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from calibration.importing.counting import count
from calibration.importing.factory import Example, load_example
from calibration.importing.importer import import_example
from calibration.importing.weights import parameters_of
from perfmodel.errors import InputError
from perfmodel.loading.model_file import model_text

LIBRARIES = ("deepctr", "rechub", "recbole", "fuxictr", "torchrec", "xtransformers")


def measured(library: str, name: str, folder: Path | None = None) -> dict[str, Any]:
    """Counts on the module beside those of its file, kept in a folder; or why there is no file."""
    row: dict[str, Any] = {"library": library, "model": name}
    try:
        example = load_example(f"benchmarks.public_models.{library}:MODELS_{name}")
    except InputError as error:
        return row | {"not_run": str(error)}
    row |= on_module(example)
    try:
        result = import_example(example, "model")
    except InputError as error:
        return row | {"refused": str(error)}
    model, items = result.model, example.batch_size
    if folder is not None:
        (folder / f"{library}.{name}.yaml").write_text(model_text(model), encoding="utf-8")
    return row | {
        "flop": result.product_flop_per_item,
        "rows": model.lookups_per_item + model.lookups_per_query / items,
        "row_bytes": model.embedding_bytes_per_item + model.embedding_bytes_per_query / items,
        "table_bytes": model.embedding_bytes,
        "parameter_bytes": model.embedding_bytes + model.dense_parameter_bytes,
        "query_share": _query_share(result, items),
    }


def on_module(example: Example) -> dict[str, Any]:
    """What torch and hooks count on the module, shared out over the example's items."""
    counted, items = count(example), example.batch_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        example.module(*example.inputs)
    with torch.no_grad(), _Reads(example.module) as reads:
        example.module(*example.inputs)
    return {
        "items": items,
        "torch_flop": counter.get_total_flops() / items,
        "counted_flop": counted.flop / items,
        "counted_rows": counted.rows / items,
        "counted_row_bytes": counted.row_bytes / items,
        "counted_parameter_bytes": reads.parameter_bytes,
    }


class _Reads(TorchDispatchMode):
    """Which parameters the calls of a pass read, whole or in parts; those that none reads are no work."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._of = {_storage(each): each for _, each in parameters_of(module)}
        self._buffers = {_storage(each): each for each in module.buffers() if each.numel() >= 4096}
        self._read: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = {_storage(each) for each in tree_leaves(result) if isinstance(each, torch.Tensor)}
        given = {_storage(each) for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)}
        if given <= self._of.keys() | self._buffers.keys():  # what each pass makes of large buffers
            self._of |= {at: self._buffers[at] for at in given & self._buffers.keys()}
        self._read |= given - made  # a view reads nothing
        return result

    @property
    def parameter_bytes(self) -> int:
        """All bytes of the parameters that were read."""
        read = [each for at, each in self._of.items() if at in self._read]
        return sum(each.numel() * each.element_size() for each in read)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _query_share(result: Any, items: int) -> float:
    """Share of the products that are the query's. [1]"""
    from calibration.importing.importer import product_flop_per_item

    whole, alone = product_flop_per_item(result.model, items), product_flop_per_item(result.model, 10**12)
    return 1 - alone / whole if whole else 0.0


def main(library: str, folder: str, chosen: list[str]) -> None:
    """Print a line for each model; keep the files in a folder, where one is named."""
    module = importlib.import_module(f"benchmarks.public_models.{library}")
    for name, factory in module.MODELS.items():
        if chosen and name not in chosen:
            continue
        torch.manual_seed(1)
        setattr(module, f"MODELS_{name}", factory)
        with redirect_stdout(sys.stderr):
            try:
                row = measured(library, name, Path(folder) if folder else None)
            except Exception as error:  # a traceback is what must not happen: it is counted as one
                row = {"library": library, "model": name, "traceback": f"{type(error).__name__}: {error}"}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
