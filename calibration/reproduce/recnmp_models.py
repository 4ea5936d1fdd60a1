"""Whole models on memory that looks rows up, beside what RecNMP states: models, shares of lookups, FC."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibration.published.figures import HPCA, REPOSITORY
from calibration.published.observations import read_rows
from calibration.published.predictions import Devices
from calibration.reproduce.evaluation import Compared, Section
from calibration.reproduce.recnmp_traces import (
    BATCH_SIZE,
    HOT_ENTRIES,
    POOLING,
    ROW_BYTES,
    lookups_speedup,
    statement,
    trace_table,
)
from perfmodel.costmodel.near_memory import near_memory_time
from perfmodel.costmodel.rank_cache import NearMemory, near_memory
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel

CORES = 36
"""Of two sockets of 18 cores. [cores]"""
BATCHES = (8, 64, 256)
DIM = 32
"""Elements of a row: RMC1's and RMC2's have 24 to 40 (HPCA 2020, Table I). [elements]"""
NUM_TABLES = {"rmc1-table-1": 8, "rmc2-table-1": 64}
"""RMC1's as DeepRecSys runs it; RMC2's as RecNMP's largest model has them (not read again here). [tables]"""
TOPS = {"rmc1-table-1": [256, 64, 1], "rmc2-table-1": [512, 128, 1]}
BOTTOM = (256, 128)
"""Widths of layers: ISCA 2020, Table I, the top of RMC1 as in DeepRecSys's code. [features]"""
PUBLISHED = {"rmc1-table-1": "end_to_end_least", "rmc2-table-1": "end_to_end_most"}
REPOSITORY_MODELS = {"dlrm-rmc1": "end_to_end_least", "dlrm-rmc2": "end_to_end_most"}

MORE_LOOKED_UP = (
    "of RMC1 the host's cache finds fewer rows where all are equally popular; of RMC2, 120 rows of 256 bytes "
    "are read in each table, 3 times the bytes of 80 rows of 128, beside narrower layers"
)
EQUALLY_POPULAR = "the host's cache finds fewer rows: a larger share of its time is lookups"
ONE_BURST = "a host reads half as much, and a rank opens as many rows as of two bursts"
LONG_ROWS = "a host reads twice as much, and a rank opens as many rows as of two bursts"
OTHER_TABLES = "with more tables a larger share of the time is lookups, with fewer a smaller one"
LOADED = (
    "cores that share a saturated memory wait longer for each row than a full channel needs for it; of RMC2, "
    "weights that no L2 holds leave its rows nothing of the L3"
)


def published_model(name: str, *, count: int | None = None, dim: int = DIM, skewed: bool = True) -> RecModel:
    """Return RMC1 or RMC2 as ISCA 2020's Table I has it, on tables of RecNMP's traces.

    Rows and skew are those of `trace_table`: what random lookups, and an LRU cache's hit rates, imply.

    Parameters
    ----------
    name : str
        A key of `NUM_TABLES`.
    count : int, optional
        Tables, where not those.
    dim : int, default `DIM`
        Elements of a row.
    skewed : bool, default True
        Whether some rows are more popular than others.
    """
    table = trace_table(4.0 * dim)
    count = NUM_TABLES[name] if count is None else count
    tables = {
        "count": count,
        "num_rows": table.num_rows,
        "dim": dim,
        "pooling_factor": POOLING,
        "zipf_exponent": table.zipf_exponent if skewed else 0.0,
    }
    return RecModel.model_validate(
        {
            "name": name,
            "dense_features": BOTTOM[0],
            "operators": [
                {"name": "bottom", "kind": "mlp", "input": "dense", "widths": [*BOTTOM, dim]},
                {"name": "embeddings", "kind": "embedding_bag", "tables": [tables]},
                {"name": "joined", "kind": "concat", "inputs": ["bottom", "embeddings"]},
                {"name": "top", "kind": "mlp", "input": "joined", "widths": [(count + 1) * dim, *TOPS[name]]},
            ],
        },
        strict=False,
    )


def gain(model: RecModel, cpu: Device, memory: NearMemory, batch: int, busy: int, family: str = "") -> float:
    """Time on the host over that with memory that looks rows up; of one family, or of all. [1]"""
    batches = np.array([float(batch)])
    host = batch_time(model, cpu, batches, float(busy))
    near = near_memory_time(model, cpu, memory, batches, float(busy))
    if family:
        return float(host.family_s(family)[0] / near.family_s(family)[0])
    return float(host.seconds[0] / near.seconds[0])


def lookups_share(model: RecModel, cpu: Device, batch: int, busy: int = 1) -> float:
    """Share of the host's time that is lookups, inputs left out. [1]"""
    host = batch_time(model, cpu, np.array([float(batch)]), float(busy))
    return float(host.family_s("embedding_bag")[0] / (host.seconds[0] - host.family_s("input")[0]))


def weighed(share: float, lookups: float) -> float:
    """Gain of a whole pass of which a share runs so many times as fast: Amdahl's law. [1]"""
    return 1.0 / (1.0 - share + share / lookups)


def needed_share(total: float, lookups: float, rest: float = 1.0) -> float:
    """Share that must run so many times as fast, if the whole pass is to gain so much. [1]

    All else runs `rest` times as fast: FC, once lookups no longer take its caches and memory.
    """
    return (1.0 / rest - 1.0 / total) / (1.0 / rest - 1.0 / lookups)


def _whole(
    case: str, model: RecModel, cpu: Device, batch: int, busy: int, published: float | None, cause: str = ""
) -> Compared:
    memory = near_memory(HOT_ENTRIES, cpu)
    lookups = gain(model, cpu, memory, batch, busy, "embedding_bag")
    share = lookups_share(model, cpu, batch, busy)
    return Compared(
        case=case,
        quantity="speed-up of the whole model [1]",
        predicted=gain(model, cpu, memory, batch, busy),
        published=published,
        setting=f"lookups {lookups:.1f} times as fast, {100 * share:.0f} % of the host's time",
        cause=cause,
    )


def whole_models_section(devices: Devices) -> Section:
    """Compare the least and the most of the published models, one at a time; other batches stand beside."""
    cpu, rows = devices["skylake", HPCA], []
    for name, stated in PUBLISHED.items():
        for batch in BATCHES:
            published = statement(stated) if batch == int(BATCH_SIZE) else None
            rows.append(_whole(f"{name}, batch {batch}", published_model(name), cpu, batch, 1, published))
    return Section(
        title="Whole models",
        prose=(
            "RMC1 and RMC2 as in ISCA 2020's Table I, of 8 and of 64 tables with the rows and the skew of "
            "the traces, on one core of Skylake with all of the above. Published are 2.4 to 4.2 over models "
            "like these, held against the batch of the lookups; at what batch they were found is not stated."
        ),
        rows=tuple(rows),
    )


def other_choices_section(models: dict[str, RecModel], devices: Devices) -> Section:
    """Compare what the same figures are where something else is chosen that no source settles."""
    cpu = devices["skylake", HPCA]
    rows = []
    for case, least, most, busy, cause in _choices(models):
        for model, stated in ((least, "end_to_end_least"), (most, "end_to_end_most")):
            named = f"{model.name}, {case}"
            row = _whole(named, model, cpu, int(BATCH_SIZE), busy, statement(stated))
            far = row.deviation is not None and abs(row.deviation) > 0.25
            rows.append(
                _whole(named, model, cpu, int(BATCH_SIZE), busy, statement(stated), cause) if far else row
            )
    return Section(
        title="Whole models, chosen otherwise",
        prose=(
            "One thing changed at a time, at the same batch: none of these is settled by what was read, and "
            "the choice above was made with the published figures in sight."
        ),
        rows=tuple(rows),
    )


Choice = tuple[str, RecModel, RecModel, int, str]
"""What is other, the models of the least and of the most, busy cores, and why it is off where it is."""


def _choices(models: dict[str, RecModel]) -> Iterator[Choice]:
    least, most = NUM_TABLES
    ours = published_model(least), published_model(most)
    repository = (models[name] for name in REPOSITORY_MODELS)
    short, long = ([published_model(name, dim=dim) for name in NUM_TABLES] for dim in (16, 64))
    equal = [published_model(name, skewed=False) for name in NUM_TABLES]
    yield "as in DeepRecSys's code", next(repository), next(repository), 1, MORE_LOOKED_UP
    yield "rows equally popular", equal[0], equal[1], 1, EQUALLY_POPULAR
    yield "rows of 64 bytes", short[0], short[1], 1, ONE_BURST
    yield "rows of 256 bytes", long[0], long[1], 1, LONG_ROWS
    yield (
        "12 and 32 tables",
        published_model(least, count=12),
        published_model(most, count=32),
        1,
        OTHER_TABLES,
    )
    yield f"{CORES // 2} cores, {CORES // 4} a socket", *ours, CORES // 2, LOADED
    yield f"{CORES} cores, {CORES // 2} a socket", *ours, CORES, LOADED


def _published_shares() -> Iterator[tuple[str, str, str, int, float]]:
    """Model, server, stack, batch, and the share of lookups that was published. [1]"""
    for file, model, server in (
        ("cpu_latency_hpca2020_fig8.csv", "hpca-rmc1", "skylake"),
        ("cpu_latency_hpca2020_fig8_rmc2_broadwell.csv", "hpca-rmc2", "broadwell"),
    ):
        for row in read_rows(file):
            if (row["model"], row["server"], row["batch_size"]) == (model, server, "256"):
                yield model, server, HPCA, 256, float(row["sls_ms"]) / float(row["latency_ms"])
    for row in read_rows("operator_share_repository_skylake.csv"):
        if (row["model"], row["batch_size"], row["operator"]) == ("dlrm-rmc1", "1024", "SparseLengthsSum"):
            yield "dlrm-rmc1", "skylake", REPOSITORY, 1024, float(row["percent"]) / 100.0


def shares_section(models: dict[str, RecModel], devices: Devices) -> Section:
    """Compare shares of lookups on published hosts, and what whole models gain by them alone."""
    lookups = lookups_speedup(trace_table(ROW_BYTES), HOT_ENTRIES)[0]
    rows = [
        Compared(
            case=f"{model}, {server}, batch {batch}",
            quantity="share of lookups on the host [%]",
            predicted=100.0 * lookups_share(models[model], devices[server, stack], batch),
            published=100.0 * share,
            setting=f"by the published share the whole model gains {weighed(share, lookups):.1f}",
        )
        for model, server, stack, batch, share in _published_shares()
    ]
    cpu = devices["skylake", HPCA]
    for name, stated in PUBLISHED.items():
        needed = needed_share(statement(stated), lookups)
        least, most = (
            100.0 * needed_share(statement(stated), lookups, statement(of))
            for of in ("fc_relief_most", "fc_relief_least")
        )
        rows.append(
            Compared(
                case=f"{name}, skylake, batch {int(BATCH_SIZE)}",
                quantity="share of lookups on the host [%]",
                predicted=100.0 * lookups_share(published_model(name), cpu, int(BATCH_SIZE)),
                setting=f"{statement(stated):g} needs {100 * needed:.0f} %; {least:.0f} to {most:.0f} % "
                "where all else is as much faster as published FC beside lookups",
            )
        )
    return Section(
        title="Shares of lookups",
        prose=(
            f"Of a host's time, inputs left out: with lookups {lookups:.1f} times as fast and all else as it "
            "was, that alone says what the whole model gains. The profiles were fitted to the first three."
        ),
        rows=tuple(rows),
    )


def fc_section(devices: Devices) -> Section:
    """Compare what FC gains where lookups beside it no longer load the memory."""
    cpu = devices["skylake", HPCA]
    model, memory = published_model("rmc2-table-1"), near_memory(HOT_ENTRIES, cpu)
    relief = {batch: gain(model, cpu, memory, batch, CORES, "fc") for batch in BATCHES}
    least, most = min(relief, key=relief.__getitem__), max(relief, key=relief.__getitem__)
    rows = [
        Compared(
            case=f"{CORES} cores, batch {batch}",
            quantity="speed-up of FC beside lookups [1]",
            predicted=relief[batch],
            published=statement(stated),
            setting=which,
        )
        for batch, stated, which in (
            (least, "fc_relief_least", "the least of batches 8, 64 and 256"),
            (most, "fc_relief_most", "the most of them"),
        )
    ]
    return Section(
        title="FC beside lookups",
        prose=(
            "Weights come from a memory that lookups no longer load. RMC2 of above: 4.5 MB of weights, more "
            "than a core's share of the caches."
        ),
        rows=tuple(rows),
    )
