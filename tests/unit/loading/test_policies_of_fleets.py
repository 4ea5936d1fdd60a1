"""A service's policy on node types that have no accelerator."""

from __future__ import annotations

import pytest

from perfmodel.domain.serving import DynamicBatchingPolicy, FusionPolicy, SplitPolicy
from perfmodel.loading.fleet_file import load_fleet

CPU = {"cpu": "broadwell", "stack": "deeprecsys-isca2020"}


@pytest.mark.parametrize(
    ("scenario", "on_card", "on_cores"),
    [
        (
            "wnd_broadwell_gtx1080ti_batching",
            DynamicBatchingPolicy(pool="accelerator", max_batch_items=1000, timeout_ms=1),
            DynamicBatchingPolicy(pool="cpu", max_batch_items=1000, timeout_ms=1),
        ),
        (
            "wnd_broadwell_gtx1080ti_fusion",
            FusionPolicy(batch_size=128, offload_threshold_items=200, max_fused_items=1000, streams=2),
            SplitPolicy(batch_size=128, offload_threshold_items=None),
        ),
    ],
)
def test_a_policy_about_accelerators_is_what_it_is_without_them(
    scenario: str,
    on_card: DynamicBatchingPolicy | FusionPolicy,
    on_cores: DynamicBatchingPolicy | SplitPolicy,
) -> None:
    loaded = load_fleet(
        {
            "services": {"feed": {"scenario": scenario, "demand": {"qps": 100}}},
            "node_types": {
                "card": {"node": {**CPU, "accelerators": ["gtx1080ti"]}, "available": 1},
                "cores": {"node": CPU, "available": 1},
            },
        }
    )
    assert loaded.on_node_type("feed", "card").scenario.policy == on_card
    assert loaded.on_node_type("feed", "cores").scenario.policy == on_cores
