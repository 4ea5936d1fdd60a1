"""RMC3's throughput against the batch size and against the offload threshold: ISCA 2020 Fig. 8 and 11."""

from __future__ import annotations

from collections.abc import Sequence

from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import Compared, Line, LinePlot, Section
from calibration.reproduce.scope import CARD, CPU
from calibration.reproduce.study import study_node, study_service
from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.tune.load_test import LoadTest, SharedTraffic
from perfmodel.planning.tune.question import Configuration

MODEL = "dlrm-rmc3"
BATCH_SIZE = 256
"""Of its threshold curve, the best of its curve by batch. [items]"""
BATCH_FILE = "qps_vs_batch_isca2020_fig8.csv"
THRESHOLD_FILE = "qps_vs_offload_threshold_isca2020_fig11.csv"
QPS = "latency-bounded throughput [queries/s]"

TIGHT = (
    "at 66 ms every published rate is about half of that at 100 ms, which no queue of engines does "
    "whose service times are steady: the published requests vary more than their size explains"
)
LARGE = "one request in flight holds a query for its whole time; the published cores are slower there"
GRID = "the published controller tries few rates: 16 to 32 items raise its rate by 19 % only"
ALL_OFFLOADED = (
    "the published 5.3 ms a query with everything on the card, and 1.7 ms a larger one at threshold 170, "
    "fit no single service time"
)


def batch_section(traffic: SharedTraffic) -> Section:
    """QPS against batch size at two SLAs, cores alone."""
    node = study_node(MODEL, CPU, None)
    rows, lines = list[Compared](), list[Line]()
    published = [row for row in read_rows(BATCH_FILE) if row["model"] == MODEL]
    for target in sorted({row["p95_target_ms"] for row in published}, key=float, reverse=True):
        own = [row for row in published if row["p95_target_ms"] == target]
        sizes = [int(row["batch_size"]) for row in own]
        measured = [float(row["qps"]) for row in own]
        test = LoadTest(node, traffic, SlaTarget(percentile=0.95, latency_ms=float(target)))
        found = _qps(test, [Configuration(size) for size in sizes])
        case = f"{MODEL}, p95 of {target} ms"
        for size, ours, theirs in zip(sizes, found, measured, strict=True):
            cause = (
                TIGHT if float(target) < 100 else GRID if size == 32 else LARGE if size > BATCH_SIZE else ""
            )
            rows.append(_row(f"{case}, batch {size}", ours, theirs, cause))
        rows.append(_peak(case, "batch size of the maximum [items]", sizes, found, measured))
        lines += _lines(f"{target} ms", sizes, found, measured)
    return Section(
        title="RMC3: throughput against batch size",
        prose=(
            "Two sockets of Broadwell, cores alone. These rates, RMC1's and its rates by target are what the "
            "profile's conversion_slowdown and network_slowdown were fitted to, two constants for all."
        ),
        rows=tuple(rows),
        plots=(_plot("RMC3 on Broadwell", "batch size [items]", lines),),
    )


def threshold_section(traffic: SharedTraffic) -> Section:
    """QPS against offload threshold with a GPU."""
    published = [row for row in read_rows(THRESHOLD_FILE) if row["model"] == MODEL]
    thresholds = [int(row["offload_threshold_items"]) for row in published]
    measured = [float(row["qps"]) for row in published]
    sla = SlaTarget(percentile=0.95, latency_ms=float(published[0]["p95_target_ms"]))
    node = study_node(MODEL, CPU, CARD)
    test = LoadTest(node, traffic, sla, service=study_service(node, traffic.source.size_pmf.max_items))
    found = _qps(test, [Configuration(BATCH_SIZE, threshold) for threshold in thresholds])
    case = f"{MODEL}, batch {BATCH_SIZE}"
    rows = [
        _row(f"{case}, threshold {threshold}", ours, theirs, ALL_OFFLOADED if threshold <= 170 else "")
        for threshold, ours, theirs in zip(thresholds, found, measured, strict=True)
    ]
    rows.append(_peak(case, "threshold of the maximum [items]", thresholds, found, measured))
    return Section(
        title="RMC3: throughput against offload threshold",
        prose=(
            "The same node with a 1080 Ti, p95 of 100 ms; the card serves one query at a time, in a time "
            "interpolated in log(batch) between six batches, as the published engine does. Nothing was "
            "fitted to this curve: no single server whose time grows with the size has it."
        ),
        rows=tuple(rows),
        plots=(
            _plot(
                "RMC3 with a 1080 Ti",
                "offload threshold [items]",
                _lines("100 ms", thresholds, found, measured),
            ),
        ),
    )


def _qps(test: LoadTest, configurations: Sequence[Configuration]) -> list[float | None]:
    """Latency-bounded throughput of each by the long sample; None: no load meets the SLA. [queries/s]"""
    found = list[float | None]()
    for configuration in configurations:
        about_qps = test.pilot_qps(configuration)
        found.append(None if about_qps is None else test.final_qps(configuration, about_qps))
    return found


def _row(case: str, ours: float | None, theirs: float, cause: str) -> Compared:
    row = Compared(case=case, quantity=QPS, predicted=ours, published=theirs, cause=cause)
    if row.deviation is not None and abs(row.deviation) < 0.15:
        return Compared(case=case, quantity=QPS, predicted=ours, published=theirs)
    return row


def _peak(
    case: str, quantity: str, x: Sequence[int], found: Sequence[float | None], measured: Sequence[float]
) -> Compared:
    """Where both curves have their maximum; `setting` counts the steps between."""
    ours = max(range(len(x)), key=lambda index: found[index] or 0.0)
    theirs = max(range(len(x)), key=lambda index: measured[index])
    steps = abs(ours - theirs)
    apart = "at the same place" if steps == 0 else f"{steps} step{'s' if steps > 1 else ''} of the grid apart"
    return Compared(case=case, quantity=quantity, predicted=x[ours], published=x[theirs], setting=apart)


def _lines(
    name: str, x: Sequence[int], found: Sequence[float | None], measured: Sequence[float]
) -> list[Line]:
    at = tuple(float(value) for value in x)
    return [
        Line(name=f"{name}, predicted", x=at, y=tuple(found)),
        Line(name=f"{name}, published", x=at, y=tuple(measured), published=True),
    ]


def _plot(title: str, x_label: str, lines: Sequence[Line]) -> LinePlot:
    return LinePlot(title=title, x_label=x_label, y_label="queries/s", lines=tuple(lines), log_x=True)
