"""A query that takes exactly what the SLA allows is not late, in whatever is said of it.

A table in which every request takes 10 ms, on ten executors that are all but idle: every latency is 10 ms but
for the rounding of time stamps, which makes half of them longer by its last bit.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import perfmodel

DAY = "{process: diurnal, rate_qps: 3, amplitude: 0.5, period_s: 6000}"
SCENARIO = """\
node: {service_times: t.csv, executors: 10}
traffic: {arrivals: {process: poisson, rate_qps: 3}, query_sizes: {distribution: fixed, num_items: 50}}
policy: {name: split, batch_size: 100}
sla: {percentile: 0.95, latency_ms: 10}
simulation: {seed: 1, min_queries: 20000, max_queries: 20000}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    (tmp_path / "t.csv").write_text("items,service_ms\n1,10\n100,10\n")
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return str(tmp_path / "s.yaml")


@pytest.mark.parametrize("accept_uncertain", [False, True])
def test_a_load_whose_latencies_are_the_limit_meets_the_sla(scenario: str, accept_uncertain: bool) -> None:
    answer = perfmodel.predict(scenario, accept_uncertain=accept_uncertain).to_dict()
    assert (answer["verdict"], answer["sla_probability"]) == ("meets_sla", 1.0)
    assert answer["goodput_qps"] == pytest.approx(3.0)
    assert answer["latency_bounded_qps"] is not None, "the search says the same"


def test_so_does_a_day_and_all_of_it_is_within_the_sla(scenario: str) -> None:
    answer = perfmodel.predict(scenario, overrides=[f"traffic.arrivals={DAY}"]).to_dict()
    assert answer["verdict"] == "meets_sla"
    assert (answer["share_within_sla"], answer["worst_window"]["share_late"]) == (1.0, 0.0)
    assert answer["goodput_qps"] == pytest.approx(3.0)


def test_none_is_late_in_a_comparison(scenario: str) -> None:
    found = perfmodel.diff(scenario, scenario, overrides_b=["traffic.arrivals.rate_qps=3.1"]).to_dict()
    late = next(each for each in found["differences"] if each["metric"] == "share_late")
    assert (late["a"], late["b"]) == (0.0, 0.0)
