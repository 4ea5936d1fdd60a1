"""The orderings of the DeepRecSched study: RMC3 by default, all models where time is no object.

Source: ISCA 2020. The optimal batch size does not fall as the SLA is loosened; Broadwell's is not smaller
than Skylake's; log-normal sizes lead to smaller batches than the production sizes; QPS has one maximum over
batch sizes and one over offload thresholds.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import calibration.published
from calibration.reproduce.study import (
    Study,
    StudyCase,
    StudyPlan,
    geometric_mean,
    production_sizes,
    run_study,
)
from perfmodel.domain.workload import LogNormalSizes
from perfmodel.planning.tune.answer import PLATEAU, Tried, Tuning
from perfmodel.planning.tune.question import SLA_LEVELS, Configuration, Grid, share_thresholds
from perfmodel.sim.query_sizes import pmf_of

CPUS = ("broadwell", "skylake")
TARGETS = Path(calibration.published.__path__[0]) / "sla_targets.csv"
TARGETS_MS = {
    row["model"]: float(row["p95_medium_ms"])
    for row in csv.DictReader(TARGETS.read_text(encoding="utf-8").splitlines())
}
TEMPLATE = Tried(configuration=Configuration(1), latency_bounded_qps=None)
BATCHES = Grid(batch_sizes=(32, 64, 128, 256, 512, 1024))
LOG_NORMAL = pmf_of(LogNormalSizes(mu=5.10, sigma=0.20))

slower_cores = pytest.mark.xfail(
    strict=True,
    reason="a loaded core of Broadwell takes 1.5 to 1.9 times as long as Skylake's, measured in another "
    "software stack: the SLA ends its batches sooner",
)
each_request_pays = pytest.mark.xfail(
    strict=True,
    reason="as the loaded node was refitted each request pays for the conversion of a stored batch, so that "
    "larger ones gain for either law of sizes",
)


@pytest.fixture(scope="module")
def rmc3() -> Study:
    plan = StudyPlan(
        targets_ms={"dlrm-rmc3": TARGETS_MS["dlrm-rmc3"]},
        accelerators=(None,),
        static_batch=128,
        grid=BATCHES,
        final_queries=200_000,
    )
    return run_study(plan)


@pytest.fixture(scope="module")
def everything() -> Study:
    return run_study(StudyPlan(targets_ms=TARGETS_MS, climbs=True, final_queries=1_000_000))


@pytest.fixture(scope="module")
def everything_log_normal() -> Study:
    return run_study(StudyPlan(targets_ms=TARGETS_MS, accelerators=(None,), sizes=LOG_NORMAL))


def batches(study: Study, model: str, cpu: str) -> list[int]:
    return [study.case(model, cpu, None, level).exhaustive.batch_size for level in SLA_LEVELS]


def climbed(case: StudyCase) -> Tuning:
    assert isinstance(case.tuning, Tuning)
    return case.tuning


def maxima(curve: Sequence[Tried]) -> int:
    """Rises that are followed by a fall or by the end, both beyond the noise of a short sample."""
    found, rising, extreme = 0, True, 0.0
    for tried in curve:
        qps = tried.latency_bounded_qps or 0.0
        if rising and qps < (1.0 - PLATEAU) * extreme:
            found, rising, extreme = found + 1, False, qps
        elif not rising and qps > (1.0 + PLATEAU) * extreme:
            rising, extreme = True, qps
        else:
            extreme = max(extreme, qps) if rising else min(extreme, qps)
    return found + rising


def test_maxima_are_counted_beyond_the_noise() -> None:
    def curve(*rates: float) -> list[Tried]:
        return [replace(TEMPLATE, latency_bounded_qps=rate) for rate in rates]

    assert maxima(curve(1, 2, 3)) == 1
    assert maxima(curve(1, 3, 2.99, 3, 2)) == 1
    assert maxima(curve(1, 3, 2, 3, 1)) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("cpu", CPUS)
def test_rmc3_wants_no_smaller_batches_at_a_looser_sla(rmc3: Study, cpu: str) -> None:
    found = batches(rmc3, "dlrm-rmc3", cpu)
    assert found == sorted(found)


@pytest.mark.thorough
@pytest.mark.parametrize("cpu", CPUS)
def test_rmc3_wants_larger_batches_at_the_loosest_sla(rmc3: Study, cpu: str) -> None:
    found = batches(rmc3, "dlrm-rmc3", cpu)
    assert found[-1] > found[0]


@pytest.mark.thorough
@pytest.mark.xfail(strict=True, reason="512 items at the loosest target on Skylake, 256 on Broadwell")
def test_rmc3_wants_no_smaller_batches_on_broadwell(rmc3: Study) -> None:
    pairs = zip(*(batches(rmc3, "dlrm-rmc3", cpu) for cpu in CPUS), strict=True)
    assert all(broadwell >= skylake for broadwell, skylake in pairs)


@pytest.mark.slow
@each_request_pays
def test_rmc3_wants_smaller_batches_for_the_log_normal_sizes(rmc3: Study) -> None:
    narrow = run_study(replace(rmc3.plan, sizes=LOG_NORMAL))
    for cpu in CPUS:
        assert sum(batches(narrow, "dlrm-rmc3", cpu)) < sum(batches(rmc3, "dlrm-rmc3", cpu))


@pytest.mark.thorough
def test_rmc3_has_one_maximum_over_batches_and_one_over_thresholds() -> None:
    plan = StudyPlan(
        targets_ms={"dlrm-rmc3": 100.0},
        cpus=("broadwell",),
        accelerators=("gtx1080ti",),
        levels={"medium": 1.0},
        curves=True,
        static_batch=128,
        grid=replace(BATCHES, thresholds=share_thresholds(production_sizes(), step=0.1)),
        final_queries=200_000,
    )
    tuning = run_study(plan).case("dlrm-rmc3", "broadwell", "gtx1080ti", "medium")
    assert maxima(tuning.by_batch) == 1
    assert maxima(tuning.by_threshold) == 1
    assert 1 < (tuning.exhaustive.offload_threshold_items or 0) < 878, "a maximum within the sizes that occur"


@pytest.mark.slow
@pytest.mark.parametrize("model", TARGETS_MS)
def test_no_model_wants_smaller_batches_at_a_looser_sla(everything: Study, model: str) -> None:
    for cpu in CPUS:
        assert batches(everything, model, cpu) == sorted(batches(everything, model, cpu))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=slower_cores) if model in ("dlrm-rmc3", "ncf", "dien") else model
        for model in TARGETS_MS
    ],
)
def test_no_model_wants_smaller_batches_on_broadwell(everything: Study, model: str) -> None:
    pairs = zip(*(batches(everything, model, cpu) for cpu in CPUS), strict=True)
    assert all(broadwell >= skylake for broadwell, skylake in pairs)


@pytest.mark.slow
@each_request_pays
@pytest.mark.parametrize("cpu", CPUS)
def test_log_normal_sizes_lead_to_smaller_batches(
    everything: Study, everything_log_normal: Study, cpu: str
) -> None:
    """Over all models; one whose SLA cuts batches below a typical query may go the other way."""
    for index in range(len(SLA_LEVELS)):
        means = [
            geometric_mean([float(batches(study, model, cpu)[index]) for model in TARGETS_MS])
            for study in (everything_log_normal, everything)
        ]
        assert means[0] is not None
        assert means[1] is not None
        assert means[0] < means[1]


@pytest.mark.slow
def test_the_climb_finds_the_optimum_in_seven_cases_of_eight(everything: Study) -> None:
    """Where it does not, the batch that is best without an accelerator is not the best with one, but once."""
    missed = [case for case in everything.cases if not climbed(case).climb_found_optimum]
    assert len(missed) <= len(everything.cases) / 8
    assert sum(case.accelerator is None for case in missed) <= 1
    assert all((climbed(case).climb_shortfall or 1.0) < 0.15 for case in missed)


@pytest.mark.slow
def test_every_final_rate_has_a_million_queries_behind_it(everything: Study) -> None:
    for case in everything.cases:
        tuning = climbed(case)
        points = (tuning.static, tuning.climb, tuning.exhaustive)
        assert {point.num_queries for point in points} == {1_000_000}
