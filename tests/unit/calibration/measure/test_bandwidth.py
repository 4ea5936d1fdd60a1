"""What workers read together: a fit to known figures, and a short real measurement."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from calibration.measure.bandwidth import SharedReads, saturation, shared_bandwidth
from calibration.measure.visits import allocate_pool
from perfmodel.costmodel.contention import saturation_stretch


def facts_of(bandwidth: float, sharpness: float, workers: list[int]) -> dict[str, float]:
    found = {}
    for kind, alone in (("stream", 20e9), ("rows", 12e9)):
        for count in workers:
            stretch = saturation_stretch(count * alone / bandwidth, sharpness)
            stretch /= saturation_stretch(alone / bandwidth, sharpness)
            found[f"alone.{kind}.{count}"] = alone
            found[f"shared.{kind}.{count}"] = alone / stretch
    return found


@pytest.mark.parametrize(("bandwidth", "sharpness"), [(30e9, 4.0), (80e9, 3.0)])
def test_bandwidth_and_sharpness_are_found_again(bandwidth: float, sharpness: float) -> None:
    found = saturation(facts_of(bandwidth, sharpness, [2, 4, 8, 16]))
    assert found is not None
    assert found[0] == pytest.approx(bandwidth, rel=0.03)
    assert found[1] == pytest.approx(sharpness, rel=0.2)


def test_two_workers_tell_the_bandwidth_and_leave_the_sharpness_about_where_it_is_expected() -> None:
    found = saturation(facts_of(24e9, 4.0, [2]))
    assert found is not None
    assert found[0] == pytest.approx(24e9, rel=0.05)


def test_workers_that_do_not_slow_each_other_leave_the_memory_unsaturated() -> None:
    free = {"alone.stream.2": 20e9, "shared.stream.2": 20.5e9, "alone.rows.2": 9e9, "shared.rows.2": 9e9}
    found = saturation(free)
    assert found is not None
    assert saturation_stretch(40e9 / found[0], found[1]) < 1.05


def test_one_worker_alone_says_nothing_of_sharing() -> None:
    assert saturation({"bandwidth_bytes_per_s": 1e10}) is None


@pytest.mark.thorough
def test_looks_at_several_counts_are_kept_apart_and_their_medians_given() -> None:
    looks, pool = SharedReads([2, 3]), allocate_pool(64e6)
    first, second = looks.look(pool), looks.look(pool)
    assert {key.rpartition(".")[2] for key in first} == {"2"}
    assert {key.rpartition(".")[2] for key in second} == {"2", "3"}
    assert SharedReads([]).look(pool) == {}


@pytest.mark.thorough
def test_readers_read_at_a_plausible_rate() -> None:
    found = shared_bandwidth(allocate_pool(256e6), 0.3, 2)
    assert set(found) == {f"{side}.{kind}.2" for side in ("alone", "shared") for kind in ("stream", "rows")}
    assert all(1e8 < rate < 1e12 for rate in found.values())
