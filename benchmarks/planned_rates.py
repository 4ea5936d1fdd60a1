"""What `predict` says at the rate that was stated to plan for: of shipped scenarios, seed by seed.

    python -m benchmarks.planned_rates                       by scenario: how often it says meets_sla
    python -m benchmarks.planned_rates --seeds 3 rm3_skylake

`capacity` and `predict` each state a rate to plan for, from one seed; `predict` is asked about it with that
seed and with another. From the probability, which falls by so much for each per cent of the rate, follows how
far beyond the rate the probability is the confidence asked for: its mean and its standard deviation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log
from statistics import fmean, pstdev

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.capacity.computation import capacity
from perfmodel.planning.predict.computation import predict
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question

SCENARIOS = (
    "rm3_skylake",
    "rm1_broadwell",
    "ncf_skylake",
    "rm2_skylake",
    "rm3_amd_epyc_turin_2c",
    "rm1_broadwell_gtx1080ti",
    "mlperf_dlrm_v2_skylake",
    "wnd_broadwell_size_priority",
    "wnd_broadwell_gtx1080ti_fusion",
    "rm3_skylake_table",
)
"""CPUs, a card, other policies, large and small errors of the service times, and a table of them."""

LOWER = 0.99
"""Of the rate, at which the probability is asked too: it tells how much it falls for a per cent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What `predict` says at a rate that was stated to plan for.

    Attributes
    ----------
    stated_by : {"capacity", "predict"}
        Which command stated it.
    meets : bool
        Whether the verdict is meets_sla.
    room : float or None
        How far beyond the rate the probability is the confidence; None where it hardly moves. [ln]
    """

    stated_by: str
    meets: bool
    room: float | None


def asked(scenario: str, seed: int) -> Iterator[Asked]:
    """Ask `predict` about the rates that both commands state, with the seed of these and with another."""
    own, other = _question(scenario, seed), _question(scenario, 1000 + seed)
    for stated_by, rate_qps in (
        ("capacity", capacity(own).plan_for_qps),
        ("predict", predict(own).plan_for_qps),
    ):
        if rate_qps is None:
            continue
        for question in (own, other):
            at, below = (predict(_at_rate(question, part * rate_qps)).judgement for part in (1.0, LOWER))
            assert at.sla_probability is not None
            assert below.sla_probability is not None
            falls = (below.sla_probability - at.sla_probability) / -log(LOWER)
            room = None if falls <= 0.0 else (at.sla_probability - at.confidence) / falls
            yield Asked(stated_by, at.verdict == "meets_sla", room)


def _question(scenario: str, seed: int) -> Question:
    return prepare(load_scenario(scenario, [f"simulation.seed={seed}"]))


def _at_rate(question: Question, rate_qps: float) -> Question:
    return replace(question, traffic=question.traffic.at_rate(rate_qps))


def main() -> int:
    """Print the table; 1 where fewer than 19 of 20 answers are meets_sla."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planned_rates")
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--seeds", type=int, default=2, help="so many, from 1 on")
    options = parser.parse_args()
    everything: list[Asked] = []
    print(f"{'scenario':32s}{'stated by':>10s}{'meets_sla':>12s}{'room, mean %':>14s}{'std %':>8s}")
    for scenario in options.scenarios:
        found = [each for seed in range(1, 1 + options.seeds) for each in asked(scenario, seed)]
        everything += found
        for stated_by in ("capacity", "predict"):
            _print_row(scenario, stated_by, [each for each in found if each.stated_by == stated_by])
    for stated_by in ("capacity", "predict"):
        _print_row("all", stated_by, [each for each in everything if each.stated_by == stated_by])
    return int(sum(each.meets for each in everything) < 0.95 * len(everything))


def _print_row(scenario: str, stated_by: str, found: list[Asked]) -> None:
    rooms = [100.0 * each.room for each in found if each.room is not None]
    spread = f"{fmean(rooms):14.2f}{pstdev(rooms):8.2f}" if rooms else ""
    share = f"{sum(each.meets for each in found)} of {len(found)}"
    print(f"{scenario:32s}{stated_by:>10s}{share:>12s}{spread}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
