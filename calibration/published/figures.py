"""The published figures as observations, and what the cost model predicts for each.

Every file's source stands in `FIGURES`. A prediction uses the model, batch and software stack that were
measured, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from calibration.published.observations import RELATIVE_SCALE, Case, Point, Row, read_rows
from calibration.published.predictions import Devices, Models, Predictions, Setup, part_s
from calibration.published.saturation import reached_gb_per_s

__all__ = ["FIGURES", "HPCA", "ISCA", "REPOSITORY", "Devices", "Models", "Point", "all_points", "mean_error"]

HPCA, ISCA, REPOSITORY = "hpca2020", "deeprecsys-isca2020", "deeprecsys-repository"

SCATTER_MS = 0.1
"""Scatter of one measured batch in HPCA 2020 Fig. 8. [ms]

Read off the figure's own scatter (0.1 to 0.2 ms), and chosen within that so that Skylake leads at batch 256:
the order of the servers of hpca-rmc1 is therefore fitted, not predicted.
"""

PointsOf = Callable[[str, Predictions], Iterator[Point]]


def latency_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 8: one inference on one core, in total and by operator."""
    rows = read_rows(file)
    for row in rows:
        model, server, batch = row["model"], row["server"], int(row["batch_size"])
        batches = _batches(rows, model=model, server=server)
        times = predict.batch_s(Setup(model, server, HPCA), batch, batches)
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
        times = predict.batch_s(Setup(model, server, HPCA), 1, [1])
        case = Case(file, f"{model}, {server}, batch 1")
        yield case.ratio("latency [ms]", float(row["latency_ms"]), sum(times.values()) * 1e3)


def colocation_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 9: latency with N co-located copies over latency alone."""
    for row in read_rows(file):
        copies = float(row["co_located_models"])
        if copies == 1:
            continue
        setup = Setup(row["model"], row["server"], HPCA)
        alone, shared = predict.copies_s(setup, int(row["batch_size"]), (1.0, copies))
        total_s = sum(alone.values())
        case = Case(file, f"{setup.model}, {setup.device}, {copies:g} copies")
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
        rows = read_rows(file)
        for row in rows:
            model, batch = row["model"], int(row["batch_size"])
            setup = Setup(model, row.get("device") or row["server"], stack)
            times = predict.batch_s(setup, batch, _batches(rows, model=model))
            times.pop("input", None)
            predicted = 100 * part_s(times, row["operator"]) / sum(times.values())
            case = Case(file, f"{model}, {setup.device}, batch {batch}")
            yield case.percentage(f"{row['operator']} [%]", float(row["percent"]), predicted)

    return points


def speedup_points(cpu: str, stack: str, column: str, *, cpu_counts_input: bool) -> PointsOf:
    """1080 Ti against one thread of a CPU, and the share of GPU time spent on loading data."""

    def points(file: str, predict: Predictions) -> Iterator[Point]:
        rows = read_rows(file)
        for row in rows:
            model, batch = row["model"], int(row["batch_size"])
            batches = _batches(rows, model=model)
            on_cpu = predict.batch_s(Setup(model, cpu, stack), batch, batches)
            on_gpu = predict.batch_s(Setup(model, "gtx1080ti", stack), batch, batches)
            if not cpu_counts_input:
                on_cpu.pop("input", None)
            case, gpu_s = Case(file, f"{model}, batch {batch}"), sum(on_gpu.values())
            yield case.ratio("speed-up", float(row[column]), sum(on_cpu.values()) / gpu_s)
            if loading := row.get("data_loading_percent_of_gpu_time"):
                predicted = 100 * on_gpu["input"] / gpu_s
                yield case.percentage("data loading [%]", float(loading), predicted, headline=False)

    return points


def bandwidth_points(file: str, predict: Predictions) -> Iterator[Point]:
    """RecNMP Fig. 6: bandwidth of lookups by threads, an 18-core Skylake; saturation from one thread's rate.

    The other workload, a random-access benchmark, is compared but is no headline: it is not lookups.
    """
    memory = predict.device(Setup("", "skylake", HPCA)).memory
    rows = read_rows(file)
    one = {row["workload"]: float(row["bandwidth_gb_per_s"]) for row in rows if row["threads"] == "1"}
    for row in rows:
        workload, threads = row["workload"], int(row["threads"])
        if threads > 1:
            case, published = Case(file, f"{workload}, {threads} threads"), float(row["bandwidth_gb_per_s"])
            predicted = reached_gb_per_s(
                threads, one[workload], memory.random_fraction, memory.saturation_sharpness
            )
            headline = workload.startswith("sls")
            yield case.ratio("bandwidth [GB/s]", published, predicted, headline=headline)


def _batches(rows: Sequence[Row], **case: str) -> list[int]:
    return [int(row["batch_size"]) for row in rows if all(row[key] == value for key, value in case.items())]


FIGURES: dict[str, tuple[str, PointsOf]] = {
    "cpu_latency_hpca2020_fig8.csv": ("HPCA 2020 Fig. 8", latency_points),
    "cpu_latency_hpca2020_text.csv": ("HPCA 2020, text, batch 1", text_latency_points),
    "colocation_hpca2020_fig9.csv": ("HPCA 2020 Fig. 9", colocation_points),
    "operator_share_isca2020_fig6.csv": ("ISCA 2020 Fig. 6", share_points(ISCA)),
    "operator_share_repository_skylake.csv": ("DeepRecSys repository, Skylake", share_points(REPOSITORY)),
    "operator_share_repository_gtx1080ti.csv": ("DeepRecSys repository, 1080 Ti", share_points(REPOSITORY)),
    "gpu_speedup_isca2020_fig9.csv": (
        "ISCA 2020 Fig. 9",
        speedup_points(
            "broadwell", ISCA, "gtx1080ti_speedup_over_one_broadwell_thread", cpu_counts_input=False
        ),
    ),
    "gpu_speedup_repository.csv": (
        "DeepRecSys repository, 1080 Ti over Skylake",
        speedup_points("skylake", REPOSITORY, "gtx1080ti_speedup_over_skylake", cpu_counts_input=True),
    ),
    "memory_bandwidth_vs_threads_recnmp_fig6.csv": ("RecNMP Fig. 6", bandwidth_points),
}
"""Data file, its source, and how its points are predicted."""


def all_points(files: Sequence[str], models: Models, devices: Devices) -> list[Point]:
    """Every point of the named files with its prediction."""
    predict = Predictions(models, devices)
    return [point for file in files for point in FIGURES[file][1](file, predict)]


def mean_error(points: Sequence[Point], figure: str) -> float:
    """Mean absolute error of a figure's headline points. [1] or [percentage points]"""
    return float(np.mean([abs(point.error) for point in points if point.figure == figure and point.headline]))
