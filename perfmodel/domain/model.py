"""A recommendation model: tables, operators, and the graph that joins them, with every shape checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import MOST_COUNT, CountFromZero
from perfmodel.domain.operators import EmbeddingBag, Operator, Shape

DENSE = "dense"
"""The name by which operators read the model's dense input."""


class RecModel(Frozen):
    """A ranking model as a list of operators, each reading the results of earlier ones.

    Attributes
    ----------
    name, description, source : str
        What the model is and where its sizes were published.
    stack : str or None
        The software stack in which its published figures were measured; a profile that has it
        uses it unless the user names another.
    dense_features : int
        Width of the dense input, read as `dense`; 0: the model has none. [elements/item]
    operators : tuple of Operator
        In execution order; the last one is the output.

    Raises
    ------
    ValueErrorAt
        If a name is unknown or used twice, a shape does not fit, or a result is never read.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    description: str = ""
    source: str = ""
    stack: str | None = None
    dense_features: CountFromZero = 0
    operators: Annotated[tuple[Operator, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _graph_fits(self) -> RecModel:
        self.shapes()
        return self

    def shapes(self) -> dict[str, Shape]:
        """Work out the shape of one item's result of every operator, and check each on the way.

        Raises
        ------
        ValueErrorAt
            As the class says; `path` leads to the operator.
        """
        shapes = {DENSE: Shape(1, self.dense_features)} if self.dense_features else {}
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
        places: dict[str, tuple[str | int, ...]] = {DENSE: ("dense_features",)} if self.dense_features else {}
        places |= {operator.name: ("operators", index) for index, operator in enumerate(self.operators[:-1])}
        for name, path in places.items():
            if name not in read:
                raise ValueErrorAt(f"{name}: no operator reads it, and only the last one is the output", path)

    @property
    def output_width(self) -> int:
        """Elements of one item's output. [elements/item]"""
        return self.shapes()[self.operators[-1].name].width

    @property
    def embedding_operators(self) -> tuple[EmbeddingBag, ...]:
        """The operators that look up embedding tables."""
        return tuple(op for op in self.operators if isinstance(op, EmbeddingBag))

    @property
    def num_tables(self) -> int:
        """Number of embedding tables."""
        return sum(table.count for op in self.embedding_operators for table in op.tables)

    @property
    def embedding_bytes(self) -> float:
        """Memory that all embedding tables occupy. [bytes]"""
        return sum(table.size_bytes * table.count for op in self.embedding_operators for table in op.tables)

    @property
    def embedding_bytes_per_item(self) -> float:
        """Embedding rows read for one item. [bytes/item]"""
        return sum(
            table.bytes_per_item * table.count for op in self.embedding_operators for table in op.tables
        )

    @property
    def lookups_per_item(self) -> float:
        """Embedding rows that one item looks up, over all tables. [lookups/item]"""
        return sum(
            table.pooling_factor * table.count for op in self.embedding_operators for table in op.tables
        )

    @property
    def dense_parameter_bytes(self) -> int:
        """Memory of all weights and biases but the embedding tables, fp32. [bytes]"""
        shapes = self.shapes()
        return 4 * sum(operator.num_parameters(shapes) for operator in self.operators)


def _check_names(operator: Operator, index: int, known: Mapping[str, Shape]) -> None:
    """Refuse a name that is taken, and an input that no earlier operator gives."""
    if operator.name in known or operator.name == DENSE:
        raise ValueErrorAt(f"{operator.name}: name is used twice", ("operators", index, "name"))
    for source in operator.reads():
        if source not in known:
            listed = ", ".join(known) or "nothing yet"
            raise ValueErrorAt(
                f"{operator.name}: reads {source}, which no earlier operator gives; known here: {listed}",
                ("operators", index),
            )
