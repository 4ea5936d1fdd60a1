"""A small log of a simulated node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perfmodel.domain.workload import Arrivals, PoissonArrivals
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.planning.observe.log import ServedLog, checked_log
from perfmodel.sim.engines import simulate
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import TrafficSource

MakeLog = Callable[..., Path]


@pytest.fixture
def make_log(tmp_path: Path) -> MakeLog:
    """Write the log of four executors: 1 ms and 20 us an item, 100 to 300 items, without scatter."""

    def make(
        *,
        arrivals: Arrivals | None = None,
        num: int = 6000,
        seed: int = 1,
        service: ServiceTimes | None = None,
        name: str = "log.csv",
        executors: bool = False,
    ) -> Path:
        sizes = SizePmf(np.array([100, 200, 300]), np.array([0.2, 0.5, 0.3]))
        if service is None:
            service = ServiceTimes(cpu_s=np.repeat((1e-3 + 2e-5 * np.arange(1.0, 301.0))[:, None], 4, axis=1))
        source = TrafficSource(arrivals=arrivals or PoissonArrivals(rate_qps=500.0), sizes=sizes)
        queries = source.draw(num, seed=seed)
        policy = SplitAndOffload(batch_size=300)
        record = simulate(queries, service, policy, engine="simpy", log_requests=True)
        log = record.requests
        assert log is not None
        order = np.argsort(log.query, kind="stable")
        columns = [queries.arrival_s, queries.num_items, log.start_s[order], log.finish_s[order]]
        header, formats = "arrival_s,size,start_s,end_s", "%.9f,%d,%.9f,%.9f"
        if executors:
            columns, header, formats = [*columns, log.executor[order]], header + ",executor", formats + ",%d"
        np.savetxt(tmp_path / name, np.column_stack(columns), formats, header=header, comments="")
        return tmp_path / name

    return make


@pytest.fixture
def log(make_log: MakeLog) -> ServedLog:
    """The log, read."""
    return checked_log(read_recording(make_log()))
