"""`perfplan reproduce recnmp`: near-memory lookups, from the timing of DRAM, ranks, and what caches find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.published.compare import shipped_devices, shipped_models
from calibration.reproduce.evaluation import BarPlot, Compared, Reproduction, Section
from calibration.reproduce.recnmp_models import (
    fc_section,
    other_choices_section,
    shares_section,
    whole_models_section,
)
from calibration.reproduce.recnmp_traces import (
    BATCH_SIZE,
    HOT_ENTRIES,
    NUM_TABLES,
    ROW_BYTES,
    STEPS,
    lookups_kernel,
    lookups_speedup,
    skew_section,
    statement,
    trace_table,
)
from perfmodel.costmodel.kernels import Gather
from perfmodel.costmodel.near_memory import host_row_j, host_row_s, looked_up, near_memory_j, near_row_s
from perfmodel.costmodel.rank_cache import NearMemory, rank_cache_hit_rates
from perfmodel.domain.near_memory import DRAMS

ONE_AT_A_TIME = (
    "the published channel is hardly faster than one rank (a row in 5.3 ns of two ranks), as if its requests "
    "came to one rank at a time"
)
UNCOUNTED = "rows and instructions alone are counted; refresh and idle memory take what they took"


def reproduce_recnmp() -> Reproduction:
    """Recompute what RecNMP states: nothing is simulated, and no constant is fitted to these figures."""
    table = trace_table()
    devices, models = shipped_devices(), shipped_models()
    return Reproduction(
        name="recnmp",
        title="Near-memory lookups of RecNMP, recomputed",
        source=(
            "L. Ke et al., “RecNMP: Accelerating Personalized Recommendation with Near-Memory Processing”, "
            "ISCA 2020. From a data sheet's timing of DDR4-2400, the load of the fullest rank, and the rows "
            "that caches find; the tables' skew comes from Fig. 7, which is of other caches. Assumed: rows "
            "of 64 bytes (whole models: of 128), 80 lookups a bag, 8 bags a packet, a batch of 256."
        ),
        sections=(
            skew_section(table),
            _lookups(table),
            _ideal(),
            whole_models_section(devices),
            other_choices_section(models, devices),
            shares_section(models, devices),
            fc_section(devices),
            _energy(table),
        ),
    )


def _lookups(table: Gather) -> Section:
    rows, heights = [], list[float]()
    for name, (case, settings) in STEPS.items():
        speedup, hit, fullest = lookups_speedup(table, settings)
        heights.append(speedup)
        found = "" if settings.cache_kib is None else f"{100 * hit:.1f} % of rows found; "
        rows.append(
            Compared(
                case=case,
                quantity="speed-up of lookups [1]",
                predicted=speedup,
                published=statement(name),
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
                "published": tuple(statement(name) for name in STEPS),
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
            published=statement(f"speedup_ideal_placement_{ranks}"),
        )
        far = row.deviation is not None and abs(row.deviation) > 0.1
        rows.append(replace(row, cause=ONE_AT_A_TIME) if far else row)
    return Section(
        title="Ideal placement",
        prose="Every rank has the same number of rows of each packet, and no cache.",
        rows=tuple(rows),
    )


def _energy(table: Gather) -> Section:
    rows = []
    for case, settings in STEPS.values():
        memory = NearMemory(settings=settings, channels=1)
        batch = np.array([BATCH_SIZE])
        hit = rank_cache_hit_rates([(table, NUM_TABLES)], memory, batch)[0]
        looked = looked_up(lookups_kernel(table), memory, batch, hit)
        near_j = float(near_memory_j(lookups_kernel(table), looked)[0])
        last = settings is HOT_ENTRIES
        rows.append(
            Compared(
                case=case,
                quantity="energy of memory less that of a host [%]",
                predicted=100.0 * (near_j / (float(looked.rows[0]) * host_row_j(ROW_BYTES)) - 1.0),
                published=statement("memory_energy_percent") if last else None,
                cause=UNCOUNTED if last else "",
            )
        )
    return Section(
        title="Energy",
        prose="To open rows, read them, move bits over the channel, read caches and add.",
        rows=tuple(rows),
    )
