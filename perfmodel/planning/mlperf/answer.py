"""What LoadGen would say of a run: VALID or INVALID at a target rate, and the largest valid one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perfmodel.domain.estimate import Basis
from perfmodel.loading.mlperf_conf import LoadGenTarget
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import GreatestRate
from perfmodel.planning.sensitivity import Errors, RateBudget
from perfmodel.planning.verdict import Judgement, Verdict
from perfmodel.sim.run_result import RunResult

Result = Literal["VALID", "INVALID", "undecided"]
RESULTS: dict[Verdict, Result] = {
    "meets_sla": "VALID",
    "misses_sla": "INVALID",
    "unstable": "INVALID",
    "within_error": "undecided",
}
"""What LoadGen prints, by verdict."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MlperfAnswer:
    """The answer of `perfplan mlperf`.

    Attributes
    ----------
    question : Question
        What was asked: LoadGen's arrivals, percentile and limit in the place of the scenario's.
    target : LoadGenTarget
        What LoadGen asks of a run.
    target_qps : float
        Rate that is offered (Server, queries/s), or expected (Offline, samples/s).
    run_queries : int
        Queries of the run; samples of the Offline scenario's one query.
    run_s : float or None
        How long it takes; None of a load that never ends. [s]
    most_late : int or None
        Queries of the run that may exceed the target latency; None: the run is too short for any, or the
        scenario has no such limit.
    expected_late : float or None
        Queries that are expected to; None where there is no limit, or the load is unstable.
    judgement : Judgement
        Whether the run is VALID, and how probably.
    errors : Errors
        Of the service times.
    largest : GreatestRate or None
        The largest valid rate; of the Offline scenario the throughput, which is its score.
    budget : RateBudget or None
        What the service times' error does to it.
    least_target_qps : float or None
        Of the Offline scenario: with a smaller target the samples are served before the shortest duration
        is over. [samples/s]
    run : RunResult or None
        What the simulation found at the target rate; None where nothing was simulated.
    reason : str or None
        Why the run is INVALID, or what nothing can be said for; None of one that is VALID.
    basis : Basis
        How far to trust the service times.
    """

    question: Question
    target: LoadGenTarget
    target_qps: float
    run_queries: int
    run_s: float | None
    most_late: int | None
    expected_late: float | None
    judgement: Judgement
    errors: Errors
    largest: GreatestRate | None
    budget: RateBudget | None
    least_target_qps: float | None
    run: RunResult | None
    reason: str | None
    basis: Basis

    @property
    def verdict(self) -> Verdict:
        """The same in the words of `perfplan predict`."""
        return self.judgement.verdict

    @property
    def result(self) -> Result:
        """What LoadGen would print; "undecided" where the errors leave it open."""
        return RESULTS[self.verdict]

    @property
    def valid_probability(self) -> float | None:
        """That the run is VALID. [1]"""
        return self.judgement.sla_probability

    @property
    def largest_valid_qps(self) -> float | None:
        """The largest rate of a VALID run, as likely too high as too low; None: none. [queries/s]"""
        return None if self.largest is None else self.largest.rate_qps

    @property
    def plan_for_qps(self) -> float | None:
        """The largest rate that is VALID with the confidence asked for; None: none. [queries/s]"""
        return None if self.budget is None else self.budget.plan_qps

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        of_run = () if self.run is None else self.run.notes
        law = self.question.traffic.size_pmf
        samples = f"a LoadGen sample is a query of the scenario: {law.mean_items:.4g} items in the mean"
        if self.target.scenario == "Offline":
            largest = max(lane.request_items for lane in self.question.policy.lanes)
            samples += "; all are there at once, and are served as the scenario's policy cuts them"
            if largest < law.max_items:
                samples += f", {largest} items at most"
        unused = (
            f"no value of {path} is for {self.target.model}, {self.target.scenario}; it has {key}, say"
            for path, key in self.target.unused
        )
        return (samples, *unused, *of_run, *self.question.node_notes)
