"""A node with a card whose tables lie on shards: simulated, tuned, planned, explained."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.costmodel.issue import BESIDE_CORES
from perfmodel.costmodel.service_time import BatchTime
from perfmodel.domain.estimate import Basis
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node import launch_stretch
from perfmodel.planning.plan.shard_counts import IN_THE_NODE, counts_tried
from perfmodel.planning.prepare import prepare, prepare_pairs
from perfmodel.planning.question import Question
from perfmodel.planning.service_times import times_of
from perfmodel.sim.engines import simulate

CARD = (
    "node.accelerators=[gtx1080ti]",
    "node.stack=deeprecsys-repository",
    "policy.offload_threshold_items=300",
    "sla.latency_ms=120",
)
QUICK = ("simulation.max_queries=20000", "simulation.min_queries=20000", "simulation.precision=0.1")
FEW_CORES = "node.shards.node={cpu: skylake, cores: 4}"


def carded(*changes: str) -> Question:
    return prepare(load_scenario("mlperf_dlrm_v2_sharded", (*CARD, *QUICK, *changes)))


def predicted(*changes: str) -> dict[str, Any]:
    return perfmodel.predict("mlperf_dlrm_v2_sharded", overrides=(*CARD, *QUICK, *changes)).to_dict()


@pytest.mark.thorough
def test_launches_wait_for_the_slowest_of_four_exponential_answers() -> None:
    only_card = ("policy.offload_threshold_items=1", "traffic.arrivals.rate_qps=0.01")
    lonely = (*only_card, "traffic.query_sizes={distribution: fixed, num_items: 400}")
    steady = predicted(*lonely, "node.shards.scatter=null")
    scattered = predicted(*lonely, "node.shards.scatter={distribution: exponential}")
    times = {row["name"]: row["time_ms"] for row in steady["accelerator_operators"]}
    answer_ms = times["embeddings"] + times["slowest answer"]
    whole_ms = sum(row["time_ms"] for row in steady["accelerator_operators"])
    assert steady["latency_ms"]["p50"] == pytest.approx(whole_ms, rel=1e-3)
    more_ms = scattered["latency_ms"]["mean"] - steady["latency_ms"]["mean"]
    # H_4 = 25/12 of the mean of one, and its 99th percentile -ln(1 - 0.99^(1/4)).
    assert more_ms == pytest.approx((25 / 12 - 1) * answer_ms, rel=0.02)
    tail_ms = scattered["latency_ms"]["p99"] - steady["latency_ms"]["p99"]
    assert tail_ms == pytest.approx((-log(1 - 0.99**0.25) - 1) * answer_ms, rel=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        pytest.param(("node.accelerators=[gtx1080ti, gtx1080ti, gtx1080ti]",), marks=pytest.mark.thorough),
        pytest.param(
            (
                "policy={name: fusion, batch_size: 64, offload_threshold_items: 300, max_fused_items: 1000, "
                "streams: 2}",
            ),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["one card", "three cards", "two streams"],
)
def test_both_engines_serve_cards_beside_shards_alike(changes: tuple[str, ...]) -> None:
    question = carded(*changes)
    queries = question.traffic.at_rate(60.0).draw(2_000, seed=1)
    table = question.times.table
    assert table.cpu_scatter is not None
    assert table.accelerator_scatter is not None
    runs = [simulate(queries, table, question.policy, engine=each) for each in ("simpy", "compiled")]
    assert np.array_equal(runs[0].finish_s, runs[1].finish_s)
    assert np.array_equal(runs[0].offloaded, queries.num_items >= 300)
    assert runs[0].offloaded.any()


def test_power_counts_the_card_the_shards_and_what_launches_ask_of_them() -> None:
    node = carded().serving_node
    card = node.accelerator
    assert card is not None
    assert node.tdp_w == 5 * node.cpu.power.tdp_w + card.power.tdp_w
    time = node.accelerator_time(400.0)
    assert time is not None
    assert node.shards is not None
    # What a launch asks is of one core of each of four shards, while they look up.
    looking_s = float(time.family_s("embedding_bag")[0]) / node.shards.slowest
    each_w = (node.cpu.power.peak_w - node.cpu.power.idle_w) / 40
    asked_w = 4 * each_w * looking_s / float(time.seconds[0])
    # This card draws its peak whatever it serves.
    assert node.serving_w(400.0) == pytest.approx(card.power.peak_w + asked_w, rel=1e-9)


def test_answers_say_what_is_assumed_of_launches_and_widen_their_error() -> None:
    question = carded()
    said = " ".join(question.node_notes)
    assert "the card, which is held all the while, has the pooled vectors when the slowest answer" in said
    assert "hot rows" not in said
    assert question.times.errors.accelerator is not None
    assert question.times.errors.accelerator > log(1.25)
    hot = carded("node.shards.hot_rows={memory_gib: 1}")
    assert "a launch asks shards, for hot rows too" in " ".join(hot.node_notes)


def test_shards_of_fewer_cores_than_ask_are_refused_beside_a_card() -> None:
    least = r"cores: expected at least 41 beside accelerators.*got 4"
    with pytest.raises(InputError, match=least):
        carded(FEW_CORES)
    # Ten copies of four cores leave one for all but the last launch; eleven do for all.
    with pytest.raises(InputError, match="expected at least 5"):
        carded(FEW_CORES, "node.shards.replicas=10")
    assert carded(FEW_CORES, "node.shards.replicas=11").serving_node.num_machines == 45


def test_a_model_that_the_cores_hold_and_the_card_does_not_stays_on_shards_in_a_plan() -> None:
    changes = ["node.shards.count=auto"]
    loaded = [load_scenario("mlperf_dlrm_v2_sharded", [*changes, *more]) for more in ((), CARD)]
    alone, beside = (prepare_pairs([each], mixed_stacks=True)[0] for each in loaded)
    assert counts_tried(alone, None) == (IN_THE_NODE,)
    assert counts_tried(beside, None) == (1, 2, 3)


def test_launches_are_no_surer_than_the_machines_that_look_their_rows_up() -> None:
    question = carded("policy.offload_threshold_items=1")
    node = question.serving_node
    assert question.times.basis is Basis.ASSUMED
    edited = replace(node, cpu=replace(node.cpu, is_edited=True))
    times = times_of(edited, question.policy, question.traffic.size_pmf)
    assert times.basis is Basis.EXTRAPOLATED


@pytest.mark.thorough
def test_tune_and_explain_know_both_the_card_and_the_network() -> None:
    tuned = perfmodel.tune("mlperf_dlrm_v2_sharded", overrides=(*CARD, *QUICK)).to_dict()
    assert tuned["tuned"]["offload_threshold_items"] is not None
    thresholds = {row["offload_threshold_items"] for row in tuned["tried"]}
    assert len(thresholds) > 3
    best = tuned["tuned"]
    again = perfmodel.capacity(
        "mlperf_dlrm_v2_sharded",
        overrides=(
            *CARD,
            *QUICK,
            f"policy.batch_size={best['batch_size']}",
            f"policy.offload_threshold_items={best['offload_threshold_items']}",
        ),
    ).to_dict()
    assert again["latency_bounded_qps"] == pytest.approx(best["latency_bounded_qps"], rel=0.03)
    changes = perfmodel.explain("mlperf_dlrm_v2_sharded", overrides=(*CARD, *QUICK)).to_dict()["changes"]
    names = " ".join(each["change"] for each in changes)
    assert "network +10 % faster to the shards" in names
    assert "arithmetic +10 % of the accelerator" in names
    assert "one more gtx1080ti" in names


@pytest.mark.thorough
def test_a_plan_counts_the_card_once_a_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "big.yaml"
    source = load_scenario("mlperf_dlrm_v2_sharded", (*CARD, *QUICK)).scenario
    scenario.write_text(source.model_dump_json(exclude_unset=True))
    fleet = tmp_path / "fleet.yaml"
    node = source.node.model_dump(mode="json", exclude_unset=True)
    fleet.write_text(
        json.dumps(
            {
                "services": {"big": {"scenario": str(scenario), "demand": {"qps": 90}, "tune": False}},
                "node_types": {"carded": {"node": node, "available": 100, "price_usd_per_h": 2.0}},
                "provision": {"objective": "nodes", "headroom": 0.0},
            }
        )
    )
    assert main(["plan", str(fleet), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    capacity = document["capacity_qps"]["big"]["carded"]
    rate = perfmodel.capacity("mlperf_dlrm_v2_sharded", overrides=(*CARD, *QUICK)).to_dict()
    assert capacity["qps"] == pytest.approx(rate["latency_bounded_qps"], rel=0.05)
    assert document["static"]["num_nodes"] % 5 == 0  # a main node with the card, and four shards


def launch_of(*changes: str, items: float) -> BatchTime:
    time = carded("node.shards.scatter=null", *changes).serving_node.accelerator_time(items)
    assert time is not None
    return time


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ("node.shards.network.gb_per_s=1", "node.shards.network.gb_per_s=100"),
        ("node.shards.network.latency_us=500", "node.shards.network.latency_us=0"),
        ("node.shards.network.serialise_us_per_kib=2", "node.shards.network=null"),
    ],
)
def test_a_faster_network_makes_no_launch_slower(slower: str, faster: str) -> None:
    for items in (1.0, 30.0, 700.0):
        slow, fast = (float(launch_of(each, items=items).seconds[0]) for each in (slower, faster))
        assert fast < slow


def test_a_card_that_is_sent_nothing_changes_no_time_of_the_cores() -> None:
    stack = "node.stack=deeprecsys-repository"
    tables = [
        prepare(load_scenario("mlperf_dlrm_v2_sharded", changes)).times.table.cpu_s
        for changes in (("node.accelerators=[gtx1080ti]", stack), (stack,))
    ]
    np.testing.assert_array_equal(*tables)


def test_issuing_beside_cores_that_serve_makes_no_wait_for_shards_longer() -> None:
    changes = ("node.cpu=intel-xeon-emerald-16c", "node.cores=8", "node.accelerators=[h100-80gb]")
    stack = ("node.stack=pytorch", "policy.offload_threshold_items=300", "sla.latency_ms=120")
    question = prepare(load_scenario("mlperf_dlrm_v2_sharded", (*changes, *stack, *QUICK)))
    node, policy = question.serving_node, question.policy
    assert launch_stretch(node, policy, question.max_items) == BESIDE_CORES
    found_s = node.accelerator_times_s(policy, question.max_items)[399]
    time = node.accelerator_time(400.0)
    assert time is not None
    waited_s = sum(float(timed.seconds[0]) for timed in time.kernels if timed.kernel.is_elsewhere)
    assert 0.0 < waited_s < float(time.seconds[0])
    own_s = float(time.seconds[0]) - waited_s
    # Which shard is the fullest is told over all sizes of a table: a launch alone may be another's by a hair.
    assert found_s == pytest.approx(waited_s + BESIDE_CORES * own_s, rel=2e-3)
