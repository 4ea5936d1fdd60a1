"""A plan finds the two rates of a pair as `tune` and `capacity` do, without the rest of their answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.capacity.computation import capacity, rates
from perfmodel.planning.plan.capacities import capacity_of
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.planning.tune.computation import TIE, settings_of, tune
from perfmodel.planning.verdict import quantile

SCENARIO = """\
node: {service_times: table.csv, executors: 4}
traffic:
  arrivals: {process: poisson, rate_qps: 10}
  query_sizes: {distribution: normal, mean_items: 100, std_items: 30, max_items: 256}
policy: {name: split, batch_size: 64}
sla: {percentile: 0.95, latency_ms: 20, confidence: 0.8}
simulation: {min_queries: 100000, max_queries: 100000}
"""


@pytest.fixture
def question(tmp_path: Path) -> Question:
    (tmp_path / "s.yaml").write_text(SCENARIO, encoding="utf-8")
    (tmp_path / "table.csv").write_text("items,service_ms\n1,1\n64,3\n256,14\n", encoding="utf-8")
    return prepare(load_scenario(str(tmp_path / "s.yaml")))


@pytest.mark.thorough
def test_rates_are_those_of_capacity(question: Question) -> None:
    whole, alone = capacity(question), rates(question)
    assert alone == pytest.approx((whole.latency_bounded_qps, whole.plan_for_qps), rel=1e-9)
    assert quantile(question.sla.confidence) > 0.5


@pytest.mark.thorough
@pytest.mark.parametrize("beside", [0.95, 1.0, 1.05])
def test_where_rates_are_looked_for_does_not_matter(question: Question, beside: float) -> None:
    found = rates(question)
    assert found.latency_bounded_qps is not None
    again = rates(question, near_qps=beside * found.latency_bounded_qps)
    assert again == pytest.approx(found, rel=2e-3)  # half a step of the grid of rates


@pytest.mark.thorough
def test_settings_are_as_good_as_those_of_tune(question: Question) -> None:
    best = tune(question).tuning.exhaustive
    found = settings_of(question)
    assert best.latency_bounded_qps is not None
    other = rates(replace(question, policy=found.point.configuration.policy)).latency_bounded_qps
    assert other is not None
    assert other > (1 - 1.5 * TIE) * best.latency_bounded_qps
    assert found.point.latency_bounded_qps == pytest.approx(other, rel=0.015)


@pytest.mark.thorough
def test_a_pair_has_the_settings_and_both_rates(question: Question) -> None:
    found = capacity_of(question, tuned=True, confidence=0.8, extrapolate=False).capacity
    assert found is not None
    assert found.source == "tune"
    policy = settings_of(question).point.configuration.policy
    assert (found.batch_size, found.offload_threshold_items) == (
        policy.batch_size,
        policy.offload_threshold_items,
    )
    whole = capacity(replace(question, policy=policy))
    assert found.qps == pytest.approx(whole.latency_bounded_qps, rel=0.01)
    assert found.low_qps <= found.qps
