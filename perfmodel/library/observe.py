"""`perfmodel.observe`: what do the logs of a node say?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perfmodel.library.shown import Shown, rate
from perfmodel.loading.scenario_file import ScenarioLike
from perfmodel.planning.observe import answer
from perfmodel.planning.observe.asked import observation, write_files
from perfmodel.report.documents.observe import ObserveDocument, observe_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class Observation(Shown, answer.Observation):
    """The answer of `perfmodel.observe`; as a table, one row."""

    __slots__ = ()

    def to_dict(self) -> ObserveDocument:
        """Return the JSON document of `perfplan observe`; what does not exist is None."""
        return observe_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.observe import observe_page  # rich takes a while to load

        return observe_page(self)

    def _summary(self) -> str:
        more = "" if self.executors.exact else "at least "
        return (
            f"{self.log.recording.path.name}: {rate(self.arrivals.rate_qps.value)} queries/s on "
            f"{more}{self.executors.number} executors"
        )


def observe(
    log: str | os.PathLike[str],
    *,
    scenario: ScenarioLike | None = None,
    overrides: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    sla_ms: float | None = None,
    percentile: float | None = None,
    time_unit: str | None = None,
    sort: bool = False,
    duplicates: Literal["refuse", "drop", "keep"] = "refuse",
) -> Observation:
    """Fit traffic and service times to a node's log, and replay it: `perfplan observe`.

    Parameters
    ----------
    log : path
        Rows of arrival, size, start and end, perhaps executor and query: CSV, JSON lines or Parquet.
    scenario : str, path, mapping, Scenario or LoadedScenario, optional
        What the load may have drifted from; its SLA is taken.
    overrides : sequence of str
        Changes of that scenario, as for `--set`.
    out : path, optional
        Folder in which the scenario, its table and its sizes or trace are written.
    sla_ms, percentile : float, optional
        The SLA; by default the scenario's, else the log's own 95th percentile. [ms], [1]
    time_unit : {"s", "ms", "us", "ns"}, optional
        Unit of the stamps, where neither names nor values tell.
    sort : bool
        Sort the rows by arrival first.
    duplicates : {"refuse", "drop", "keep"}
        What to do with rows that are the same in all columns.

    Returns
    -------
    Observation
        Traffic, service times, scatter, pauses and executors with their intervals, the errors of the replay
        by window, the backtest, and what has drifted; `scenario` and `files` are what is written.

    Raises
    ------
    InputError
        At the first mistake in the log, or if a column is missing.
    """
    folder = None if out is None else Path(out)
    found = observation(
        Path(log),
        scenario=scenario,
        overrides=overrides,
        out=folder,
        sla_ms=sla_ms,
        percentile=percentile,
        time_unit=time_unit,
        sort=sort,
        duplicates=duplicates,
    )
    write_files(found, out=folder)
    return Observation.of(found)
