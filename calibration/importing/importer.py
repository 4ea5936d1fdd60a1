"""Import a module: its model, what was recognised, what was not, and the FLOP that torch counts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from calibration.documents import VERSION, ImportDocument
from calibration.importing.builder import Builder
from calibration.importing.capture import call_by_call, capture
from calibration.importing.factory import Example
from calibration.importing.recognise import recognise
from calibration.importing.tidy import pruned, tidy
from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import DENSE, RecModel
from perfmodel.domain.operators import Operator, View
from perfmodel.report.documents import saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """Calls of one kind that became operators of one kind, and their work for one item."""

    call: str
    kind: str
    count: int
    flop_per_item: float
    bytes_per_item: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognised:
    """Calls of one kind that no operator stands for, with their shares of the module's work. [1]"""

    call: str
    count: int
    flop_share: float
    bytes_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A model and how it came about.

    Attributes
    ----------
    method : str
        What traced the module.
    recognised, unrecognised : tuple
        What became of the module's calls, the largest work first.
    counted_flop_per_item, product_flop_per_item : float
        FLOP of matrix products as torch counts them in the module, and in the model. [FLOP/item]
    """

    model: RecModel
    method: str
    recognised: tuple[Recognised, ...]
    unrecognised: tuple[Unrecognised, ...]
    counted_flop_per_item: float
    product_flop_per_item: float

    @property
    def unmodelled_flop_share(self) -> float:
        """Share of the module's FLOP that no operator stands for. [1]"""
        return sum(row.flop_share for row in self.unrecognised)

    @property
    def unmodelled_bytes_share(self) -> float:
        """Share of the module's memory traffic that no operator stands for. [1]"""
        return sum(row.bytes_share for row in self.unrecognised)

    @property
    def unmodelled_shares(self) -> str:
        """Both shares in words."""
        return shares(self.unmodelled_flop_share, self.unmodelled_bytes_share)

    def to_dict(self) -> ImportDocument:
        """Plain values for `--json`."""
        head = saved("import", VERSION)
        return {
            "schema": head["schema"],
            "perfplan": head["perfplan"],
            "date": head["date"],
            "inputs": head["inputs"],
            "name": self.model.name,
            "method": self.method,
            "operators": [{"name": op.name, "kind": op.kind} for op in self.model.operators],
            "recognised": [
                {
                    "call": row.call,
                    "kind": row.kind,
                    "count": row.count,
                    "flop_per_item": row.flop_per_item,
                    "bytes_per_item": row.bytes_per_item,
                }
                for row in self.recognised
            ],
            "unmodelled": {
                "flop_share": self.unmodelled_flop_share,
                "bytes_share": self.unmodelled_bytes_share,
                "calls": [
                    {
                        "call": row.call,
                        "count": row.count,
                        "flop_share": row.flop_share,
                        "bytes_share": row.bytes_share,
                    }
                    for row in self.unrecognised
                ],
            },
            "product_flop_per_item": self.product_flop_per_item,
            "counted_flop_per_item": self.counted_flop_per_item,
        }


def shares(flop: float, moved: float) -> str:
    """Write two shares down.

    Examples
    --------
    >>> shares(0.031, 0.05)
    '3.1 % of FLOP, 5.0 % of bytes'
    """
    return f"{100 * flop:.1f} % of FLOP, {100 * moved:.1f} % of bytes"


def import_example(example: Example, name: str) -> Imported:
    """Turn a module into a model file's content.

    Parameters
    ----------
    example : Example
        The module and inputs for it, as `load_example` returns them.
    name : str
        Name of the model: lower-case letters, digits, dots, dashes.

    Raises
    ------
    InputError
        If the module cannot be traced.
    """
    graph = capture(example)
    written = recognise(graph, example.batch_size)
    plain = _model(name, written, pruned(written.operators), example)
    model = _model(name, written, tidy(written.operators, written.shapes), example)
    counted = _counted_flop(example) / example.batch_size
    recognised = _recognised(plain, written, example.batch_size)
    result = Imported(
        model=model,
        method=graph.method,
        recognised=recognised,
        unrecognised=_unrecognised(written, recognised),
        counted_flop_per_item=counted,
        product_flop_per_item=sum(_product_flop(kernel) for kernel in lower(model)),
    )
    return _with_unmodelled_said(result)


def _with_unmodelled_said(result: Imported) -> Imported:
    """The file says itself what it leaves out."""
    if not result.unrecognised:
        return result
    calls = ", ".join(row.call for row in result.unrecognised)
    said = f"{result.model.description}; unmodelled operators: {result.unmodelled_shares} ({calls})"
    return replace(result, model=result.model.model_copy(update={"description": said}))


def _model(name: str, written: Builder, operators: list[Operator], example: Example) -> RecModel:
    reads_dense = any(DENSE in operator.reads() for operator in operators)
    kind = type(example.module).__name__
    return RecModel(
        name=name,
        description=f"{kind}, imported from PyTorch",
        source=f"perfplan import {example.target} (torch {torch.__version__})",
        dense_features=written.dense_features if reads_dense else 0,
        operators=tuple(operators),
    )


def _recognised(model: RecModel, written: Builder, batch_size: int) -> tuple[Recognised, ...]:
    """Sum the work of the operators as they were written down, by call and kind."""
    kinds = {operator.name: operator.kind for operator in model.operators if not isinstance(operator, View)}
    groups: dict[tuple[str, str], set[str]] = {}
    for name, kind in kinds.items():
        groups.setdefault((written.origins[name], kind), set()).add(name)
    kernels = [kernel for kernel in lower(model) if kernel.family != "input"]
    rows = [
        _row(call, kind, names, [kernel for kernel in kernels if kernel.operator in names], batch_size)
        for (call, kind), names in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.flop_per_item, -row.bytes_per_item)))


def _row(call: str, kind: str, names: set[str], kernels: Iterable[Kernel], batch_size: int) -> Recognised:
    works = [kernel.work(np.array(float(batch_size))) for kernel in kernels]
    return Recognised(
        call=call,
        kind=kind,
        count=len(names),
        flop_per_item=float(sum(work.flop for work in works)) / batch_size,
        bytes_per_item=float(sum(work.bytes_moved for work in works)) / batch_size,
    )


def _unrecognised(written: Builder, recognised: Iterable[Recognised]) -> tuple[Unrecognised, ...]:
    calls: dict[str, list[tuple[float, float]]] = {}
    for entry in written.unmodelled:
        calls.setdefault(entry.call, []).append((entry.flop_per_item, entry.bytes_per_item))
    rows = list(recognised)
    flop = sum(row.flop_per_item for row in rows) + sum(entry.flop_per_item for entry in written.unmodelled)
    moved = sum(row.bytes_per_item for row in rows) + sum(
        entry.bytes_per_item for entry in written.unmodelled
    )
    found = [
        Unrecognised(
            call=call,
            count=len(works),
            flop_share=math.fsum(work[0] for work in works) / flop if flop else 0.0,
            bytes_share=math.fsum(work[1] for work in works) / moved if moved else 0.0,
        )
        for call, works in calls.items()
    ]
    return tuple(sorted(found, key=lambda row: (-row.flop_share, -row.bytes_share)))


def _counted_flop(example: Example) -> float:
    """FLOP of the module's matrix products for the whole example, as torch counts them. [FLOP]"""
    backend = sdpa_kernel(SDPBackend.MATH)  # the fused attention of CPUs is not counted
    with torch.no_grad(), call_by_call(), backend, FlopCounterMode(display=False) as counter:
        example.module(*example.inputs)
    return float(counter.get_total_flops())


def _product_flop(kernel: Kernel) -> float:
    """FLOP of matrix products alone, as torch's counter takes them. [FLOP/item]"""
    if kernel.product is not None:
        product = kernel.product
        return kernel.calls * 2.0 * product.rows_per_item * product.inner * product.outer
    return kernel.calls * kernel.flop_per_item if kernel.family == "batch_matmul" else 0.0
