"""What is asked of a log: read and checked, with the SLA and the scenario, and the files that come of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from perfmodel.domain.serving import SlaTarget
from perfmodel.errors import InputError
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.loading.recordings.rows import sorted_by_arrival
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.loading.words import cut_path
from perfmodel.loading.written import require_writable, write_atomically
from perfmodel.planning.observe.answer import Observation
from perfmodel.planning.observe.computation import DEFAULT_PERCENTILE, observe
from perfmodel.planning.observe.log import checked_log
from perfmodel.planning.prepare import prepare
from perfmodel.threads import Tell, untold

SCENARIO_NAME, TABLE_NAME = "scenario.yaml", "table.csv"


def observation(
    log: Path,
    *,
    scenario: ScenarioLike | None,
    overrides: Sequence[str],
    out: Path | None,
    scenario_out: Path | None = None,
    table_out: Path | None = None,
    sla_ms: float | None,
    percentile: float | None,
    time_unit: str | None,
    sort: bool,
    duplicates: str,
    tell: Tell = untold,
) -> Observation:
    """Observe a log; the files are not written yet, but there is room for them."""
    if out is not None and (scenario_out is not None or table_out is not None):
        raise InputError("--out: expected a folder for all, or --scenario-out and --table-out, got both")
    if table_out is not None and scenario_out is None:
        raise InputError("--table-out: expected beside --scenario-out, which names the table")
    if overrides and scenario is None:
        raise InputError("--set: expected beside --scenario, whose values it changes")
    if out is not None:
        _require_folder(out)
    for option, path in (("--scenario-out", scenario_out), ("--table-out", table_out)):
        if path is not None:
            require_writable(path, option)
    paths = _paths(out, scenario_out, table_out)
    against = None if scenario is None else prepare(load_scenario(scenario, overrides))
    recording = read_recording(log, time_unit=time_unit)
    checked = checked_log(sorted_by_arrival(recording) if sort else recording, duplicates=duplicates)
    sla = None
    if sla_ms is not None or percentile is not None:
        sla = _sla(sla_ms, percentile, None if against is None else against.sla)
    table_name = TABLE_NAME if paths is None else os.path.relpath(paths[1], paths[0].parent)
    names = (SCENARIO_NAME if paths is None else paths[0].name), table_name
    return observe(checked, sla=sla, against=against, scenario_name=names[0], table_name=names[1], tell=tell)


def _require_folder(out: Path) -> None:
    """Refuse what is no folder and cannot become one."""
    where = f"--out {cut_path(out)}"
    try:
        if not out.parent.is_dir():
            raise InputError(f"{where}: no directory {cut_path(out.parent)}")
        if out.exists() and not out.is_dir():
            raise InputError(f"{where}: is a file; expected a folder")
    except OSError as error:  # a name that is too long, say
        raise InputError(f"{where}: cannot be made: {error.strerror or error}") from None


def write_files(
    found: Observation,
    *,
    out: Path | None = None,
    scenario_out: Path | None = None,
    table_out: Path | None = None,
) -> None:
    """Write the scenario and what it names, where asked to."""
    paths = _paths(out, scenario_out, table_out)
    if paths is None:
        return
    folder = paths[0].parent
    folder.mkdir(exist_ok=True)
    for name, text in found.files.items():
        write_atomically(folder / name, text)


def _paths(out: Path | None, scenario_out: Path | None, table_out: Path | None) -> tuple[Path, Path] | None:
    """Of the scenario and its table; None where nothing is to be written."""
    if out is not None:
        return out / SCENARIO_NAME, out / TABLE_NAME
    if scenario_out is None:
        return None
    return scenario_out, table_out or scenario_out.with_name(f"{scenario_out.stem}.table.csv")


def _sla(sla_ms: float | None, percentile: float | None, of_scenario: SlaTarget | None) -> SlaTarget:
    given = {} if of_scenario is None else of_scenario.model_dump(exclude_unset=True)
    if sla_ms is None and "latency_ms" not in given:
        raise InputError("--percentile: expected beside --sla-ms, the limit that it is held to")
    given["latency_ms"] = sla_ms if sla_ms is not None else given["latency_ms"]
    given["percentile"] = (
        percentile if percentile is not None else given.get("percentile", DEFAULT_PERCENTILE)
    )
    try:
        return SlaTarget(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"latency_ms": "--sla-ms"}.get(str(first["loc"][0]), f"--{first['loc'][0]}")
        raise InputError(
            f"{option}: {first['msg'].removeprefix('Value error, ')}, got {first['input']}"
        ) from None
