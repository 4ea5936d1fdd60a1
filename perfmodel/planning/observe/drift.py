"""Whether a log is still the load of a scenario: rate, sizes, burstiness and service times, each tested.

Each has a tolerance, a change that is not worth a word; tested is that the change is larger, each of the four
at a quarter of one per cent: a load that has changed by no more than the tolerances is said to have drifted
in one log of a hundred at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, log, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from perfmodel.planning.observe.dispersion import counts_by_window, windows_s
from perfmodel.planning.observe.log import ServedLog
from perfmodel.planning.observe.traffic import ArrivalFit
from perfmodel.planning.question import Question
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.query_sizes import SizePmf

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEVEL = 0.01
"""Of the four tests together. [1]"""
RATE_TOLERANCE = 0.02
"""Share by which a rate must differ to count. [1]"""
SIZE_TOLERANCE = 0.02
"""Largest difference of two distribution functions that does not count. [1]"""
BURST_TOLERANCE = 0.2
"""Share by which an index of dispersion must differ. [1]"""
TIME_TOLERANCE = 0.02
"""Share by which service times must differ; of a scenario that states an error, twice that. [1]"""
PARTS = 20
"""Of a log, whose means are taken for independent."""
MOST_DRAWN = 300_000
"""Queries of the scenario that its burstiness is told from."""

Subject = Literal["rate", "sizes", "burstiness", "service times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTest:
    """One comparison of a log with a scenario.

    Attributes
    ----------
    subject : str
        What is compared.
    log, scenario : float
        The figure of each: queries/s; items in the mean; index of dispersion; 1, and the scenario's 1.
    p_value : float
        Of a difference at least as large, had the load changed by the tolerance. [1]
    effect, tolerance : float
        How large it is, and how large it must be to count. [1]
    test : str
        In words.
    """

    subject: Subject
    log: float
    scenario: float
    p_value: float
    effect: float
    tolerance: float
    test: str

    @property
    def drifted(self) -> bool:
        """Whether it is more than chance, and more than the tolerance."""
        return self.p_value < LEVEL / 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """All comparisons with a scenario, and what could not be compared."""

    scenario: str
    tests: tuple[DriftTest, ...]
    notes: tuple[str, ...]

    @property
    def drifted(self) -> tuple[Subject, ...]:
        """What has changed."""
        return tuple(test.subject for test in self.tests if test.drifted)


def find_drift(log_: ServedLog, fit: ArrivalFit, busy: IntArray, question: Question) -> Drift:
    """Compare a log with the scenario of a question."""
    notes: list[str] = []
    arrival_s = log_.query_arrival_s
    tests = [
        _rate(arrival_s, fit, question.traffic.rate_qps),
        _sizes(log_.query_items, question.traffic.size_pmf),
    ]
    bursts = _burstiness(arrival_s, question)
    if bursts is None:
        notes.append("burstiness: too few queries for windows of any length")
    else:
        tests.append(bursts)
    times = _times(log_, busy, question)
    if isinstance(times, str):
        notes.append(f"service times: {times}")
    else:
        tests.append(times)
    return Drift(scenario=question.name, tests=tuple(tests), notes=tuple(notes))


def _rate(arrival_s: FloatArray, fit: ArrivalFit, rate_qps: float) -> DriftTest:
    span_s, gaps = float(arrival_s[-1] - arrival_s[0]), len(arrival_s) - 1
    found = gaps / span_s
    longest = [each.index for each in fit.dispersions[-2:]]
    index = 1.0 if fit.process == "poisson" or not longest else max(1.0, *longest)
    effect = abs(found / rate_qps - 1.0)
    z = (effect - RATE_TOLERANCE) * sqrt(rate_qps * span_s / index)
    return DriftTest(
        subject="rate",
        log=found,
        scenario=rate_qps,
        p_value=_beyond(z),
        effect=effect,
        tolerance=RATE_TOLERANCE,
        test=f"counts against the scenario's rate, their variance {index:.3g} times the mean",
    )


def _sizes(items: IntArray, law: SizePmf) -> DriftTest:
    """The largest distance of the distribution functions; conservative where sizes are few."""
    values, counts = np.unique(items, return_counts=True)
    at = np.unique(np.concatenate([values, law.values]))
    own = np.concatenate([[0.0], np.cumsum(counts) / len(items)])[np.searchsorted(values, at, side="right")]
    theirs = np.concatenate([[0.0], np.cumsum(law.probabilities)])[
        np.searchsorted(law.values, at, side="right")
    ]
    distance = float(np.abs(own - theirs).max())
    from scipy.stats import kstwobign  # takes a third of a second to load

    return DriftTest(
        subject="sizes",
        log=float(items.mean()),
        scenario=law.mean_items,
        p_value=float(kstwobign.sf(max(0.0, distance - SIZE_TOLERANCE) * sqrt(len(items)))),
        effect=distance,
        tolerance=SIZE_TOLERANCE,
        test="distance of Kolmogorov and Smirnov between the distribution functions",
    )


def _burstiness(arrival_s: FloatArray, question: Question) -> DriftTest | None:
    """Indices of dispersion in parts of the log and of the scenario's traffic: Welch's test of logarithms."""
    number = min(len(arrival_s), MOST_DRAWN)
    recorded = question.traffic.num_recorded
    traffic = question.traffic
    drawn = traffic.draw(number if recorded is None else min(number, recorded), seed=question.simulation.seed)
    span_s = float(arrival_s[-1] - arrival_s[0])
    candidates = [each for each in windows_s(len(arrival_s), span_s) if each * PARTS * 20 <= span_s]
    best: DriftTest | None = None
    # In units of mean gaps, so that another rate is no other burstiness.
    stretch = (len(arrival_s) - 1) / span_s / traffic.rate_qps
    theirs_s = drawn.arrival_s / stretch
    for window_s in candidates:
        own, other = _indices(arrival_s, window_s), _indices(theirs_s, window_s)
        if own is None or other is None:
            continue
        effect = abs(float(np.log(own).mean() - np.log(other).mean()))
        error = sqrt(float(np.log(own).var(ddof=1) + np.log(other).var(ddof=1)) / PARTS)
        p_value = _student((effect - log(1.0 + BURST_TOLERANCE)) / error, PARTS - 1)
        found = DriftTest(
            subject="burstiness",
            log=float(own.mean()),
            scenario=float(other.mean()),
            p_value=min(1.0, p_value * len(candidates)),
            effect=effect,
            tolerance=log(1.0 + BURST_TOLERANCE),
            test=f"Welch's test of the logarithm of the index of dispersion over {window_s:g} s, {PARTS} "
            f"parts each, times {len(candidates)} windows",
        )
        if best is None or (found.drifted, -found.p_value) > (best.drifted, -best.p_value):
            best = found
    return best


def _indices(arrival_s: FloatArray, window_s: float) -> FloatArray | None:
    counts = counts_by_window(arrival_s, window_s).astype(np.float64)
    whole = len(counts) // PARTS
    if whole < 20:
        return None
    parts = counts[: whole * PARTS].reshape(PARTS, whole)
    means = parts.mean(axis=1)
    if not (means > 0).all():
        return None
    indices = parts.var(axis=1, ddof=1) / means
    return indices if (indices > 0).all() else None


def _times(log_: ServedLog, busy: IntArray, question: Question) -> DriftTest | str:
    """Service times over those of the scenario, as means of parts of the log; a text where they cannot be."""
    policy, node = question.policy, question.node
    if not isinstance(policy, SplitAndOffload) or policy.offload_threshold_items is not None:
        return f"requests of the policy {policy.name} with an accelerator are not told apart in a log"
    largest = int(log_.num_items.max())
    if largest > policy.batch_size:
        return (
            f"the scenario splits queries at {policy.batch_size} items, and the log has requests of "
            f"{largest}; one row a request, with a column query, would compare"
        )
    table_s = node.service_times(policy, max(largest, question.max_items), question.traffic.size_pmf).cpu_s
    expected_s = table_s[log_.num_items - 1, np.minimum(busy, table_s.shape[1]) - 1]
    ratios = log_.service_s / expected_s
    means = np.array([part.mean() for part in np.array_split(ratios, PARTS)])
    mean, error = float(means.mean()), float(means.std(ddof=1)) / sqrt(PARTS)
    effect = abs(mean - 1.0)
    tolerance = max(TIME_TOLERANCE, 2.0 * question.times.errors.cpu)
    beyond = effect - tolerance
    p_value = _student(beyond / error, PARTS - 1) if error > 0 else float(beyond <= 0)
    return DriftTest(
        subject="service times",
        log=mean,
        scenario=1.0,
        p_value=p_value,
        effect=effect,
        tolerance=tolerance,
        test=f"Student's t of the mean ratio to the scenario's times in {PARTS} parts of the log",
    )


def _beyond(z: float) -> float:
    """Of a normal law, twice the part beyond: a change may go either way."""
    return min(1.0, erfc(z / sqrt(2.0)))


def _student(statistic: float, degrees: int) -> float:
    """The same of Student's t."""
    from scipy.stats import t  # as above

    return min(1.0, float(2.0 * t.sf(statistic, degrees)))
