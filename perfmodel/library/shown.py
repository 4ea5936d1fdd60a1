"""What every answer can do: print itself, show itself in a notebook, become JSON or a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

# Imports inside of functions wait for who wants a page: rich takes a while to load.

if TYPE_CHECKING:
    import pandas
    from _typeshed import DataclassInstance
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


class Shown(ABC):
    """An answer as Python gets it.

    `print(answer)` prints the page of the command, `rich.print` in colour; a notebook shows it too.
    """

    __slots__ = ()
    _table: ClassVar[str] = "answer"

    @classmethod
    def of(cls, found: DataclassInstance) -> Self:
        """Take over what was found."""
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)})

    @abstractmethod
    def to_dict(self) -> Any:
        """Return the JSON document of the command; what does not exist is None."""

    def to_pandas(self, table: str | None = None) -> pandas.DataFrame:
        """Return a tidy table, its columns under the names of the JSON; this needs the extra `pandas`.

        Parameters
        ----------
        table : str, optional
            "answer": the whole answer as one row, so that answers can be put below each other; keys within
            keys are joined by points, and intervals have `.low` and `.high`. Or a list of the JSON, a row an
            entry, such as "operators". By default what there are several of (batches, windows,
            configurations), else the answer.

        Raises
        ------
        InputError
            If there is no such table, or no pandas.
        """
        from perfmodel.report.frames import data_frame

        return data_frame(self._documents(), self._table if table is None else table)

    def to_html(self) -> str:
        """Return the page that `--out FILE.html` of the command writes: one file that needs no other.

        What is drawn beside the answer's own numbers (latency against load, say) is computed anew.
        """
        from perfmodel.report.pages.made import document_html

        return document_html(self.to_dict())

    def _documents(self) -> Sequence[Any]:
        """The documents whose tables stand below each other."""
        return [self.to_dict()]

    @abstractmethod
    def _page(self) -> RenderableType:
        """The page of the command."""

    @abstractmethod
    def _summary(self) -> str:
        """The answer in a few words."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._summary()}>"

    def __str__(self) -> str:
        from perfmodel.report.console import page_text

        return page_text(self._page())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from perfmodel.report.console import PageConsole, Trimmed

        yield from PageConsole(width=options.max_width).render(Trimmed(self._page()), options)

    def _repr_html_(self) -> str:
        """The page of the command, and the figures that the answer's own numbers give."""
        from perfmodel.report.console import page_html
        from perfmodel.report.pages.made import document_figures

        return page_html(self._page()) + document_figures(self.to_dict())


def rate(value: float | None) -> str:
    """A rate in a summary."""
    return "no" if value is None else f"{value:.4g}"
