"""`perfmodel.tune_stages`: which devices and sub-batches carry the most load through a pipeline?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from perfmodel.errors import InputError
from perfmodel.library.arguments import TuneStagesArguments, checked
from perfmodel.library.shown import Shown, rate
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.tune.question import Objective
from perfmodel.planning.tune_stages import answer
from perfmodel.planning.tune_stages.computation import tune_stages as tune_stages_of
from perfmodel.report.documents.tune_stages import StageTuningDocument, stage_tuning_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class StageTuning(Shown, answer.StageTuning):
    """The answer of `perfmodel.tune_stages`; as a table, a row a placement that was tried."""

    __slots__ = ()
    _table: ClassVar[str] = "tried"

    def to_dict(self) -> StageTuningDocument:
        """Return the JSON document of `perfplan tune` for a pipeline; what does not exist is None."""
        return stage_tuning_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.tune_stages import stage_tuning_page  # rich takes a while to load

        return stage_tuning_page(self)

    def _summary(self) -> str:
        best = self.tuned
        where = " + ".join(best.placement.on)
        parts = f"in {best.placement.sub_batches} parts"
        return f"{self.question.name}: {rate(best.latency_bounded_qps)} queries/s, {where}, {parts}"


def tune_stages(
    scenario: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    objective: Objective = "qps",
    sub_batches: Sequence[int] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> StageTuning:
    """Find where a pipeline's stages are best put, and in how many parts: `perfplan tune`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        With a `pipeline`, whose `candidates` are further places for each stage; its rate plays no part.
    overrides : sequence of str
        Changes as for `--set`.
    objective : {"qps", "qps-per-watt"}
        What is best; power is static TDP.
    sub_batches : sequence of int
        Parts of a query to try, ascending; by default 1, 2, 4, 8 and 16, and the file's.
    mixed_stacks : bool
        Let devices have different software stacks.
    extrapolate : bool
        Try batches outside the calibrated range too.

    Returns
    -------
    StageTuning
        `tuned` and `static` with their placements and rates, and all that was tried.

    Raises
    ------
    InputError
        If the scenario has one stage, or says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range as the file has it and `extrapolate` is not set.
    """
    asked = checked("tune_stages", TuneStagesArguments, objective=objective, sub_batches=tuple(sub_batches))
    loaded = load_scenario(scenario, overrides)
    if loaded.scenario.pipeline is None:
        raise InputError("tune_stages: expected a scenario with a pipeline; tune knows one stage")
    with loaded.places():
        found = tune_stages_of(
            loaded,
            objective=asked.objective,
            sub_batches=asked.sub_batches,
            mixed_stacks=mixed_stacks,
            extrapolate=extrapolate,
        )
    return StageTuning.of(found)
