"""Which keys differ: defaults included, sections of another kind as a whole, how it is simulated never."""

from __future__ import annotations

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.diff.keys import differing_keys, with_key


def keys(*changes: str) -> list[tuple[str, object, object]]:
    a, b = load_scenario("rm3_skylake"), load_scenario("rm3_skylake", changes)
    return [(found.key, found.a, found.b) for found in differing_keys(a, b)]


def test_single_values_are_keys() -> None:
    assert keys("policy.batch_size=64", "sla.latency_ms=50") == [
        ("policy.batch_size", 128, 64),
        ("sla.latency_ms", 100.0, 50.0),
    ]


def test_what_is_left_out_is_its_default() -> None:
    assert keys("sla.confidence=0.9", "node.threads=1", "policy.offload_threshold_items=null") == []
    assert keys("sla.confidence=0.8") == [("sla.confidence", 0.9, 0.8)]


def test_a_section_of_another_kind_differs_as_a_whole() -> None:
    ((key, a, b),) = keys("policy={name: dynamic-batching, max_batch_items: 64, timeout_ms: 1}")
    assert key == "policy"
    assert isinstance(a, dict)
    assert isinstance(b, dict)
    assert (a["name"], b["name"]) == ("split", "dynamic-batching")


def test_how_it_is_simulated_and_described_is_not_compared() -> None:
    assert keys("simulation.seed=7", "simulation.precision=0.1", "description=another") == []


def test_a_changed_scenario_has_the_others_value_and_nothing_else() -> None:
    a, b = load_scenario("rm3_skylake"), load_scenario("wnd_broadwell_size_priority")
    for key in differing_keys(a, b):
        changed = with_key(a, key, key.b)
        assert [found.key for found in differing_keys(a, changed)] == [key.key]
