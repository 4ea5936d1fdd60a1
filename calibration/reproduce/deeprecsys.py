"""`perfplan reproduce deeprecsys`: the evaluation of ISCA 2020, recomputed."""

from __future__ import annotations

from dataclasses import replace

from calibration.reproduce.controller import controller_section
from calibration.reproduce.deployment import deployment_section
from calibration.reproduce.evaluation import Reproduction
from calibration.reproduce.gains import gains_section
from calibration.reproduce.lowest_latency import lowest_latency_section
from calibration.reproduce.optimal_batch import server_section, sizes_section
from calibration.reproduce.rmc3_curves import batch_section, threshold_section
from calibration.reproduce.scope import CPU, Progress, Scope, silent
from calibration.reproduce.study import StudyPlan, production_sizes, run_study
from calibration.reproduce.variants import variants_section
from perfmodel.domain.workload import LogNormalSizes, PoissonArrivals
from perfmodel.planning.tune.load_test import SharedTraffic
from perfmodel.sim.query_sizes import pmf_of
from perfmodel.sim.traffic import TrafficSource

LOG_NORMAL = LogNormalSizes(mu=5.10, sigma=0.20)


def reproduce_deeprecsys(scope: Scope, progress: Progress = silent) -> Reproduction:
    """Recompute every figure of the evaluation on the shipped profiles.

    Parameters
    ----------
    scope : Scope
        Models, and how much is simulated.
    progress : callable
        Told what comes next.
    """
    plan = StudyPlan(targets_ms=scope.targets_ms, final_queries=scope.final_queries)
    study = run_study(plan, progress)
    narrow = replace(plan, sizes=pmf_of(LOG_NORMAL), cpus=(CPU,), accelerators=(None,))
    lognormal = run_study(narrow, lambda step: progress(f"log-normal sizes: {step}"))
    traffic, variant_traffic = (_traffic(count) for count in (scope.final_queries, scope.variant_queries))
    progress("curves of RMC3")
    batches, thresholds = batch_section(traffic), threshold_section(traffic)
    progress("the deployment over a day")
    deployment = deployment_section(study)
    progress("lowest latencies")
    lowest = lowest_latency_section(scope)
    return Reproduction(
        name="deeprecsys",
        title="DeepRecSys, recomputed",
        source=(
            "U. Gupta et al., “DeepRecSys: A System for Optimizing End-To-End At-Scale Neural Recommendation "
            "Inference”, ISCA 2020. Service times come from the shipped profiles, which were fitted to "
            "single-model figures and to RMC1 and RMC3 under load; everything else here is a prediction."
        ),
        sections=(
            gains_section(study),
            batches,
            thresholds,
            server_section(study),
            sizes_section(study, lognormal),
            deployment,
            lowest,
            variants_section(scope, variant_traffic, progress),
            controller_section(study, progress),
        ),
        simulated_queries=study.simulated_queries + lognormal.simulated_queries,
    )


def _traffic(num_queries: int) -> SharedTraffic:
    source = TrafficSource(arrivals=PoissonArrivals(rate_qps=1.0), sizes=production_sizes())
    return SharedTraffic(source, seed=1, final_queries=num_queries)
