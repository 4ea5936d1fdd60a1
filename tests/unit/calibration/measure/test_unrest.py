"""Scatter and pauses that a calibration measures: found again in made-up passes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure.unrest import Passes, unrest, unrest_of, unrest_section
from calibration.measure.visits import allocate_pool
from perfmodel.domain.unsteady import Unrest

PASS_S = 1e-3


def worker(rng: np.random.Generator, *, std: float = 0.0, paused: dict[int, float] | None = None) -> Passes:
    """A thousand passes of four sequences, one after the other; some of them paused, by their number [s]."""
    scale = np.repeat([0.5, 1.0, 2.0, 4.0], 250) * PASS_S
    cpu = scale * np.maximum(0.1, 1.0 + std * rng.standard_normal(1000))
    lasted = cpu.copy()
    for index, length in (paused or {}).items():
        lasted[index] += length
    return Passes(np.cumsum(lasted) - lasted, lasted, cpu, np.repeat(np.arange(4.0), 250))


def test_scatter_is_that_of_passes_around_the_mean_of_their_sequence() -> None:
    rng = np.random.default_rng(1)
    facts = unrest_of([worker(rng, std=0.05), worker(rng, std=0.05)])
    assert facts["scatter_std"] == pytest.approx(0.05, rel=0.05)
    assert facts.keys() == {"scatter_std"}


def test_a_pause_of_one_worker_is_its_cores() -> None:
    rng = np.random.default_rng(2)
    workers = [worker(rng, paused={100: 4e-3, 700: 2e-3}), worker(rng), worker(rng)]
    facts = unrest_of(workers)
    assert facts["pauses.executor_s"] == pytest.approx(3e-3)
    assert facts["pauses.executor_per_s"] == pytest.approx(
        2 / sum(float(each.lasted_s.sum()) for each in workers)
    )
    assert "pauses.node_s" not in facts


def test_a_pause_of_all_workers_at_once_is_the_nodes_and_counts_once() -> None:
    rng = np.random.default_rng(3)
    facts = unrest_of([worker(rng, paused={300: 5e-3}) for _ in range(4)])
    seconds = float(worker(rng, paused={300: 5e-3}).lasted_s.sum())
    assert facts["pauses.node_per_s"] == pytest.approx(1 / seconds)
    assert facts["pauses.node_s"] == pytest.approx(5e-3)
    assert "pauses.executor_s" not in facts


def test_times_without_a_core_below_the_grain_are_no_pauses() -> None:
    assert unrest_of([worker(np.random.default_rng(4), paused={5: 0.4e-3})]).keys() == {"scatter_std"}


def test_a_machine_that_others_use_half_of_the_time_says_so_and_has_no_such_pauses() -> None:
    facts = {"scatter_std": 0.1, "pauses.executor_per_s": 200.0, "pauses.executor_s": 4e-3}
    section = unrest_section(facts | {"pauses.node_per_s": 0.5, "pauses.node_s": 2e-3}, "measured: raw.csv")
    found = Unrest.model_validate(section)
    assert [each.scope for each in found.pauses] == ["node"]
    assert (
        found.source
        == "measured: raw.csv; pauses of a core for 80 % of its running time left out: others work here"
    )
    assert found.words == "scatter of 10 % and pauses of the node, 0.5 a second of 2 ms"


def test_nothing_measured_is_no_section() -> None:
    assert unrest_section({}, "measured: raw.csv") is None


@pytest.mark.slow
def test_two_workers_are_timed() -> None:
    facts = unrest(allocate_pool(2e8), 4.0, 2)
    assert 0.0 < facts["scatter_std"] < 3.0


def test_a_pause_of_a_tenth_of_a_second_is_said_without_an_exponent() -> None:
    facts = {"scatter_std": 1.0, "pauses.node_per_s": 0.5, "pauses.node_s": 0.15}
    found = Unrest.model_validate(unrest_section(facts, "measured: raw.csv"))
    assert found.words == "scatter of 100 % and pauses of the node, 0.5 a second of 150 ms"
