"""The published figures as observations, and what the cost model predicts for each.

Every file's source stands in `FIGURES`. A prediction uses the model, batch and software stack that were
measured, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from calibration.published.observations import RELATIVE_SCALE, Case, Point, read_rows
from calibration.published.predictions import Devices, Known, Models, Predictions, Setup, part_s
from calibration.published.saturation import BATCHES, called_gb_per_s, fit_calls, reached_gb_per_s
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.units import MS

__all__ = [
    "FIGURES",
    "HPCA",
    "ISCA",
    "REPOSITORY",
    "Devices",
    "Known",
    "Models",
    "Point",
    "all_points",
    "mean_error",
]

HPCA, ISCA, REPOSITORY = "hpca2020", "deeprecsys-isca2020", "deeprecsys-repository"

SCATTER_MS = 0.1
"""Scatter of one measured batch in HPCA 2020 Fig. 8: read off the figure's own (0.1 to 0.2 ms). [ms]"""

COPIES_FILE = "colocation_hpca2020_fig10_rmc2_broadwell.csv"
CURVE_POINTS = 4.0
"""Points that the seventeen of a smooth curve count for: its level, its rise, and where that ends."""

QUERY_TIMES = "query_time_isca2020_fig10.csv"
QUERIES_TIMED = 100
"""Queries behind ISCA 2020 Fig. 10: see `query_time_points`."""

SIZES_TIMED = 12
"""Sizes that are worked out; between them times are linear to 1 %."""

DEVIATIONS = frozenset(
    [("gpu_speedup_isca2020_fig9.csv", f"dlrm-rmc3, batch {batch}") for batch in (1, 37)]
    + [(QUERY_TIMES, f"dlrm-rmc3, gtx1080ti, {part} queries") for part in ("small", "large")]
)
"""Left as deviations: RMC3's time on the card hardly depends on the batch (4 ms for any), which no constant
of the card gives that another model shares. Figure and case."""

PointsOf = Callable[[str, Predictions], Iterator[Point]]


def latency_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 8: one inference on one core, in total and by operator."""
    for row in read_rows(file):
        model, server, batch = row["model"], row["server"], int(row["batch_size"])
        setup = Setup(model, server, HPCA)
        if not predict.has(setup):
            continue
        times = predict.batch_s(setup, batch, _batches(file, model=model, server=server))
        case, total_ms = Case(file, f"{model}, {server}, batch {batch}"), float(row["latency_ms"])
        steadiness = _steadiness(total_ms)
        yield case.ratio("latency [ms]", total_ms, sum(times.values()) * 1e3, weight=steadiness)
        for operator in ("fc", "sls", "bmm", "concat", "relu"):
            part_ms = float(row[f"{operator}_ms"])
            if part_ms > 0.0:
                weight = (part_ms / total_ms) ** 0.5 * steadiness
                predicted_ms = part_s(times, operator) * 1e3
                yield case.ratio(f"{operator} [ms]", part_ms, predicted_ms, headline=False, weight=weight)


def _steadiness(latency_ms: float) -> float:
    """Weight of a single measured run: scatter of so many ms beside the relative error of all figures.

    Fig. 8's own scatter: lookups of RMC1 on Haswell take 10 ns at batch 128 and 5.4 at 256, on Broadwell
    3.3 and 5.4, which is 0.1 to 0.2 ms of the time of a batch.
    """
    return float((1.0 + (SCATTER_MS / latency_ms / RELATIVE_SCALE) ** 2) ** -0.5)


def text_latency_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020, text: batch 1 on Broadwell."""
    for row in read_rows(file):
        model, server = row["model"], row["server"]
        setup = Setup(model, server, HPCA)
        if not predict.has(setup):
            continue
        times = predict.batch_s(setup, 1, [1])
        case = Case(file, f"{model}, {server}, batch 1")
        yield case.ratio("latency [ms]", float(row["latency_ms"]), sum(times.values()) * 1e3)


@cache
def copies_at_work() -> float:
    """Share of its time that a co-located copy is at work: published rate times latency, a copy. [1]

    HPCA 2020 Fig. 10 gives both, and with every number of copies the product is 0.45: between two passes a
    copy does something else. Fig. 9 gives no rates; its copies are taken to be run by the same programme.
    """
    rows = read_rows(COPIES_FILE)
    shares = [
        float(row["inferences_per_s"]) * float(row["latency_ms"]) * MS / int(row["co_located_models"])
        for row in rows
    ]
    return float(np.mean(shares))


def copies_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 10: latency with 1 to 17 co-located copies of RMC2 on Broadwell.

    Seventeen points on one curve, which rises and is then flat: they weigh as `CURVE_POINTS` do. Assumed: who
    finds no core of its own on the socket runs on the other one, and the latency is the mean over all copies.
    The published one does not rise beyond a socket's 14 cores, as it would if copies shared them.
    """
    rows = read_rows(file)
    weight = (CURVE_POINTS / len(rows)) ** 0.5
    for row in rows:
        setup, copies = Setup(row["model"], row["server"], HPCA), int(row["co_located_models"])
        if not predict.has(setup):
            continue
        counts = _numbers(file, "co_located_models", model=setup.model, server=setup.device)
        times = predict.copies_s(setup, int(row["batch_size"]), counts, copies_at_work())
        most = predict.device(setup).cores_per_socket
        on_sockets = [min(copies, most), max(0, copies - most)]
        total_s = sum(count * sum(times[count].values()) for count in on_sockets if count)
        case = Case(file, f"{setup.model}, {setup.device}, {copies} copies")
        predicted_ms = total_s / copies / MS
        yield case.ratio("latency [ms]", float(row["latency_ms"]), predicted_ms, weight=weight)


def colocation_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 9: latency with N co-located copies over latency alone."""
    for row in read_rows(file):
        copies = int(row["co_located_models"])
        setup = Setup(row["model"], row["server"], HPCA)
        if copies == 1 or not predict.has(setup):
            continue
        counts = _numbers(file, "co_located_models", model=setup.model, server=setup.device)
        times = predict.copies_s(setup, int(row["batch_size"]), counts, copies_at_work())
        shared, total_s = times[copies], sum(times[1].values())
        case = Case(file, f"{setup.model}, {setup.device}, {copies} copies")
        yield case.ratio(
            "latency over one", float(row["latency_relative_to_one"]), sum(shared.values()) / total_s
        )
        for operator in ("fc", "sls", "rest"):
            published, predicted = float(row[operator]), part_s(shared, operator) / total_s
            quantity, weight = f"{operator} over total of one", published**0.5 / 2
            yield case.ratio(quantity, published, predicted, headline=False, weight=weight)


def share_points(stack: str) -> PointsOf:
    """Shares of operators in a batch's time, input handling left out as in the figures."""

    def points(file: str, predict: Predictions) -> Iterator[Point]:
        for row in read_rows(file):
            model, batch = row["model"], int(row["batch_size"])
            setup = Setup(model, row.get("device") or row["server"], stack)
            times = predict.batch_s(setup, batch, _batches(file, model=model))
            times.pop("input", None)
            predicted = 100 * part_s(times, row["operator"]) / sum(times.values())
            case = Case(file, f"{model}, {setup.device}, batch {batch}")
            yield case.percentage(f"{row['operator']} [%]", float(row["percent"]), predicted)

    return points


def speedup_points(cpu: str, stack: str, column: str) -> PointsOf:
    """1080 Ti against one thread of a CPU, input conversion on both sides, and the card's share of it."""

    def points(file: str, predict: Predictions) -> Iterator[Point]:
        for row in read_rows(file):
            model, batch = row["model"], int(row["batch_size"])
            batches = _batches(file, model=model)
            on_cpu = predict.batch_s(Setup(model, cpu, stack), batch, batches)
            on_gpu = predict.batch_s(Setup(model, "gtx1080ti", stack), batch, batches)
            case, gpu_s = Case(file, f"{model}, batch {batch}"), sum(on_gpu.values())
            yield case.ratio("speed-up", float(row[column]), sum(on_cpu.values()) / gpu_s)
            if loading := row.get("data_loading_percent_of_gpu_time"):
                predicted = 100 * on_gpu["input"] / gpu_s
                yield case.percentage("data loading [%]", float(loading), predicted, headline=False)

    return points


def query_time_points(file: str, predict: Predictions) -> Iterator[Point]:
    """ISCA 2020 Fig. 10: time of the smaller three quarters of the queries, and of the largest quarter.

    How many queries are behind it was not published; 100, one of each of the listed sizes, is what RMC1's and
    RMC3's rates with everything on the card agree with (6.1 and 4.8 ms a query).
    """
    sizes = named_sizes("deeprecsys-production")
    low, high = sizes.num_items[0], sizes.num_items[-1]
    batches = np.unique(np.geomspace(low, high, SIZES_TIMED).round().astype(int)).tolist()
    for row in read_rows(file):
        setup = Setup(row["model"], row["device"], ISCA)
        at_some = [sum(predict.batch_s(setup, size, batches).values()) for size in batches]
        seconds = np.interp(sizes.num_items, batches, at_some)
        times = np.sort(np.repeat(seconds, np.round(QUERIES_TIMED * sizes.probabilities).astype(int)))
        split = 3 * len(times) // 4
        for part, part_of in (("small", times[:split]), ("large", times[split:])):
            case = Case(file, f"{setup.model}, {setup.device}, {part} queries")
            yield case.ratio("time of 100 [ms]", float(row[f"{part}_queries_ms"]), part_of.sum() * 1e3)


def bandwidth_points(file: str, predict: Predictions) -> Iterator[Point]:
    """RecNMP Fig. 6: bandwidth of lookups by threads, an 18-core Skylake, in calls of 256 items and of 8.

    The other workload, a random-access benchmark, is compared but is no headline: it is not lookups, and
    saturates from one thread's rate.
    """
    memory = predict.device(Setup("", "skylake", HPCA)).memory
    saturation = memory.random_fraction, memory.saturation_sharpness
    calls = fit_calls(*saturation)
    rows = read_rows(file)
    one = {row["workload"]: float(row["bandwidth_gb_per_s"]) for row in rows if row["threads"] == "1"}
    for row in rows:
        workload, threads = row["workload"], int(row["threads"])
        case, published = Case(file, f"{workload}, {threads} threads"), float(row["bandwidth_gb_per_s"])
        if batch_size := BATCHES.get(workload):
            predicted = called_gb_per_s(threads, batch_size, calls, *saturation)
            yield case.ratio("bandwidth [GB/s]", published, predicted)
        elif threads > 1:
            predicted = reached_gb_per_s(threads, one[workload], *saturation)
            yield case.ratio("bandwidth [GB/s]", published, predicted, headline=False)


@cache
def _numbers(file: str, column: str, **case: str) -> tuple[int, ...]:
    rows = (row for row in read_rows(file) if all(row[key] == value for key, value in case.items()))
    return tuple(int(row[column]) for row in rows)


def _batches(file: str, **case: str) -> tuple[int, ...]:
    return _numbers(file, "batch_size", **case)


FIGURES: dict[str, tuple[str, PointsOf]] = {
    "cpu_latency_hpca2020_fig8.csv": ("HPCA 2020 Fig. 8", latency_points),
    "cpu_latency_hpca2020_fig8_rmc2_broadwell.csv": ("HPCA 2020 Fig. 8, RMC2", latency_points),
    "cpu_latency_hpca2020_text.csv": ("HPCA 2020, text, batch 1", text_latency_points),
    "colocation_hpca2020_fig9.csv": ("HPCA 2020 Fig. 9", colocation_points),
    COPIES_FILE: ("HPCA 2020 Fig. 10, RMC2", copies_points),
    "operator_share_isca2020_fig6.csv": ("ISCA 2020 Fig. 6", share_points(ISCA)),
    "operator_share_repository_skylake.csv": ("DeepRecSys repository, Skylake", share_points(REPOSITORY)),
    "operator_share_repository_gtx1080ti.csv": ("DeepRecSys repository, 1080 Ti", share_points(REPOSITORY)),
    "gpu_speedup_isca2020_fig9.csv": (
        "ISCA 2020 Fig. 9",
        speedup_points("broadwell", ISCA, "gtx1080ti_speedup_over_one_broadwell_thread"),
    ),
    QUERY_TIMES: ("ISCA 2020 Fig. 10", query_time_points),
    "gpu_speedup_repository.csv": (
        "DeepRecSys repository, 1080 Ti over Skylake",
        speedup_points("skylake", REPOSITORY, "gtx1080ti_speedup_over_skylake"),
    ),
    "memory_bandwidth_vs_threads_recnmp_fig6.csv": ("RecNMP Fig. 6", bandwidth_points),
}
"""Data file, its source, and how its points are predicted."""


def all_points(
    files: Sequence[str], models: Models, devices: Devices, known: Known | None = None
) -> list[Point]:
    """Every point of the named files with its prediction; `known` as of `Predictions`."""
    predict = Predictions(models, devices, known)
    return [point for file in files for point in FIGURES[file][1](file, predict)]


def is_deviation(point: Point) -> bool:
    """Whether a point is left as a deviation: no fit counts it, and tables show it in a row of its own."""
    return (point.figure, point.label) in DEVIATIONS


def mean_error(points: Sequence[Point], figure: str) -> float:
    """Mean absolute error of a figure's headline points, deviations left out. [1] or [percentage points]"""
    counted = [point for point in points if point.figure == figure and point.headline]
    return float(np.mean([abs(point.error) for point in counted if not is_deviation(point)]))
