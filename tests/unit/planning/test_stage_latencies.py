"""`latency` of a pipeline: requests of each stage on a core of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node_latency import node_latency, stage_latencies
from perfmodel.planning.prepare import prepare

TWO = "ranking_two_stages"


def test_each_stage_has_the_requests_that_its_policy_cuts() -> None:
    """1024 items in 4 parts, cut at 128; the best 128 in as many, 32 each: two of 128, one of 32."""
    first, second = stage_latencies(prepare(load_scenario(TWO), stages=True))
    assert [row.batch_size for row in first.rows] == [128]
    assert [row.batch_size for row in second.rows] == [32]
    assert (first.model, second.model) == ("dlrm-rmc1", "dlrm-rmc3")


def test_a_stage_on_a_machine_of_its_own_takes_what_a_scenario_of_its_own_does() -> None:
    _, second = stage_latencies(prepare(load_scenario(TWO), stages=True), busy=3)
    alone = load_scenario(
        TWO,
        [
            "pipeline=null",
            "model=dlrm-rmc3",
            "policy.batch_size=32",
            "traffic.query_sizes.num_items=32",
        ],
    )
    assert second.rows[0].seconds == pytest.approx(node_latency(prepare(alone), [32], busy=3).rows[0].seconds)


def test_sizes_that_reach_no_stage_are_refused() -> None:
    question = prepare(load_scenario(TWO), stages=True)
    (first,) = stage_latencies(question, [100])
    assert first.model == "dlrm-rmc1"
    with pytest.raises(InputError, match=r"--batch: expected sizes that a stage of ranking_two_stages sends"):
        stage_latencies(question, [1000])


def test_the_command_tells_each_stage_and_a_table_is_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "-s", TWO, "--json"]) == 0
    assert "dlrm-rmc3" in json.dumps(json.loads(capsys.readouterr().out))
    assert main(["latency", "-s", TWO, "--table", "never.csv"]) == 2
    refused = capsys.readouterr().err
    assert (
        "pipeline: expected none: this asks about one stage; --set pipeline=null asks it of the first"
        in refused
    )
    assert len(refused.splitlines()) == 1


@pytest.mark.thorough
def test_a_sweep_shows_the_fullest_stage_and_keeps_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("simulation.max_queries=20000", "simulation.min_queries=20000")
    file = tmp_path / "points.json"
    sets = [part for change in quick for part in ("--set", change)]
    over = ["--over", "pipeline.stages.0.node.cores=8,28", "--out", str(file)]
    assert main(["sweep", TWO, *over, *sets]) == 0
    page = " ".join(capsys.readouterr().out.split())
    overloaded, meets = json.loads(file.read_text())["rows"]
    alone = perfmodel.predict(TWO, overrides=quick).to_dict()
    stages = alone["pipeline"]["stages"]
    for number, stage in enumerate(stages, start=1):
        assert meets[f"stage.{number}.model"] == stage["model"]
        assert meets[f"stage.{number}.utilisation.cpu"] == stage["utilisation"]["cpu"]
        assert meets[f"stage.{number}.latency_ms.p95"] == stage["latency_ms"]["p95"]
    fullest = max(stage["utilisation"]["cpu"] for stage in stages)
    assert meets["stage.fullest.utilisation"] == fullest > alone["utilisation"]["cpu"]
    assert overloaded["stage.fullest.utilisation"] > 1.0
    assert "fullest stage" in page
    assert "cores busy" not in page
    assert f"{100 * fullest:.1f} %" in page
