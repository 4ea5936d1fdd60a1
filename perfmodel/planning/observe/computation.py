"""From a checked log to the answer: fits, the scenario that they make, the replay and the backtest."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from perfmodel.domain.serving import SlaTarget
from perfmodel.errors import Note
from perfmodel.loading.observed_files import scenario_text, sizes_text, table_text, trace_text
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.loading.recordings.recording import Frequencies
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.capacity.computation import capacity
from perfmodel.planning.observe.answer import FittedSizes, Observation
from perfmodel.planning.observe.drift import find_drift
from perfmodel.planning.observe.executors import Executors, busy_at_start, find_executors
from perfmodel.planning.observe.log import ServedLog
from perfmodel.planning.observe.replay import Backtest, backtest, compare, replay
from perfmodel.planning.observe.times import ServiceFit, fit_times
from perfmodel.planning.observe.traffic import ArrivalFit, distribution, fit_arrivals
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.sim.statistics import order_statistic
from perfmodel.threads import Tell, part_of, untold
from perfmodel.units import MS

IntArray = npt.NDArray[np.int64]

NAMED = ("mlperf-dlrm", "deeprecsys-production", "hercules-service")
NAMED_LEVEL = 0.01
"""Of the test that refuses a published list of sizes. [1]"""
LEAST_ERROR_PERCENT = 0.1
"""What a table is said to be off by at least: its rows are rounded, and the interpolation is a choice. [%]"""
DEFAULT_PERCENTILE = 0.95
SEED = 1


FITTED = 0.5
"""Of the work, what the process of arrivals takes; nearly all of the rest is the search for the load. [1]"""


def observe(
    log: ServedLog,
    *,
    sla: SlaTarget | None = None,
    against: Question | None = None,
    scenario_name: str = "scenario.yaml",
    table_name: str = "table.csv",
    tell: Tell = untold,
) -> Observation:
    """Fit traffic and node to a log, replay it, and compare it with a scenario.

    Parameters
    ----------
    log : ServedLog
        As `checked_log` returns it.
    sla : SlaTarget, optional
        Of the scenario that is written; by default that of `against`, else the log's own 95th percentile.
    against : Question, optional
        The scenario that the load may have drifted from.
    scenario_name, table_name : str
        Names of the files that are written.
    tell : callable
        Takes how much of it is done.
    """
    notes = list(log.notes)
    arrivals = fit_arrivals(log.query_arrival_s)
    tell(FITTED)
    sizes = _sizes(log, arrivals)
    busy = busy_at_start(log)
    executors = find_executors(log, busy)
    times = fit_times(log, busy, executors.number)
    notes += times.notes
    if not executors.exact:
        notes.append(
            f"executors: at least {executors.number}: {executors.why}; the scenario has {executors.number}"
        )
    if sla is None:
        sla, said = _sla(log, against)
        notes += said
    if times.pauses is not None:
        notes.append("pauses were found: the table leaves them out, the scenario and the replay have them")
    largest = int(log.num_items.max())
    values = _scenario(log, arrivals, sizes, times, executors, sla, table_name)
    files = _files(log, values, sizes, times, scenario_name, table_name, notes)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        question = prepare(load_scenario(Path(folder) / scenario_name))
        found = capacity(question, tell=part_of(tell, FITTED, 1.0))
    service = question.node.service_times(question.policy, largest, question.traffic.size_pmf)
    windows = compare(log, replay(log, service, largest, seed=SEED))
    busy_s = float(log.service_s.sum())
    tested: Backtest | None = None
    if found.plan_for_qps is not None:
        tested = backtest(
            log,
            service,
            largest,
            rate_qps=found.plan_for_qps,
            percentile=sla.percentile,
            latency_s=sla.latency_s,
            seed=SEED,
        )
    return Observation(
        log=log,
        arrivals=arrivals,
        sizes=sizes,
        times=times,
        executors=executors,
        utilisation=busy_s / executors.number / max(log.span_s, float(log.end_s.max())),
        sla=sla,
        windows=windows,
        latency_bounded_qps=found.latency_bounded_qps,
        plan_for_qps=found.plan_for_qps,
        backtest=tested,
        drift=None if against is None else find_drift(log, arrivals, busy, against),
        scenario=values,
        files=files,
        notes=tuple(notes),
    )


def _sizes(log: ServedLog, arrivals: ArrivalFit) -> FittedSizes:
    """The published list that sizes agree with, one size, or those of the log."""
    items = log.query_items
    values, counts = np.unique(items, return_counts=True)
    law = distribution(Frequencies(values.astype(np.float64), counts.astype(np.float64)))
    if len(values) == 1:
        return FittedSizes(kind="fixed", name=None, law=law, why=f"every query has {values[0]} items")
    from scipy.stats import chisquare  # takes a third of a second to load

    for name in NAMED:
        known = named_sizes(name)
        at = np.minimum(np.searchsorted(known.num_items, values), len(known.num_items) - 1)
        if not (known.num_items[at] == values).all():
            continue
        seen = np.bincount(at, weights=counts, minlength=len(known.num_items))
        expected = known.probabilities * len(items)
        if expected.min() >= 5 and chisquare(seen, expected).pvalue > NAMED_LEVEL:
            said = f"no other than the published list {name}, by a chi-square test at 1 %"
            return FittedSizes(kind="named", name=name, law=law, why=said)
    if arrivals.process == "trace":
        return FittedSizes(kind="trace", name=None, law=law, why="replayed with the arrivals")
    return FittedSizes(kind="file", name=None, law=law, why=f"{len(values):,} sizes as often as they came")


def _sla(log: ServedLog, against: Question | None) -> tuple[SlaTarget, list[str]]:
    if against is not None:
        return against.sla, []
    own_s = order_statistic(np.sort(log.query_latency_s), DEFAULT_PERCENTILE)
    latency_ms = float(f"{own_s / MS:.3g}")
    said = (
        f"no SLA was given: p95 within {latency_ms:g} ms, which is the log's own p95 (--sla-ms, --percentile)"
    )
    return SlaTarget(percentile=DEFAULT_PERCENTILE, latency_ms=latency_ms), [said]


def _scenario(
    log: ServedLog,
    arrivals: ArrivalFit,
    sizes: FittedSizes,
    times: ServiceFit,
    executors: Executors,
    sla: SlaTarget,
    table_name: str,
) -> dict[str, Any]:
    """What the scenario file says."""
    node: dict[str, Any] = {"service_times": table_name, "executors": executors.number}
    node["error_percent"] = max(LEAST_ERROR_PERCENT, 100.0 * times.relative_error)
    if times.scatter is not None:
        node["scatter"] = times.scatter.model_dump(mode="json", exclude_none=True)
    if times.pause_settings is not None:
        node["pauses"] = [times.pause_settings.model_dump(mode="json")]
    process: dict[str, Any] = {"process": arrivals.process, "rate_qps": arrivals.rate_qps.value}
    if arrivals.bursts is not None and arrivals.process == "mmpp":
        process = arrivals.bursts.arrivals(arrivals.rate_qps.value).model_dump(mode="json")
    elif arrivals.process == "trace":
        process = {"process": "trace", "file": TRACE_NAME}
    named: dict[str, dict[str, Any]] = {
        "named": {"distribution": sizes.name},
        "fixed": {"distribution": "fixed", "num_items": int(sizes.law.greatest)},
        "file": {"distribution": "file", "file": SIZES_NAME},
        "trace": {"distribution": "trace"},
    }
    return {
        "description": f"{len(log.query_arrival_s)} queries of {log.recording.path.name}",
        "node": node,
        "traffic": {"arrivals": process, "query_sizes": named[sizes.kind]},
        "policy": {"name": "split", "batch_size": int(log.num_items.max())},
        "sla": sla.model_dump(mode="json", exclude_unset=True),
    }


TRACE_NAME, SIZES_NAME = "trace.csv", "sizes.csv"


def _files(
    log: ServedLog,
    values: Mapping[str, Any],
    sizes: FittedSizes,
    times: ServiceFit,
    scenario_name: str,
    table_name: str,
    notes: list[str],
) -> dict[str, str]:
    by_busy = times.rows[0].busy is not None
    names = ["items", *(["busy"] if by_busy else []), "service_ms"]
    if times.scatter is not None:
        names.append("std_ms")
    rows = []
    for row in times.rows:
        cells: list[float | int] = [row.items]
        if row.busy is not None:
            cells.append(row.busy)
        cells.append(row.service_s.value / MS)
        if times.scatter is not None:
            cells.append(row.std_s / MS)
        rows.append(cells)
    origin = f"perfplan observe {log.recording.path.name}: {len(log.arrival_s)} requests"
    files = {
        scenario_name: scenario_text(
            values, [f"written by perfplan observe {log.recording.path.name}", *notes]
        ),
        table_name: table_text(names, rows, [origin]),
    }
    if sizes.kind == "file":
        files[SIZES_NAME] = sizes_text(*np.unique(log.query_items, return_counts=True))
    if values["traffic"]["arrivals"]["process"] == "trace":
        files[TRACE_NAME] = trace_text(log.query_arrival_s, log.query_items)
    return files
