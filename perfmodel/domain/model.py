"""A recommendation model: tables, operators, and the graph that joins them, with every shape checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import MOST_COUNT, CountFromZero
from perfmodel.domain.operators import (
    EmbeddingBag,
    EmbeddingTable,
    Mlp,
    Operator,
    Parameters,
    Scope,
    Shape,
    View,
)
from perfmodel.domain.sequence_operators import Recurrent
from perfmodel.domain.shapes import Name, Precision
from perfmodel.domain.tensor_operators import Conv1d

Share = Annotated[float, Field(ge=0, le=1)]

ELEMENT_BYTES: Mapping[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Of one element. [bytes]"""
SHARING = (Mlp, Parameters, Recurrent, Conv1d)
"""Operators that may say, by `memory`, that their weights are those of others."""
DENSE = "dense"
"""The name by which operators read the model's dense input."""
QUERY_DENSE = "query_dense"
"""The name by which they read the dense input that belongs to the query."""


class Unmodelled(Frozen):
    """Work that was admitted to be left out when a module was imported (`--allow-unmodelled`).

    Attributes
    ----------
    flop_share : float
        Of the module's FLOP. [1]
    bytes_share : float
        Of its memory traffic. [1]
    calls : tuple of str
        What makes it.
    """

    flop_share: Share
    bytes_share: Share
    calls: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The larger of the two: what a time may be missing of itself. [1]"""
        return max(self.flop_share, self.bytes_share)

    @property
    def said(self) -> str:
        """The note that every answer repeats."""
        shares = f"{100 * self.flop_share:.1f} % of its FLOP and {100 * self.bytes_share:.1f} % of its bytes"
        calls = f" ({', '.join(self.calls)})" if self.calls else ""
        return f"the model file leaves out {shares}{calls}: times are too short by up to that share"


class RecModel(Frozen):
    """A ranking model as a list of operators, each reading the results of earlier ones.

    Attributes
    ----------
    name : str
        What answers call it.
    description : str
        What the model is, in a line.
    source : str
        Where its sizes were published.
    stack : str or None
        The software stack in which its published figures were measured; a profile that has it
        uses it unless the user names another.
    dense_features : int
        Width of the dense input, read as `dense`; 0: the model has none. [elements/item]
    query_dense_features : int
        Width of the query's dense input, read as `query_dense`; 0: it has none. [elements/query]
    operators : tuple of Operator
        In execution order; the last one is the output.
    unread : tuple of str
        Results that no operator reads and that are computed all the same: further outputs, layers whose
        result the module drops.
    compiled : bool
        Whether the module that the file was imported from is served through `torch.compile`: no stack's
        costs are those of its fused calls.
    unmodelled : Unmodelled or None
        Work of the module that the file was imported from and that no operator stands for; None: none.

    Raises
    ------
    ValueErrorAt
        If a name is unknown or used twice, a shape does not fit, a result is never read, one that only some
        devices have is, or work of the query reads an item's.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    description: str = ""
    source: str = ""
    stack: str | None = None
    dense_features: CountFromZero = 0
    query_dense_features: CountFromZero = 0
    operators: Annotated[tuple[Operator, ...], Field(min_length=1)]
    unread: tuple[Name, ...] = ()
    compiled: bool = False
    unmodelled: Unmodelled | None = None

    @model_validator(mode="after")
    def _graph_fits(self) -> RecModel:
        self.shapes()
        self._check_scopes()
        self._check_lengths()
        return self

    def shapes(self) -> dict[str, Shape]:
        """Work out the shape of every operator's result, of an item or the query, and check each on the way.

        Raises
        ------
        ValueErrorAt
            As the class says; `path` leads to the operator.
        """
        shapes = {name: Shape(1, width) for name, width in self._dense_widths.items()}
        for index, operator in enumerate(self.operators):
            _check_names(operator, index, shapes)
            try:
                shapes[operator.name] = operator.output_shape(shapes)
            except ValueError as error:
                raise ValueErrorAt(f"{operator.name}: {error}", ("operators", index)) from None
            if shapes[operator.name].elements > MOST_COUNT:
                length, width = shapes[operator.name]
                gives = f"gives {length:.3g} vectors of {width:.3g} elements an item"
                raise ValueErrorAt(
                    f"{operator.name}: {gives}; expected at most {MOST_COUNT:_} elements",
                    ("operators", index),
                )
        self._check_all_read()
        return shapes

    def _check_all_read(self) -> None:
        """Refuse results that nothing reads, the output apart: a forgotten input, most likely."""
        read = {source for operator in self.operators for source in operator.reads()}
        places: dict[str, tuple[str | int, ...]] = {
            name: (f"{name}_features",) for name in self._dense_widths
        }
        places |= {operator.name: ("operators", index) for index, operator in enumerate(self.operators[:-1])}
        for name in self.unread:
            if name not in places:
                raise ValueErrorAt(f"{name}: no operator before the last one gives it", ("unread",))
        for operator in self.embedding_operators:
            if operator.only_on is not None and operator.name in (*read, self.operators[-1].name):
                raise ValueErrorAt(
                    f"{operator.name}: expected a result that nothing reads, not the output either, since "
                    f"other devices do without it; got one that is needed on all",
                    (*places.get(operator.name, ("operators", len(self.operators) - 1)), "only_on"),
                )
        for name, path in places.items():
            if name not in read and name not in self.unread:
                raise ValueErrorAt(f"{name}: no operator reads it, and only the last one is the output", path)

    def _check_scopes(self) -> None:
        """Refuse work of the query that would have to wait for an item, and an output that no item has."""
        scopes = self.scopes
        weights = {operator.name for operator in self.operators if isinstance(operator, Parameters)}
        for index, operator in enumerate(self.operators):
            of_items = [name for name in operator.reads() if scopes[name] == "item" and name not in weights]
            if operator.scope == "query" and of_items:
                raise ValueErrorAt(
                    f"{operator.name}: is computed once a query, but reads {of_items[0]}, which each item "
                    f"has of its own; expected inputs of the query, or this operator without `scope: query`",
                    ("operators", index, "scope"),
                )
        if self.operators[-1].scope == "query":
            raise ValueErrorAt(
                f"{self.operators[-1].name}: the last operator is the output, which each item has of its "
                "own; expected it without `scope: query` (where a model works for the query alone, take the "
                "query for an item)",
                ("operators", len(self.operators) - 1, "scope"),
            )

    @property
    def _dense_widths(self) -> dict[str, int]:
        """Width of each dense input that the model has, by the name that operators read it by. [elements]"""
        widths = {DENSE: self.dense_features, QUERY_DENSE: self.query_dense_features}
        return {name: width for name, width in widths.items() if width}

    @property
    def scopes(self) -> dict[str, Scope]:
        """Whom each result belongs to, the dense inputs' included: an item, or the query."""
        inputs: dict[str, Scope] = {DENSE: "item", QUERY_DENSE: "query"}
        return inputs | {operator.name: operator.scope for operator in self.operators}

    @property
    def has_query_work(self) -> bool:
        """Whether anything is computed once a query rather than for each item."""
        return any(operator.scope == "query" for operator in self.operators)

    @property
    def history_length(self) -> int | None:
        """Length of the lists that vary from query to query, as the file has it; None: none does."""
        lengths = {
            table.pooling_factor for op in self.embedding_operators if op.varies for table in op.tables
        }
        return int(lengths.pop()) if lengths else None

    def with_length(self, length: int) -> RecModel:
        """Return the model for queries whose lists are so long.

        Raises
        ------
        ValueErrorAt
            If an operator has a fixed size where the list's length would have to be.
        """
        before = self.shapes()
        operators = tuple(
            op.model_copy(update={"tables": tuple(_as_long(table, length) for table in op.tables)})
            if isinstance(op, EmbeddingBag) and op.varies
            else op
            for op in self.operators
        )
        longer = self.model_copy(update={"operators": operators})
        after = longer.shapes()
        for index, op in enumerate(operators):
            if not isinstance(op, View) or before[op.input] == after[op.input]:
                continue
            if before[op.name].elements >= before[op.input].elements or (
                before[op.name].elements > after[op.input].elements
            ):
                raise ValueErrorAt(
                    f"{op.name}: has a fixed shape, and cannot follow lists of {length} in place of "
                    f"{self.history_length}",
                    ("operators", index),
                )
        return longer

    def _check_lengths(self) -> None:
        """Refuse lists that vary and are of several lengths, or of none: they follow one history."""
        found: dict[float, str] = {}
        for index, op in enumerate(self.operators):
            if isinstance(op, EmbeddingBag) and op.varies:
                found |= {table.pooling_factor: op.name for table in op.tables}
                if len(found) > 1 or any(length != int(length) for length in found):
                    listed = ", ".join(f"{length:g} in {name}" for length, name in found.items())
                    raise ValueErrorAt(
                        f"{op.name}: expected one whole pooling factor for all lists that vary, got {listed}",
                        ("operators", index),
                    )

    @property
    def shared_bytes(self) -> int:
        """What the items read of the query's results: 4 bytes an element. [bytes/query]"""
        shapes, scopes = self.shapes(), self.scopes
        read = {name for op in self.operators if op.scope == "item" for name in op.reads()}
        return 4 * sum(shapes[name].elements for name in read if scopes[name] == "query")

    @property
    def output_width(self) -> int:
        """Elements of one item's output. [elements/item]"""
        return self.shapes()[self.operators[-1].name].width

    @property
    def embedding_operators(self) -> tuple[EmbeddingBag, ...]:
        """The operators that look up embedding tables."""
        return tuple(op for op in self.operators if isinstance(op, EmbeddingBag))

    @property
    def reduced_precision(self) -> Precision:
        """The precision of most operators that are not in fp32, tables left out; fp32 where all are."""
        kinds = Counter(
            operator.precision
            for operator in self.operators
            if operator.precision != "fp32" and not isinstance(operator, (EmbeddingBag, Parameters))
        )
        return kinds.most_common(1)[0][0] if kinds else "fp32"

    def in_other_precision(self, known: Precision, tables: Collection[Precision] = ()) -> str:
        """What is neither in fp32 nor in a precision that costs are known of, in words; empty: nothing.

        Costs in int8 are those of fully connected layers. `tables` are those that lookups are known of in.
        Parameters that others read cost nothing of their own.
        """
        kinds = Counter(
            operator.precision
            for operator in self.operators
            if operator.precision not in ("fp32", known)
            or (operator.precision == "int8" and not isinstance(operator, Mlp))
            if not (isinstance(operator, EmbeddingBag) and operator.is_stored_in(tables))
            and not isinstance(operator, Parameters)
        )
        listed = ", ".join(f"{count} in {precision}" for precision, count in kinds.items())
        return f"of {len(self.operators)} operators {listed}" if kinds else ""

    def notes_on(
        self, known: Precision, tables: Collection[Precision] = (), *, stored: Precision = "fp32"
    ) -> tuple[str, ...]:
        """What every answer from this file repeats: what it leaves out, and in what precisions times are.

        Parameters
        ----------
        known : Precision
            What the answer's costs are known of, beside fp32.
        tables : collection of Precision
            What lookups are known of in, beside fp32.
        stored : Precision
            What the answer's lookups are in, whatever the file says of them; fp32: in what it says.
        """
        notes: tuple[str, ...] = () if self.unmodelled is None else (self.unmodelled.said,)
        if self.compiled:
            notes += (
                f"{self.name} is served through torch.compile, of which nothing is measured: times are those "
                "of its calls one by one; `perfplan validate --module FILE:FACTORY --anchor` measures yours",
            )
        if other := self.in_other_precision(known, tables):
            notes += (f"{other}: times are those of fp32, which is all that costs are known of",)
        timed = "fully connected layers in int8" if known == "int8" else f"all of it in {known}"
        if known != "fp32" and any(op.precision != known for op in self.operators if isinstance(op, Mlp)):
            notes += (
                f"{self.name} is not in {known}, or not all of it; this answers for {timed} (what that does "
                "to its ranking is not known here)",
            )
        said = Counter(
            table.precision
            for op in self.embedding_operators
            for table in op.tables
            if op.precision in ("fp32", table.precision)
        )
        timed_in = [each for each in said if each != "fp32" and each in tables and known != "bf16"]
        if timed_in:
            notes += (
                f"tables in {' and '.join(timed_in)}: lookups take what sums of such rows were measured to "
                "take in PyTorch, whatever the rest is in",
            )
        if stored != "fp32" and "fp32" in said:
            notes += (
                f"{self.name} has tables in fp32; this answers for tables in {stored} (what that does to its "
                "ranking is not known here; their memory counts as the file has it)",
            )
        return notes

    @property
    def num_tables(self) -> int:
        """Number of embedding tables; one that is read several times counts once."""
        return sum(table.count for table in self._in_memory)

    @property
    def embedding_bytes(self) -> float:
        """Memory that all embedding tables occupy. [bytes]"""
        return sum(table.size_bytes * table.count for table in self._in_memory)

    @property
    def _in_memory(self) -> list[EmbeddingTable]:
        """The tables, each memory once."""
        tables = [table for op in self.embedding_operators for table in op.tables]
        alone = [table for table in tables if table.memory is None]
        return [*alone, *{table.memory: table for table in tables if table.memory is not None}.values()]

    @property
    def embedding_bytes_per_item(self) -> float:
        """Embedding rows read for one item. [bytes/item]"""
        return sum(table.bytes_per_item * table.count for table in self._tables("item"))

    @property
    def embedding_bytes_per_query(self) -> float:
        """Embedding rows read for the query, beside those of its items. [bytes/query]"""
        return sum(table.bytes_per_item * table.count for table in self._tables("query"))

    @property
    def lookups_per_item(self) -> float:
        """Embedding rows that one item looks up, over all tables. [lookups/item]"""
        return sum(table.pooling_factor * table.count for table in self._tables("item"))

    @property
    def lookups_per_query(self) -> float:
        """Embedding rows that the query looks up, beside those of its items. [lookups/query]"""
        return sum(table.pooling_factor * table.count for table in self._tables("query"))

    def _tables(self, scope: Scope) -> tuple[EmbeddingTable, ...]:
        return tuple(table for op in self.embedding_operators if op.scope == scope for table in op.tables)

    @property
    def dense_parameter_bytes(self) -> int:
        """Memory of all weights and biases but the embedding tables, in each operator's precision. [bytes]"""
        shapes = self.shapes()
        tables = {table.memory for op in self.embedding_operators for table in op.tables}
        total, shared = 0, dict[str, int]()
        for operator in self.operators:
            memory = operator.memory if isinstance(operator, SHARING) else None
            elements = operator.num_parameters(shapes)
            if isinstance(operator, Mlp) and memory is not None and memory in tables:
                elements = operator.bias * sum(
                    operator.widths[1:]
                )  # of scores tied to a table the rest is it
            elif memory is not None and memory in tables:
                elements = 0
            is_cast = isinstance(operator, Mlp) and operator.casts
            own = ELEMENT_BYTES["fp32" if is_cast else operator.precision] * elements
            if memory is None:
                total += own
            else:  # who reads a part of it reads what is there
                shared[memory] = max(own, shared.get(memory, 0))
        return total + sum(shared.values())


def _as_long(table: EmbeddingTable, length: int) -> EmbeddingTable:
    return table.model_copy(update={"pooling_factor": float(length)})


def _check_names(operator: Operator, index: int, known: Mapping[str, Shape]) -> None:
    """Refuse a name that is taken, and an input that no earlier operator gives."""
    if operator.name in known or operator.name in (DENSE, QUERY_DENSE):
        raise ValueErrorAt(f"{operator.name}: name is used twice", ("operators", index, "name"))
    for source in operator.reads():
        if source not in known:
            listed = ", ".join(known) or "nothing yet"
            raise ValueErrorAt(
                f"{operator.name}: reads {source}, which no earlier operator gives; known here: {listed}",
                ("operators", index),
            )
