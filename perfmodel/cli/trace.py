"""`perfplan trace show`: what does a file of recorded traffic hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perfmodel.cli.answering import show as show_answer
from perfmodel.cli.options import JsonOption, SortOption, TimeUnitOption
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.loading.recordings.rows import sorted_by_arrival
from perfmodel.planning.observe.traffic import summarise
from perfmodel.report.documents.trace import trace_document

if TYPE_CHECKING:
    from rich.console import RenderableType


def trace(
    action: Annotated[Literal["show"], typer.Argument(metavar="show", help="Say what is in the file.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A trace, a list of sizes, or what a tool exported.")
    ],
    time_unit: TimeUnitOption = None,
    sort: SortOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a file of recorded traffic holds: format, rate, burstiness, sizes."""
    assert action == "show", "there is no other"
    recording = read_recording(file, time_unit=time_unit)
    found = summarise(sorted_by_arrival(recording) if sort else recording)

    def page() -> RenderableType:
        from perfmodel.report.trace import trace_page  # JSON needs no tables

        return trace_page(found)

    show_answer(lambda: trace_document(found), page, as_json=as_json)
