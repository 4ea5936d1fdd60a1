"""Stops of a node are told from scatter: recovered from stamps that were made with both."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.serving.requests import RequestList
from calibration.serving.served import Served
from calibration.validation.anchor import fit_anchor
from calibration.validation.comparison import _with_stops
from calibration.validation.prediction import Trace
from calibration.validation.stops import Stops, stops_of
from calibration.validation.unsteadiness import unsteadiness
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.service import ServiceTimes

WORKERS, MEAN_S, LENGTH_S = 8, 2e-3, 0.02


def served(stops_s: FloatArray, scatter: float, span_s: float = 20.0) -> Served:
    """Workers that are mostly busy, the last one a card's; all stand still at some instants."""
    rng = np.random.default_rng(3)
    rows = []
    for worker in range(WORKERS):
        clock_s = 0.0
        while clock_s < span_s:
            clock_s += rng.exponential(MEAN_S / 4)
            items = int(rng.choice([32, 64]))
            service_s = MEAN_S * items / 48 * np.exp(scatter * rng.standard_normal())
            for stop_s in stops_s:
                if clock_s <= stop_s < clock_s + service_s:
                    service_s += LENGTH_S
            rows.append((clock_s, clock_s + service_s, items, worker))
            clock_s += service_s
    start_s, finish_s, items, worker = np.array(sorted(rows)).T
    return Served(
        requests=RequestList(
            query=np.arange(len(rows)),
            num_items=items.astype(np.int64),
            arrival_s=start_s,
            offloaded=worker == WORKERS - 1,
        ),
        start_s=start_s,
        finish_s=finish_s,
        cpu_s=finish_s - start_s,  # a hypervisor's stop is in the processor time
        worker=worker.astype(np.int64),
        num_workers=WORKERS - 1,
    )


STOPS_S = np.arange(0.5, 20.0, 1.3)


def test_stops_of_all_workers_are_found_with_their_rate_and_length() -> None:
    found = stops_of([served(STOPS_S, 0.1)])
    assert len(found.lost_s) == len(STOPS_S)
    assert found.pauses is not None
    assert found.pauses.length_s == pytest.approx(LENGTH_S, rel=0.1)
    assert found.pauses.rate_per_s == pytest.approx(1 / (1.3 - LENGTH_S), rel=0.1)
    assert found.share == pytest.approx(LENGTH_S / 1.3, rel=0.1)
    assert found.accelerator_share > 0.0


def test_scatter_of_single_workers_is_no_stop() -> None:
    found = stops_of([served(np.empty(0), 0.4)])
    assert (found.lost_s, found.pauses) == ((), None)
    assert not found.struck[0].any()


def test_what_a_stop_struck_counts_neither_as_scatter_nor_as_pauses() -> None:
    run = served(STOPS_S, 0.1)
    found = unsteadiness([run])
    assert found.relative_std == pytest.approx(0.1, rel=0.1)
    assert found.to_dict()["node"] == {
        "scatter": {"distribution": "lognormal", "relative_std": found.relative_std},
        "pauses": [
            {
                "rate_per_s": pytest.approx(1 / (1.3 - LENGTH_S), rel=0.1),
                "length_ms": pytest.approx(20.0, rel=0.1),
                "scope": "node",
                "lengths": "constant",
            }
        ],
    }


def test_an_anchor_tells_stops_from_scatter_and_keeps_both() -> None:
    sizes = np.arange(1.0, 65.0)
    even = ServiceTimes(
        cpu_s=np.repeat((MEAN_S * sizes / 48)[:, None], WORKERS - 1, axis=1),
        accelerator_s=MEAN_S * sizes / 48,
        num_accelerators=1,
    )
    anchor = fit_anchor([served(STOPS_S, 0.1)], even)
    assert len(anchor.stops.lost_s) == len(STOPS_S)
    assert anchor.relative_std == pytest.approx(0.1, rel=0.15)
    assert anchor.to_dict()["stops"] == anchor.stops.to_dict()


def test_the_queue_with_stops_has_their_tail_and_the_mean_times_given() -> None:
    asked = prepare(load_scenario("rm1_skylake", ["traffic.arrivals.rate_qps=400", "policy.batch_size=64"]))
    segments = [asked.traffic.draw(4000, seed=7)]
    service = ServiceTimes(cpu_s=np.repeat(1e-4 * np.arange(1.0, 65.0)[:, None], 8, axis=1))
    stops = Stops(lost_s=(0.05,) * 20, running_s=10.0, share=0.1)
    found = _with_stops(asked, segments, service, stops)
    without = Trace(tuple(segments)).predict(service, asked.policy)
    assert found is not None
    assert found.service_time_s == without.service_time_s
    # every tenth query comes within a stop or in its wake, and waits for half of it or more
    assert found.percentiles_s[0.95] > without.percentiles_s[0.95] + 0.01
    assert found.percentiles_s[0.5] < without.percentiles_s[0.5] * 1.5
    assert _with_stops(asked, segments, service, Stops()) is None
