"""`perfplan reproduce mlperf`: audited tail latencies of whole servers, from the Offline rate alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from calibration.reproduce.evaluation import BarPlot, Compared, Reproduction, Section
from calibration.reproduce.mlperf_serving import (
    HOP_S,
    LATENCY_LIMIT_S,
    PLACES,
    PLAIN,
    RUN_S,
    AuditedServer,
    Steps,
    audited_servers,
    latencies_s,
    others_stall_s,
    service_times,
    sizes,
    without,
)
from calibration.reproduce.scope import Progress, silent
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.mlperf.computation import mlperf
from perfmodel.planning.mlperf.target import mlperf_target
from perfmodel.planning.prepare import prepare
from perfmodel.planning.rate.search import RateSearch
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.traffic import TrafficSource
from perfmodel.units import MS

QUANTITIES: Mapping[str, float | None] = {
    "mean": None,
    "p50": 0.5,
    "p90": 0.9,
    "p95": 0.95,
    "p97": 0.97,
    "p99": 0.99,
    "p999": 0.999,
}
"""Names in the published table, and the percentile."""

TARGETS = {"mean": 15.0, "p50": 15.0, "p90": 8.0, "p95": 8.0, "p99": 15.0}
"""How far off the median bare machine may be. [%]"""

STALLS = 6
"""Repetitions of the time around a stall."""
STALL_BEGINS_S, AROUND_S = 1.0, 8.0
"""When it begins there, and how long what is served around it lasts: longer than its backlog does. [s]"""

STEP_QUERIES = 300_000
"""Behind each figure with a part left out."""

DATASHEET = "granite-rapids-6787p"
OTHER_SOFTWARE = (
    "the profile's software is eager PyTorch in fp32; the submissions run kernels that Intel wrote for it"
)
VIRTUAL = "a virtual machine: its hypervisor is in no part of the model"
NO_STALL = "nothing stands still in the model"


def reproduce_mlperf(num_queries: int, progress: Progress = silent) -> Reproduction:
    """Recompute the Server runs of every audited system.

    Parameters
    ----------
    num_queries : int
        Behind each system's percentiles.
    progress : callable
        Told what comes next.
    """
    servers = audited_servers()
    found: dict[str, FloatArray] = {}
    for server in servers:
        progress(server.label)
        found[server.label] = np.sort(latencies_s(server, num_queries))
    progress("what each part does")
    steps = _steps(servers, min(num_queries, STEP_QUERIES))
    progress("stalls, and the largest rates")
    bare = [server for server in servers if not server.is_virtual]
    return Reproduction(
        name="mlperf",
        title="MLPerf inference v5.1, dlrm-v2 on CPUs, Server, recomputed",
        source=(
            "Audited results: github.com/mlcommons/inference_results_v5.1 at 965182b, closed division, "
            "dlrm-v2-99.9 without accelerators. A LoadGen sample is one query of 100 to 700 items, which "
            "one instance serves whole. Service times come from each system's Offline rate, all else from "
            "the submissions' public scripts and from what a hop between processes costs on another machine: "
            "nothing of the Server runs but the rate that they were asked for."
        ),
        sections=(
            _medians(bare, found),
            _systems(servers, found),
            steps,
            _tails(servers, found),
            _rates(servers),
            _datasheet(bare),
        ),
        simulated_queries=num_queries * len(servers),
    )


def quantity_ms(sorted_s: FloatArray, name: str) -> float:
    """A quantity of the published table. [ms]"""
    percentile = QUANTITIES[name]
    value_s = float(sorted_s.mean()) if percentile is None else order_statistic(sorted_s, percentile)
    return value_s / MS


def _off_percent(sorted_s: FloatArray, server: AuditedServer, name: str) -> float:
    """Predicted over measured, less 1. [%]"""
    return 100.0 * (quantity_ms(sorted_s, name) / server.measured_ms[f"{name}_ms"] - 1.0)


def _medians(bare: Sequence[AuditedServer], found: Mapping[str, FloatArray]) -> Section:
    """How far off the median bare machine is."""
    rows = []
    for name, most in TARGETS.items():
        off = [_off_percent(found[server.label], server, name) for server in bare]
        rows.append(
            Compared(
                case=f"median of {len(bare)} bare machines",
                quantity=f"{_shown(name)}: distance from the measured one [%]",
                predicted=median(abs(each) for each in off),
                setting=f"expected: at most {most:.0f}; signed: {min(off):+.1f} to {max(off):+.1f}",
            )
        )
    return Section(title="Together", prose="Over the machines without a hypervisor.", rows=tuple(rows))


def _systems(servers: Sequence[AuditedServer], found: Mapping[str, FloatArray]) -> Section:
    """Every system: measured beside predicted."""
    rows = []
    for server in servers:
        for name in QUANTITIES:
            rows.append(
                Compared(
                    case=server.label,
                    quantity=f"{_shown(name)} latency [ms]",
                    predicted=quantity_ms(found[server.label], name),
                    published=server.measured_ms[f"{name}_ms"],
                    setting=f"{server.instances} instances, {server.scheduled_qps:,.0f} queries/s, "
                    f"{100 * server.scheduled_qps / server.offline_qps:.1f} % of Offline"
                    if name == "mean"
                    else "",
                    cause=VIRTUAL if server.is_virtual else NO_STALL if name == "p999" else "",
                )
            )
    names = tuple(name for name in QUANTITIES if name != "p999")
    bare = next(server for server in servers if not server.is_virtual)
    plot = BarPlot(
        title=bare.label,
        y_label="latency [ms]",
        groups=tuple(_shown(name) for name in names),
        heights={
            "predicted": tuple(quantity_ms(found[bare.label], name) for name in names),
            "published": tuple(bare.measured_ms[f"{name}_ms"] for name in names),
        },
    )
    return Section(
        title="Measured beside predicted",
        prose="Every system of the table, misses included; p99.9 without any stall.",
        rows=tuple(rows),
        plots=(plot,),
    )


def _steps(servers: Sequence[AuditedServer], num_queries: int) -> Section:
    """What each part of the server does to the median distance."""
    bare = [server for server in servers if not server.is_virtual]
    cases = {
        "a plain queue: all cores serve, work in proportion to the items": PLAIN,
        "all parts": Steps(),
        "all but the core that LoadGen keeps": without("loadgen_core"),
        "all but the places in which larger queries wait their turn": without("held"),
        "all but the hops to an instance and back": without("hops"),
        "all but the calls around the model": without("calls"),
    }
    rows = []
    for case, steps in cases.items():
        found = {server.label: np.sort(latencies_s(server, num_queries, steps=steps)) for server in bare}
        for name in TARGETS:
            off = [_off_percent(found[server.label], server, name) for server in bare]
            rows.append(
                Compared(
                    case=case,
                    quantity=f"{_shown(name)}: signed distance of the median machine [%]",
                    predicted=median(off),
                    detail=name in ("p90", "p99"),
                )
            )
    return Section(
        title="What was missing in a plain queue",
        prose="The same with one part left out, over the bare machines.",
        rows=tuple(rows),
    )


def _tails(servers: Sequence[AuditedServer], found: Mapping[str, FloatArray]) -> Section:
    """p99.9 and the mean with one stall of the whole node in a run."""
    rows = []
    for server in servers:
        stall_s = others_stall_s(server, list(servers))
        with_stall = with_a_stall(server, found[server.label], stall_s)
        setting = f"one stall of {stall_s / MS:.0f} ms in {RUN_S:.0f} s, as the others' longest latencies say"
        for name in ("p999", "p99", "p50", "mean"):
            rows.append(
                Compared(
                    case=server.label,
                    quantity=f"{_shown(name)} latency with a stall [ms]",
                    predicted=with_stall[name],
                    published=server.measured_ms[f"{name}_ms"],
                    setting=setting if name == "p999" else "",
                    cause=VIRTUAL if server.is_virtual else "",
                    detail=name != "p999",
                )
            )
    return Section(
        title="The last thousandth, with a stall",
        prose=(
            "No rate tells how a machine stands still. The longest latencies of all systems are five times "
            "what a queue makes, and p99.9 lies about where one stall of the whole node in a run of ten "
            "minutes puts it while its backlog drains. How long that is comes from the other systems' Server "
            "runs, never from its own."
        ),
        rows=tuple(rows),
    )


def with_a_stall(server: AuditedServer, steady_s: FloatArray, stall_s: float) -> dict[str, float]:
    """Quantities of a run in which the whole node stands still once. [ms]

    The time around the stall is simulated, several times over, and takes the place of as much of the run.
    """
    around_s = np.concatenate(
        [
            latencies_s(
                server,
                int(server.scheduled_qps * AROUND_S),
                seed=1 + repetition,
                stall=(STALL_BEGINS_S, stall_s),
            )
            for repetition in range(STALLS)
        ]
    )
    share = AROUND_S / RUN_S
    values_s = np.concatenate([steady_s, around_s])
    weights = np.concatenate(
        [np.full(len(steady_s), (1.0 - share) / len(steady_s)), np.full(len(around_s), share / len(around_s))]
    )
    order = np.argsort(values_s)
    reached = np.cumsum(weights[order])
    found = {}
    for name, percentile in QUANTITIES.items():
        if percentile is None:
            found[name] = float(weights @ values_s) / MS
        else:
            index = min(int(np.searchsorted(reached, percentile)), len(values_s) - 1)
            found[name] = float(values_s[order[index]]) / MS
    return found


def _rates(servers: Sequence[AuditedServer]) -> Section:
    """The largest rate whose p99 is within the limit, beside that which was submitted."""
    rows = [
        Compared(
            case=server.label,
            quantity="largest valid rate [queries/s]",
            predicted=largest_rate_qps(server),
            published=server.server_qps,
            setting=f"Offline {server.offline_qps:,.0f}; p99 was {server.measured_ms['p99_ms']:.0f} of 60 ms",
            cause=VIRTUAL if server.is_virtual else "the submitted rate was asked for, not searched for",
        )
        for server in servers
    ]
    return Section(
        title="The largest valid rate",
        prose=(
            "p99 within 60 ms, beside the rate that was submitted: the submissions' `user.conf` asks for a "
            "round figure, at which p99 is far from its limit, so that a prediction above it is no miss."
        ),
        rows=tuple(rows),
    )


def _datasheet(bare: Sequence[AuditedServer]) -> Section:
    """Offline from a data sheet alone, beside what was audited."""
    rows = [
        Compared(
            case=server.label,
            quantity="Offline throughput [samples/s]",
            predicted=_datasheet_offline_qps(server),
            published=server.offline_qps,
            setting=f"{DATASHEET}, {server.cores} cores, one query a core",
            cause=OTHER_SOFTWARE,
        )
        for server in bare
    ]
    return Section(
        title="From the data sheet alone",
        prose=(
            f"`perfplan mlperf --loadgen-scenario offline` on the profile {DATASHEET}, which "
            "stands on a data sheet and on the software of another calibrated machine; what it misses is "
            "software."
        ),
        rows=tuple(rows),
    )


def _datasheet_offline_qps(server: AuditedServer) -> float | None:
    """What the data sheet's profile serves where all samples are there at once. [samples/s]"""
    scenario = {
        "model": "dlrm-v2",
        "node": {"cpu": DATASHEET, "cores": server.cores},
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": server.scheduled_qps},
            "query_sizes": {"distribution": "mlperf-dlrm"},
        },
        "policy": {"name": "split", "batch_size": sizes().max_items},
        "sla": {"percentile": 0.99, "latency_ms": LATENCY_LIMIT_S / MS},
    }
    question = prepare(load_scenario(scenario))
    return mlperf(question, mlperf_target(question, "Offline")).largest_valid_qps


def largest_rate_qps(server: AuditedServer) -> float | None:
    """The greatest rate with p99 within the limit, less what queries spend outside the queue. [queries/s]"""
    held_s = (PLACES - 1) / server.scheduled_qps
    search = RateSearch(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=server.scheduled_qps), sizes=sizes()),
        service=service_times(server, Steps()),
        policy=SplitAndOffload(batch_size=sizes().max_items),
        sla=SlaTarget(percentile=0.99, latency_ms=(LATENCY_LIMIT_S - 2.0 * HOP_S - held_s) / MS),
        seed=1,
    )
    return search.greatest_rate_qps()


def _shown(name: str) -> str:
    return "p99.9" if name == "p999" else name
