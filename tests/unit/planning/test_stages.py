"""Stages of a pipeline: prepared each at its place, together one question; what cannot be is said where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perfmodel
from perfmodel.domain.base import ValueErrorAt
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.stage_figures import stage_figures
from perfmodel.planning.stages import StageTimes, lets_all_through
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult

TWO = "ranking_two_stages"
QUICK = ("simulation.min_queries=40000", "simulation.max_queries=40000", "simulation.precision=0.1")


def staged(*changes: str) -> Question:
    return prepare(load_scenario(TWO, changes), stages=True)


def predicted(scenario: Any, *changes: str) -> Any:
    return perfmodel.predict(scenario, overrides=[*QUICK, *changes]).to_dict()


def test_power_and_price_are_of_all_machines() -> None:
    question = staged("node.price_usd_per_h=2", "pipeline.stages.0.node.price_usd_per_h=3")
    assert question.tdp_w == 480.0
    assert question.price_usd_per_h == 5.0
    assert staged("node.price_usd_per_h=2").price_usd_per_h is None, "the other's is not known"
    shared = staged("pipeline.stages.0.node=null", "pipeline.stages.0.cores=8", "node.cores=20")
    assert shared.tdp_w == 240.0
    assert [stage.node.cores for stage in shared.stages] == [20, 8]


def test_a_stage_that_no_query_is_filtered_before_is_said() -> None:
    assert not [note for note in staged().node_notes if "items:" in note]
    said = next(note for note in staged("pipeline.stages.0.items=5000").node_notes if "items:" in note)
    assert said == (
        "stage 2, dlrm-rmc3: `items: 5000` is no fewer than the largest query has (1024): it ranks all that "
        "the stage before it ranks"
    )
    later = [replace(staged().later_stages[0], most_items=items) for items in (64, 65)]
    (note,) = lets_all_through(later, 1024)
    assert note.startswith(
        "stage 3, dlrm-rmc3: `items: 65` is no fewer than the stages before let through (64)"
    )


def test_cores_of_other_stages_count_as_busy() -> None:
    """20 + 8 cores of one machine: a request takes as long as on all 28, at the least."""
    shared = staged("pipeline.stages.0.node=null", "pipeline.stages.0.cores=8", "node.cores=20")
    alone = staged("node.cores=20", "pipeline.stages.0.node.cores=8")
    whole = staged()
    for one, other, all_of_it in zip(
        *(
            question.times.by_stage
            for question in (shared, alone, whole)
            if isinstance(question.times, StageTimes)
        ),
        strict=True,
    ):
        assert np.all(one.table.cpu_s > other.table.cpu_s)
        assert one.table.cpu_s[:, -1] == pytest.approx(all_of_it.table.cpu_s[:, -1])
    assert any("those of the others count as busy" in note for note in shared.node_notes)


@pytest.mark.thorough
def test_a_stage_is_the_single_scenario_where_the_other_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "free.csv").write_text("items,service_ms\n1,1e-6\n1000,1e-6\n")
    free = {"service_times": str(tmp_path / "free.csv"), "executors": 1000, "error_percent": 0}
    single = perfmodel.load_scenario("rm3_broadwell").source.data()
    assert isinstance(single, dict)
    after = single | {
        "pipeline": {
            "stages": [{"items": 1000, "node": free, "policy": {"name": "split", "batch_size": 1000}}]
        }
    }
    before = {key: value for key, value in single.items() if key != "model"} | {
        "node": free,
        "policy": {"name": "split", "batch_size": 1000},
        "pipeline": {"stages": [{"items": 1000} | {key: single[key] for key in ("model", "node", "policy")}]},
    }
    alone = predicted(single)
    for scenario in (after, before):
        found = predicted(scenario)
        # Of one stage the mean is held against what arrived, which is known to a thousandth.
        assert found["latency_ms"].pop("mean") == pytest.approx(alone["latency_ms"]["mean"], rel=1e-3)
        percentiles = {key: value for key, value in alone["latency_ms"].items() if key != "mean"}
        # Many latencies are nearly equal; rounding decides which of two neighbours a percentile is.
        assert found["latency_ms"] == pytest.approx(percentiles, rel=0.01)
        # The search's traffic is the same; its runs side by side and in turn agree within their tolerance.
        assert found["latency_bounded_qps"] == pytest.approx(alone["latency_bounded_qps"], rel=0.01)
        assert found["error_of_service_times"]["cpu"] == alone["error_of_service_times"]["cpu"]


@pytest.mark.thorough
def test_the_answer_shows_each_stage_by_itself() -> None:
    answer = predicted(TWO)
    first, second = answer["pipeline"]["stages"]
    assert (first["name"], first["items"], first["mean_items_of_part"]) == ("dlrm-rmc1", None, 256.0)
    assert (second["name"], second["items"], second["mean_items_of_part"]) == ("dlrm-rmc3", 128, 32.0)
    assert first["latency_ms"]["mean"] + second["latency_ms"]["mean"] < answer["latency_ms"]["mean"]
    assert first["latency_ms"]["p95"] < answer["latency_ms"]["p95"]
    assert answer["utilisation"]["cpu"] == pytest.approx(
        (first["utilisation"]["cpu"] + second["utilisation"]["cpu"]) / 2, rel=0.01
    )
    assert answer["power_w"] == 480.0
    assert answer["power_at_load_w"] is None
    assert predicted("rm3_broadwell")["pipeline"] is None


def run_of(*changes: str) -> RunResult:
    question = staged(*QUICK, *changes)
    percentile = question.sla.percentile
    service = question.times.table
    return run_until_precise(
        question.traffic, service, question.policy, question.simulation, percentile=percentile
    )


def greatest_qps(*changes: str) -> float:
    question = staged(*QUICK, *changes)
    search = RateSearch(
        traffic=question.traffic,
        service=question.times.table,
        policy=question.policy,
        sla=question.sla,
        seed=1,
        probe_queries=20_000,
    )
    found = search.greatest_rate_qps()
    assert found is not None
    return found


@pytest.mark.thorough
def test_fewer_items_never_carry_less() -> None:
    rates = [greatest_qps(f"pipeline.stages.0.items={items}") for items in (32, 128, 512)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1.5 * rates[2]


def test_a_hand_over_is_part_of_every_latency() -> None:
    p95_s = [
        run_of(f"pipeline.handover_ms={handover_ms}").percentiles[0.95].value_s for handover_ms in (0, 1, 10)
    ]
    assert p95_s[1] == pytest.approx(p95_s[0] + 1e-3, rel=0.02)
    assert p95_s[2] == pytest.approx(p95_s[0] + 10e-3, rel=0.02)


def test_an_overload_of_a_later_stage_is_one() -> None:
    run = run_of("pipeline.stages.0.items=1000")
    assert not run.is_stable
    question = staged("pipeline.stages.0.items=1000")
    first, second = stage_figures(question, run)
    assert first.offered.cpu < 1.0 < second.offered.cpu
    assert (second.utilisation, second.mean_s, second.percentiles_s) == (None, None, {})


def test_batches_outside_the_range_name_their_stage() -> None:
    changes = ("pipeline.stages.0.policy.batch_size=4096", "pipeline.stages.0.items=4096")
    sizes = "traffic.query_sizes={distribution: fixed, num_items: 4096}"
    with pytest.raises(ExtrapolationError, match=r"^stage dlrm-rmc3: outside the calibrated"):
        perfmodel.predict(TWO, overrides=[*QUICK, *changes, sizes, "pipeline.sub_batches=1"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["pipeline.sub_batches=65"], r"pipeline.sub_batches: expected a whole number >= 1 and <= 64"),
        (["pipeline.stages.0.items=2"], r"sub_batches: expected at most 2, so that every part has an item"),
        (["pipeline.stages.0.cores=8"], r"expected a node of its own, or cores of the first stage's"),
        (
            ["pipeline.stages.0.node=null", "pipeline.stages.0.cores=40"],
            r"pipeline.stages.0.cores: expected at most 56 cores of broadwell for all stages, got 68",
        ),
        (["pipeline.stages.0.node.cpu=skylak"], r"pipeline.stages.0.node.cpu: unknown profile 'skylak'"),
        (["pipeline.stages.0.model=none"], r"pipeline.stages.0.model: unknown model 'none'"),
        (
            ["pipeline.stages.0.node.cpu=amd-epyc-turin-2c", "pipeline.stages.0.node.cores=2"],
            r"expected one software stack for all devices",
        ),
        (
            ["policy.shedding={queue_limit_requests: 9}"],
            r"policy.shedding: expected none in a pipeline, whose stages serve every query",
        ),
        (
            ["traffic.arrivals={process: diurnal, rate_qps: 9, amplitude: 0.5}"],
            r"traffic.arrivals: expected a steady process beside pipeline",
        ),
        (
            ["traffic.arrivals={process: closed, users: 9, think_s: 1}"],
            r"traffic.arrivals: expected arrivals that do not wait for answers beside pipeline",
        ),
        (
            ["pipeline.stages.0.policy.offload_threshold_items=9"],
            r"offload_threshold_items: expected null, since node.accelerators is empty",
        ),
    ],
)
def test_what_cannot_be_is_said_at_its_place(changes: list[str], expected: str) -> None:
    with pytest.raises((InputError, ValueErrorAt), match=expected):
        prepare(load_scenario(TWO, changes), stages=True)


def test_who_asks_about_one_node_refuses_several_stages() -> None:
    with pytest.raises(
        InputError, match=r"ranking_two_stages.yaml:6:3: pipeline: expected none: this asks about"
    ):
        prepare(load_scenario(TWO))
    with pytest.raises(InputError, match="pipeline: expected none"):
        perfmodel.tune(TWO)


def test_sub_batches_of_a_light_load_overlap_the_stages() -> None:
    """A lone query of 1024 items on one core, or in four parts on four cores, side by side."""
    lone = (
        "traffic.arrivals.rate_qps=0.1",
        "policy.batch_size=1024",
        "pipeline.stages.0.policy.batch_size=128",
    )
    p50_s = [run_of(*lone, f"pipeline.sub_batches={parts}").percentiles[0.5].value_s for parts in (1, 4)]
    assert p50_s[1] < 0.5 * p50_s[0]
