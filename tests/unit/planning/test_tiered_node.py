"""Rows beyond the node's own memory: what answers say of each tier, what it costs, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.costmodel.service_time import batch_time
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.explain.changes import changes_of
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question

QUICK = ("simulation.max_queries=60000", "simulation.min_queries=60000", "simulation.precision=0.1")
NAMED = "name: ssd, capacity_gib: 100, latency_us: 90, gb_per_s: 7, reads_in_flight: 16"
SSD = f"{{{NAMED}, price_usd_per_h: 0.5, tdp_w: 12, source: 'assumed: an SSD'}}"
HOST = (
    "{name: host, capacity_gib: 64, latency_us: 2, gb_per_s: 12, host_memory: true, source: 'assumed: PCIe'}"
)


def beyond(*tiers: str, own: str = "") -> str:
    return f"node.tiers={{{own}beyond: [{', '.join(tiers)}]}}"


HALF = beyond(SSD, own="memory_gib: 1, ")


def tiered(*changes: str, scenario: str = "rm3_skylake", tiers: str = HALF) -> Question:
    return prepare(load_scenario(scenario, [tiers, *changes]))


@pytest.mark.thorough
def test_answers_say_each_tiers_share_of_the_rows_its_time_money_and_source() -> None:
    changes = [HALF, "node.price_usd_per_h=2", "traffic.arrivals.rate_qps=1", *QUICK]
    answer = perfmodel.predict("rm3_skylake", overrides=changes)
    document: Any = answer.to_dict()
    memory, ssd = document["node"]["tiers"]
    assert (memory["name"], ssd["name"], ssd["basis"], ssd["source"]) == (
        "memory",
        "ssd",
        "assumed",
        "assumed: an SSD",
    )
    model = answer.question.serving_node.model
    assert memory["used_gib"] == pytest.approx(1.0)
    assert ssd["used_gib"] == pytest.approx(model.embedding_bytes / 2**30 - 1.0)
    assert memory["lookups_share"] + ssd["lookups_share"] == pytest.approx(1.0)
    assert ssd["price_usd_per_h"] == 0.5
    (row,) = [each for each in document["operators"] if each["kind"] == "tier"]
    assert (row["name"], row["bound"], row["basis"]) == ("ssd", "reads beyond memory", "assumed")
    assert row["time_ms"] > 0
    assert answer.question.price_usd_per_h == 2.5
    assert answer.question.node.tdp_w == 250 + 12
    said = " ".join(document["notes"])
    assert "assumed: an SSD" in said
    assert "0.5 USD/h" in said
    assert "assumed of tiers" in said


def test_more_memory_carries_no_less_and_enough_of_it_what_the_node_carries_without() -> None:
    found = []
    for gib in (1, 2, 200):
        question = tiered("traffic.arrivals.rate_qps=1", tiers=beyond(SSD, own=f"memory_gib: {gib}, "))
        found.append(float(question.times.table.cpu_s[-1, -1]))
    assert found[0] > found[1] > found[2]
    bare = prepare(load_scenario("rm3_skylake", ["traffic.arrivals.rate_qps=1"]))
    assert found[2] == float(bare.times.table.cpu_s[-1, -1])


def test_a_card_reads_what_it_does_not_hold_from_the_host() -> None:
    tiers = beyond(HOST, SSD)
    question = tiered(scenario="rm3_broadwell_gtx1080ti", tiers=tiers)
    node = question.serving_node
    assert node.tiers is not None
    assert node.tiers.lookups_share.tolist() == [1.0, 0.0], "the cores hold all themselves"
    assert node.card_tiers is not None
    # A card of 11 GiB holds it too: nothing changes.
    bare = prepare(load_scenario("rm3_broadwell_gtx1080ti"))
    assert question.times.table.accelerator_s.tolist() == bare.times.table.accelerator_s.tolist()
    big = tiered("model=dlrm-v2", scenario="rm3_broadwell_gtx1080ti", tiers=tiers).serving_node
    assert big.card_tiers is not None
    own, host, ssd = big.card_tiers.used_bytes / 2**30
    assert own < 11 < host == pytest.approx(64)
    assert ssd > 10
    assert big.accelerator is not None
    time = big.accelerator_time(100.0)
    assert time is not None
    reads = {each.kernel.operator: float(each.seconds[0]) for each in time.kernels}
    # The largest tables are looked up least a byte: the SSD has few of the lookups, one at a time of 90 us.
    assert big.card_tiers.lookups_share[2] < big.card_tiers.lookups_share[1]
    assert reads["host"] > 0.0
    assert reads["ssd"] > 0.0


def test_what_does_not_fit_is_told_of_tiers() -> None:
    with pytest.raises(InputError, match=r"does not fit skylake.*node\.tiers"):
        prepare(load_scenario("five_terabytes_sharded", ["node.shards=null"]))
    node = prepare(load_scenario("five_terabytes_tiered")).serving_node
    with pytest.raises(InputError, match="does not fit skylake"):
        batch_time(node.model, node.cpu, np.array([1.0]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("node.shards={count: 2}", "tiers: expected none beside shards"),
        ("node.anchor={rate_qps: 5, utilisation: 0.1}", "anchor: expected none beside tiers"),
        ("node.tiers.memory_gib=1000", "tiers: memory_gib: expected at most 256, of skylake, got 1000"),
        ("node.tiers.beyond=[]", "beyond: expected"),
        (f"node.tiers.beyond=[{SSD}, {HOST}]", r"host_memory: expected false, since node\.accelerators is"),
        (f"node.tiers.beyond=[{SSD}, {SSD}]", "expected a name of its own, got ssd again"),
        (f"node.tiers.beyond=[{{{NAMED}}}]", "source"),
        (f"node.tiers.beyond=[{{{NAMED}, source: a friend}}]", "source"),
        ("model=five-terabytes", "unknown model"),
    ],
)
def test_what_tiers_do_not_go_with_is_said_in_a_line(change: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        tiered(change)
    assert "\n" not in str(error.value)


def test_explain_tries_what_rows_beyond_memory_hang_on() -> None:
    loaded = load_scenario("rm3_skylake", [HALF, "traffic.arrivals.rate_qps=1"])
    question = prepare(loaded)
    made = {each.name: each.make for each in changes_of(loaded, question, mixed_stacks=False)}

    def share(name: str) -> float:
        tiers = made[name]().serving_node.tiers
        assert tiers is not None
        return float(tiers.lookups_share[1])

    before = question.serving_node.tiers
    assert before is not None
    assert share("ssd +10 % faster") == before.lookups_share[1]
    assert share("memory +10 % larger for rows") < before.lookups_share[1]
    assert share("embedding tables of 2 bytes an element instead of 4") < before.lookups_share[1]
    slow, fast = (float(each.times.table.cpu_s[-1, -1]) for each in (question, made["ssd +10 % faster"]()))
    assert fast < slow
