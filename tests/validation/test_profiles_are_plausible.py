"""The fitted constants are ones that such hardware could have, and sources say what is true."""

from __future__ import annotations

import pytest

from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from tests.measured_profiles import measured_names

PROFILES = {name: read_profile(find_file("profile", name)) for name in measured_names()}
CPU_STACKS = [
    (name, stack)
    for name, profile in PROFILES.items()
    for stack, section in profile.stacks.items()
    if profile.kind == "cpu" and not section.surfaces  # where calls are measured, constants are a fallback
]


@pytest.mark.parametrize(("name", "stack"), CPU_STACKS)
def test_weights_stream_faster_from_nearer_levels(name: str, stack: str) -> None:
    costs = PROFILES[name].stacks[stack].costs
    assert (
        costs.weight_l2_gb_per_s.value >= costs.weight_l3_gb_per_s.value >= costs.weight_memory_gb_per_s.value
    )


@pytest.mark.parametrize(("name", "stack"), CPU_STACKS)
def test_one_core_asks_for_less_than_its_socket_reaches(name: str, stack: str) -> None:
    device = PROFILES[name].device(stack)
    reachable = device.memory.bandwidth_bytes_per_s * device.memory.random_fraction
    assert 64 / device.lookup.memory_line_s < reachable / 2
    assert device.gemm.weight_memory_bytes_per_s < reachable / 2


@pytest.mark.parametrize(("name", "stack"), CPU_STACKS)
def test_lookups_are_slower_from_memory_than_from_cache(name: str, stack: str) -> None:
    lookup = PROFILES[name].device(stack).lookup
    assert lookup.memory_line_s > lookup.cached_line_s


@pytest.mark.xfail(
    strict=True, reason="a cost is called assumed where the fit moved it but did not narrow it"
)
def test_costs_taken_from_another_stack_are_those_of_that_stack() -> None:
    stacks = PROFILES["gtx1080ti"].stacks
    other = dict(stacks["deeprecsys-repository"].costs)
    taken = {
        key: entry.value
        for key, entry in stacks["deeprecsys-isca2020"].costs
        if entry is not None and entry.source == "assumed: the repository's stack on the same card"
    }
    assert taken == pytest.approx({key: other[key].value for key in taken}, rel=0.1)
