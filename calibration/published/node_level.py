"""What a loaded node says that no single batch can: RMC3 on 28 Broadwell cores, with and without a 1080 Ti.

*The cores.* ISCA 2020 Fig. 8 gives 555.6 queries/s at a p95 of 100 ms and batch 256. Cores that ran at
their unloaded rate would carry twice that. What is left after caches and memory bandwidth (engine
processes, their interpreter, the clock with all cores busy) becomes one factor, the profile's
`node_slowdown`, which grows linearly with the other busy cores.

*The card.* Fig. 11 lets the card serve 195,000 items/s at its best threshold, which one query after the
other cannot reach: two in flight can, one being converted by the host while the other's kernels run. How
much of the shorter of the two is hidden is the profile's `input_overlap`.

Both are fitted to RMC3 alone; all other models are predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from calibration.published.observations import read_rows
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.planning.node import ServingNode
from perfmodel.planning.rate.search import RateSearch
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.traffic import TrafficSource

PUBLISHED_QPS = 555.6
BATCH_SIZE = 256
SLA = SlaTarget(percentile=0.95, latency_ms=100.0)
THRESHOLDS_FILE = "qps_vs_offload_threshold_isca2020_fig11.csv"
SLOWDOWN_SOURCE = (
    "fitted: qps_vs_batch_isca2020_fig8.csv, the one value of dlrm-rmc3 at 100 ms and batch 256 on Broadwell"
)
SAME_SLOWDOWN = "assumed: as fitted on Broadwell; no loaded figure is published for this server"
OVERLAP_SOURCE = f"fitted: {THRESHOLDS_FILE}, dlrm-rmc3, the least worst error over its thresholds"
SAME_OVERLAP = "assumed: as fitted under ISCA 2020's stack; no loaded figure is published for this one"


def node_slowdown(cpu: Device, model: RecModel, *, seed: int = 1) -> float:
    """Find the factor with which the node carries the published load. [1]

    Parameters
    ----------
    cpu : Device
        Broadwell with the ISCA stack, its other costs fitted.
    model : RecModel
        dlrm-rmc3.
    """

    def excess_qps(factor: float) -> float:
        node = ServingNode(model=model, cpu=slowed(cpu, factor), cores=cpu.num_cores)
        return carried_qps(node, seed=seed) - PUBLISHED_QPS

    return float(brentq(excess_qps, 1.0, 5.0, xtol=0.005))


def input_overlap(cpu: Device, card: Device, model: RecModel, *, seed: int = 1) -> float:
    """Find the overlap that brings the whole threshold curve closest, by its worst point. [1]

    The published rates with everything and with half of the queries on the card contradict each other by a
    factor of four (5.3 ms for a query of 223 items on average, 1.7 ms for one of 324), so that a fit to
    one of them would leave the factor to the other.

    Parameters
    ----------
    cpu, card : Device
        Broadwell with its `node_slowdown`, and the 1080 Ti, both with the ISCA stack.
    model : RecModel
        dlrm-rmc3.
    """
    rows = read_rows(THRESHOLDS_FILE)
    thresholds = [int(row["offload_threshold_items"]) for row in rows]
    published_qps = np.array([float(row["qps"]) for row in rows])

    def worst_error(overlap: float) -> float:
        predicted_qps = threshold_curve_qps(cpu, overlapped(card, overlap), model, thresholds, seed=seed)
        return float(np.abs(np.log(np.array(predicted_qps) / published_qps)).max())

    return float(minimize_scalar(worst_error, bounds=(0.01, 1.0), options={"xatol": 0.005}).x)


def threshold_curve_qps(
    cpu: Device, card: Device, model: RecModel, thresholds: Sequence[int], *, seed: int = 1
) -> list[float]:
    """Latency-bounded throughput with one card at each offload threshold. [queries/s]"""
    node = ServingNode(model=model, cpu=cpu, cores=cpu.num_cores, accelerator=card, num_accelerators=1)
    return [carried_qps(node, threshold, seed=seed) for threshold in thresholds]


def slowed(cpu: Device, factor: float) -> Device:
    """Return the CPU with another `node_slowdown`."""
    return replace(cpu, interference=replace(cpu.interference, node_factor=factor))


def overlapped(card: Device, overlap: float) -> Device:
    """Return the card with another `input_overlap`."""
    return replace(card, inputs=replace(card.inputs, overlap=overlap))


def carried_qps(node: ServingNode, threshold_items: int | None = None, *, seed: int = 1) -> float:
    """Latency-bounded throughput of the whole node. [queries/s]"""
    sizes = named_sizes("deeprecsys-production")
    law = SizePmf(sizes.num_items, sizes.probabilities)
    policy = SplitAndOffload(batch_size=BATCH_SIZE, offload_threshold_items=threshold_items)
    search = RateSearch(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=PUBLISHED_QPS), sizes=law),
        service=node.service_times(policy, law.max_items),
        policy=policy,
        sla=SLA,
        seed=seed,
    )
    return search.greatest_rate_qps() or 0.0
