"""One load test fixes the level of service times; what it says beside is held against the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import perfmodel
from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.scenario import LoadTestAnchor
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.load_test_fit import fit_level
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.sim.engines import simulate

QUICK = ["simulation.min_queries=50000", "simulation.max_queries=50000", "simulation.precision=0.1"]


@pytest.fixture(scope="module")
def question() -> Question:
    return prepare(load_scenario("rm3_skylake_table", ["traffic.arrivals.rate_qps=1000"]))


@pytest.mark.parametrize("by", ["utilisation", "p50_ms"])
def test_a_load_test_of_the_node_itself_finds_its_level(question: Question, by: str) -> None:
    """What is tested has times half as long again as the table's; the test's own figures are simulated."""
    longer = question.times.table.scaled(1.5, 1.5)
    record = simulate(question.traffic.at_rate(700.0).draw(100_000, seed=9), longer, question.policy)
    latency_ms = sorted(1e3 * record.node_latency_s[5000:])
    at = {p: latency_ms[int(p * len(latency_ms))] for p in (0.5, 0.95, 0.99)}
    given: dict[str, Any] = {"rate_qps": 700, "p95_ms": at[0.95], "p99_ms": at[0.99]}
    given |= {"utilisation": record.cpu_utilisation} if by == "utilisation" else {"p50_ms": at[0.5]}
    fit = fit_level(LoadTestAnchor(**given), question.node, question.policy, question.traffic, seed=1)
    assert fit.level == pytest.approx(1.5, rel=0.01)
    assert fit.level_from == by.removesuffix("_ms")
    assert all(each.agrees for each in fit.percentiles)
    assert "agree" in fit.notes[1]


def test_percentiles_that_disagree_are_named_with_their_error(question: Question) -> None:
    test = LoadTestAnchor(rate_qps=1000, utilisation=0.6, p95_ms=1000, p99_ms=1000)
    fit = fit_level(test, question.node, question.policy, question.traffic, seed=1)
    assert fit.utilisation == pytest.approx(0.6, rel=0.01)
    assert [each.agrees for each in fit.percentiles] == [False, False]
    assert fit.percentiles[0].error == pytest.approx(fit.percentiles[0].predicted_s - 1.0)
    assert "p95 -9" in fit.notes[1]
    assert "p99 -9" in fit.notes[1]


@pytest.mark.thorough
def test_what_no_level_does_is_refused(question: Question) -> None:
    for test, message in (
        (LoadTestAnchor(rate_qps=1000, p50_ms=1e-3), "no level"),
        (LoadTestAnchor(rate_qps=1000, p50_ms=10_000), "no level can be told"),
    ):
        with pytest.raises(ValueErrorAt, match=message):
            fit_level(test, question.node, question.policy, question.traffic, seed=1)
    with pytest.raises(InputError, match="expected utilisation or p50_ms"):
        load_scenario("rm3_skylake", ["node.anchor={rate_qps: 5}"])


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["rm3_skylake", "rm3_skylake_table"])
def test_the_answer_shows_it(name: str) -> None:
    anchor = "node.anchor={rate_qps: 1000, utilisation: 0.6, p95_ms: 1000}"
    at = "traffic.arrivals.rate_qps=1000"
    anchored = perfmodel.predict(name, overrides=[*QUICK, at, anchor])
    plain = perfmodel.predict(name, overrides=[*QUICK, at])
    shown = anchored.to_dict()
    assert shown["load_test"] is not None
    assert shown["load_test"]["level_from"] == "utilisation"
    assert shown["utilisation"]["cpu"] == pytest.approx(0.6, rel=0.02)
    (p95,) = shown["load_test"]["percentiles"]
    assert (p95["percentile"], p95["agrees"]) == ("p95", False)
    assert any("disagrees" in note for note in shown["notes"])
    assert plain.to_dict()["load_test"] is None
    if name == "rm3_skylake":  # the table states an error of its own
        assert anchored.errors.cpu < plain.errors.cpu


def test_a_table_corrects_a_model_on_its_profile_size_by_size(tmp_path: Path) -> None:
    table = tmp_path / "measured.csv"
    plain = prepare(load_scenario("rm3_skylake")).times.table.cpu_s
    rows = [(16, 1, 1.2), (128, 1, 0.9), (16, 40, 1.2), (128, 40, 1.5)]
    lines = [f"{size},{busy},{1e3 * factor * plain[size - 1, busy - 1]}" for size, busy, factor in rows]
    table.write_text("items,busy,service_ms\n" + "\n".join(lines) + "\n", encoding="utf-8")
    question = prepare(load_scenario("rm3_skylake", [f"node.anchor={{service_times: {table}}}"]))
    ratio = question.times.table.cpu_s / plain
    for size, busy, factor in rows:
        assert ratio[size - 1, busy - 1] == pytest.approx(factor)
    assert ratio[3, 0] == pytest.approx(1.2)  # smaller than any row: that of the smallest
    assert 0.9 < ratio[63, 0] < 1.2
    assert question.times.errors.cpu < 0.05
    assert any("measured.csv" in note for note in question.node_notes)
