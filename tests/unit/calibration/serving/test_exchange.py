"""What the first request of a query leaves for the others: whose it is, when it is there, and who waits."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pytest

from calibration.serving import server
from calibration.serving.exchange import Exchange
from calibration.serving.inputs import Bytes, InputPool, draw_inputs
from calibration.serving.paced import paced_requests
from calibration.serving.requests import RequestList, requests_of
from calibration.serving.server import Workers, serve
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.errors import PerfplanError
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import pmf_of_list
from perfmodel.sim.traffic import Queries, TrafficSource
from tests.unit.calibration.serving.stubs import Spinner

SHARING = SplitAndOffload(batch_size=10, share_query_work=True)


@dataclass(frozen=True, slots=True)
class First(Spinner):
    """Sends the time at which it did."""

    def run(self, inputs: int, send: object = None) -> None:
        if callable(send):
            send(np.array([perf_counter()]).view(np.uint8))
        Spinner.run(self, inputs)


@dataclass(frozen=True, slots=True)
class Other(Spinner):
    """Fails where what it received is not of the moment before."""

    def run(self, inputs: int, received: Bytes | None = None) -> None:
        if received is not None and not 0.0 <= perf_counter() - received.view(np.float64)[0] < 10.0:
            raise ValueError("received what nobody sent")
        Spinner.run(self, inputs)


def pool_of(requests: RequestList, workers: Workers) -> InputPool:
    return draw_inputs(
        workers.servable,
        requests.num_items,
        np.random.default_rng(0),
        bytes_per_item=0.0,
        variety=requests.variety,
        by_variety=workers.by_variety,
    )


WORKERS = Workers(
    servable=Spinner(), num_workers=1, by_variety=(First(fixed_s=2e-3), Other(fixed_s=5e-4)), shared_bytes=8
)


def test_the_first_request_of_a_query_sends_and_the_others_receive() -> None:
    requests = requests_of(Queries(np.array([0.0, 1.0]), np.array([25, 10])), SHARING)
    assert requests.sends.tolist() == [True, False, False, False]  # nobody else is of the second query
    assert requests.sent.tolist() == [False, True, True, False]
    assert requests.variety.tolist() == [0, 1, 1, 0]
    alone = requests_of(Queries(np.array([0.0]), np.array([25])), SplitAndOffload(batch_size=10))
    assert not alone.sends.any()
    assert not alone.sent.any()


def test_a_server_does_the_work_of_a_query_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WARM_UP_S", 0.01)
    requests = requests_of(Queries(np.linspace(0.0, 0.1, 10), np.full(10, 30)), SHARING)
    run = serve(WORKERS, requests, pool_of(requests, WORKERS))
    assert len(run.requests) == 30
    assert (run.service_s[~run.requests.sent] >= 2e-3).all()
    assert np.median(run.service_s[run.requests.sent]) < 1.5e-3
    assert (run.start_s > run.requests.arrival_s - 1e-9).all()


def test_in_a_closed_loop_results_stand_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WARM_UP_S", 0.01)
    traffic = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=pmf_of_list([30]))
    requests, pause_s = paced_requests(traffic, SHARING, 20, utilisation=0.9, mean_service_s=1e-3, seed=1)
    assert requests.sent.any()
    assert not requests.sends.any()  # the order is shuffled: others may come before the first
    run = serve(WORKERS, requests, pool_of(requests, WORKERS), pause_s=pause_s)
    assert len(run.requests) == 20


def test_results_are_those_of_the_query_until_a_later_one_takes_their_place() -> None:
    exchange = Exchange(3, places=2)
    for query in (0, 1):
        exchange.send(query, np.full(3, query + 7, dtype=np.uint8))
    before_s = perf_counter()
    assert [exchange.receive(query).tolist() for query in (0, 1)] == [[7] * 3, [8] * 3]
    there_s = exchange.wait(1, lambda: False)
    assert there_s is not None
    assert there_s <= before_s
    exchange.send(2, np.zeros(3, dtype=np.uint8))
    with pytest.raises(PerfplanError, match="gone when its last request came"):
        exchange.receive(0)
    assert exchange.wait(3, lambda: True) is None  # the run is over: nothing will come
