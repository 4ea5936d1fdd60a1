"""What must hold of tables on nodes of their own, on models and networks that hypothesis draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from perfmodel.costmodel.hot_rows import hot_rows
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.shard_lookups import main_kernels, sent_bytes, shard_kernels
from perfmodel.costmodel.shard_places import ShardMachine, place_tables
from perfmodel.costmodel.sharding import sharded_time
from perfmodel.costmodel.table_groups import table_groups
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.shards import HotRowSettings, NetworkSettings, ShardSettings
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from perfmodel.units import GIB
from tests.examples import examples

SKYLAKE: Device = read_profile(find_file("profile", "skylake")).device("hpca2020")
SIZES = np.array([1.0, 7.0, 64.0, 500.0])

a_table = st.fixed_dictionaries(
    {
        "num_rows": st.integers(1, 4_000_000),
        "dim": st.just(32),
        "pooling_factor": st.floats(0.5, 150.0),
        "count": st.integers(1, 6),
        "zipf_exponent": st.sampled_from([0.0, 0.9]),
        "element_bytes": st.sampled_from([1, 2, 4]),
    }
)
networks = st.builds(
    NetworkSettings,
    latency_us=st.floats(0.0, 500.0),
    gb_per_s=st.floats(0.1, 100.0),
    serialise_us_per_kib=st.floats(0.0, 5.0),
)


def with_tables(*tables: dict[str, Any]) -> RecModel:
    """Tables and a layer on top."""
    width = 32 * sum(table["count"] for table in tables)
    return RecModel.model_validate(
        {
            "name": "drawn",
            "operators": [
                {"name": "e", "kind": "embedding_bag", "tables": list(tables)},
                {"name": "joined", "kind": "concat", "inputs": ["e"]},
                {"name": "top", "kind": "mlp", "input": "joined", "widths": [width, 64, 1]},
            ],
        },
        strict=False,
    )


@st.composite
def models(draw: st.DrawFn) -> RecModel:
    """Drawn ones."""
    return with_tables(*draw(st.lists(a_table, min_size=1, max_size=4)))


def table(num_rows: int, element_bytes: int, zipf_exponent: float = 0.0) -> dict[str, Any]:
    """One of vectors of 32."""
    fields = {"num_rows": num_rows, "element_bytes": element_bytes, "zipf_exponent": zipf_exponent}
    return {"dim": 32, "pooling_factor": 1.0, "count": 1, **fields}


HOT_TO_THE_LAST_BIT = with_tables(table(1, 1), table(1, 1), table(1217, 1, 0.9), table(2_096_543, 2))

hot_settings = st.builds(
    HotRowSettings, memory_gib=st.floats(0.0, 5.0), kept=st.sampled_from(["pinned", "lru"])
)
shard_settings = st.builds(
    ShardSettings,
    count=st.integers(1, 12),
    by=st.sampled_from(["row", "table"]),
    replicas=st.integers(1, 3),
    hot_rows=st.none() | hot_settings,
)


@examples(60)
@given(models(), shard_settings)
def test_every_row_is_on_one_shard_and_every_lookup_goes_to_one(
    model: RecModel, asked: ShardSettings
) -> None:
    shards, groups = place_tables(model, SKYLAKE, asked), table_groups(model)
    rows = (shards.tables * shards.rows).sum(axis=0)
    assert rows.tolist() == [group.count * group.num_rows for group in groups]
    assert shards.held_bytes.sum() == model.embedding_bytes
    of_each = [
        shard_kernels(groups, tables, held, shards.hot)
        for tables, held in zip(shards.tables, shards.rows, strict=True)
    ]
    own = [k for k in main_kernels(lower(model), groups, shards.hot) if k.family == "embedding_bag"]
    looked_up = sum(
        float(kernel.work(np.array(10.0)).random_rows) for kernels in (own, *of_each) for kernel in kernels
    )
    whole = sum(
        float(k.work(np.array(10.0)).random_rows) for k in lower(model) if k.family == "embedding_bag"
    )
    assert np.isclose(looked_up, whole, rtol=1e-9)
    _, back = sent_bytes(groups, shards, np.array(10.0))
    written = sum(
        float(kernel.work(np.array(10.0)).bytes_written) for kernels in of_each for kernel in kernels
    )
    assert np.isclose(back, written, rtol=1e-9)  # what the shards write is what comes back


@pytest.mark.thorough
@examples(20)
@given(models(), st.integers(1, 8), networks, st.integers(1, 40))
def test_a_worse_network_a_slower_answer_and_more_neighbours_take_no_less_time(
    model: RecModel, count: int, network: NetworkSettings, busy: int
) -> None:
    shards = replace(place_tables(model, SKYLAKE, ShardSettings(count=count)), network=network)
    base = sharded_time(model, SKYLAKE, shards, SIZES, float(busy)).seconds
    assert np.all(np.diff(base) > 0)  # more items take longer
    worse = [
        {"latency_us": network.latency_us + 10.0},
        {"gb_per_s": 0.5 * network.gb_per_s},
        {"serialise_us_per_kib": network.serialise_us_per_kib + 0.1},
    ]
    for change in worse:
        slower = replace(shards, network=network.model_copy(update=change))
        assert np.all(sharded_time(model, SKYLAKE, slower, SIZES, float(busy)).seconds >= base)
    at_once = sharded_time(model, SKYLAKE, replace(shards, network=None), SIZES, float(busy)).seconds
    assert np.all(at_once <= base)
    late = sharded_time(model, SKYLAKE, replace(shards, slowest=1.5), SIZES, float(busy)).seconds
    assert np.all(late >= base)
    crowded = sharded_time(model, SKYLAKE, shards, SIZES, float(busy + 1)).seconds
    assert np.all(crowded >= base * (1 - 1e-9))


@pytest.mark.thorough
@examples(20)
@given(models(), st.integers(1, 6), st.none() | networks, st.integers(1, 40), st.integers(1, 12))
def test_more_cores_of_shards_and_more_copies_take_no_longer_and_more_workers_no_less(
    model: RecModel, count: int, network: NetworkSettings | None, busy: int, cores: int
) -> None:
    placed = replace(place_tables(model, SKYLAKE, ShardSettings(count=count)), network=network)

    def seconds(workers: int = busy, copies: int = 1, of_shard: int = cores) -> np.ndarray[Any, Any]:
        machine = ShardMachine(device=SKYLAKE, cores=of_shard)
        shards = replace(placed, replicas=copies, on=machine)
        return np.asarray(sharded_time(model, SKYLAKE, shards, SIZES, float(workers)).seconds)

    own = sharded_time(model, SKYLAKE, placed, SIZES, float(busy)).seconds
    assert seconds(of_shard=busy).tolist() == own.tolist()
    assert np.all(seconds(of_shard=cores + 1) <= seconds() * (1 + 1e-3))
    assert np.all(seconds(copies=2) <= seconds() * (1 + 1e-3))
    assert np.all(seconds(workers=busy + 1) >= seconds() * (1 - 1e-9))
    # No more passes than the cores of the fullest shard have time for.
    looked_up = sharded_time(
        model, SKYLAKE, replace(placed, on=ShardMachine(device=SKYLAKE, cores=cores)), SIZES, float(busy)
    ).family_s("embedding_bag")
    assert np.all(seconds() >= busy * looked_up / cores * (1 - 1e-9))


@examples(20)
@given(models(), st.integers(1, 11), st.integers(1, 40))
def test_more_shards_look_up_no_slower_and_send_no_less(model: RecModel, count: int, busy: int) -> None:
    fewer, more = (place_tables(model, SKYLAKE, ShardSettings(count=n)) for n in (count, count + 1))
    times = [sharded_time(model, SKYLAKE, each, SIZES, float(busy)) for each in (fewer, more)]
    looked = [time.family_s("embedding_bag") for time in times]
    assert np.all(looked[1] <= looked[0] * (1 + 1e-9))
    sent = [sum(sent_bytes(table_groups(model), each, SIZES)) for each in (fewer, more)]
    assert np.all(sent[1] >= sent[0] * (1 - 1e-12))


@examples(40)
@given(models(), st.floats(0.05, 2.0), st.sampled_from(["row", "table"]))
def test_auto_holds_the_tables_and_one_node_less_does_not_by_row(
    model: RecModel, gib: float, by: Any
) -> None:
    small = replace(SKYLAKE, memory=replace(SKYLAKE.memory, capacity_bytes=gib * GIB))
    assume(by == "row" or max(group.table_bytes for group in table_groups(model)) <= gib * GIB)
    shards = place_tables(model, small, ShardSettings(by=by))
    assert shards.held_bytes.max() <= gib * GIB
    if by == "row" and shards.num_shards > 1:
        with pytest.raises(InputError, match="do not fit"):
            place_tables(model, small, ShardSettings(count=shards.num_shards - 1))


@examples(40)
@example(HOT_TO_THE_LAST_BIT, 0.0, 0.125, "lru")  # the share in hot rows is 1 + 2e-16 of all lookups
@given(models(), st.floats(0.0, 3.0), st.floats(0.0, 1.0), st.sampled_from(["pinned", "lru"]))
def test_more_memory_for_hot_rows_hits_no_less_sends_no_more_and_asks_no_longer(
    model: RecModel, gib: float, more_gib: float, kept: Any
) -> None:
    network = NetworkSettings(latency_us=20.0, gb_per_s=10.0, serialise_us_per_kib=0.5)
    asked = [
        ShardSettings(count=3, network=network, hot_rows=HotRowSettings(memory_gib=size, kept=kept))
        for size in (gib, gib + more_gib)
    ]
    groups = table_groups(model)
    shards = [place_tables(model, SKYLAKE, each) for each in asked]
    hot = [each.hot for each in shards if each.hot is not None]
    assert np.all(hot[1].share >= hot[0].share - 1e-12)
    assert np.all(hot[1].rows >= hot[0].rows * (1 - 1e-9))
    for less, more in zip(*(sent_bytes(groups, each, SIZES) for each in shards), strict=True):
        assert np.all(more <= less * (1 + 1e-9))
    times = [sharded_time(model, SKYLAKE, each, SIZES, 4.0) for each in shards]
    over_network = [time.family_s("network") for time in times]
    assert np.all(over_network[1] <= over_network[0] * (1 + 1e-6))


@examples(40)
@given(models(), st.floats(0.0, 3.0))
def test_no_cache_of_a_size_hits_more_than_the_rows_that_are_looked_up_most(
    model: RecModel, gib: float
) -> None:
    groups = table_groups(model)
    pinned, cached = (
        hot_rows(groups, HotRowSettings(memory_gib=gib, kept=kept)) for kept in ("pinned", "lru")
    )
    assert cached.lookups_share <= pinned.lookups_share + 1e-6
    assert pinned.held_bytes == pytest.approx(
        float(sum(n * group.count * group.row_bytes for n, group in zip(pinned.rows, groups, strict=True))),
        abs=1.0,
    )


@examples(40)
@given(model=models(), by=st.sampled_from(["row", "table"]), limited=st.booleans())
def test_more_shards_never_leave_more_on_the_fullest(model: RecModel, by: Any, limited: bool) -> None:
    sizes = [group.count * group.table_bytes for group in table_groups(model)]
    capacity = max(group.table_bytes for group in table_groups(model)) * 1.5 + 1e5 if limited else 1e15
    device = replace(SKYLAKE, memory=replace(SKYLAKE.memory, capacity_bytes=capacity))
    most = float(sum(sizes))
    for count in range(1, 14):
        try:
            shards = place_tables(model, device, ShardSettings(count=count, by=by))
        except InputError:
            assert most == sum(sizes), "what fewer shards hold more hold"
            continue
        fullest = float(shards.held_bytes.max())
        assert shards.held_bytes.sum() == pytest.approx(sum(sizes))
        assert fullest <= min(most, capacity)
        most = fullest


def test_a_further_shard_does_not_take_two_large_tables_that_are_looked_up_little() -> None:
    """By load alone the fullest of three shards has two of the large tables, of five all three."""
    large = {"num_rows": 1_000_000, "dim": 32, "count": 3, "pooling_factor": 0.5, "zipf_exponent": 0.0}
    busy = {"num_rows": 1000, "dim": 32, "count": 4, "pooling_factor": 100.0, "zipf_exponent": 0.0}
    model = with_tables(large, busy)
    fullest = [
        place_tables(model, SKYLAKE, ShardSettings(count=count, by="table")).held_bytes.max()
        for count in range(1, 9)
    ]
    assert fullest == sorted(fullest, reverse=True)
