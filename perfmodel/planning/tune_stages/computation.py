"""Every placement of every stage in every number of parts, by how much it can carry at most, best first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.planning.asked_stages import prepare_candidates
from perfmodel.planning.question import Question
from perfmodel.planning.rate.interval import greatest_rate
from perfmodel.planning.rate.search import RateSearch
from perfmodel.planning.service_times import AnyTimes, times_of
from perfmodel.planning.stages import Stage, StageTimes, beside_each_other, laws_of
from perfmodel.planning.tune.question import Objective
from perfmodel.planning.tune_stages.answer import (
    AS_WRITTEN,
    Placement,
    StageTuning,
    TriedPlacement,
)
from perfmodel.sim.pipeline import mean_parts
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.utilisation import PoolLoads, max_loads, offered_utilisation
from perfmodel.threads import Tell, untold

SUB_BATCHES = (1, 2, 4, 8, 16)
"""Tried by default."""

PROBE_QUERIES = 40_000
FINAL_QUERIES = 200_000
"""Behind each rate that a placement is ruled out by, and behind those that are told."""

CONTENDERS, MOST_CONTENDERS = 0.03, 4
"""Placements within this of the best short sample are tried on the long one, and how many at most. [1]"""

TIE = 0.01
"""Of placements this close, that of least power, then of the fewest parts: noise does not choose. [1]"""

Key = tuple[int, str, int, int]
"""A stage, its place, the parts of a query, and the cores of other stages on its machine."""

MOST_PLACEMENTS = 5000
"""Beyond, one would wait for hours."""


def tune_stages(
    loaded: LoadedScenario,
    *,
    objective: Objective = "qps",
    sub_batches: Sequence[int] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> StageTuning:
    """Find where the stages of a pipeline are best put, and in how many parts queries go through.

    Each stage stays as it is written, or is put on one of `pipeline.candidates`, each on a machine of its
    own. What cannot carry the best rate so far with every executor busy is never simulated.

    Parameters
    ----------
    loaded : LoadedScenario
        A scenario with a pipeline.
    objective : {"qps", "qps-per-watt"}
        What is best; power is static TDP.
    sub_batches : sequence of int
        To try; by default those of `SUB_BATCHES` that every stage has items for, and the file's.
    mixed_stacks, extrapolate, tell
        As of other questions.

    Raises
    ------
    InputError
        If there are too many placements, or too many parts.
    ExtrapolationError
        If the placement that the file says sends batches outside the calibrated range and `extrapolate` is
        not set; candidates that do are left out.
    """
    question, candidates = prepare_candidates(loaded, mixed_stacks=mixed_stacks)
    search = _Search(question, candidates, objective, extrapolate)
    if not extrapolate:
        question.times.require_calibrated()
    if objective == "qps-per-watt" and question.tdp_w is None:
        raise InputError("--objective qps-per-watt: expected the power of every node (node.tdp_w)")
    placements = list(_placements(question, candidates, _parts(question, sub_batches)))
    if len(placements) > MOST_PLACEMENTS:
        raise InputError(
            f"pipeline.candidates: expected at most {MOST_PLACEMENTS} placements of all stages, got "
            f"{len(placements)}"
        )
    tried = search.all_of(placements, tell)
    found = [each for each in tried if each.latency_bounded_qps is not None]
    found.sort(key=search.worth, reverse=True)
    contenders = [each for each in found if search.worth(each) >= (1.0 - CONTENDERS) * search.worth(found[0])]
    settings = question.pipeline
    assert settings is not None, "a pipeline"
    written = Placement(on=(AS_WRITTEN,) * len(question.stages), sub_batches=settings.sub_batches)
    static = search.told(written)
    told = [search.told(each.placement) for each in contenders[:MOST_CONTENDERS]]
    carrying = [each for each in (static, *told) if each.latency_bounded_qps is not None]
    best = static
    if carrying:
        most = max(map(search.worth, carrying))
        close = [each for each in carrying if search.worth(each) >= (1.0 - TIE) * most]
        best = min(close, key=lambda each: (each.tdp_w or 0.0, each.placement.sub_batches))
    return StageTuning(
        question=question,
        best=search.question(best.placement),
        objective=objective,
        static=static,
        tuned=best,
        tried=tuple(tried),
    )


def _parts(question: Question, asked: Sequence[int]) -> list[int]:
    """Numbers of parts to try."""
    fewest = min(stage.most_items for stage in question.later_stages if stage.most_items is not None)
    if over := [each for each in asked if each > fewest]:
        raise InputError(f"--sub-batches: expected at most {fewest}, the items of a stage, got {over[0]}")
    assert question.pipeline is not None, "a pipeline"
    by_default = {*SUB_BATCHES, question.pipeline.sub_batches}
    return sorted(set(asked) or {each for each in by_default if each <= fewest})


def _placements(
    question: Question, candidates: dict[str, tuple[Stage | None, ...]], parts: Sequence[int]
) -> Iterator[Placement]:
    """All of them, the file's own places first."""
    places = [
        [AS_WRITTEN, *(name for name, stages in candidates.items() if stages[number] is not None)]
        for number in range(len(question.stages))
    ]
    for on in product(*places):
        for sub_batches in parts:
            yield Placement(on=on, sub_batches=sub_batches)


class _Search:
    """Questions, bounds and rates of placements; a stage's times are worked out once for each law."""

    def __init__(
        self,
        question: Question,
        candidates: dict[str, tuple[Stage | None, ...]],
        objective: Objective,
        extrapolate: bool,
    ) -> None:
        self._question, self._candidates = question, candidates
        self._objective, self._extrapolate = objective, extrapolate
        self._times: dict[Key, AnyTimes] = {}
        self._loads: dict[Key, PoolLoads] = {}

    def stages(self, placement: Placement) -> list[Stage]:
        """The stages where they are put; who shared the first's machine has it alone when that moves."""
        stages = list(self._question.stages)
        for number, name in enumerate(placement.on):
            if name != AS_WRITTEN:
                chosen = self._candidates[name][number]
                assert chosen is not None, "only what fits is a placement"
                stages[number] = chosen
            elif placement.on[0] != AS_WRITTEN:
                stages[number] = replace(stages[number], shares_machine=False)
        return beside_each_other(stages)

    def question(self, placement: Placement) -> Question:
        """The question with this placement, its service times worked out before where they were."""
        pipeline = self._question.pipeline
        assert pipeline is not None, "a pipeline"
        settings = pipeline.model_copy(update={"sub_batches": placement.sub_batches})
        first, *later = self.stages(placement)
        asked = replace(
            self._question,
            node=first.node,
            policy=first.policy,
            later_stages=tuple(later),
            pipeline=settings,
        )
        sizes = asked.traffic.size_pmf
        laws = laws_of(asked.stages, settings, sizes)
        own = [
            self._stage_times(self._key(number, placement, stage), stage, law)
            for number, (stage, law) in enumerate(zip(asked.stages, laws, strict=True))
        ]
        return replace(asked, known_times=StageTimes(asked.stages, settings, sizes, own))

    def _stage_times(self, key: Key, stage: Stage, law: SizePmf) -> AnyTimes:
        if key not in self._times:
            self._times[key] = times_of(stage.node, stage.policy, law)
        return self._times[key]

    @staticmethod
    def _key(number: int, placement: Placement, stage: Stage) -> Key:
        return number, placement.on[number], placement.sub_batches, getattr(stage.node, "beside", 0)

    def saturation_qps(self, asked: Question, placement: Placement) -> float:
        """Rate that fills the fullest stage, each request without contention. [queries/s]"""
        times, traffic = asked.times, asked.traffic.at_rate(1.0)
        assert isinstance(times, StageTimes), "a pipeline's"
        parts = mean_parts(traffic.size_pmf, placement.sub_batches)
        loads = []
        for number, (stage, law, own) in enumerate(
            zip(asked.stages, times.laws, times.by_stage, strict=True)
        ):
            key = self._key(number, placement, stage)
            if key not in self._loads:
                self._loads[key] = offered_utilisation(
                    replace(traffic, sizes=law), own.table, stage.policy, contended=False
                )
            loads.append(self._loads[key])
        return 1.0 / (parts * max(max_loads(loads)))

    def worth(self, tried: TriedPlacement) -> float:
        """What is compared; 0 where nothing is carried. [queries/s] or [queries/s/W]"""
        found = tried.qps_per_w if self._objective == "qps-per-watt" else tried.latency_bounded_qps
        return found or 0.0

    def all_of(self, placements: Sequence[Placement], tell: Tell) -> list[TriedPlacement]:
        """Try all, those first that might carry most; the answer is in the order given."""
        found: dict[Placement, TriedPlacement] = {}
        bounds: list[tuple[float, float, Placement, Question]] = []
        for placement in placements:
            asked = self.question(placement)
            if not self._extrapolate:
                try:
                    asked.times.require_calibrated()
                except ExtrapolationError as error:
                    found[placement] = TriedPlacement(
                        placement=placement, latency_bounded_qps=None, tdp_w=asked.tdp_w, reason=str(error)
                    )
                    continue
            most_qps = self.saturation_qps(asked, placement)
            watts = asked.tdp_w if self._objective == "qps-per-watt" else 1.0
            bounds.append((most_qps / (watts or 1.0), watts or 1.0, placement, asked))
        bounds.sort(key=lambda each: -each[0])
        best = 0.0
        for done, (bound, watts, placement, asked) in enumerate(bounds):
            tell(0.8 * done / len(bounds))
            tried = TriedPlacement(placement=placement, latency_bounded_qps=None, tdp_w=asked.tdp_w)
            probe = replace(_rate_search(asked), probe_queries=PROBE_QUERIES, tolerance=0.005)
            if bound <= best or (best > 0.0 and not probe.meets(0.99 * best * watts)):
                found[placement] = replace(tried, below_qps=best * watts)
                continue
            rate_qps = probe.greatest_rate_qps()
            found[placement] = replace(
                tried, latency_bounded_qps=rate_qps, num_queries=probe.queries_in_a_probe
            )
            best = max(best, self.worth(found[placement]))
        return [found[placement] for placement in placements]

    def told(self, placement: Placement) -> TriedPlacement:
        """What a placement carries, by the long sample."""
        asked = self.question(placement)
        greatest = greatest_rate(_rate_search(asked), num_queries=FINAL_QUERIES)
        return TriedPlacement(
            placement=placement,
            latency_bounded_qps=None if greatest is None else greatest.rate_qps,
            tdp_w=asked.tdp_w,
            num_queries=0 if greatest is None else greatest.num_queries,
        )


def _rate_search(asked: Question) -> RateSearch:
    return RateSearch(
        traffic=asked.traffic,
        service=asked.times.table,
        policy=asked.policy,
        sla=asked.sla,
        seed=asked.simulation.seed,
        most_queries=asked.simulation.max_queries,
    )
