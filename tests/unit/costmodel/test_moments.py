"""How cold a pass finds the caches: alone in a loop, among passes of other sizes, after pauses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Kernel, Product
from perfmodel.costmodel.moments import Before, Moment, moments
from perfmodel.domain.hardware import Caches

CACHES = Caches(l2_bytes=1e6, l3_bytes=30e6, exclusive=False, l3_lifetime_s=10e-3)


def layer(name: str, width: int) -> Kernel:
    return Kernel(
        operator=name,
        family="fc",
        product=Product(rows_per_item=1, inner=width, outer=width),
        read_bytes_per_item=4.0 * width,
        written_bytes_per_item=4.0 * width,
    )


SMALL, LARGE = layer("small", 100), layer("large", 1000)  # 40 kB and 4 MB of weights
KERNELS = (SMALL, LARGE)


def among(batch_size: float, others: float, *, utilisation: float = 1.0, seconds: float = 1e-3) -> Moment:
    """The large layer's moment in a pass that follows passes of another size."""
    size, time = np.array([batch_size]), np.array([seconds])
    before = Before(np.ones(1), np.array([[others]]), time[None], utilisation)
    return moments(KERNELS, size, CACHES, time, before).of(1)


def test_a_closed_loop_is_one_of_passes_of_the_same_size() -> None:
    size, time = np.array([8.0, 64.0]), np.array([1e-3, 5e-3])
    loop = moments(KERNELS, size, CACHES, time, Before.alike(size, time)).of(1)
    alone = among(64.0, 64.0, seconds=5e-3)
    assert loop.reuse_bytes[1] == alone.reuse_bytes[0]
    assert loop.evicted[:, 1] == pytest.approx(alone.evicted[:, 0])


def test_between_two_uses_of_weights_lie_half_of_each_pass() -> None:
    touched = [4.04e6 + items * 2 * 1100 * 4 for items in (8.0, 1000.0)]
    assert among(8.0, 1000.0).reuse_bytes == pytest.approx([sum(touched) / 2])


def test_the_first_call_follows_the_last_of_the_pass_before() -> None:
    size, time = np.array([8.0]), np.array([1e-3])
    first = moments(
        KERNELS, size, CACHES, time, Before(np.ones(1), np.array([[1000.0]]), time[None], 1.0)
    ).of(0)
    assert first.before_bytes == pytest.approx([4e6 + 1000 * 8000])


def test_a_mix_is_the_mean_of_its_sizes() -> None:
    size, time = np.array([8.0]), np.array([1e-3])
    both = Before(np.array([0.25, 0.75]), np.array([[8.0], [3000.0]]), np.full((2, 1), 1e-3), 1.0)
    mixed = moments(KERNELS, size, CACHES, time, both).of(1).evicted
    expected = 0.25 * among(8.0, 8.0).evicted + 0.75 * among(8.0, 3000.0).evicted
    assert mixed == pytest.approx(expected)


def test_pauses_empty_what_others_share_and_nothing_else() -> None:
    busy, idle = among(64.0, 64.0), among(64.0, 64.0, utilisation=0.1)
    assert idle.evicted[0] == pytest.approx(busy.evicted[0])
    assert busy.evicted[1] < 0.01
    # nine passes in ten follow a pause of 10 ms on average; half of the lines are gone after 10
    assert 0.25 < idle.evicted[1] < 0.6


def test_pauses_are_exponential_and_come_on_top_of_the_pass() -> None:
    """A pass of 1 ms, pauses of 10 ms in the mean, which is a lifetime; bytes alone evict next to nothing."""
    steps = np.linspace(0.0, 40.0, 400_001)
    lifetimes = 0.1 + steps
    gone = lifetimes**5 / (1.0 + lifetimes**5) * np.exp(-steps)
    after_a_pause = float(np.sum(0.5 * (gone[1:] + gone[:-1]) * np.diff(steps)))
    assert among(8.0, 8.0, utilisation=0.1).evicted[1] == pytest.approx(0.9 * after_a_pause, abs=0.02)


def test_an_exclusive_cache_holds_its_own_and_what_the_private_one_does() -> None:
    size, time = np.array([8.0]), np.array([1e-3])
    before = Before(np.ones(1), np.array([[4000.0]]), time[None], 1.0)
    exclusive = replace(CACHES, l3_bytes=29e6, exclusive=True)
    found, same, less = (
        moments(KERNELS, size, caches, time, before).of(1).evicted[1]
        for caches in (exclusive, CACHES, replace(CACHES, l3_bytes=29e6))
    )
    assert found == same
    assert found < less
