from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.hot_rows import hot_rows
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.network import shared_transfer_s, wait_for_core_s
from perfmodel.costmodel.service_time import batch_time
from perfmodel.costmodel.shard_lookups import asking_chance, main_kernels, sent_bytes, shard_kernels
from perfmodel.costmodel.shard_places import ShardMachine, Shards, place_tables
from perfmodel.costmodel.sharding import QUEUED, sharded_time, waited_share
from perfmodel.costmodel.table_groups import table_groups
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.shards import HotRowSettings, NetworkSettings, ShardSettings
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.validated import parse_file
from perfmodel.units import GIB

SKYLAKE: Device = read_profile(find_file("profile", "skylake")).device("hpca2020")
DLRM_V2: RecModel = parse_file(find_file("model", "dlrm-v2"), RecModel)


def model_of(*tables: dict[str, float]) -> RecModel:
    """A model of these tables, each of 16 elements a row, 64 bytes, where it says nothing else."""
    return RecModel.model_validate(
        {
            "name": "tables",
            "operators": [
                {"name": "e", "kind": "embedding_bag", "tables": [{"dim": 16, **table} for table in tables]},
                {"name": "joined", "kind": "concat", "inputs": ["e"]},
                {
                    "name": "top",
                    "kind": "mlp",
                    "input": "joined",
                    "widths": [sum(int(table.get("dim", 16) * table.get("count", 1)) for table in tables), 1],
                },
            ],
        },
        strict=False,
    )


def holding(gib: float) -> Device:
    return replace(SKYLAKE, memory=replace(SKYLAKE.memory, capacity_bytes=gib * GIB))


def test_rows_are_dealt_out_evenly_and_what_is_left_over_goes_on_in_turn() -> None:
    model = model_of({"num_rows": 10}, {"num_rows": 7}, {"num_rows": 1})
    shards = place_tables(model, SKYLAKE, ShardSettings(count=4))
    # 10 = 3 + 3 + 2 + 2; 7 goes on at the third; 1 at the second.
    assert shards.rows.tolist() == [[3, 2, 0], [3, 1, 1], [2, 2, 0], [2, 2, 0]]
    assert shards.held_bytes.tolist() == [320.0, 320.0, 256.0, 256.0]


def test_whole_tables_go_where_the_least_is_looked_up() -> None:
    model = model_of(
        {"num_rows": 10, "pooling_factor": 5},
        {"num_rows": 10, "pooling_factor": 3},
        {"num_rows": 10, "pooling_factor": 2, "count": 2},
    )
    shards = place_tables(model, SKYLAKE, ShardSettings(count=2, by="table"))
    assert shards.tables.tolist() == [[1, 0, 0], [0, 1, 2]] or shards.tables.tolist() == [
        [1, 0, 1],
        [0, 1, 1],
    ]
    assert shards.tables.sum(axis=0).tolist() == [1, 1, 2]


def test_auto_takes_the_fewest_nodes_that_hold_the_tables() -> None:
    rows = 2**30 // 64  # a GiB each
    model = model_of({"num_rows": rows, "count": 10})
    by_row = place_tables(model, holding(3.0), ShardSettings())
    by_table = place_tables(model, holding(3.5), ShardSettings(by="table"))
    assert by_row.num_shards == 4  # 10 / 3 GiB
    assert by_table.num_shards == 4  # three of a GiB each in 3.5 GiB
    assert by_row.held_bytes.max() == 2.5 * GIB


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (ShardSettings(count=3), "10.0 GiB, do not fit 3 x 3.0 GiB of skylake by row; count: auto"),
        (ShardSettings(count=3, by="table"), "do not fit 3 x 3.0 GiB of skylake by table"),
    ],
)
def test_too_few_nodes_are_refused_with_what_is_missing(settings: ShardSettings, says: str) -> None:
    model = model_of({"num_rows": 2**30 // 64, "count": 10})
    with pytest.raises(InputError, match="do not fit") as error:
        place_tables(model, holding(3.0), settings)
    assert says in str(error.value)


def test_a_table_that_no_node_holds_is_refused_whole_and_taken_by_row() -> None:
    model = model_of({"num_rows": 2**32 // 64})
    with pytest.raises(InputError, match="by: row shares their rows out"):
        place_tables(model, holding(3.0), ShardSettings(by="table"))
    assert place_tables(model, holding(3.0), ShardSettings()).num_shards == 2


def test_a_model_without_tables_has_nothing_to_share_out() -> None:
    bare = RecModel.model_validate(
        {
            "name": "bare",
            "dense_features": 4,
            "operators": [{"name": "top", "kind": "mlp", "input": "dense", "widths": [4, 1]}],
        },
        strict=False,
    )
    with pytest.raises(InputError, match="has no embedding tables"):
        place_tables(bare, SKYLAKE, ShardSettings())


def test_bytes_on_the_wire_are_those_counted_by_hand() -> None:
    model = model_of({"num_rows": 1000, "pooling_factor": 2})
    two = place_tables(model, SKYLAKE, ShardSettings(count=2))
    out, back = sent_bytes(table_groups(model), two, np.array([1.0, 10.0]))
    # Two indices of 8 bytes; of a bag of two rows each half has one with 3/4, and then sends 64 bytes.
    assert out.tolist() == [16.0, 160.0]
    assert back.tolist() == [96.0, 960.0]
    whole = place_tables(model, SKYLAKE, ShardSettings(count=2, by="table"))
    assert sent_bytes(table_groups(model), whole, np.array([1.0]))[1].tolist() == [64.0]


def test_one_shard_without_a_network_is_the_big_node() -> None:
    for name in ("dlrm-v2", "dlrm-rmc1", "dlrm-rmc2", "wnd", "din", "ncf"):
        model = parse_file(find_file("model", name), RecModel)
        one = place_tables(model, SKYLAKE, ShardSettings(count=1))
        sizes = np.array([1.0, 16.0, 256.0])
        big = batch_time(model, SKYLAKE, sizes).seconds
        # Caches of its own are all that a second machine has more: the tables' rows find them emptier.
        assert sharded_time(model, SKYLAKE, one, sizes).seconds == pytest.approx(big, rel=0.01), name


def test_a_request_takes_what_its_parts_take() -> None:
    network = NetworkSettings(latency_us=50, gb_per_s=10, serialise_us_per_kib=1)
    at_once = place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=4))
    asked = replace(at_once, network=network, slowest=1.5)
    batch = np.array([64.0])
    without = sharded_time(DLRM_V2, SKYLAKE, at_once, batch)
    looking_s = without.family_s("embedding_bag")
    sent = sum(sent_bytes(table_groups(DLRM_V2), asked, batch))
    expected = without.seconds - looking_s + 1.5 * (looking_s + 100e-6) + sent / 1024 * 1e-6 + sent / 10e9
    assert sharded_time(DLRM_V2, SKYLAKE, asked, batch).seconds == pytest.approx(expected, rel=1e-9)


def exact_transfer_s(alone_s: float, elsewhere_s: float, workers: int) -> float:
    """Mean-value analysis, worker by worker: exact for a processor-sharing station and a delay."""
    waiting, response_s = 0.0, 0.0
    for number in range(1, workers + 1):
        response_s = alone_s * (1.0 + waiting)
        waiting = number * response_s / (response_s + elsewhere_s)
    return response_s


@pytest.mark.parametrize("elsewhere_s", [0.0, 0.5, 3.0, 20.0, 400.0])
@pytest.mark.parametrize("workers", [1, 2, 8, 40])
def test_a_shared_card_is_as_slow_as_mean_value_analysis_says(elsewhere_s: float, workers: int) -> None:
    found = float(shared_transfer_s(np.array(1.0), np.array(elsewhere_s), np.array(float(workers))))
    assert 1.0 <= found <= workers
    # Schweitzer's approximation is worst about where the card is just full.
    assert found == pytest.approx(exact_transfer_s(1.0, elsewhere_s, workers), rel=0.25)


def test_replicas_take_load_off_a_shard() -> None:
    lookups = parse_file(find_file("model", "dlrm-rmc2"), RecModel)  # which bind the memory of a shard
    one = place_tables(lookups, SKYLAKE, ShardSettings(count=1))
    two: Shards = replace(one, replicas=2)
    batch, busy = np.array([64.0]), np.array([40.0])
    alone, relieved = (sharded_time(lookups, SKYLAKE, each, batch, busy).seconds for each in (one, two))
    assert relieved < alone
    assert (one.num_nodes, two.num_nodes) == (1, 2)


def hot(memory_gib: float, kept: str = "pinned") -> HotRowSettings:
    return HotRowSettings.model_validate({"memory_gib": memory_gib, "kept": kept})


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("num_rows", [10, 1000, 1_000_000])
def test_hot_rows_find_the_share_that_the_law_of_popularity_has(exponent: float, num_rows: int) -> None:
    groups = table_groups(model_of({"num_rows": num_rows, "zipf_exponent": exponent}))
    weights = np.arange(1.0, num_rows + 1) ** -exponent
    for kept in (1, num_rows // 10, num_rows // 2, num_rows):
        found = hot_rows(groups, hot(kept * 64 / GIB))
        assert found.rows[0] == pytest.approx(kept, rel=1e-6)
        assert found.share[0] == pytest.approx(weights[:kept].sum() / weights.sum(), rel=0.02), kept


def test_hot_rows_are_of_the_tables_that_are_looked_up_most_a_byte() -> None:
    # 10 and 1 lookups in 1000 rows each; the third has rows of 128 bytes and 16 lookups: 8 for each 64 bytes.
    groups = table_groups(
        model_of(
            {"num_rows": 1000, "pooling_factor": 10},
            {"num_rows": 1000, "pooling_factor": 1},
            {"num_rows": 1000, "pooling_factor": 16, "element_bytes": 8},
        )
    )
    found = hot_rows(groups, hot((64_000 + 64_000) / GIB))
    assert found.share.tolist() == pytest.approx([1.0, 0.0, 0.5])
    assert found.lookups_share == pytest.approx(18 / 27)
    assert found.held_bytes == 128_000
    # A cache of the same size hits less: what was looked up last is not what is looked up most.
    cache = hot_rows(groups, hot(128_000 / GIB, "lru"))
    assert 0.0 < cache.lookups_share < found.lookups_share


def test_the_main_node_and_the_shards_look_up_every_row_between_them() -> None:
    model = model_of({"num_rows": 1000, "pooling_factor": 20, "zipf_exponent": 1.0})
    groups = table_groups(model)
    found = hot_rows(groups, hot(100 * 64 / GIB))
    assert found is not None
    (share,) = found.share.tolist()
    assert 0.5 < share < 1.0
    (own,) = (each for each in main_kernels(lower(model), groups, found) if each.family == "embedding_bag")
    half = shard_kernels(groups, np.array([1]), np.array([500]), found)
    assert own.gather is not None
    assert half[0].gather is not None
    assert own.gather.rows_per_item == pytest.approx(20 * share)
    assert own.flop_per_item == pytest.approx(20 * share * 16)
    assert half[0].gather.rows_per_item == pytest.approx(20 * (1 - share) / 2)


@pytest.mark.thorough
def test_all_rows_hot_is_the_big_node_and_none_is_as_before() -> None:
    network = NetworkSettings(latency_us=50, gb_per_s=10, serialise_us_per_kib=1)
    sizes, busy = np.array([1.0, 16.0, 256.0])[:, None], np.array([1.0, 40.0])[None, :]
    for name in ("dlrm-v2", "dlrm-rmc1", "wnd", "din", "ncf"):
        model = parse_file(find_file("model", name), RecModel)
        asked = ShardSettings(count=4, network=network)
        before = sharded_time(model, SKYLAKE, place_tables(model, SKYLAKE, asked), sizes, busy)
        none = place_tables(model, SKYLAKE, asked.model_copy(update={"hot_rows": hot(0.0)}))
        assert sharded_time(model, SKYLAKE, none, sizes, busy).seconds.tolist() == before.seconds.tolist()
        every = place_tables(model, SKYLAKE, asked.model_copy(update={"hot_rows": hot(200.0)}))
        time = sharded_time(model, SKYLAKE, every, sizes, busy)
        assert every.hot is not None
        assert every.hot.held_bytes == model.embedding_bytes
        assert time.seconds == pytest.approx(batch_time(model, SKYLAKE, sizes, busy).seconds, rel=1e-12)
        assert not waited_share(time).any()


def test_hot_rows_have_to_fit_beside_the_weights() -> None:
    model = model_of({"num_rows": 2**30 // 64, "count": 10})
    with pytest.raises(InputError, match=r"hot_rows of tables take 4\.0 GiB, skylake has 3\.0 GiB beside"):
        place_tables(model, holding(3.0), ShardSettings(hot_rows=hot(4.0)))


def test_equal_tables_of_one_operator_are_told_apart() -> None:
    model = model_of({"num_rows": 1000}, {"num_rows": 1000})
    groups = table_groups(model)
    kept = hot_rows(groups, hot(64_000 / GIB))
    assert kept.share.tolist() == [1.0, 0.0]
    own = [kernel for kernel in main_kernels(lower(model), groups, kept) if kernel.gather is not None]
    assert [kernel.family for kernel in own].count("embedding_bag") == 1


def test_a_hot_bag_is_not_sent_and_a_part_of_it_is() -> None:
    model = model_of({"num_rows": 1000, "pooling_factor": 2})
    half = place_tables(model, SKYLAKE, ShardSettings(count=2, hot_rows=hot(32_000 / GIB)))
    out, back = sent_bytes(table_groups(model), half, np.array([1.0]))
    # Of two rows each is hot with 1/2, and else on one of two shards: each of them has one with 1 - (3/4)^2.
    assert out.tolist() == [8.0]
    assert back.tolist() == pytest.approx([2 * 64 * (1 - 0.75**2)])
    assert asking_chance(table_groups(model), half.hot, np.array([1.0, 3.0])).tolist() == pytest.approx(
        [1 - 0.5**2, 1 - 0.5**6]
    )


def solved_wait_s(workers: int, cores: int, alone_s: float, elsewhere_s: float) -> float:
    """Wait for a core by solving the balance equations of how many ask."""
    rates = np.zeros((workers + 1, workers + 1))
    for asking in range(workers + 1):
        if asking < workers:
            rates[asking, asking + 1] = (workers - asking) / elsewhere_s
        if asking:
            rates[asking, asking - 1] = min(asking, cores) / alone_s
    balance = np.vstack([(rates - np.diag(rates.sum(axis=1))).T, np.ones(workers + 1)])
    chance = np.linalg.lstsq(balance, np.append(np.zeros(workers + 1), 1.0), rcond=None)[0]
    number = np.arange(workers + 1)
    done_per_s = chance @ np.minimum(number, cores) / alone_s
    return float(chance @ np.maximum(number - cores, 0) / done_per_s)  # Little: those who wait


@pytest.mark.parametrize("cores", [1, 2, 3, 7])
@pytest.mark.parametrize("workers", [1, 2, 5, 12])
@pytest.mark.parametrize("elsewhere_s", [0.2, 1.0, 20.0])
def test_the_wait_for_a_core_is_that_of_the_solved_chain(
    workers: int, cores: int, elsewhere_s: float
) -> None:
    found = wait_for_core_s(np.array(0.7), np.array(elsewhere_s), np.array(float(workers)), cores)
    assert float(found) == pytest.approx(solved_wait_s(workers, cores, 0.7, elsewhere_s), abs=1e-9)


def test_workers_that_are_never_elsewhere_share_the_cores_out() -> None:
    found = wait_for_core_s(np.array(2.0), np.array([0.0, 0.0]), np.array([300.0, 4.0]), 4)
    assert found.tolist() == pytest.approx([2.0 * 300 / 4 - 2.0, 0.0])


def test_a_shard_like_the_main_node_named_is_the_one_not_named() -> None:
    settings = ShardSettings(count=3, network=NetworkSettings(latency_us=20, gb_per_s=10))
    batch, busy = np.array([[1.0], [64.0]]), np.array([[1.0, 20.0, 40.0]])
    unnamed = place_tables(DLRM_V2, SKYLAKE, settings)
    named = place_tables(DLRM_V2, SKYLAKE, settings, on=ShardMachine(device=SKYLAKE, cores=40))
    times = [sharded_time(DLRM_V2, SKYLAKE, each, batch, busy).seconds for each in (unnamed, named)]
    assert times[0].tolist() == times[1].tolist()


def test_machines_of_another_kind_hold_the_tables_and_look_rows_up() -> None:
    large, settings = holding(1024.0), ShardSettings(count="auto")
    own, other = (
        place_tables(DLRM_V2, holding(40.0), settings, on=machine)
        for machine in (None, ShardMachine(device=large, cores=4))
    )
    assert (own.num_shards, other.num_shards) == (3, 1)
    # Rows are looked up as that machine does it, all else is the main node's.
    broadwell: Device = read_profile(find_file("profile", "broadwell")).device("hpca2020")
    at, batch = replace(other, on=ShardMachine(device=broadwell, cores=4)), np.array([64.0])
    time = sharded_time(DLRM_V2, SKYLAKE, at, batch)
    theirs, ours = (sharded_time(DLRM_V2, each, replace(at, on=None), batch) for each in (broadwell, SKYLAKE))
    assert time.family_s("embedding_bag") == theirs.family_s("embedding_bag")
    assert time.family_s("embedding_bag") != pytest.approx(ours.family_s("embedding_bag"), rel=1e-2)
    assert time.family_s("fc") == ours.family_s("fc")


def test_a_few_cores_at_the_shards_are_waited_for() -> None:
    batch, busy = np.array([64.0]), 40.0
    shards = place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=2, replicas=2))
    one = replace(shards, on=ShardMachine(device=SKYLAKE, cores=1))
    time = sharded_time(DLRM_V2, SKYLAKE, one, batch, busy)
    queued = next(timed for timed in time.kernels if timed.kernel.operator == QUEUED)
    looked_up = time.family_s("embedding_bag")
    elsewhere = time.seconds - looked_up - queued.seconds
    # Two copies of the part: two cores for 40 workers.
    assert float(queued.seconds[0]) == pytest.approx(
        solved_wait_s(40, 2, float(looked_up[0]), float(elsewhere[0])), rel=1e-6
    )
    assert waited_share(time) == pytest.approx((looked_up + queued.seconds) / time.seconds)
