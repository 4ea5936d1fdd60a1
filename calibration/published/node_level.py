"""How much a serving stack slows its own executors down: the loaded level of RMC3 on Broadwell.

ISCA 2020 Fig. 8 gives 555.6 queries/s for RMC3 on 2 x 14 Broadwell cores at a p95 of 100 ms and batch 256.
Cores that ran at their unloaded rate would carry twice that. What is left after caches and memory
bandwidth (engine processes, their interpreter, input conversion on busy cores) becomes one factor, the
profile's `node_slowdown`, which grows linearly with the other busy cores. It is fitted to this one value;
the rest of Fig. 8 and all other models are predictions.
"""

from __future__ import annotations

from dataclasses import replace

from scipy.optimize import brentq

from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.loading.traffic_files import named_sizes
from perfmodel.planning.node import ServingNode
from perfmodel.planning.throughput import RateSearch
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.traffic import TrafficSource

PUBLISHED_QPS = 555.6
BATCH_SIZE = 256
SLA = SlaTarget(percentile=0.95, latency_ms=100.0)
SOURCE = (
    "fitted: qps_vs_batch_isca2020_fig8.csv, the one value of dlrm-rmc3 at 100 ms and batch 256 on Broadwell"
)
SAME_STACK = "assumed: as fitted on Broadwell; no loaded figure is published for this server"


def node_slowdown(cpu: Device, model: RecModel, *, seed: int = 1) -> float:
    """Find the factor with which the node carries the published load. [1]

    Parameters
    ----------
    cpu : Device
        Broadwell with the ISCA stack, its other costs fitted.
    model : RecModel
        dlrm-rmc3.
    """
    return float(
        brentq(
            lambda factor: carried_qps(cpu, model, factor, seed=seed) - PUBLISHED_QPS, 1.0, 5.0, xtol=0.005
        )
    )


def carried_qps(cpu: Device, model: RecModel, factor: float, *, seed: int = 1) -> float:
    """Latency-bounded throughput of the whole node with a given factor. [queries/s]"""
    loaded = replace(cpu, interference=replace(cpu.interference, node_factor=factor))
    sizes = named_sizes("deeprecsys-production")
    law = SizePmf(sizes.num_items, sizes.probabilities)
    policy = SplitAndOffload(batch_size=BATCH_SIZE)
    node = ServingNode(model=model, cpu=loaded, cores=loaded.num_cores)
    search = RateSearch(
        traffic=TrafficSource(arrivals=PoissonArrivals(rate_qps=PUBLISHED_QPS), sizes=law),
        service=node.service_times(policy, law.max_items),
        policy=policy,
        sla=SLA,
        seed=seed,
    )
    return search.greatest_rate_qps() or 0.0
