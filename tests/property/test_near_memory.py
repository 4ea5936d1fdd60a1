"""What must hold of lookups in memory, on models and modules that hypothesis draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.near_memory import all_looked_up, near_memory_facts, near_memory_time
from perfmodel.costmodel.rank_cache import NearMemory, near_memory
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.near_memory import NearMemorySettings
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file

SKYLAKE: Device = read_profile(find_file("profile", "skylake")).device("hpca2020")
SIZES = np.array([1.0, 7.0, 64.0, 500.0])

a_table = st.fixed_dictionaries(
    {
        "num_rows": st.integers(1, 4_000_000),
        "dim": st.sampled_from([8, 16, 32]),
        "pooling_factor": st.floats(0.5, 150.0),
        "count": st.integers(1, 6),
        "zipf_exponent": st.sampled_from([0.0, 0.9]),
    }
)


@st.composite
def models(draw: st.DrawFn) -> RecModel:
    """Pooled tables, and a layer on top."""
    tables: list[dict[str, Any]] = draw(st.lists(a_table, min_size=1, max_size=3))
    width = sum(table["dim"] * table["count"] for table in tables)
    return RecModel.model_validate(
        {
            "name": "drawn",
            "operators": [
                {"name": "e", "kind": "embedding_bag", "tables": tables},
                {"name": "joined", "kind": "concat", "inputs": ["e"]},
                {"name": "top", "kind": "mlp", "input": "joined", "widths": [width, 1]},
            ],
        },
        strict=False,
    )


@st.composite
def modules(draw: st.DrawFn) -> NearMemory:
    """Modules of all kinds that a scenario may have."""
    cache_kib = draw(st.none() | st.sampled_from([1.0, 16.0, 128.0]))
    cached = cache_kib is not None
    asked = NearMemorySettings(
        ranks=draw(st.sampled_from([1, 2, 4, 8, 16])),
        cache_kib=cache_kib,
        scheduling=draw(st.sampled_from(["arrival", "table"])) if cached else "arrival",
        hot_entries=draw(st.booleans()) if cached else False,
        packet_bags=draw(st.integers(1, 16)),
        channels=draw(st.integers(1, 12)),
    )
    return near_memory(asked, SKYLAKE)


def with_settings(memory: NearMemory, **changes: object) -> NearMemory:
    return replace(memory, settings=memory.settings.model_copy(update=changes))


@given(models(), modules())
@settings(max_examples=25, deadline=None)
def test_rows_and_bags_are_those_of_the_model(model: RecModel, memory: NearMemory) -> None:
    found = all_looked_up(model, memory, SIZES)
    kernels = [kernel for kernel in lower(model) if kernel.family == "embedding_bag"]
    rows = sum(kernel.work(SIZES).random_rows for kernel in kernels)
    assert sum(looked.rows for _, looked in found) == pytest.approx(rows, rel=1e-9)
    for _, looked in found:
        assert ((looked.hit_rate >= 0.0) & (looked.hit_rate <= 1.0)).all()
        assert (looked.fullest >= 1.0 - 1e-9).all()
        assert (looked.fullest <= memory.settings.ranks + 1e-9).all()


@pytest.mark.thorough
@given(models(), modules(), st.sampled_from([1.0, 20.0, 40.0]))
@settings(max_examples=25, deadline=None)
def test_more_ranks_channels_or_cache_are_never_slower(
    model: RecModel, memory: NearMemory, busy: float
) -> None:
    before_s = near_memory_time(model, SKYLAKE, memory, SIZES, busy).seconds
    better = [
        with_settings(memory, ranks=2 * memory.settings.ranks),
        with_settings(memory, cache_kib=2.0 * (memory.settings.cache_kib or 8.0)),
        replace(memory, channels=memory.channels * 2),
    ]
    for each in better:
        assert (near_memory_time(model, SKYLAKE, each, SIZES, busy).seconds <= before_s * (1 + 1e-6)).all()


@pytest.mark.thorough
@given(models(), modules())
@settings(max_examples=15, deadline=None)
def test_a_pass_has_every_operator_once_and_slows_down_with_others(
    model: RecModel, memory: NearMemory
) -> None:
    alone = near_memory_time(model, SKYLAKE, memory, SIZES, 1.0)
    crowded = near_memory_time(model, SKYLAKE, memory, SIZES, 40.0)
    assert [timed.kernel for timed in alone.kernels] == list(lower(model))
    assert (crowded.seconds >= alone.seconds * (1 - 1e-9)).all()
    assert (np.diff(alone.seconds) > 0).all()


@pytest.mark.thorough
@given(models(), modules())
@settings(max_examples=15, deadline=None)
def test_what_caches_find_takes_no_energy_of_rows(model: RecModel, memory: NearMemory) -> None:
    without = with_settings(memory, cache_kib=None, scheduling="arrival", hot_entries=False)
    cached, uncached = (near_memory_facts(model, each, 64.0) for each in (memory, without))
    assert cached.energy_j <= uncached.energy_j * (1 + 1e-9)
    assert cached.host_energy_j == uncached.host_energy_j
