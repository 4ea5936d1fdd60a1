"""The memory that RecNMP was published with, and tables of its traces, skewed as other caches found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from calibration.published.observations import read_rows
from calibration.reproduce.evaluation import Compared, Line, LinePlot, Section
from perfmodel.costmodel.footprint import table_hit_rates
from perfmodel.costmodel.kernels import Gather, Kernel
from perfmodel.costmodel.near_memory import host_row_s, looked_up
from perfmodel.costmodel.rank_cache import NearMemory, rank_cache_hit_rates
from perfmodel.domain.near_memory import NearMemorySettings
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


@cache
def trace_table(row_bytes: float = ROW_BYTES) -> Gather:
    """Return a table like those of the published traces: its rows from random lookups, its skew fitted.

    Random lookups hit in proportion to the cache: N = cache / (hit rate x tables x row). The exponent is that
    with the least squares over the traces of 8 and of 32 tables.
    """
    rows = read_rows(HIT_RATES_FILE)
    cache_mb, percent = next(
        (float(row["cache_mb"]), float(row["hit_percent"])) for row in rows if row["trace"] == "random"
    )
    num_rows = round(cache_mb * MIB / (percent / 100.0) / NUM_TABLES / row_bytes)
    exponents = np.linspace(0.5, 1.2, 71)
    errors = [
        sum(
            (hit - published) ** 2
            for _, _, hit, published in _traces(_table(num_rows, float(exponent), row_bytes))
        )
        for exponent in exponents
    ]
    return _table(num_rows, float(exponents[int(np.argmin(errors))]), row_bytes)


def _table(num_rows: int, exponent: float, row_bytes: float) -> Gather:
    return Gather(
        rows_per_item=POOLING,
        bags_per_item=1.0,
        row_bytes=row_bytes,
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


def skew_section(table: Gather) -> Section:
    """Compare hit rates of last-level caches, to which the skew was fitted."""
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


def lookups_kernel(table: Gather) -> Kernel:
    """Return the lookups of the trace comb-8, in tables like this."""
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
    looked = looked_up(lookups_kernel(table), memory, batch, hit)
    host_s = looked.rows * host_row_s(memory.dram, settings.ranks, table.row_bytes)
    return float(host_s[0] / looked.seconds[0]), float(hit[0]), float(looked.fullest[0])


def statement(quantity: str) -> float:
    """Return a figure of the paper's text."""
    (row,) = (row for row in read_rows(STATEMENTS_FILE) if row["quantity"] == quantity)
    return float(row["value"])
