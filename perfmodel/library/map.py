"""`perfmodel.map_devices`: which device is the best for which model and batch size?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from perfmodel.library.arguments import MapArguments, checked
from perfmodel.library.shown import Shown
from perfmodel.planning.platforms import answer
from perfmodel.planning.platforms.named import named_map
from perfmodel.report.documents.map import MapDocument, map_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class DeviceMap(Shown, answer.DeviceMap):
    """The answer of `perfmodel.map_devices`; as a table, a row a model and batch size."""

    __slots__ = ()
    _table: ClassVar[str] = "rows"

    def to_dict(self) -> MapDocument:
        """Return the JSON document of `perfplan map`; what does not exist is None."""
        return map_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.map import map_page  # rich takes a while to load

        return map_page(self)

    def _summary(self) -> str:
        return f"{len(self.models)} models, {len(self.batch_sizes)} batch sizes on {', '.join(self.devices)}"


def map_devices(
    models: Sequence[str],
    on: Sequence[str],
    batch_sizes: Sequence[int] = (1, 16, 64, 256),
    *,
    by: Literal["latency", "efficiency"] = "latency",
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> DeviceMap:
    """Map which device is the best for which model and batch size: `perfplan map`.

    Parameters
    ----------
    models : sequence of str
        Shipped models' names, or paths of model files.
    on : sequence of str
        Two hardware profiles or more, by name or path, perhaps with `@stack`; for each model all with one.
    batch_sizes : sequence of int
        [items]
    by : {"latency", "efficiency"}
        What is compared: the time of a batch, or items a second and watt of a device all of which is busy.
    mixed_stacks : bool
        Let the devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    DeviceMap
        `rows` with `best`, `second`, `factor` and `probability`.

    Raises
    ------
    InputError
        If there is no such model or profile, no model fits, or an argument cannot be accepted.
    ExtrapolationError
        If a batch is outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> found = perfmodel.map_devices(["dlrm-rmc3"], ["broadwell@hpca2020", "skylake"], [16, 256])
    >>> [(row.batch_size, row.best.device) for row in found.rows]
    [(16, 'broadwell'), (256, 'skylake')]
    """
    asked = checked(
        "map_devices",
        MapArguments,
        models=tuple(models),
        on=tuple(on),
        batch_sizes=tuple(batch_sizes),
        by=by,
    )
    found = named_map(
        asked.models,
        asked.on,
        asked.batch_sizes,
        by=asked.by,
        mixed_stacks=mixed_stacks,
        extrapolate=extrapolate,
    )
    return DeviceMap.of(found)
