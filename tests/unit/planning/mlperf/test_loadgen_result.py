"""VALID and INVALID against closed forms, and against runs that are counted as LoadGen counts them."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import InputError
from perfmodel.loading.mlperf_conf import LoadGenTarget
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.early_stopping import most_late
from perfmodel.planning.mlperf.computation import mlperf
from perfmodel.planning.mlperf.target import mlperf_target
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.sim.engines import simulate
from perfmodel.sim.traffic import Queries

SERVER = LoadGenTarget(
    model="dlrm-v2",
    scenario="Server",
    target_qps=None,
    latency_s=0.05,
    percentile=0.99,
    min_queries=100,
    min_duration_s=5.0,
)
OFFLINE = replace(SERVER, scenario="Offline", latency_s=None, min_queries=1000, min_duration_s=60.0)


def one_server(tmp_path: Path, *, error_percent: float = 0.0) -> Question:
    """M/M/1 with a mean service time of 2 ms."""
    (tmp_path / "table.csv").write_text("items,service_ms\n1,2\n")
    scenario = {
        "node": {
            "service_times": str(tmp_path / "table.csv"),
            "executors": 1,
            "error_percent": error_percent,
            "scatter": {"distribution": "exponential"},
        },
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": 300},
            "query_sizes": {"distribution": "fixed", "num_items": 1},
        },
        "policy": {"name": "split", "batch_size": 1},
        "sla": {"percentile": 0.95, "latency_ms": 1},
        "simulation": {"precision": 0.05, "min_queries": 50_000, "max_queries": 400_000},
    }
    return prepare(load_scenario(scenario))


@pytest.mark.thorough
def test_the_largest_valid_rate_is_that_of_the_closed_form(tmp_path: Path) -> None:
    """Of M/M/1 e^-(mu - lambda) L takes longer than L; at (t + 2/3) / n half of the runs have t late."""
    found = mlperf(one_server(tmp_path), SERVER)
    queries = SERVER.num_queries(400.0)
    late = most_late(queries, 0.99)
    assert late is not None
    expected_qps = 500.0 + log((late + 2 / 3) / queries) / 0.05
    assert found.largest_valid_qps == pytest.approx(expected_qps, rel=0.01)
    assert found.largest is not None
    assert found.largest.relative_half_width < 0.03, "too vague to prove anything"
    at_p99_qps = 500.0 + log(0.01) / 0.05
    assert found.largest_valid_qps < 0.99 * at_p99_qps, "early stopping asks for more than p99"


@pytest.mark.thorough
def test_half_of_the_runs_at_the_largest_valid_rate_are_valid(tmp_path: Path) -> None:
    question = one_server(tmp_path)
    minute = replace(SERVER, min_duration_s=60.0)
    rate_qps = mlperf(question, minute).largest_valid_qps
    assert rate_qps is not None
    num_queries = minute.num_queries(rate_qps)

    def valid(rate: float) -> float:
        traffic = replace(question.traffic, arrivals=PoissonArrivals(rate_qps=rate))
        allowed = most_late(num_queries, 0.99)
        runs = [
            simulate(traffic.draw(num_queries, seed=seed), question.times.table, question.policy)
            for seed in range(150)
        ]
        return float(np.mean([(run.latency_s > SERVER.latency_s).sum() <= allowed for run in runs]))

    # Late queries come in clusters: runs differ by more than a Poisson count.
    assert 0.35 < valid(rate_qps) < 0.7
    assert valid(0.85 * rate_qps) > 0.95
    assert valid(1.06 * rate_qps) < 0.2


@pytest.mark.thorough_cases("450.0-INVALID", "300.0-VALID", "600.0-INVALID")
@pytest.mark.parametrize(("rate_qps", "result"), [(300.0, "VALID"), (450.0, "INVALID"), (600.0, "INVALID")])
def test_results_at_a_target(tmp_path: Path, rate_qps: float, result: str) -> None:
    found = mlperf(one_server(tmp_path, error_percent=1.0), SERVER, target_qps=rate_qps)
    assert found.result == result
    assert (found.reason is None) == (result == "VALID")
    assert (found.verdict == "unstable") == (rate_qps > 500.0)
    if found.expected_late is not None and rate_qps == 450.0:
        expected = exp(-(500.0 - rate_qps) * 0.05) * SERVER.num_queries(rate_qps)
        assert found.expected_late == pytest.approx(expected, rel=0.1)


def test_a_run_that_is_too_short_is_never_valid(tmp_path: Path) -> None:
    short = replace(SERVER, min_duration_s=1.0)
    found = mlperf(one_server(tmp_path), short, target_qps=300.0)
    assert (found.result, found.valid_probability, found.most_late) == ("INVALID", 0.0, None)
    assert found.reason is not None
    assert found.reason.startswith("a run of 300 queries is never VALID: early stopping asks for 459 at p99")


def test_the_score_of_offline_is_what_a_node_serves_that_never_waits(tmp_path: Path) -> None:
    question = one_server(tmp_path)
    found = mlperf(question, OFFLINE, target_qps=500.0)
    assert found.run_queries == 33_000  # 1.1 x 60 s x 500
    queries = Queries(np.zeros(33_000), np.ones(33_000, dtype=np.int64))
    served = simulate(queries, question.times.table, question.policy)
    assert found.run_s == pytest.approx(served.makespan_s, rel=0.02)
    assert found.largest_valid_qps == pytest.approx(500.0)


@pytest.mark.parametrize(
    ("target_qps", "min_queries", "result"),
    [
        (454.0, 1000, "INVALID"),  # 29,964 samples take 59.9 s
        (455.0, 1000, "VALID"),  # 30,030 take 60.06
        (1.0, 30_000, "VALID"),  # the fewest samples take just 60
    ],
)
def test_offline_is_valid_where_its_samples_last(
    tmp_path: Path, target_qps: float, min_queries: int, result: str
) -> None:
    found = mlperf(one_server(tmp_path), replace(OFFLINE, min_queries=min_queries), target_qps=target_qps)
    assert found.result == result
    least = 0.0 if min_queries == 30_000 else 500.0 / 1.1
    assert found.least_target_qps == pytest.approx(least)


@pytest.mark.thorough
def test_an_error_of_the_times_makes_a_close_call_undecided(tmp_path: Path) -> None:
    question = one_server(tmp_path, error_percent=10.0)
    found = mlperf(question, SERVER, target_qps=380.0)
    assert found.result == "undecided"
    assert found.judgement.deciding is not None
    assert 0.1 < found.valid_probability < 0.9


def test_a_table_has_no_name_of_a_benchmark(tmp_path: Path) -> None:
    question = one_server(tmp_path)
    with pytest.raises(InputError, match="--benchmark: expected one of dlrm, dlrm-v2, dlrm-v3: a table"):
        mlperf_target(question)
    target = mlperf_target(question, benchmark="dlrm-v3-99")
    assert (target.latency_s, target.percentile, target.min_duration_s) == (0.08, 0.99, 600.0)
