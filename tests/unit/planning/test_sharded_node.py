from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.domain.operators import EmbeddingBag
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question

QUICK = ("simulation.max_queries=60000", "simulation.min_queries=60000", "simulation.precision=0.1")
LONELY = (
    *QUICK,
    "traffic.arrivals.rate_qps=0.01",
    "traffic.query_sizes={distribution: fixed, num_items: 64}",
)

FIVE_TERABYTES = """
name: five-terabytes
dense_features: 13
operators:
  - {name: bottom, kind: mlp, input: dense, widths: [13, 512, 256, 64]}
  - {name: emb, kind: embedding_bag, tables: [{num_rows: 200000000, dim: 64, pooling_factor: 20, count: 100}]}
  - {name: joined, kind: concat, inputs: [bottom, emb]}
  - {name: top, kind: mlp, input: joined, widths: [6464, 256, 1]}
"""


def sharded(*changes: str) -> Question:
    return prepare(load_scenario("mlperf_dlrm_v2_sharded", changes))


def predicted(*changes: str) -> dict[str, Any]:
    return perfmodel.predict("mlperf_dlrm_v2_sharded", overrides=changes).to_dict()


def test_power_and_price_are_of_all_machines() -> None:
    question = sharded("node.price_usd_per_h=2", "node.shards.replicas=3")
    assert question.node.num_machines == 1 + 4 * 3
    assert question.node.tdp_w == 13 * 250.0
    assert question.price_usd_per_h == 26.0
    idle_w, peak_w = (getattr(question.serving_node.cpu.power, key) for key in ("idle_w", "peak_w"))
    assert question.power_w(0.0, None) == pytest.approx(13 * idle_w)
    # A shard's cores are busy while they look rows up, which is a small part of a request here.
    assert 13 * idle_w < question.power_w(1.0, None) - (peak_w - idle_w) < 13 * idle_w + peak_w


@pytest.mark.thorough
def test_a_model_of_terabytes_gets_an_answer_on_the_fewest_nodes(tmp_path: Path) -> None:
    (tmp_path / "five.yaml").write_text(FIVE_TERABYTES)
    document = predicted(*QUICK, f"model={tmp_path / 'five.yaml'}", "node.shards.count=auto")
    assert document["latency_ms"]["p99"] > 0
    # 100 tables of 200 million rows of 256 bytes: 4768.4 GiB, in 256 GiB each.
    assert document["node"]["shards"]["count"] == 19
    assert document["node"]["num_machines"] == 20
    assert document["node"]["shards"]["fullest_gib"] == pytest.approx(4768.37 / 19, rel=1e-4)
    assert document["basis"] == "assumed"


def test_what_does_not_fit_is_told_of_shards(tmp_path: Path) -> None:
    (tmp_path / "five.yaml").write_text(FIVE_TERABYTES)
    with pytest.raises(InputError, match=r"does not fit skylake.*node\.shards: \{count: auto\}"):
        prepare(load_scenario("mlperf_dlrm_v2_skylake", [f"model={tmp_path / 'five.yaml'}"]))


@pytest.mark.thorough
def test_the_slowest_of_four_exponential_answers_is_waited_for() -> None:
    exponential = "node.shards.scatter={distribution: exponential}"
    steady, scattered = predicted(*LONELY, "node.shards.scatter=null"), predicted(*LONELY, exponential)
    times = {row["name"]: row["time_ms"] for row in steady["operators"]}
    answer_ms = times["embeddings"] + times["slowest answer"]
    # H_4 = 25/12 of the mean of one, and its 99th percentile -ln(1 - 0.99^(1/4)).
    more_ms = (25 / 12 - 1) * answer_ms
    assert scattered["latency_ms"]["mean"] == pytest.approx(steady["latency_ms"]["mean"] + more_ms, rel=1e-3)
    tail_ms = (-log(1 - 0.99**0.25) - 1) * answer_ms
    # Sizes vary a little, too: percentiles do not add up to the last digit.
    assert scattered["latency_ms"]["p99"] == pytest.approx(steady["latency_ms"]["p99"] + tail_ms, rel=5e-3)


def test_scatter_of_the_node_comes_on_top_of_the_shards() -> None:
    both = sharded("node.scatter={distribution: lognormal, relative_std: 0.3}").times.table.cpu_scatter
    alone = sharded().times.table.cpu_scatter
    assert both is not None
    assert alone is not None
    assert both.factors.shape == alone.factors.shape
    assert both.factors.mean(axis=1) == pytest.approx(np.ones(len(both.factors)))
    expected = 1.0 + alone.mean_square * (1.0 + 0.3**2) - 1.0  # independent: mean squares multiply
    assert both.mean_square == pytest.approx(expected, rel=2e-3)


def test_shards_widen_the_error_and_say_what_is_assumed() -> None:
    alone = prepare(load_scenario("mlperf_dlrm_v2_skylake", [])).times.errors.cpu
    question = sharded()
    assert question.times.errors.cpu > np.hypot(alone, log(1.25)) - 1e-9
    said = " ".join(question.node_notes)
    assert "rows in 4 shards" in said
    assert "assumed of shards: workers wait for the answer" in said
    assert "fits one skylake without shards" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("node.threads=2", "threads: expected 1 beside shards, got 2"),
        ("node.anchor={rate_qps: 5, utilisation: 0.1}", "anchor: expected none beside shards"),
        ("node.shards.count=0", "count: expected auto or a whole number >= 1, got 0"),
        ("node.shards.by=column", "by: expected one of row, table"),
        ("node.shards.replicas=0", "replicas: expected a whole number >= 1"),
        ("node.shards.network.gb_per_s=0", "gb_per_s: expected a number > 0"),
        ("model=dlrm-v3", "shards"),
    ],
)
def test_what_shards_do_not_go_with_is_said_in_a_line(change: str, says: str) -> None:
    if change.startswith("model"):
        change = "traffic.lengths={distribution: fixed, length: 10}"
        says = "expected none beside node.shards"
    with pytest.raises(InputError, match=says) as error:
        sharded(change)
    assert "\n" not in str(error.value)


@pytest.mark.thorough
def test_each_node_of_a_fleet_has_shards_of_its_own_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = ["fleet", "mlperf_dlrm_v2_sharded", "-n", "3", "--qps", "20"]
    main([*fleet, *(part for change in QUICK for part in ("--set", change))])
    said = " ".join(capsys.readouterr().out.split())
    assert "on 3 x 40 cores of skylake (hpca2020), tables on 4 more machines each" in said
    assert "power counts all 5 machines of a node" in said
    assert "3,750 W" in said  # 15 machines of 250 W


def test_narrower_tables_lie_on_the_same_shards_and_take_half() -> None:
    node = sharded("node.shards.hot_rows={memory_gib: 1}").serving_node
    model = node.model
    operators = [
        op.model_copy(update={"tables": tuple(t.model_copy(update={"element_bytes": 2}) for t in op.tables)})
        if isinstance(op, EmbeddingBag)
        else op
        for op in model.operators
    ]
    half = node.placed_anew(model=model.model_copy(update={"operators": tuple(operators)}))
    assert node.shards is not None
    assert half.shards is not None
    assert half.shards.num_shards == 4
    assert half.shards.held_bytes.sum() == node.shards.held_bytes.sum() / 2
    assert half.shards.hot is not None
    assert node.shards.hot is not None
    assert half.shards.hot.lookups_share > node.shards.hot.lookups_share


def test_power_price_and_words_are_of_both_kinds_of_machine() -> None:
    question = sharded(
        "node.price_usd_per_h=2",
        "node.shards.replicas=3",
        "node.shards.node={cpu: broadwell, cores: 2, price_usd_per_h: 0.5}",
    )
    node = question.serving_node
    broadwell = node.shard_cpu
    assert (broadwell.name, broadwell.stack, node.cpu.name) == ("broadwell", "hpca2020", "skylake")
    assert question.price_usd_per_h == 2 + 12 * 0.5
    assert question.node.tdp_w == 250.0 + 12 * broadwell.power.tdp_w
    idle_w = node.cpu.power.idle_w + 12 * broadwell.power.idle_w
    assert question.power_w(0.0, None) == pytest.approx(idle_w)
    busy_w = question.power_w(1.0, None)
    assert busy_w is not None
    own_w = node.cpu.power.peak_w - node.cpu.power.idle_w
    assert 0.0 < busy_w - idle_w - own_w < 12 * (broadwell.power.peak_w - broadwell.power.idle_w)
    said = " ".join(question.node_notes)
    assert "node.price_usd_per_h is of the main one" in said
    assert "40 workers wait for 6 cores of a shard as in the machine-repair model" in said
    assert node.where.endswith("tables on 12 more machines, 2 cores of broadwell")
    assert question.times.errors.cpu > 0.0
    assert any("broadwell" in place for place in node.assumptions)


def test_fewer_cores_at_the_shards_leave_less_capacity() -> None:
    heavy = "model=dlrm-rmc2", "policy.batch_size=64", "node.shards.scatter=null"
    many, few = (
        sharded(*heavy, f"node.shards.node={{cpu: skylake, cores: {cores}}}").saturation_qps
        for cores in (40, 1)
    )
    assert few < 0.8 * many
    # A core of the fullest shard is then what binds: it is busy all the time.
    times = sharded(*heavy, "node.shards.node={cpu: skylake, cores: 1}")
    assert 40 * times.times.asking_share == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("node.shards.node={cpu: gtx1080ti}", "cpu: expected a cpu profile, got gtx1080ti, a gpu"),
        ("node.shards.node={cpu: skylake, cores: 100}", "cores: expected at most 80 .*, got 100"),
        ("node.shards.node={cpu: nope}", "nope"),
        ("node.shards.node={cores: 4}", "cpu"),
        ("node.shards.node={cpu: skylake, price_usd_per_h: 1}", "expected a price of the main node and of"),
        (
            "node.price_usd_per_h=1,node.shards.node={cpu: skylake}",
            "expected a price of the main node and of",
        ),
        ("node.shards.node={cpu: granite-rapids-6787p}", "expected one software stack for all devices"),
        ("node.shards.node={cpu: broadwell},model=FILE", "do not fit 1 x .* GiB of broadwell"),
    ],
)
def test_what_a_machine_of_the_shards_cannot_be_is_said_in_a_line(
    change: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "five.yaml").write_text(FIVE_TERABYTES)
    changes = (
        change.replace("FILE", str(tmp_path / "five.yaml")).split(",node") if ",node" in change else [change]
    )
    changes = [changes[0], *("node" + each for each in changes[1:])]
    if ",model=" in change:
        changes = [change.split(",model=")[0], f"model={tmp_path / 'five.yaml'}", "node.shards.count=1"]
    with pytest.raises(InputError, match=says) as error:
        sharded(*changes)
    assert "\n" not in str(error.value)


@pytest.mark.thorough
def test_explain_tries_more_cores_of_the_shards_where_they_are_few() -> None:
    heavy = ("model=dlrm-rmc2", "node.shards.scatter=null", *QUICK)
    gains = {}
    for cores in (1, 40):
        node = f"node.shards.node={{cpu: skylake, cores: {cores}}}"
        answer = perfmodel.explain("mlperf_dlrm_v2_sharded", overrides=(*heavy, node)).to_dict()
        (gains[cores],) = (each for each in answer["changes"] if each["resource"] == "shard cores")
    assert gains[1]["change"] == "cores of each shard +100 %: 1 to 2"
    assert gains[1]["gain_percent"] > 20.0
    assert gains[40]["gain_percent"] == pytest.approx(0.0, abs=0.1)
