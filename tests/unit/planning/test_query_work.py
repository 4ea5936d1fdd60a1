"""Work of the query on a node: what splitting repeats, what sharing saves, and histories that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import perfmodel
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question

QUICK = {"seed": 1, "precision": 0.05, "min_queries": 20_000, "max_queries": 30_000}
ROWS = 5000
ITEM = {"num_rows": 10_000_000, "dim": 64, "pooling_factor": 100}
MODEL: dict[str, Any] = {
    "name": "with-a-user",
    "operators": [
        {
            "name": "user",
            "kind": "embedding_bag",
            "scope": "query",
            "varies": True,
            "tables": [{"num_rows": 10_000_000, "dim": 64, "pooling_factor": ROWS}],
        },
        {"name": "item", "kind": "embedding_bag", "tables": [ITEM]},
        {"name": "joined", "kind": "concat", "inputs": ["user", "item"]},
        {"name": "top", "kind": "mlp", "input": "joined", "widths": [128, 1]},
    ],
}


def scenario(folder: Path, *, rows: int = ROWS, **changes: Any) -> dict[str, Any]:
    """Eight cores, queries of 256 items; the user looks up so many rows."""
    model = yaml.safe_load(yaml.safe_dump(MODEL))
    model["operators"][0]["tables"][0]["pooling_factor"] = rows
    (folder / "user.yaml").write_text(yaml.safe_dump(model))
    return {
        "model": str(folder / "user.yaml"),
        "node": {"cpu": "broadwell", "cores": 8},
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": 1000},
            "query_sizes": {"distribution": "fixed", "num_items": 256},
            **changes.pop("traffic", {}),
        },
        "policy": {"name": "split", "batch_size": 64},
        "sla": {"percentile": 0.95, "latency_ms": 0.8},
        "simulation": QUICK,
        **changes,
    }


def question(folder: Path, **changes: Any) -> Question:
    return prepare(load_scenario(scenario(folder, **changes)))


@pytest.mark.thorough
def test_the_best_batch_is_larger_where_splitting_repeats_work_of_the_query(tmp_path: Path) -> None:
    without, with_work = (
        perfmodel.tune(scenario(tmp_path, rows=rows)).to_dict()["tuned"]["batch_size"] for rows in (1, ROWS)
    )
    assert without < with_work


@pytest.mark.thorough
def test_sharing_the_work_lets_a_node_serve_more(tmp_path: Path) -> None:
    loose = {"percentile": 0.95, "latency_ms": 8.0}  # the gain is in time, and not in slack up to the SLA
    repeated = perfmodel.capacity(scenario(tmp_path, sla=loose))
    sharing = {"name": "split", "batch_size": 64, "share_query_work": True}
    shared = perfmodel.capacity(scenario(tmp_path, sla=loose, policy=sharing))
    before, after = (answer.to_dict()["latency_bounded_qps"] for answer in (repeated, shared))
    assert before is not None
    assert after is not None
    row = perfmodel.latency(str(tmp_path / "user.yaml"), on="broadwell", batch_sizes=[64]).rows[0]
    of_user = sum(operator.share for operator in row.operators if operator.scope == "query")
    in_time = 4.0 / (4.0 - 3.0 * of_user)  # of 4 requests, 3 are without it
    assert in_time > 1.3
    assert after / before == pytest.approx(in_time, rel=0.15)  # shorter requests wait less, too


@pytest.mark.thorough
def test_tuning_shares_the_work_where_the_scenario_does(tmp_path: Path) -> None:
    # Queries of 256 items in 8 requests of 32: without sharing, each of them looks the user's rows up.
    sharing = {"name": "split", "batch_size": 64, "share_query_work": True}
    asked: dict[str, Any] = {"sla": {"percentile": 0.95, "latency_ms": 8.0}}
    repeated = perfmodel.tune(scenario(tmp_path, **asked), batch_sizes=[32]).to_dict()["tuned"]
    shared = perfmodel.tune(scenario(tmp_path, policy=sharing, **asked), batch_sizes=[32]).to_dict()["tuned"]
    at_32 = scenario(tmp_path, policy={**sharing, "batch_size": 32}, **asked)
    carried = perfmodel.capacity(at_32).to_dict()["latency_bounded_qps"]
    assert shared["latency_bounded_qps"] == pytest.approx(carried, rel=0.03)
    assert shared["latency_bounded_qps"] > 1.5 * repeated["latency_bounded_qps"]


def test_what_sharing_assumes_is_said(tmp_path: Path) -> None:
    asked = question(tmp_path, policy={"name": "split", "batch_size": 64, "share_query_work": True})
    (note,) = [note for note in asked.node_notes if note.startswith("policy.share_query_work")]
    assert "0.256 kB of results are sent on" in note  # 64 elements


def test_nothing_can_be_shared_without_work_of_the_query(tmp_path: Path) -> None:
    policy = {"name": "split", "batch_size": 64, "share_query_work": True}
    with pytest.raises(InputError, match=r"share_query_work: ncf has no work of the query"):
        prepare(load_scenario({**scenario(tmp_path), "model": "ncf", "policy": policy}))


def test_a_launch_that_joins_queries_pays_each_of_them(tmp_path: Path) -> None:
    policy = {"name": "dynamic-batching", "max_batch_items": 512, "timeout_ms": 1}
    by_query = question(tmp_path, policy=policy).times.table.by_query
    assert by_query is not None
    alone_s, both_s = (by_query.cpu.seconds(0, 512, queries, 1) for queries in (1, 2))
    work_s = both_s - alone_s
    single = perfmodel.latency(
        str(tmp_path / "user.yaml"), on="broadwell", batch_sizes=[512], extrapolate=True
    )
    of_user_s = sum(row.seconds for row in single.rows[0].operators if row.scope == "query")
    assert work_s == pytest.approx(of_user_s, rel=0.2)  # less one call


@pytest.mark.thorough
def test_times_follow_the_length_of_the_history(tmp_path: Path) -> None:
    law = {"lengths": {"distribution": "lognormal", "mu": 8.0, "sigma": 1.0, "max_length": 30_000}}
    table = question(tmp_path, traffic=law).times.table
    assert table.by_query is not None
    assert table.by_query.shares.sum() == pytest.approx(1.0)
    times_s = table.by_query.cpu.with_s[:, 63, 0]
    assert len(times_s) == 12
    assert (times_s[1:] > times_s[:-1]).all()
    fixed = question(tmp_path, traffic={"lengths": {"distribution": "fixed", "length": ROWS}}).times.table
    assert fixed.by_query is None
    assert fixed.cpu_s == pytest.approx(question(tmp_path).times.table.cpu_s)


@pytest.mark.thorough
def test_lengths_that_differ_lengthen_the_tail_and_not_the_mean_service_time(tmp_path: Path) -> None:
    (tmp_path / "lengths.txt").write_text(f"{2 * ROWS}\n1\n1\n{2 * ROWS}\n")
    lengths = {"distribution": "file", "file": str(tmp_path / "lengths.txt")}
    same, differ = (
        perfmodel.predict(scenario(tmp_path, rows=ROWS, traffic=traffic)).to_dict()
        for traffic in ({}, {"lengths": lengths})
    )
    assert differ["service_time_ms"] == pytest.approx(same["service_time_ms"], rel=0.02)
    assert differ["latency_ms"]["p99"] > 1.1 * same["latency_ms"]["p99"]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"distribution": "fixed", "length": 0}, "length: expected a whole number >= 1"),
        (
            {"distribution": "lognormal", "mu": 1, "sigma": 1, "min_length": 9, "max_length": 3},
            "9 is more than",
        ),
        ({"distribution": "file", "file": "nowhere.txt"}, "expected a file"),
        ({"distribution": "zipf"}, "expected one of fixed, lognormal, file"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(
    tmp_path: Path, lengths: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        question(tmp_path, traffic={"lengths": lengths})


def test_a_model_without_lists_that_vary_has_no_lengths(tmp_path: Path) -> None:
    fixed = scenario(tmp_path, traffic={"lengths": {"distribution": "fixed", "length": 7}})
    with pytest.raises(InputError, match="ncf has no list whose length varies"):
        prepare(load_scenario({**fixed, "model": "ncf"}))
