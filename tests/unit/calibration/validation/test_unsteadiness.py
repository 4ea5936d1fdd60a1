"""Scatter and pauses as a run shows them: recovered from stamps that were made with both."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.serving.requests import RequestList
from calibration.serving.served import Served
from calibration.validation.comparison import was_taken
from calibration.validation.unsteadiness import Unsteadiness, unsteadiness
from perfmodel.sim.arrays import FloatArray


def run_of(
    service_s: FloatArray, cpu_s: FloatArray, items: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Served:
    """Requests of one worker, one after another."""
    number = len(service_s)
    finish_s = np.cumsum(service_s + 1e-4)
    return Served(
        requests=RequestList(
            query=np.arange(number),
            num_items=items,
            arrival_s=finish_s - service_s,
            offloaded=np.zeros(number, dtype=np.bool_),
        ),
        start_s=finish_s - service_s,
        finish_s=finish_s,
        cpu_s=cpu_s,
        worker=np.zeros(number, dtype=np.int64),
        num_workers=1,
    )


def drawn(number: int, relative_std: float, pauses: int) -> Served:
    rng = np.random.default_rng(5)
    items = rng.choice([64, 128], number)
    sigma = np.sqrt(np.log1p(relative_std**2))
    cpu_s = 1e-5 * items * np.exp(sigma * rng.standard_normal(number) - sigma**2 / 2)
    service_s = cpu_s.copy()
    service_s[rng.choice(number, pauses, replace=False)] += 0.02
    return run_of(service_s, cpu_s, items)


def test_scatter_and_pauses_are_recovered_from_stamps() -> None:
    run = drawn(20_000, 0.2, 50)
    found = unsteadiness([run])
    assert found.relative_std == pytest.approx(0.2, rel=0.03)  # sizes are no scatter, pauses are none
    assert found.p99_over_p50 == pytest.approx(np.exp(2.326 * np.sqrt(np.log1p(0.04))), rel=0.03)
    assert found.pause_s == pytest.approx(0.02, rel=1e-6)
    assert found.pauses_per_s == pytest.approx(50 / run.service_s.sum())
    node = found.to_dict()["node"]
    assert node == {
        "scatter": {"distribution": "lognormal", "relative_std": found.relative_std},
        "pauses": [
            {
                "rate_per_s": found.pauses_per_s,
                "length_ms": pytest.approx(20.0),
                "scope": "executor",
                "lengths": "exponential",
            }
        ],
    }


def test_what_cannot_be_told_is_none() -> None:
    found = unsteadiness([drawn(30, 0.2, 0)])
    assert (found.relative_std, found.p99_over_p50, found.pause_s, found.pauses_per_s) == (
        None,
        None,
        None,
        0.0,
    )
    assert found.to_dict()["node"] == {}


@pytest.mark.parametrize(("pauses_per_s", "taken"), [(3.0, False), (110.0, True)])
def test_a_run_whose_cores_others_had_is_disturbed_unless_the_scenario_says_so(
    pauses_per_s: float, taken: bool
) -> None:
    found = Unsteadiness(
        requests=1000,
        compared=900,
        relative_std=0.1,
        p99_over_p50=1.3,
        pauses_per_s=pauses_per_s,
        pause_s=8.3e-3,
    )
    assert found.taken_share == pytest.approx(pauses_per_s * 8.3e-3)
    assert was_taken(found, known=False) is taken
    assert not was_taken(found, known=True)
