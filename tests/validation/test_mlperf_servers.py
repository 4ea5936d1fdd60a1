"""Audited tail latencies of whole servers (MLPerf v5.1, dlrm-v2 on CPUs) from their Offline rates."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from calibration.reproduce.mlperf import TARGETS, largest_rate_qps, quantity_ms, with_a_stall
from calibration.reproduce.mlperf_serving import (
    PLAIN,
    AuditedServer,
    Steps,
    audited_servers,
    held_until_s,
    latencies_s,
    others_stall_s,
    service_times,
    sizes,
)

QUERIES = 300_000
BARE = [server for server in audited_servers() if not server.is_virtual]


def off_percent(servers: list[AuditedServer], steps: Steps) -> dict[str, list[float]]:
    """Predicted over measured, less 1, of each target's quantity. [%]"""
    off: dict[str, list[float]] = {name: [] for name in TARGETS}
    for server in servers:
        found_s = np.sort(latencies_s(server, QUERIES, steps=steps))
        for name in TARGETS:
            off[name].append(100.0 * (quantity_ms(found_s, name) / server.measured_ms[f"{name}_ms"] - 1.0))
    return off


@pytest.fixture(scope="module")
def off() -> dict[str, list[float]]:
    return off_percent(BARE, Steps())


@pytest.mark.parametrize(("name", "most"), TARGETS.items())
def test_the_median_bare_machine_is_within_its_target(
    name: str, most: float, off: dict[str, list[float]]
) -> None:
    assert len(BARE) >= 4
    assert median(abs(each) for each in off[name]) <= most


def test_a_plain_queue_is_further_off_where_most_queries_are(off: dict[str, list[float]]) -> None:
    plain = off_percent(BARE, PLAIN)
    for name in ("mean", "p50"):
        assert median(map(abs, plain[name])) > median(map(abs, off[name])) + 3.0
    assert median(map(abs, plain["p50"])) > TARGETS["p50"]


def test_a_virtual_machine_is_a_miss_that_nobody_hides() -> None:
    (virtual,) = (server for server in audited_servers() if server.is_virtual)
    off = off_percent([virtual], Steps())
    assert all(-60.0 < each < -35.0 for values in off.values() for each in values)


@pytest.mark.thorough
def test_one_stall_a_run_makes_a_p999_of_the_measured_size() -> None:
    for server in BARE:
        steady_s = np.sort(latencies_s(server, QUERIES))
        stalled = with_a_stall(server, steady_s, others_stall_s(server, BARE))
        measured = server.measured_ms["p999_ms"]
        assert quantity_ms(steady_s, "p999") < 0.3 * measured  # without: nothing like it
        assert 0.5 * measured < stalled["p999"] < 2.0 * measured
        assert stalled["p50"] == pytest.approx(quantity_ms(steady_s, "p50"), rel=0.02)


@pytest.mark.thorough
def test_the_largest_valid_rate_lies_between_the_submitted_and_the_offline_one() -> None:
    server = BARE[0]
    found = largest_rate_qps(server)
    assert found is not None
    assert server.server_qps < found < server.offline_qps


@pytest.mark.parametrize(("cores", "instances"), [(172, 85), (256, 255), (192, 95)])
def test_instances_are_those_of_the_scripts(cores: int, instances: int) -> None:
    server = AuditedServer(
        submitter="",
        system="",
        cores=cores,
        offline_qps=1e4,
        server_qps=1.0,
        scheduled_qps=1.0,
        measured_ms={},
    )
    assert server.instances == instances
    times_s = service_times(server, Steps()).cpu_s[:, 0]
    assert times_s[sizes().values - 1] @ sizes().probabilities == pytest.approx(instances / 1e4)


def test_a_larger_query_leaves_once_three_others_have_come() -> None:
    items = np.array([200, 300, 100, 200, 700, 200, 100, 200, 200])
    out_s = held_until_s(np.arange(9.0), items)
    assert out_s[[0, 1, 2, 3, 4, 5, 6]].tolist() == [3.0, 4.0, 2.0, 6.0, 7.0, 8.0, 6.0]
