"""Import a module: its model, what was recognised, what was not, and the FLOP that torch counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from calibration.documents import VERSION, ImportDocument
from calibration.importing.builder import MADE_OUTSIDE, OF_WEIGHTS, Builder, TakenValuesError, as_name
from calibration.importing.capture import capture
from calibration.importing.counting import Counted, count
from calibration.importing.factory import Example, Named
from calibration.importing.rebatch import rebatched
from calibration.importing.recognise import recognise
from calibration.importing.tidy import pruned, tidy
from calibration.importing.values import Key
from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import DENSE, QUERY_DENSE, SHARING, RecModel
from perfmodel.domain.model import Unmodelled as LeftOut
from perfmodel.domain.operators import EmbeddingBag, Ids, Operator, Parameters, View
from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.inputs import input_files
from perfmodel.report.documents import saved

_BY_EXAMPLE = "; what it computes decides what else it computes: as in the example"
_OF_PARTS = (
    "they work on some of the items (rows that a gate or a mask chooses, or one item after the other), or on "
    "one item with the others (scores over the batch), operators on each item by itself: expected a module "
    "that computes all items at once, each from its own inputs and the query's"
)
_MADE_ONCE = (
    "each pass makes weights anew: expected them made once, as remove_parametrizations, prune.remove, "
    "remove_weight_norm and module.to(torch.bfloat16) do"
)
_AGREE = 0.01
"""How far the file's FLOP and rows may be from those counted on the module. [1]"""


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
    where: str = ""
    is_of_parts: bool = False


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
    counted_rows_per_item: float
    rows_per_item: float
    counted_row_bytes_per_item: float
    row_bytes_per_item: float
    counted_table_bytes: float

    @property
    def unmodelled_flop_share(self) -> float:
        """Share of the FLOP that the file lacks: of calls without an operator, or of products. [1]"""
        listed = sum(row.flop_share for row in self.unrecognised)
        return min(1.0, max(listed, _gap(self.product_flop_per_item, self.counted_flop_per_item)))

    @property
    def unmodelled_bytes_share(self) -> float:
        """Share of the module's memory traffic that the file lacks. [1]"""
        listed = sum(row.bytes_share for row in self.unrecognised)
        missing = self.counted_row_bytes_per_item - self.row_bytes_per_item
        moved = sum(row.bytes_per_item for row in self.recognised) + max(missing, 0.0)
        lacking = missing / moved if moved and _gap(self.rows_per_item, self.counted_rows_per_item) else 0.0
        return min(1.0, max(listed, lacking))

    @property
    def lost(self) -> float:
        """The larger share, or how much more the file has than the module. [1]"""
        more = _gap(self.counted_flop_per_item, self.product_flop_per_item)
        more_rows = _gap(self.counted_rows_per_item, self.rows_per_item)
        more_tables = _gap(self.counted_table_bytes, self.model.embedding_bytes)
        return max(self.unmodelled_flop_share, self.unmodelled_bytes_share, more, more_rows, more_tables)

    @property
    def is_made_outside(self) -> bool:
        """Whether NumPy or Python makes fractions of ids."""
        return any(row.call == MADE_OUTSIDE for row in self.unrecognised)

    @property
    def is_whole(self) -> bool:
        """Whether every call has an operator, and the counts are those of the module."""
        return not self.unrecognised and self.lost == 0.0

    def why_not(self, target: str) -> str:
        """One line: what is lost, where, and how to have the file all the same."""
        share = min(1.0, math.ceil(100 * self.lost) / 100)
        way = f"--allow-unmodelled {share:g} writes the file all the same, and every answer then says so"
        if self.unrecognised:
            calls = ", ".join(f"{row.call} x {row.count}" for row in self.unrecognised[:4])
            more = f" and {len(self.unrecognised) - 4} more" if len(self.unrecognised) > 4 else ""
            where = self.unrecognised[0].where or target
            lost = f"no operator of a model file stands for {calls}{more}: {self.unmodelled_shares}"
            if any(row.is_of_parts for row in self.unrecognised):
                lost += f"; {_OF_PARTS}"
            if any(row.call.endswith(OF_WEIGHTS) for row in self.unrecognised):
                lost += f"; {_MADE_ONCE}"
            if self.is_made_outside:
                lost += "; its time is not known: expected it written with tensors"
            return f"{where}: {lost}; {way}"
        ours, theirs = self.product_flop_per_item, self.counted_flop_per_item
        if _gap(ours, theirs) or _gap(theirs, ours):
            what = f"{ours:.6g} FLOP an item in products, the module {theirs:.6g} as torch counts them"
        elif _gap(self.rows_per_item, self.counted_rows_per_item) or _gap(
            self.counted_rows_per_item, self.rows_per_item
        ):
            ours, theirs = self.rows_per_item, self.counted_rows_per_item
            what = f"{ours:.6g} rows an item looked up, the module {theirs:.6g}"
        else:
            ours, theirs = float(self.model.embedding_bytes), self.counted_table_bytes
            what = f"{ours:.6g} bytes of tables, as a table is read in parts, the module {theirs:.6g}"
        return f"{target}: the file would have {what}: expected them to agree within 1 %; {way}"

    @property
    def unmodelled_shares(self) -> str:
        """Both shares in words."""
        return shares(self.unmodelled_flop_share, self.unmodelled_bytes_share)

    def to_dict(self, source: Path | None = None) -> ImportDocument:
        """Plain values for `--json`; `source` is the file that the module is written in."""
        head = saved("import", VERSION, input_files([source] if source is not None else []))
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


def _gap(ours: float, theirs: float) -> float:
    """Share of `theirs` that `ours` lacks, where that is more than the check lets pass. [1]"""
    lacking = 1.0 - ours / theirs if theirs else 0.0
    return lacking if lacking > _AGREE else 0.0


def shares(flop: float, moved: float) -> str:
    """Write two shares down.

    Examples
    --------
    >>> shares(0.031, 0.05)
    '3.1 % of FLOP, 5.0 % of bytes'
    """
    return f"{100 * flop:.1f} % of FLOP, {100 * moved:.1f} % of bytes"


def import_example(example: Example, name: str, *, allow_unmodelled: float = 0.0) -> Imported:
    """Turn a module into a model file's content.

    Parameters
    ----------
    example : Example
        The module and inputs for it, as `load_example` returns them.
    name : str
        Name of the model: lower-case letters, digits, dots, dashes.
    allow_unmodelled : float, default 0
        Share of the module's FLOP, and of its bytes, that the file may leave out. [1]

    Raises
    ------
    InputError
        If the module cannot be traced, or if the file would leave out more of its work than is allowed.
    """
    counted = count(example)
    best: Imported | None = None
    failed: InputError | None = None
    for is_taken_apart, variant in product((False, True), _variants(example)):
        try:
            found = _attempt(example, variant, name, counted, is_taken_apart=is_taken_apart)
        except InputError as error:
            if isinstance(error.__cause__, TakenValuesError):  # another reading would only not show it
                raise
            failed = failed or error
            continue
        if found.is_whole:
            return found
        if found.is_made_outside:  # another reading would only not show it
            best = found
            break
        if best is None or found.lost < best.lost:
            best = found
    if best is None:
        assert failed is not None
        raise failed
    if best.lost > allow_unmodelled:
        raise InputError(best.why_not(example.target))
    return _with_unmodelled_said(best)


def _variants(example: Example) -> Iterator[Example]:
    """The example with a telling number of items, where the module takes one; then as it is."""
    yield from rebatched(example)
    yield example


def _attempt(
    example: Example, variant: Example, name: str, counted: Counted, *, is_taken_apart: bool
) -> Imported:
    """One reading of the module, held against what was counted on the example as it came."""
    try:
        graph = capture(variant, is_taken_apart=is_taken_apart)
        written = recognise(graph, variant.batch_size)
        operators = with_shared_memory(written)
        plain = _model(name, written, pruned(operators), example)
        model = _model(name, written, tidy(operators, written.shapes), example)
    except InputError as error:
        message, file = str(error), example.target.rpartition(":")[0]
        raise InputError(message if file in message else f"{example.target}: {message}") from error
    except PerfplanError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = " ".join(lines[1:3] if isinstance(error, ValidationError) else lines[:1])
        raise InputError(
            f"{example.target}: the module could not be read: {type(error).__name__}: {first}"
        ) from error
    recognised = _recognised(plain, written, example.batch_size)
    items = example.batch_size
    shared_rows = model.lookups_per_query / items
    shared_bytes = model.embedding_bytes_per_query / items
    return Imported(
        model=model,
        method=graph.method,
        recognised=recognised,
        unrecognised=_unrecognised(written, recognised),
        counted_flop_per_item=counted.flop / items,
        product_flop_per_item=product_flop_per_item(model, items),
        counted_rows_per_item=counted.rows / items,
        rows_per_item=model.lookups_per_item + shared_rows,
        counted_row_bytes_per_item=counted.row_bytes / items,
        row_bytes_per_item=model.embedding_bytes_per_item + shared_bytes,
        counted_table_bytes=counted.table_bytes,
    )


def product_flop_per_item(model: RecModel, items: int) -> float:
    """FLOP of the file's products, those of the query shared out over so many items. [FLOP/item]"""
    return sum(_product_flop(kernel) / (items if kernel.scope == "query" else 1) for kernel in lower(model))


def with_shared_memory(written: Builder) -> list[Operator]:
    """Give weights that several operators read one label: they are in memory once."""
    tables = {op.name for op in written.operators if isinstance(op, EmbeddingBag)}
    slices: dict[str, dict[Key, list[str]]] = {}
    for (weight, key), names in written.readers.items():
        if names:
            slices.setdefault(weight, {})[key] = names
    labels: dict[str, str] = {}
    for weight, by_key in slices.items():
        groups = list(by_key.values())
        if () in by_key and tables.isdisjoint(chain.from_iterable(groups)):
            groups = [[*chain.from_iterable(groups)]]  # who reads all of it reads the slices of others too
        shared = [names for names in groups if len(set(names)) > 1]
        for place, names in enumerate(shared, start=1):
            labels |= dict.fromkeys(names, as_name(weight if place == 1 else f"{weight}.part{place}"))
    return [_labelled(operator, labels.get(operator.name)) for operator in written.operators]


def _labelled(operator: Operator, label: str | None) -> Operator:
    if label is None:
        return operator
    if isinstance(operator, EmbeddingBag):
        tables = tuple(table.model_copy(update={"memory": label}) for table in operator.tables)
        return operator.model_copy(update={"tables": tables})
    if not isinstance(operator, SHARING):
        return operator
    return operator.model_copy(update={"memory": label})


def _with_unmodelled_said(result: Imported) -> Imported:
    """The file says itself what it leaves out, and every answer from it repeats that."""
    calls = tuple(row.call for row in result.unrecognised)
    said = f"{result.model.description}; unmodelled operators: {result.unmodelled_shares}"
    said += f" ({', '.join(calls)})" if calls else ""
    left_out = LeftOut(
        flop_share=round(result.unmodelled_flop_share, 6),
        bytes_share=round(result.unmodelled_bytes_share, 6),
        calls=calls,
    )
    update = {"description": said, "unmodelled": left_out}
    return replace(result, model=result.model.model_copy(update=update))


def _model(name: str, written: Builder, operators: list[Operator], example: Example) -> RecModel:
    read = {source for operator in operators for source in operator.reads()}
    module = example.module
    kind = type(module.module if isinstance(module, Named) else module).__name__
    return RecModel(
        name=name,
        description=f"{kind}, imported from PyTorch{_BY_EXAMPLE if written.is_by_example else ''}",
        source=f"perfplan import {example.target} (torch {torch.__version__})",
        dense_features=written.dense_features if DENSE in read else 0,
        query_dense_features=written.query_dense_features if QUERY_DENSE in read else 0,
        operators=tuple(operators),
        unread=tuple(operator.name for operator in operators[:-1] if operator.name not in read),
        compiled=example.compiled is not None,
    )


def _recognised(model: RecModel, written: Builder, batch_size: int) -> tuple[Recognised, ...]:
    """Sum the work of the operators as they were written down, by call and kind."""
    kinds = {
        operator.name: operator.kind
        for operator in model.operators
        if not isinstance(operator, (View, Ids, Parameters))
    }
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
    lines = {entry.call: entry.where for entry in reversed(written.unmodelled)}
    of_parts = {entry.call for entry in written.unmodelled if entry.is_of_parts}
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
            where=lines[call],
            is_of_parts=call in of_parts,
        )
        for call, works in calls.items()
    ]
    return tuple(sorted(found, key=lambda row: (-row.flop_share, -row.bytes_share)))


def _product_flop(kernel: Kernel) -> float:
    """FLOP of matrix products alone, as torch's counter takes them. [FLOP/item]"""
    if kernel.product is not None:
        shape = kernel.product
        return kernel.calls * 2.0 * shape.rows_per_item * shape.inner * shape.outer
    return kernel.calls * kernel.flop_per_item if kernel.family == "batch_matmul" else 0.0
