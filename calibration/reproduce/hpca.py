"""`perfplan reproduce hpca`: HPCA 2020 on server generations, batching and co-location, recomputed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.published.compare import shipped_devices, shipped_models
from calibration.published.figures import COPIES_FILE, HPCA, all_points, copies_at_work
from calibration.published.observations import Point, read_rows
from calibration.reproduce.evaluation import BarPlot, Compared, Line, LinePlot, Reproduction, Section
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.surface import Family
from perfmodel.units import MS

SERVERS = ("haswell", "broadwell", "skylake")
MODELS = ("hpca-rmc1", "hpca-rmc3")
GENERATIONS_FILE = "cpu_latency_hpca2020_fig8.csv"
TEXT_FILE = "cpu_latency_hpca2020_text.csv"
RMC2_FILE = "cpu_latency_hpca2020_fig8_rmc2_broadwell.csv"
RATIOS_FILE = "colocation_hpca2020_fig9.csv"
STATEMENTS_FILE = "statements_hpca2020_text.csv"
BATCHES = (1, 4, 16, 64, 128, 256)
SHOWN_BATCHES = (16, 128, 256)
COPIES = (1, 2, 4, 8, 14)
INTENSITY_BATCH = 64

SCATTER = (
    "the figure shows single runs, which scatter by 0.1 ms: a lookup on Haswell takes 10 ns at batch 128 "
    "and 5.4 ns at 256"
)
ONE_COPY = (
    "the figures differ: the line through batches 16 and 128 has 0.72 ms at 32, where Fig. 10 has 1.14 ms"
)
SHARED_ROWS = (
    "rows in use, evenly, lose their place to other copies bit by bit; the published ones do so at once, "
    "up to 4 copies of RMC2 and beyond 4 of RMC1"
)
STEPS = "steps of 64 x 64 here, at a batch of 64; the text names neither"
CAUSE_FROM = 0.1


@dataclass(frozen=True, slots=True)
class Studied:
    """The shipped models, and the three servers with the stack that the study ran."""

    models: Mapping[str, RecModel]
    servers: Mapping[str, Device]

    def latency_s(self, model: str, server: str, batch_size: int) -> float:
        """One batch on one core of an idle server. [s]"""
        time = batch_time(self.models[model], self.servers[server], np.array([float(batch_size)]))
        return float(time.seconds[0])

    def slowdown(self, model: str, server: str, batch_size: int, copies: int) -> float:
        """Latency of so many copies on one socket over that of one. [1]"""
        batches, busy = np.full(2, float(batch_size)), np.array([1.0, float(copies)])
        alone_s, shared_s = batch_time(
            self.models[model],
            self.servers[server],
            batches,
            busy,
            copies=True,
            others_at_work=copies_at_work(),
        ).seconds
        return float(shared_s / alone_s)


def reproduce_hpca() -> Reproduction:
    """Recompute every figure of the study on the shipped profiles: no queue, so nothing is simulated."""
    devices = shipped_devices()
    studied = Studied(shipped_models(), {server: devices[server, HPCA] for server in SERVERS})
    files = [GENERATIONS_FILE, RMC2_FILE, TEXT_FILE, RATIOS_FILE, COPIES_FILE]
    points = all_points(files, studied.models, devices)
    return Reproduction(
        name="hpca",
        title="The architectural study of recommendation inference, recomputed",
        source=(
            "U. Gupta et al., “The Architectural Implications of Facebook's DNN-based Personalized "
            "Recommendation”, HPCA 2020. The profiles were fitted to these figures: what deviates, the cost "
            "model cannot express."
        ),
        sections=(
            _generations(studied, points),
            _batching(studied, points),
            _colocation(studied, points),
            _statements(studied),
        ),
    )


def _generations(studied: Studied, points: Sequence[Point]) -> Section:
    """Latency of one batch on one core of each server, whole and by operator."""
    rows = [_row(point, SCATTER) for point in points if point.figure in (GENERATIONS_FILE, TEXT_FILE)]
    rows += [_row(point, ONE_COPY) for point in points if point.figure == RMC2_FILE]
    published = {(row["model"], row["server"], row["batch_size"]): row for row in read_rows(GENERATIONS_FILE)}

    def plot(model: str) -> BarPlot:
        heights: dict[str, tuple[float | None, ...]] = {}
        for server in SERVERS:
            ours = (studied.latency_s(model, server, batch) / MS / batch for batch in SHOWN_BATCHES)
            theirs = (published[model, server, str(batch)]["latency_ms"] for batch in SHOWN_BATCHES)
            heights[server] = tuple(ours)
            heights[f"{server}, published"] = tuple(
                float(latency_ms) / batch for latency_ms, batch in zip(theirs, SHOWN_BATCHES, strict=True)
            )
        groups = tuple(f"batch {batch}" for batch in SHOWN_BATCHES)
        return BarPlot(
            title=f"Latency an item of {model}", y_label="ms an item", groups=groups, heights=heights
        )

    return Section(
        title="Server generations",
        prose="One inference on one core of an idle server, whole and by operator: Fig. 8 and text.",
        rows=(*_spreads(studied), *rows),
        plots=tuple(plot(model) for model in MODELS),  # one is some thirty times as long as the other
    )


def _spreads(studied: Studied) -> Iterator[Compared]:
    """How far the generations lie apart, beside the statement in the text."""
    spreads = []
    for model in MODELS:
        for batch_size in (16, 128, 256):
            latencies = [studied.latency_s(model, server, batch_size) for server in SERVERS]
            spreads.append(max(latencies) / min(latencies))
    yield Compared(
        case="the largest over both models and three batches",
        quantity="slowest server over fastest [1]",
        predicted=max(spreads),
        published=_statement("latency_over_fastest_server"),
    )


def _batching(studied: Studied, points: Sequence[Point]) -> Section:
    """Which server is fastest at which batch, and the batch from which on Skylake leads."""
    rows = []
    measured = [p for p in points if p.figure == GENERATIONS_FILE and p.quantity == "latency [ms]"]
    for model in MODELS:
        for batch_size in (16, 128, 256):
            ours = min(SERVERS, key=lambda server: studied.latency_s(model, server, batch_size))
            label = f", batch {batch_size}"
            theirs = min(
                (p for p in measured if p.label.startswith(model) and p.label.endswith(label)),
                key=lambda point: point.published,
            ).label.split(", ")[1]
            agrees = "as published" if ours == theirs else f"published: {theirs}"
            rows.append(
                Compared(
                    case=f"{model}, batch {batch_size}",
                    quantity="latency of the fastest server [ms]",
                    predicted=studied.latency_s(model, ours, batch_size) / MS,
                    setting=f"{ours}, {agrees}",
                    cause="" if ours == theirs else SCATTER,
                )
            )
        rows.append(
            Compared(
                case=model,
                quantity="batch from which on Skylake is ahead of Broadwell [items]",
                predicted=_crossing(studied, model),
                published=64.0 if model == "hpca-rmc3" else None,
                setting="published: between 128 and 256" if model == "hpca-rmc1" else "",
            )
        )
    plots = tuple(
        LinePlot(
            title=model,
            x_label="batch size [items]",
            y_label="ms an item",
            lines=tuple(
                Line(
                    name=server,
                    x=tuple(float(batch) for batch in BATCHES),
                    y=tuple(studied.latency_s(model, server, batch) / MS / batch for batch in BATCHES),
                )
                for server in SERVERS
            ),
            log_x=True,
            log_y=True,
        )
        for model in MODELS
    )
    return Section(
        title="Batching",
        prose=(
            "A batch spreads the cost of its weights over its items. AVX2 with a higher clock leads at small "
            "batches, AVX-512 at large ones."
        ),
        rows=tuple(rows),
        plots=plots,
    )


def _crossing(studied: Studied, model: str) -> float | None:
    """The smallest batch from which on Skylake is faster up to 256 items. [items]"""
    model_, batches = studied.models[model], np.arange(1.0, 257.0)
    ahead = (
        batch_time(model_, studied.servers["skylake"], batches).seconds
        < batch_time(model_, studied.servers["broadwell"], batches).seconds
    )
    if not ahead[-1]:
        return None
    behind = np.flatnonzero(~ahead)
    return float(batches[behind[-1] + 1]) if len(behind) else 1.0


def _colocation(studied: Studied, points: Sequence[Point]) -> Section:
    """What copies of a model on one socket cost each other."""
    rows = [_row(point, SHARED_ROWS) for point in points if point.figure in (RATIOS_FILE, COPIES_FILE)]
    lines = [
        Line(
            name=f"{model}, {server}",
            x=tuple(float(copies) for copies in COPIES),
            y=tuple(studied.slowdown(model, server, 32, copies) for copies in COPIES),
        )
        for model in MODELS
        for server in ("broadwell", "skylake")
    ]
    published = read_rows(RATIOS_FILE)
    for model in MODELS:
        own = [row for row in published if row["model"] == model]
        lines.append(
            Line(
                name=f"{model}, broadwell, published",
                x=tuple(float(row["co_located_models"]) for row in own),
                y=tuple(float(row["latency_relative_to_one"]) for row in own),
                published=True,
            )
        )
    return Section(
        title="Co-location",
        prose=(
            "Copies of a model pinned to one socket, each with tables of its own, at batch 32: Fig. 9; and "
            "RMC2 with 1 to 17 copies, of which those beyond a socket's cores run on the other one: Fig. 10. "
            f"A copy is at work for {copies_at_work():.2f} of its time, as Fig. 10 says; its indices are "
            "taken to fall on 8000 rows of a table."
        ),
        rows=tuple(rows),
        plots=(
            LinePlot(
                title="Latency over that of one copy",
                x_label="copies",
                y_label="slow-down",
                lines=tuple(lines),
                log_x=True,
            ),
            _curve_of_rmc2([point for point in points if point.figure == COPIES_FILE]),
        ),
    )


def _curve_of_rmc2(points: Sequence[Point]) -> LinePlot:
    """Latency of RMC2 by the number of copies, predicted and published."""
    copies = tuple(float(number) for number in range(1, len(points) + 1))
    return LinePlot(
        title="hpca-rmc2 on Broadwell, batch 32",
        x_label="copies",
        y_label="latency [ms]",
        lines=(
            Line(name="predicted", x=copies, y=tuple(point.predicted for point in points)),
            Line(name="published", x=copies, y=tuple(point.published for point in points), published=True),
        ),
    )


def _statements(studied: Studied) -> Section:
    """Arithmetic intensity of the operators."""
    families: tuple[tuple[Family, str, str], ...] = (
        ("embedding_bag", "dlrm-rmc1", ""),
        ("recurrent", "dien", STEPS),
        ("fc", "dlrm-rmc1", ""),
    )
    rows = [
        Compared(
            case=f"{family}, as in {model}",
            quantity="arithmetic intensity [FLOP/byte]",
            predicted=_intensity(studied.models[model], family),
            published=_statement(f"flop_per_byte_{family}"),
            cause=cause,
        )
        for family, model, cause in families
    ]
    return Section(
        title="Arithmetic intensity",
        prose=f"Work over traffic of the operators, counted at a batch of {INTENSITY_BATCH}: text.",
        rows=tuple(rows),
    )


def _intensity(model: RecModel, family: Family) -> float:
    kernels = [kernel for kernel in lower(model) if kernel.family == family]
    works = [kernel.work(np.array(float(INTENSITY_BATCH))) for kernel in kernels]
    return float(sum(work.flop for work in works) / sum(work.bytes_moved for work in works))


def _statement(quantity: str) -> float:
    (row,) = (row for row in read_rows(STATEMENTS_FILE) if row["quantity"] == quantity)
    return float(row["value"])


def _row(point: Point, cause: str) -> Compared:
    row = Compared(
        case=point.label,
        quantity=point.quantity,
        predicted=point.predicted,
        published=point.published,
        detail=not point.headline,
    )
    far = row.deviation is not None and abs(row.deviation) >= CAUSE_FROM
    return replace(row, cause=cause) if far and "rmc3" not in point.label else row
