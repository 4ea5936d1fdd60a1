"""`perfmodel.latency`: one batch on one executor, no queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from perfmodel.domain.model import RecModel
from perfmodel.library.arguments import LatencyArguments, checked
from perfmodel.library.shown import Shown
from perfmodel.planning import breakdown
from perfmodel.planning.prepare import find_devices, find_model, inputs_of
from perfmodel.report.documents.latency import (
    DevicesDocument,
    LatencyDocument,
    latency_document,
    latency_documents,
)

if TYPE_CHECKING:
    from rich.console import RenderableType


class LatencyTable(Shown, breakdown.LatencyTable):
    """The answer of `perfmodel.latency` for one device; as a table, a row a batch.

    `to_pandas("rows.operators")` has a row for each operator of each batch.
    """

    __slots__ = ()
    _table: ClassVar[str] = "rows"

    def to_dict(self) -> LatencyDocument:
        """Return the JSON document of `perfplan latency`."""
        return latency_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.latency import latency_page  # rich takes a while to load

        return latency_page(self)

    def _summary(self) -> str:
        stack = "" if self.stack is None else f" ({self.stack})"
        return f"{self.model or 'service times'} on {self.device}{stack}: {len(self.rows)} batch sizes"


@dataclass(frozen=True, slots=True, repr=False)
class LatencyTables(Shown):
    """The answer for several devices, in the order in which they were named; as a table, below each other."""

    tables: tuple[LatencyTable, ...]
    _table: ClassVar[str] = "rows"

    def to_dict(self) -> LatencyDocument | DevicesDocument:
        """Return the JSON document of `perfplan latency` with these devices."""
        return latency_documents(self.tables)

    def _documents(self) -> Sequence[Any]:
        return [table.to_dict() for table in self.tables]

    def _page(self) -> RenderableType:
        from perfmodel.report.latency import latency_pages  # rich takes a while to load

        return latency_pages(self.tables)

    def _summary(self) -> str:
        return f"{self.tables[0].model} on {', '.join(table.device for table in self.tables)}"


@overload
def latency(
    model: str | RecModel,
    on: str,
    batch_sizes: Sequence[int] = ...,
    *,
    co_located: int = ...,
    without: Sequence[str] = ...,
    mixed_stacks: bool = ...,
    extrapolate: bool = ...,
) -> LatencyTable: ...


@overload
def latency(
    model: str | RecModel,
    on: list[str] | tuple[str, ...],
    batch_sizes: Sequence[int] = ...,
    *,
    co_located: int = ...,
    without: Sequence[str] = ...,
    mixed_stacks: bool = ...,
    extrapolate: bool = ...,
) -> LatencyTables: ...


def latency(
    model: str | RecModel,
    on: str | list[str] | tuple[str, ...],
    batch_sizes: Sequence[int] = (1, 16, 64, 256),
    *,
    co_located: int = 1,
    without: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> LatencyTable | LatencyTables:
    """Predict the latency of batches on one executor, operator by operator: `perfplan latency`.

    Parameters
    ----------
    model : str or RecModel
        A shipped model's name, the path of a model file, or a model made before.
    on : str, or list or tuple of str
        A hardware profile's name or path, perhaps with `@stack`; or several, all with one stack.
    batch_sizes : sequence of int
        [items]
    co_located : int
        Copies at work on one socket, this one included.
    without : sequence of str
        Kinds of calls to leave out, such as "input", which some published figures do not count.
    mixed_stacks : bool
        Let the devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    LatencyTable or LatencyTables
        Of one device, where `on` is one name; of several otherwise.

    Raises
    ------
    InputError
        If there is no such model or profile, the model does not fit, or an argument cannot be accepted.
    ExtrapolationError
        If a batch is outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> table = perfmodel.latency("dlrm-rmc3", on="broadwell@hpca2020", batch_sizes=[16])
    >>> table.rows[0].batch_size, table.rows[0].basis.label
    (16, 'fitted')
    """
    asked = checked(
        "latency",
        LatencyArguments,
        on=[on] if isinstance(on, str) else tuple(on),
        batch_sizes=tuple(batch_sizes),
        co_located=co_located,
        without=tuple(without),
    )
    what = model if isinstance(model, RecModel) else find_model(model)
    tables = tuple(
        LatencyTable.of(
            breakdown.latency_table(
                what,
                device,
                asked.batch_sizes,
                co_located=asked.co_located,
                without=asked.without,
                extrapolate=extrapolate,
                inputs=() if isinstance(model, RecModel) else inputs_of(model, [name]),
            )
        )
        for name, device in zip(
            asked.on, find_devices(asked.on, what, mixed_stacks=mixed_stacks), strict=True
        )
    )
    return tables[0] if isinstance(on, str) else LatencyTables(tables)
