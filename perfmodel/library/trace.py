"""`perfmodel.trace`: what does a file of recorded traffic hold?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from perfmodel.library.shown import Shown, rate
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.loading.recordings.rows import sorted_by_arrival
from perfmodel.planning.observe import traffic
from perfmodel.report.documents.trace import TraceDocument, trace_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class TraceSummary(Shown, traffic.TrafficSummary):
    """The answer of `perfmodel.trace`; as a table, one row."""

    __slots__ = ()

    def to_dict(self) -> TraceDocument:
        """Return the JSON document of `perfplan trace show`; what the file does not give is None."""
        return trace_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.trace import trace_page  # rich takes a while to load

        return trace_page(self)

    def _summary(self) -> str:
        value = None if self.rate_qps is None else self.rate_qps.value
        return f"{self.recording.path.name}: {self.recording.format}, {rate(value)} queries/s"


def trace(file: str | os.PathLike[str], *, time_unit: str | None = None, sort: bool = False) -> TraceSummary:
    """Say what a file of recorded traffic holds: `perfplan trace show`.

    Parameters
    ----------
    file : path
        A trace, a list of sizes, or what a tool exported; gzipped or not.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Unit of the stamps, where neither names nor values tell.
    sort : bool
        Sort the rows by arrival first.

    Returns
    -------
    TraceSummary
        The format that was found, rate, index of dispersion, bursts and sizes; None where the format does not
        give them.

    Raises
    ------
    InputError
        At the first mistake in the file; names the format that it looks like.

    Examples
    --------
    >>> import perfmodel, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "sizes.txt"
    ...     _ = file.write_text("100, 200, 200, 300")
    ...     perfmodel.trace(file).sizes.mean
    200.0
    """
    recording = read_recording(Path(file), time_unit=time_unit)
    return TraceSummary.of(traffic.summarise(sorted_by_arrival(recording) if sort else recording))
