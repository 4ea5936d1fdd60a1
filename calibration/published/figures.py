"""The published figures as observations, and what the cost model predicts for each.

Every file's source stands in `FIGURES`. A prediction uses the model, batch and software stack that were
measured, nothing else.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel

DATA = Path(__file__).parent
HPCA, ISCA, REPOSITORY = "hpca2020", "deeprecsys-isca2020", "deeprecsys-repository"

Unit = Literal["relative", "percentage points"]
Devices = Mapping[tuple[str, str], Device]
Models = Mapping[str, RecModel]

FAMILIES: dict[str, tuple[str, ...]] = {
    "fc": ("fc",),
    "sls": ("embedding_bag",),
    "emb": ("embedding_bag",),
    "sparselengthssum": ("embedding_bag",),
    "bmm": ("batch_matmul",),
    "concat": ("concat", "elementwise"),
    "relu": ("activation",),
    "sum": ("sum",),
    "softmax": ("softmax",),
    "recurrent": ("recurrent",),
    "recurrentnetwork": ("recurrent",),
    "rest": ("batch_matmul", "concat", "elementwise", "activation", "sum", "softmax"),
}
"""Names of operators in the figures, and the kernel families that make them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One published value beside its prediction.

    Attributes
    ----------
    figure, label, quantity : str
        File, the case (model, device, batch), and what was read off.
    published, predicted : float
        In the figure's unit.
    unit : {"relative", "percentage points"}
        How the error is counted.
    headline : bool
        Whether it counts towards the file's mean error; parts of a total do not.
    weight : float
        How much a fit cares: for a part, the square root of its share, so that a part of 2 % of the
        total does not pull like one of 90 %. [1]
    """

    figure: str
    label: str
    quantity: str
    published: float
    predicted: float
    unit: Unit
    headline: bool = True
    weight: float = 1.0

    @property
    def error(self) -> float:
        """Signed: predicted over published - 1, or the difference of percentages."""
        if self.unit == "relative":
            return self.predicted / self.published - 1.0
        return self.predicted - self.published


def read_rows(file: str) -> list[dict[str, str]]:
    """Read one of the data files beside this module."""
    with (DATA / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


class Predictions:
    """Times of models on devices by kernel family, all batches of a pair worked out at once."""

    def __init__(self, models: Models, devices: Devices) -> None:
        self._models = models
        self._devices = devices
        self._times: dict[tuple[str, str, str, tuple[int, ...]], dict[float, dict[str, float]]] = {}

    def families_s(self, model: str, device: str, stack: str, batch: int, batches: Sequence[int]) -> dict[str, float]:
        """Time by kernel family of one batch, alone on the machine. [s]"""
        key = (model, device, stack, tuple(batches))
        if key not in self._times:
            sizes = np.array(sorted({float(size) for size in batches}))
            self._times[key] = _by_family(batch_time(self._models[model], self._devices[device, stack], sizes), sizes)
        return self._times[key][float(batch)]

    def co_located_s(self, model: str, device: str, stack: str, batch: int, copies: Sequence[float]) -> list[dict[str, float]]:
        """Time by kernel family with each number of co-located copies on one socket. [s]"""
        busy = np.array(copies, float)
        time = batch_time(
            self._models[model], self._devices[device, stack], np.full_like(busy, batch), busy, copies=True
        )
        by_copies = _by_family(time, busy)
        return [by_copies[float(count)] for count in copies]

    def device(self, name: str, stack: str) -> Device:
        """Return the device with a stack."""
        return self._devices[name, stack]


def _by_family(time: object, keys: np.ndarray) -> dict[float, dict[str, float]]:
    table: dict[float, dict[str, float]] = {float(key): {} for key in keys}
    for timed in time.kernels:  # type: ignore[attr-defined]
        for key, seconds in zip(keys, timed.seconds, strict=True):
            row = table[float(key)]
            row[timed.kernel.family] = row.get(timed.kernel.family, 0.0) + float(seconds)
    return table


def _part(times: Mapping[str, float], operator: str) -> float:
    return sum(times.get(family, 0.0) for family in FAMILIES[operator.lower()])


def _batches(rows: list[dict[str, str]], **case: str) -> list[int]:
    return [int(row["batch_size"]) for row in rows if all(row[key] == value for key, value in case.items())]


def latency_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 8: one inference on one core, in total and by operator."""
    rows = read_rows(file)
    for row in rows:
        model, server, batch = row["model"], row["server"], int(row["batch_size"])
        batches = _batches(rows, model=model, server=server)
        times = predict.families_s(model, server, HPCA, batch, batches)
        label = f"{model}, {server}, batch {batch}"
        total_s = sum(times.values())
        yield Point(figure=file, label=label, quantity="latency [ms]", published=float(row["latency_ms"]),
                    predicted=total_s * 1e3, unit="relative")  # fmt: skip
        for operator in ("fc", "sls", "bmm", "concat", "relu"):
            published = float(row[f"{operator}_ms"])
            if published > 0.0:
                yield Point(figure=file, label=label, quantity=f"{operator} [ms]", published=published,
                            predicted=_part(times, operator) * 1e3, unit="relative", headline=False,
                            weight=(published / float(row["latency_ms"])) ** 0.5)  # fmt: skip


def text_latency_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020, text: batch 1 on Broadwell."""
    for row in read_rows(file):
        times = predict.families_s(row["model"], row["server"], HPCA, 1, [1])
        yield Point(figure=file, label=f"{row['model']}, {row['server']}, batch 1", quantity="latency [ms]",
                    published=float(row["latency_ms"]), predicted=sum(times.values()) * 1e3, unit="relative")  # fmt: skip


def colocation_points(file: str, predict: Predictions) -> Iterator[Point]:
    """HPCA 2020 Fig. 9: latency with N co-located copies over latency alone."""
    rows = read_rows(file)
    for row in rows:
        copies = float(row["co_located_models"])
        if copies == 1:
            continue
        alone, shared = predict.co_located_s(
            row["model"], row["server"], HPCA, int(row["batch_size"]), (1.0, copies)
        )
        total_s = sum(alone.values())
        label = f"{row['model']}, {row['server']}, {copies:g} copies"
        yield Point(figure=file, label=label, quantity="latency over one", published=float(row["latency_relative_to_one"]),
                    predicted=sum(shared.values()) / total_s, unit="relative")  # fmt: skip
        for operator in ("fc", "sls", "rest"):
            yield Point(figure=file, label=label, quantity=f"{operator} over total of one", published=float(row[operator]),
                        predicted=_part(shared, operator) / total_s, unit="relative", headline=False,
                        weight=float(row[operator]) ** 0.5 / 2)  # fmt: skip


def share_points(stack: str) -> Callable[[str, Predictions], Iterator[Point]]:
    """Shares of operators in a batch's time, input handling left out as in the figures."""

    def points(file: str, predict: Predictions) -> Iterator[Point]:
        rows = read_rows(file)
        for row in rows:
            device = row.get("device") or row["server"]
            batch = int(row["batch_size"])
            times = dict(predict.families_s(row["model"], device, stack, batch, _batches(rows, model=row["model"])))
            times.pop("input", None)
            yield Point(figure=file, label=f"{row['model']}, {device}, batch {batch}", quantity=f"{row['operator']} [%]",
                        published=float(row["percent"]), predicted=100 * _part(times, row["operator"]) / sum(times.values()),
                        unit="percentage points")  # fmt: skip

    return points


def speedup_points(cpu: str, stack: str, column: str, *, cpu_counts_input: bool) -> Callable[[str, Predictions], Iterator[Point]]:
    """1080 Ti against one thread of a CPU, and the share of GPU time spent on loading data."""

    def points(file: str, predict: Predictions) -> Iterator[Point]:
        rows = read_rows(file)
        for row in rows:
            model, batch = row["model"], int(row["batch_size"])
            batches = _batches(rows, model=model)
            on_cpu = dict(predict.families_s(model, cpu, stack, batch, batches))
            on_gpu = predict.families_s(model, "gtx1080ti", stack, batch, batches)
            if not cpu_counts_input:
                on_cpu.pop("input", None)
            gpu_s = sum(on_gpu.values())
            label = f"{model}, batch {batch}"
            yield Point(figure=file, label=label, quantity="speed-up", published=float(row[column]),
                        predicted=sum(on_cpu.values()) / gpu_s, unit="relative")  # fmt: skip
            if "data_loading_percent_of_gpu_time" in row:
                yield Point(figure=file, label=label, quantity="data loading [%]", headline=False,
                            published=float(row["data_loading_percent_of_gpu_time"]),
                            predicted=100 * on_gpu["input"] / gpu_s, unit="percentage points")  # fmt: skip

    return points


def bandwidth_points(file: str, predict: Predictions) -> Iterator[Point]:
    """RecNMP Fig. 6: bandwidth of lookups by threads, an 18-core Skylake; saturation from one thread's rate."""
    memory = predict.device("skylake", HPCA).memory
    reachable = PEAK_RECNMP_GB_PER_S * memory.random_fraction
    p = memory.saturation_sharpness
    rows = read_rows(file)
    one = {row["workload"]: float(row["bandwidth_gb_per_s"]) for row in rows if row["threads"] == "1"}
    for row in rows:
        threads = int(row["threads"])
        if threads == 1:
            continue
        demand = threads * one[row["workload"]]
        alone = (1 + (one[row["workload"]] / reachable) ** p) ** (1 / p)
        predicted = demand * alone / (1 + (demand / reachable) ** p) ** (1 / p)
        yield Point(figure=file, label=f"{row['workload']}, {threads} threads", quantity="bandwidth [GB/s]",
                    published=float(row["bandwidth_gb_per_s"]), predicted=predicted, unit="relative",
                    headline=row["workload"].startswith("sls"))  # fmt: skip


PEAK_RECNMP_GB_PER_S = 76.8
"""Peak of the machine in RecNMP Fig. 6. [GB/s]"""

FIGURES: dict[str, tuple[str, Callable[[str, Predictions], Iterator[Point]]]] = {
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
