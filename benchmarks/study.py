"""The full DeepRecSched study: how long it takes on two cores, and what it finds. Prints tables.

    python -m benchmarks.study                  8 models x 2 CPUs x with and without the GPU x 3 SLA levels
    python -m benchmarks.study --cases          every case, a line each
    python -m benchmarks.study --log-normal     once more with the published log-normal sizes

Climb and exhaustive search; one million queries behind every final rate. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import calibration.published
from calibration.reproduce.study import Study, StudyCase, StudyPlan, run_study
from perfmodel.domain.workload import LogNormalSizes
from perfmodel.planning.tune.answer import OperatingPoint, Tuning
from perfmodel.sim.query_sizes import pmf_of

CORES = 2
TARGET_S = 60.0
PUBLISHED_LOG_NORMAL = LogNormalSizes(mu=5.10, sigma=0.20)


def main(arguments: list[str]) -> int:
    """Run the study and print it; 1 as exit code where it takes too long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", action="store_true", help="print every case")
    parser.add_argument("--log-normal", action="store_true", help="compare with the log-normal sizes")
    options = parser.parse_args(arguments)
    use_cores(CORES)
    plan = StudyPlan(targets_ms=published_targets_ms(), climbs=True)
    begin_s = perf_counter()
    study = run_study(plan)
    taken_s = perf_counter() - begin_s
    print(f"{len(study.cases)} cases in {taken_s:.1f} s on {CORES} cores (target {TARGET_S:g} s), ", end="")
    print(f"{study.simulated_queries / 1e9:.2f} thousand million queries simulated")
    print(*gain_lines(study), sep="\n")
    print(*climb_lines(study), sep="\n")
    if options.cases:
        print(*(case_line(case) for case in study.cases), sep="\n")
    print("\noptimal batch size, CPU only, low / medium / high SLA")
    print(*batch_lines(study), sep="\n")
    if options.log_normal:
        narrow = StudyPlan(
            targets_ms=plan.targets_ms, accelerators=(None,), sizes=pmf_of(PUBLISHED_LOG_NORMAL)
        )
        print("\nthe same with log-normal sizes")
        print(*batch_lines(run_study(narrow)), sep="\n")
    return int(taken_s > TARGET_S)


def published_targets_ms() -> dict[str, float]:
    """Read the medium latency targets of ISCA 2020 Table II. [ms]"""
    file = Path(calibration.published.__path__[0]) / "sla_targets.csv"
    with file.open(encoding="utf-8") as lines:
        return {row["model"]: float(row["p95_medium_ms"]) for row in csv.DictReader(lines)}


def use_cores(number: int) -> None:
    """Stay on the first cores, where the system knows how."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def gain_lines(study: Study) -> Iterator[str]:
    """Yield the geometric means of the gains over the static baseline."""
    yield "\ngeometric mean gain over batch 25, low / medium / high SLA"
    for cpu in study.plan.cpus:
        for accelerator in study.plan.accelerators:
            for what, per_w in (("queries/s", False), ("queries/s/W", True)):
                means = [
                    study.geometric_mean_gain(cpu, accelerator, level, per_w=per_w)
                    for level in study.plan.levels
                ]
                text = " / ".join("-" if mean is None else f"{mean:.2f}" for mean in means)
                yield f"  {cpu:<10} {accelerator or 'CPU only':<10} {what:<12} {text}"


def climb_lines(study: Study) -> Iterator[str]:
    """Yield where the climb does not find the optimum."""
    missed = [case for case in study.cases if not climbed(case).climb_found_optimum]
    yield f"\nhill climb: within 1 % of the optimum in {len(study.cases) - len(missed)} of {len(study.cases)}"
    for case in missed:
        shortfall = climbed(case).climb_shortfall
        by = "everything" if shortfall is None else f"{100 * shortfall:.1f} %"
        yield f"  misses {by}: {case_line(case)}"


def climbed(case: StudyCase) -> Tuning:
    """What was found of a case of a plan that climbs."""
    assert isinstance(case.tuning, Tuning)
    return case.tuning


def case_line(case: StudyCase) -> str:
    """Format a case: batch/threshold and queries/s of the static baseline, the climb, the optimum."""
    tuning = climbed(case)
    name = f"{case.model} {case.cpu} {case.accelerator or '-'} {case.level}"
    points = ", ".join(point_text(point) for point in (tuning.static, tuning.climb, tuning.exhaustive))
    return f"{name:<36} {points}"


def point_text(point: OperatingPoint) -> str:
    """Format batch size, threshold and rate."""
    qps, threshold = point.latency_bounded_qps, point.offload_threshold_items
    return f"{point.batch_size}/{threshold or '-'} {'-' if qps is None else format(qps, '.1f')}"


def batch_lines(study: Study) -> Iterator[str]:
    """Yield the optimal batch sizes without an accelerator."""
    for model in study.plan.targets_ms:
        found = {
            cpu: " / ".join(
                f"{study.case(model, cpu, None, level).exhaustive.batch_size:4}"
                for level in study.plan.levels
            )
            for cpu in study.plan.cpus
        }
        yield f"  {model:<12} " + "    ".join(f"{cpu} {batches}" for cpu, batches in found.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
