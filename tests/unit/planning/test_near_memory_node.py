from __future__ import annotations

from math import hypot, log
from pathlib import Path

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question

QUICK = (
    "simulation.max_queries=30000",
    "simulation.min_queries=30000",
    "simulation.precision=0.1",
    "traffic.query_sizes={distribution: fixed, num_items: 64}",
)


def asked(*changes: str) -> Question:
    return prepare(load_scenario("rm2_near_memory", changes))


def test_modules_take_their_own_power_and_widen_the_error() -> None:
    near, plain = asked(), asked("node.near_memory=null")
    # 8 channels (85 GB/s a socket: four of 19.2) of four modules, 0.184 W each.
    assert near.node.tdp_w == pytest.approx(250.0 + 8 * 4 * 0.184)
    assert near.power_w(0.0, None) == pytest.approx(plain.power_w(0.0, None) + 8 * 4 * 0.184)
    assert near.times.errors.cpu == pytest.approx(hypot(plain.times.errors.cpu, log(1.25)))
    assert near.times.basis.name == "ASSUMED"


@pytest.mark.thorough
def test_the_answer_says_what_the_memory_does() -> None:
    document = perfmodel.predict("rm2_near_memory", overrides=QUICK).to_dict()
    node = document["node"]["near_memory"]
    assert (node["channels"], node["ranks"], node["cache_kib"]) == (8, 8, 128)
    (looked,) = (row for row in document["operators"] if row["kind"] == "embedding_bag")
    assert looked["basis"] == "assumed"
    said = " ".join(document["notes"])
    assert "8 channels, as many of DDR4-2400" in said
    assert "no table of dlrm-rmc2 has a skew" in said
    assert "energy of memory for its lookups" in said
    assert "assumed of near memory: workers wait" in said


@pytest.mark.thorough
def test_explain_tries_more_ranks_larger_caches_and_none() -> None:
    changes = perfmodel.explain("rm2_near_memory", overrides=QUICK).to_dict()["changes"]
    gains = {change["change"]: change["gain_percent"] for change in changes}
    assert gains["near memory of 16 ranks instead of 8"] > 5.0
    assert gains["caches of 256 KiB a rank instead of 128"] > -1.0
    assert gains["lookups by the cores, no near memory"] < -30.0


@pytest.mark.thorough
def test_lookups_in_memory_raise_what_a_node_serves() -> None:
    rates = [
        perfmodel.capacity("rm2_near_memory", overrides=[*QUICK, *changes]).to_dict()["latency_bounded_qps"]
        for changes in (("node.near_memory=null",), ("node.near_memory.ranks=1",), ())
    ]
    assert rates[1] == pytest.approx(rates[0], rel=0.3)  # one rank reads hardly faster than the host's cores
    assert rates[2] > 1.5 * rates[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("node.near_memory.ranks=6", "ranks: expected a power of two, got 6"),
        ("node.near_memory.ranks=0", "ranks: expected a whole number >= 1, got 0"),
        ("node.near_memory.cache_kib=0", "cache_kib: expected a number > 0 or null, got 0"),
        ("node.near_memory={ranks: 8, scheduling: table}", "scheduling: expected arrival without cache_kib"),
        ("node.near_memory={ranks: 8, hot_entries: true}", "hot_entries: expected false without cache_kib"),
        ("node.near_memory.dram=ddr5", "dram: expected ddr4-2400"),
        ("node.near_memory.rank=8", "unknown key 'rank'"),
        ("node.threads=2", "threads: expected 1 beside near_memory, got 2"),
        ("node.shards={count: 2}", "shards: expected none beside near_memory"),
        ("node.anchor={rate_qps: 5, utilisation: 0.1}", "anchor: expected none beside near_memory"),
        (
            "traffic.lengths={distribution: fixed, length: 5}",
            "lengths: expected none beside node.near_memory",
        ),
        ("node.cpu=gtx1080ti", "cpu: expected a cpu profile"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    change: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "rm2_near_memory", "--set", change]) == 2
    said = capsys.readouterr().err.strip()
    assert says in said
    assert "\n" not in said


def test_modules_that_nothing_is_asked_of_are_refused(tmp_path: Path) -> None:
    scenario = tmp_path / "all_offloaded.yaml"
    scenario.write_text(
        (Path(perfmodel.__file__).parent.parent / "scenarios" / "rm2_near_memory.yaml")
        .read_text(encoding="utf-8")
        .replace("model: dlrm-rmc2", "model: dlrm-rmc1")
        .replace("offload_threshold_items: null", "offload_threshold_items: 1")
        .replace("stack: hpca2020", "stack: deeprecsys-repository\n  accelerators: [gtx1080ti]"),
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="near_memory: expected none: every query goes to the accelerator"):
        prepare(load_scenario(str(scenario)))


def test_a_node_type_of_a_plan_may_have_such_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "name: near memory beside plain\n"
        "services:\n"
        "  ads: {scenario: rm2_skylake, demand: {qps: 2000}, tune: false}\n"
        "node_types:\n"
        "  plain: {node: {cpu: skylake@hpca2020}, available: 20}\n"
        "  near: {node: {cpu: skylake@hpca2020, near_memory: {ranks: 8}}, available: 20}\n"
        "capacities: {ads: {plain: 450, near: 3000}}\n"
        "provision: {objective: power}\n",
        encoding="utf-8",
    )
    assert main(["plan", str(fleet), "--json", "--no-sla-curves"]) in (0, 6)
    assert '"near": 1' in capsys.readouterr().out
