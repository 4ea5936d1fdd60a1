"""The tables of a model, equal ones together, with the lookups that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Mlp, Parameters
from perfmodel.domain.shapes import DeviceKind
from perfmodel.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class TableGroup:
    """Equal tables: `count` of them, each `num_rows` rows of `row_bytes`, and the lookups that read them."""

    name: str
    count: int
    num_rows: int
    row_bytes: float
    readers: tuple[Kernel, ...]

    @property
    def table_bytes(self) -> float:
        """Memory of one of them. [bytes]"""
        return self.num_rows * self.row_bytes

    @property
    def looked_up_bytes(self) -> float:
        """Rows that an item (or a query) reads of one of them. [bytes/item]"""
        rows = sum(one.gather.rows_per_item for one in self.readers if one.gather is not None)
        return rows * self.row_bytes


def table_groups(model: RecModel, on: DeviceKind = "cpu") -> tuple[TableGroup, ...]:
    """Return the tables of a model, equal ones together; one that is read several times is there once.

    Source: the lookups of `lower`.

    Parameters
    ----------
    model : RecModel
        With or without tables.
    on : {"cpu", "gpu"}, default "cpu"
        What looks them up.
    """
    groups: list[TableGroup] = []
    shared: dict[str, int] = {}
    for kernel in _lookups(lower(model, on)):
        gather = kernel.gather
        assert gather is not None, "what looks rows up says which"
        known = shared.get(gather.memory) if gather.memory else None
        if known is not None:
            groups[known] = replace(groups[known], readers=(*groups[known].readers, kernel))
            continue
        if gather.memory:
            shared[gather.memory] = len(groups)
        groups.append(
            TableGroup(
                name=f"{kernel.operator} ({gather.num_rows} rows)",
                count=1 if gather.memory else kernel.calls,
                num_rows=gather.num_rows,
                row_bytes=gather.row_bytes,
                readers=(kernel,),
            )
        )
    return tuple(groups)


def _lookups(kernels: Sequence[Kernel]) -> list[Kernel]:
    return [kernel for kernel in kernels if kernel.family == "embedding_bag"]


def require_movable(model: RecModel, groups: Sequence[TableGroup], what_for: str) -> None:
    """Refuse a model without tables, and one that multiplies by one, which takes all of it at once.

    Source: the labels of memory in the model file.

    Parameters
    ----------
    model : RecModel
        With or without tables.
    groups : sequence of TableGroup
        Its tables.
    what_for : str
        In words, to follow "has no embedding tables".

    Raises
    ------
    InputError
        Naming the model, and the layer.
    """
    if not groups:
        raise InputError(f"{model.name} has no embedding tables {what_for}")
    labels = {one.gather.memory for group in groups for one in group.readers if one.gather is not None}
    for operator in model.operators:
        if isinstance(operator, (Mlp, Parameters)) and operator.memory in labels - {""}:
            what = "multiplies by" if isinstance(operator, Mlp) else "reads all of"
            raise InputError(f"{model.name}: {operator.name} {what} a table, which the main node needs")
