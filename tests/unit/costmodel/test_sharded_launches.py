"""Launches on a card whose lookups are done on shards, against sums of parts worked out apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.lowering import index_kernels
from perfmodel.costmodel.service_time import batch_time, kernels_time
from perfmodel.costmodel.shard_lookups import sent_bytes
from perfmodel.costmodel.shard_places import place_tables
from perfmodel.costmodel.sharding import TO_CARD, sharded_launch_time, sharded_time
from perfmodel.costmodel.table_groups import table_groups
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.shards import HotRowSettings, NetworkSettings, ShardSettings
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.validated import parse_file
from perfmodel.units import GIB

SKYLAKE: Device = read_profile(find_file("profile", "skylake")).device("deeprecsys-repository")
CARD: Device = read_profile(find_file("profile", "gtx1080ti")).device("deeprecsys-repository")
LARGE_CARD = replace(CARD, memory=replace(CARD.memory, capacity_bytes=500 * GIB))
DLRM_V2: RecModel = parse_file(find_file("model", "dlrm-v2"), RecModel)
SIZES = np.array([1.0, 64.0, 700.0])


@pytest.mark.parametrize("name", ["dlrm-v2", "dlrm-rmc1", "dlrm-rmc3", "wnd", "ncf"])
def test_one_shard_without_a_network_is_the_card_and_lookups_on_the_cpu(name: str) -> None:
    model = parse_file(find_file("model", name), RecModel)
    one = place_tables(model, SKYLAKE, ShardSettings(count=1))
    time = sharded_launch_time(model, SKYLAKE, CARD, one, SIZES)
    whole, on_cpu = (batch_time(model, device, SIZES) for device in (LARGE_CARD, SKYLAKE))
    layers_s = whole.seconds - whole.family_s("input") - whole.family_s("embedding_bag")
    dense = model.dense_features > 0
    left = tuple(op for op in model.operators if getattr(op, "only_on", None) != "cpu")
    # ncf looks two tables up twice on cores alone.
    on_card = model.model_copy(update={"operators": left, "unread": ()})
    own = place_tables(on_card, SKYLAKE, ShardSettings(count=1))
    # Dense features go to the card as before; the indices, converted by the host, do not.
    dense_s = whole.kernels[0].seconds if dense else 0.0
    converted_s = on_cpu.family_s("input") - (on_cpu.kernels[0].seconds if dense else 0.0)
    lookups = sum(
        (
            timed.seconds
            for timed in sharded_time(on_card, SKYLAKE, own, SIZES).kernels
            if timed.kernel.is_elsewhere
        ),
        np.zeros(3),
    )
    costs = CARD.inputs
    tables = [table for op in on_card.embedding_operators for table in op.tables]
    elements = sum(sent_bytes(table_groups(on_card), own, np.ones(1)))[0]  # indices are taken off below
    elements = (elements - sum(8 * t.pooling_factor * t.count for t in tables)) / 4
    to_card_s = sum(t.count for t in tables) * costs.blob_s
    to_card_s = to_card_s + SIZES * elements * (costs.dense_element_s + 4 / costs.transfer_bytes_per_s)
    expected = layers_s + dense_s + converted_s + lookups + to_card_s
    assert time.seconds == pytest.approx(expected, rel=1e-9)


def test_a_network_adds_what_is_packed_sent_and_waited_for() -> None:
    network = NetworkSettings(latency_us=50, gb_per_s=10, serialise_us_per_kib=1)
    at_once = place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=4))
    asked = replace(at_once, network=network, slowest=1.5)
    without = sharded_launch_time(DLRM_V2, SKYLAKE, CARD, at_once, SIZES)
    sent = sum(sent_bytes(table_groups(DLRM_V2), asked, SIZES))
    added = 0.5 * without.family_s("embedding_bag") + 1.5 * 100e-6 + sent / 1024 * 1e-6 + sent / 10e9
    found = sharded_launch_time(DLRM_V2, SKYLAKE, CARD, asked, SIZES).seconds
    assert found == pytest.approx(without.seconds + added, rel=1e-9)


def test_vectors_go_to_the_card_whole_however_many_shards_send_parts_of_them() -> None:
    times = [
        sharded_launch_time(
            DLRM_V2, SKYLAKE, CARD, place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=count)), SIZES
        )
        for count in (1, 7)
    ]
    ways = [
        sum(timed.seconds for timed in time.kernels if timed.kernel.operator == TO_CARD) for time in times
    ]
    assert np.array_equal(*ways)
    # A seventh of the rows each, of caches as large: no more than a little over a seventh of the time.
    ratio = times[1].family_s("embedding_bag") / times[0].family_s("embedding_bag")
    assert np.all(ratio < 1.0)


def test_copies_of_hot_rows_are_those_of_the_cores() -> None:
    network = NetworkSettings(latency_us=50, gb_per_s=10)
    plain = place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=4, network=network))
    hot = ShardSettings(count=4, network=network, hot_rows=HotRowSettings(memory_gib=20))
    with_copies = place_tables(DLRM_V2, SKYLAKE, hot)
    asked = [
        sharded_launch_time(DLRM_V2, SKYLAKE, CARD, shards, SIZES).seconds for shards in (plain, with_copies)
    ]
    assert np.array_equal(*asked)


def test_indices_of_tables_are_converted_on_the_host_and_nowhere_else() -> None:
    time = sharded_launch_time(
        DLRM_V2, SKYLAKE, CARD, place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=2)), SIZES
    )
    converted = kernels_time(index_kernels(DLRM_V2), 0.0, SKYLAKE, SIZES).seconds
    lists = [each for each in time.kernels if each.kernel.family == "input" and each.kernel.gather]
    assert np.sum([each.seconds for each in lists], axis=0) == pytest.approx(converted, rel=1e-12)


def test_a_card_needs_room_for_the_weights_and_layers_to_do() -> None:
    shards = place_tables(DLRM_V2, SKYLAKE, ShardSettings(count=2))
    tiny = replace(CARD, memory=replace(CARD.memory, capacity_bytes=1e6))
    with pytest.raises(InputError, match="does not fit gtx1080ti: its weights"):
        sharded_launch_time(DLRM_V2, SKYLAKE, tiny, shards, SIZES)
    tables = [{"num_rows": 10, "dim": 4, "pooling_factor": 1.0}]
    alone = RecModel.model_validate(
        {"name": "bags", "operators": [{"name": "e", "kind": "embedding_bag", "tables": tables}]},
        strict=False,
    )
    with pytest.raises(InputError, match="has no layers"):
        sharded_launch_time(alone, SKYLAKE, CARD, place_tables(alone, SKYLAKE, ShardSettings(count=1)), SIZES)
