"""Tuning a pipeline: what it finds is the best of what a search of every placement finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import perfmodel
from perfmodel.errors import InputError

QUICK = ["simulation.min_queries=20000", "simulation.max_queries=60000", "simulation.precision=0.1"]


def by_tables(folder: Path, *, first_ms: float = 1.0, second_ms: float = 4.0) -> dict[str, Any]:
    """Two stages on tables, whose loads and rates can be worked out by hand."""
    nodes = []
    for name, each_ms in (("first", first_ms), ("second", second_ms)):
        (folder / f"{name}.csv").write_text(f"items,service_ms\n1,{each_ms}\n16,{16 * each_ms}\n")
        nodes.append(
            {"service_times": str(folder / f"{name}.csv"), "executors": 2, "error_percent": 0, "tdp_w": 100}
        )
    policy = {"name": "split", "batch_size": 16}
    return {
        "node": nodes[0],
        "policy": policy,
        "pipeline": {"stages": [{"items": 4, "node": nodes[1], "policy": policy}]},
        "traffic": {
            "arrivals": {"process": "constant", "rate_qps": 1},
            "query_sizes": {"distribution": "fixed", "num_items": 16},
        },
        "sla": {"percentile": 0.95, "latency_ms": 30},
    }


def test_parts_are_chosen_where_only_they_meet_the_sla(tmp_path: Path) -> None:
    """16 ms and 16 ms whole are 32; in two parts 8 and 8: side by side on two executors, 16."""
    found = perfmodel.tune_stages(by_tables(tmp_path), overrides=QUICK, sub_batches=[1, 2, 4])
    by_parts = {each.placement.sub_batches: each for each in found.tried}
    assert by_parts[1].latency_bounded_qps is None
    assert found.static.latency_bounded_qps is None
    assert found.gain is None
    assert found.tuned.placement.sub_batches > 1
    # Each stage has 16 ms of work a query on two executors: 125 queries/s fill both.
    assert found.tuned.latency_bounded_qps == pytest.approx(125.0, rel=0.02)
    assert found.tuned.tdp_w == 200.0


@pytest.mark.thorough
def test_the_best_is_what_capacity_finds_with_it() -> None:
    changes = [*QUICK, "sla.latency_ms=12"]
    found = perfmodel.tune_stages("ranking_two_stages", overrides=changes, sub_batches=[1, 4])
    best_qps = found.tuned.latency_bounded_qps
    assert found.tuned.placement.on == ("wide", "wide")
    assert best_qps is not None
    moved = [
        *("node.cpu=skylake", "node.cores=40", "policy.batch_size=64"),
        *("pipeline.stages.0.node.cpu=skylake", "pipeline.stages.0.node.cores=40"),
        "pipeline.stages.0.policy.batch_size=64",
        f"pipeline.sub_batches={found.tuned.placement.sub_batches}",
    ]
    again = perfmodel.capacity("ranking_two_stages", overrides=[*changes, *moved])
    assert again.latency_bounded_qps == pytest.approx(best_qps, rel=0.04)
    assert all(each.below_qps <= 1.05 * best_qps for each in found.tried if each.below_qps is not None)
    assert found.tuned.tdp_w == 500.0
    document = found.to_dict()
    assert [stage["on"] for stage in document["stages"]] == ["wide", "wide"]
    assert document["gain"] == pytest.approx(best_qps / document["static"]["latency_bounded_qps"])


@pytest.mark.thorough
def test_by_watt_the_best_carries_most_for_its_power() -> None:
    found = perfmodel.tune_stages(
        "ranking_two_stages",
        overrides=[*QUICK, "sla.latency_ms=12"],
        sub_batches=[4],
        objective="qps-per-watt",
    )
    known = [each.qps_per_w for each in found.tried if each.qps_per_w is not None]
    assert found.tuned.qps_per_w is not None
    assert found.tuned.qps_per_w >= 0.95 * max(known)


@pytest.mark.parametrize(
    ("scenario", "options", "expected"),
    [
        ("rm3_skylake", {}, "tune_stages: expected a scenario with a pipeline"),
        ("ranking_two_stages", {"sub_batches": [2, 1]}, "sub_batches: expected ascending numbers"),
        ("ranking_two_stages", {"sub_batches": [1, 200]}, "--sub-batches: expected at most 128"),
    ],
)
def test_what_cannot_be_tuned_is_refused(scenario: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        perfmodel.tune_stages(scenario, overrides=QUICK, **options)
