"""`perfplan reproduce recnmp`: near-memory lookups, from the timing of DRAM, ranks, and what caches find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from calibration.published.compare import shipped_devices, shipped_models
from calibration.published.figures import HPCA
from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import BarPlot, Compared, Line, LinePlot, Reproduction, Section
from perfmodel.costmodel.footprint import table_hit_rates
from perfmodel.costmodel.kernels import Gather, Kernel
from perfmodel.costmodel.near_memory import (
    host_row_j,
    host_row_s,
    looked_up,
    near_memory_j,
    near_memory_time,
    near_row_s,
)
from perfmodel.costmodel.rank_cache import NearMemory, near_memory, rank_cache_hit_rates
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.near_memory import DRAMS, NearMemorySettings
from perfmodel.units import MIB

STATEMENTS_FILE = "statements_recnmp_isca2020_text.csv"
HIT_RATES_FILE = "embedding_lru_hit_rate_recnmp_fig7.csv"

ROW_BYTES = 64.0
"""Assumed: the shortest of the published 64 to 256 bytes, one burst. [bytes]"""
NUM_TABLES = 8
"""Of the trace comb-8, which lookups run on. [tables]"""
BATCH_SIZE, POOLING = 256.0, 80.0
"""Lookups run in the batch of Fig. 6; a pooling of RMC1, whose tables they are. [items], [lookups/item]"""
RANKS = 8
CACHE_KIB = 128.0
CORES = 36
"""Of two sockets of 18 cores. [cores]"""

BASE = NearMemorySettings(ranks=RANKS)
CACHE = NearMemorySettings(ranks=RANKS, cache_kib=CACHE_KIB)
TABLE_AWARE = NearMemorySettings(ranks=RANKS, cache_kib=CACHE_KIB, scheduling="table")
HOT_ENTRIES = NearMemorySettings(ranks=RANKS, cache_kib=CACHE_KIB, scheduling="table", hot_entries=True)
STEPS = {
    "speedup_ranks": ("8 ranks", BASE),
    "speedup_rank_cache": ("and caches of 128 KiB", CACHE),
    "speedup_table_aware": ("and packets table by table", TABLE_AWARE),
    "speedup_hot_entries": ("and hot entries alone cached", HOT_ENTRIES),
}
MODELS = {"dlrm-rmc1": "end_to_end_least", "dlrm-rmc2": "end_to_end_most"}
BATCHES = (8, 64, 256)

ONE_AT_A_TIME = (
    "the published channel is hardly faster than one rank (a row in 5.3 ns of two ranks), as if its requests "
    "came to one rank at a time"
)
UNCOUNTED = "rows and instructions alone are counted; refresh and idle memory take what they took"
TABLES_64 = (
    "RMC2 as in ISCA 2020's Table I with 64 tables: 4.5 MB of weights, more than a core's share of the caches"
)


def reproduce_recnmp() -> Reproduction:
    """Recompute what RecNMP states: nothing is simulated, and no constant is fitted to these figures."""
    table = trace_table()
    devices, models = shipped_devices(), shipped_models()
    skylake = devices["skylake", HPCA]
    return Reproduction(
        name="recnmp",
        title="Near-memory lookups of RecNMP, recomputed",
        source=(
            "L. Ke et al., “RecNMP: Accelerating Personalized Recommendation with Near-Memory Processing”, "
            "ISCA 2020. From a data sheet's timing of DDR4-2400, the load of the fullest rank, and the rows "
            "that caches find; the tables' skew comes from Fig. 7, which is of other caches. Assumed: rows "
            "of 64 bytes, 80 lookups a bag, 8 bags a packet, a batch of 256."
        ),
        sections=(
            _skew(table),
            _lookups(table),
            _ideal(),
            _whole_models(models, skylake),
            _fc(skylake),
            _energy(table),
        ),
    )


def trace_table() -> Gather:
    """Return a table like those of the published traces: its rows from random lookups, its skew fitted.

    Random lookups hit in proportion to the cache: N = cache / (hit rate x tables x row). The exponent is that
    with the least squares over the traces of 8 and of 32 tables.
    """
    rows = read_rows(HIT_RATES_FILE)
    cache_mb, percent = next(
        (float(row["cache_mb"]), float(row["hit_percent"])) for row in rows if row["trace"] == "random"
    )
    num_rows = round(cache_mb * MIB / (percent / 100.0) / NUM_TABLES / ROW_BYTES)
    exponents = np.linspace(0.5, 1.2, 71)
    errors = [
        sum((hit - published) ** 2 for _, _, hit, published in _traces(_table(num_rows, float(exponent))))
        for exponent in exponents
    ]
    return _table(num_rows, float(exponents[int(np.argmin(errors))]))


def _table(num_rows: int, exponent: float) -> Gather:
    return Gather(
        rows_per_item=POOLING,
        bags_per_item=1.0,
        row_bytes=ROW_BYTES,
        num_rows=num_rows,
        zipf_exponent=exponent,
    )


def _traces(table: Gather) -> Iterator[tuple[str, float, float, float]]:
    """Trace, cache [MB], and hit rate of LRU, predicted and published. [1]"""
    for row in read_rows(HIT_RATES_FILE):
        name, cache_mb = row["trace"], float(row["cache_mb"])
        if name == "random":
            continue
        count = int(name.removeprefix("comb-"))
        hit = table_hit_rates([(table, count)], np.array([cache_mb * MIB]))[0, 0]
        yield name, cache_mb, float(hit), float(row["hit_percent"]) / 100.0


def _skew(table: Gather) -> Section:
    traces = list(_traces(table))
    rows = [
        Compared(
            case=f"{name}, {cache_mb:g} MB",
            quantity="hit rate of LRU [%]",
            predicted=100.0 * hit,
            published=100.0 * published,
            detail=True,
        )
        for name, cache_mb, hit, published in traces
    ]
    off = float(np.sqrt(np.mean([(hit - published) ** 2 for _, _, hit, published in traces])))
    rows.append(
        Compared(
            case="tables of the traces",
            quantity="exponent of their skew [1]",
            predicted=table.zipf_exponent,
            setting=f"{table.num_rows / 1e6:.2f} million rows each; hit rates off by {100 * off:.1f} points",
        )
    )
    lines = []
    for name in ("comb-8", "comb-32"):
        own = [trace for trace in traces if trace[0] == name]
        at = tuple(cache_mb for _, cache_mb, _, _ in own)
        lines.append(Line(name=name, x=at, y=tuple(100.0 * hit for _, _, hit, _ in own)))
        published = tuple(100.0 * each for _, _, _, each in own)
        lines.append(Line(name=f"{name}, published", x=at, y=published, published=True))
    return Section(
        title="The tables' skew",
        prose="Hit rates of last-level caches of 8 to 64 MB, to which the exponent was fitted: Fig. 7.",
        rows=tuple(rows),
        plots=(
            LinePlot(
                title="Rows found in an LRU cache",
                x_label="cache [MB]",
                y_label="hit rate [%]",
                lines=tuple(lines),
                log_x=True,
            ),
        ),
    )


def _kernel(table: Gather) -> Kernel:
    return Kernel(
        operator="lookups",
        family="embedding_bag",
        variant="pooled",
        calls=NUM_TABLES,
        gather=table,
        written_bytes_per_item=ROW_BYTES,
    )


def lookups_speedup(table: Gather, settings: NearMemorySettings) -> tuple[float, float, float]:
    """Time of a host's channel over that of its modules; share of rows cached; the fullest load. [1]"""
    memory = NearMemory(settings=settings, channels=1)
    batch = np.array([BATCH_SIZE])
    hit = rank_cache_hit_rates([(table, NUM_TABLES)], memory, batch)[0]
    looked = looked_up(_kernel(table), memory, batch, hit)
    host_s = looked.rows * host_row_s(memory.dram, settings.ranks, table.row_bytes)
    return float(host_s[0] / looked.seconds[0]), float(hit[0]), float(looked.fullest[0])


def _lookups(table: Gather) -> Section:
    rows, heights = [], list[float]()
    for statement, (case, settings) in STEPS.items():
        speedup, hit, fullest = lookups_speedup(table, settings)
        heights.append(speedup)
        found = "" if settings.cache_kib is None else f"{100 * hit:.1f} % of rows found; "
        rows.append(
            Compared(
                case=case,
                quantity="speed-up of lookups [1]",
                predicted=speedup,
                published=_statement(statement),
                setting=f"{found}the fullest rank has {fullest:.2f} times the mean",
            )
        )
    plots = (
        BarPlot(
            title="Lookups on a channel",
            y_label="speed-up",
            groups=tuple(case for case, _ in STEPS.values()),
            heights={
                "predicted": tuple(heights),
                "published": tuple(_statement(statement) for statement in STEPS),
            },
        ),
    )
    return Section(
        title="Lookups",
        prose=(
            "Eight tables on one channel of eight ranks, against the same channel read by a host that has no "
            "cache: its bus idles two clocks where the next row is in another rank."
        ),
        rows=tuple(rows),
        plots=plots,
    )


def _ideal() -> Section:
    dram = DRAMS["ddr4-2400"]
    rows = []
    for ranks in (2, 4, 8):
        row = Compared(
            case=f"{ranks} ranks",
            quantity="speed-up of lookups [1]",
            predicted=ranks * host_row_s(dram, ranks, ROW_BYTES) / near_row_s(dram, ROW_BYTES),
            published=_statement(f"speedup_ideal_placement_{ranks}"),
        )
        far = row.deviation is not None and abs(row.deviation) > 0.1
        rows.append(replace(row, cause=ONE_AT_A_TIME) if far else row)
    return Section(
        title="Ideal placement",
        prose="Every rank has the same number of rows of each packet, and no cache.",
        rows=tuple(rows),
    )


def _gain(model: RecModel, cpu: Device, memory: NearMemory, batch: int, busy: int, family: str) -> float:
    """Time on the host over that with memory that looks rows up; of one family, or of all. [1]"""
    batches = np.array([float(batch)])
    host = batch_time(model, cpu, batches, float(busy))
    near = near_memory_time(model, cpu, memory, batches, float(busy))
    if family:
        return float(host.family_s(family)[0] / near.family_s(family)[0])
    return float(host.seconds[0] / near.seconds[0])


ONE_CORE = (
    "one core of the host waits 9 ns a line of rows, as one thread of Fig. 6 does (6.1 GB/s): lookups gain "
    "more than on a channel that many read, and the published models have more layers beside them"
)


def _whole_models(models: dict[str, RecModel], cpu: Device) -> Section:
    memory = near_memory(HOT_ENTRIES, cpu)
    rows = []
    for name, statement in MODELS.items():
        for busy in (1, CORES):
            for batch in BATCHES:
                headline = busy == 1 and batch == int(BATCH_SIZE)
                lookups = _gain(models[name], cpu, memory, batch, busy, "embedding_bag")
                rows.append(
                    Compared(
                        case=f"{name}, batch {batch}, {'one core' if busy == 1 else f'{busy} cores'}",
                        quantity="speed-up of the whole model [1]",
                        predicted=_gain(models[name], cpu, memory, batch, busy, ""),
                        published=_statement(statement) if headline else None,
                        setting=f"lookups {lookups:.1f} times as fast",
                        cause=ONE_CORE if headline else "",
                    )
                )
    return Section(
        title="Whole models",
        prose=(
            "The shipped RMC1 and RMC2, rows equally popular, on Skylake with all of the above; published "
            "are 2.4 to 4.2 over models like these, held against one core and the batch of the lookups. At "
            "what batch and load they were found is not stated here: other batches, and 18 busy cores a "
            "socket, whose memory a host's lookups saturate, stand beside."
        ),
        rows=tuple(rows),
    )


def wide_rmc2() -> RecModel:
    """RMC2 as ISCA 2020's Table I has it, with 64 tables: layers too large for a core's share of caches."""
    tables = {"count": 64, "num_rows": 500_000, "dim": 32, "pooling_factor": 80}
    return RecModel.model_validate(
        {
            "name": "rmc2-table-1",
            "dense_features": 256,
            "operators": [
                {"name": "bottom", "kind": "mlp", "input": "dense", "widths": [256, 128, 32]},
                {"name": "embeddings", "kind": "embedding_bag", "tables": [tables]},
                {"name": "joined", "kind": "concat", "inputs": ["bottom", "embeddings"]},
                {"name": "top", "kind": "mlp", "input": "joined", "widths": [65 * 32, 512, 128, 1]},
            ],
        },
        strict=False,
    )


def _fc(cpu: Device) -> Section:
    model, memory = wide_rmc2(), near_memory(HOT_ENTRIES, cpu)
    relief = {batch: _gain(model, cpu, memory, batch, CORES, "fc") for batch in BATCHES}
    least, most = min(relief, key=relief.__getitem__), max(relief, key=relief.__getitem__)
    rows = [
        Compared(
            case=f"{CORES} cores, batch {batch}",
            quantity="speed-up of FC beside lookups [1]",
            predicted=relief[batch],
            published=_statement(statement),
            setting=which,
        )
        for batch, statement, which in (
            (least, "fc_relief_least", "the least of batches 8, 64 and 256"),
            (most, "fc_relief_most", "the most of them"),
        )
    ]
    return Section(
        title="FC beside lookups",
        prose=f"Weights come from a memory that lookups no longer load. {TABLES_64}.",
        rows=tuple(rows),
    )


def _energy(table: Gather) -> Section:
    rows = []
    for case, settings in STEPS.values():
        memory = NearMemory(settings=settings, channels=1)
        batch = np.array([BATCH_SIZE])
        hit = rank_cache_hit_rates([(table, NUM_TABLES)], memory, batch)[0]
        looked = looked_up(_kernel(table), memory, batch, hit)
        near_j = float(near_memory_j(_kernel(table), looked)[0])
        last = settings is HOT_ENTRIES
        rows.append(
            Compared(
                case=case,
                quantity="energy of memory less that of a host [%]",
                predicted=100.0 * (near_j / (float(looked.rows[0]) * host_row_j(ROW_BYTES)) - 1.0),
                published=_statement("memory_energy_percent") if last else None,
                cause=UNCOUNTED if last else "",
            )
        )
    return Section(
        title="Energy",
        prose="To open rows, read them, move bits over the channel, read caches and add.",
        rows=tuple(rows),
    )


def _statement(quantity: str) -> float:
    (row,) = (row for row in read_rows(STATEMENTS_FILE) if row["quantity"] == quantity)
    return float(row["value"])
