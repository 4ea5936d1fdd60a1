"""`perfmodel.tune`: which batch size and offload threshold carry the most load?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from perfmodel.library.arguments import TuneArguments, checked
from perfmodel.library.shown import Shown, rate
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.planning.tune import answer
from perfmodel.planning.tune.computation import tune as tune_question
from perfmodel.planning.tune.question import Objective, TuneOptions
from perfmodel.report.documents.tune import TuneDocument, tune_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class TuneAnswer(Shown, answer.TuneAnswer):
    """The answer of `perfmodel.tune`; as a table, a row a configuration that was tried."""

    __slots__ = ()
    _table: ClassVar[str] = "tried"

    def to_dict(self) -> TuneDocument:
        """Return the JSON document of `perfplan tune`; what does not exist is None."""
        return tune_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.tune import tune_page  # rich takes a while to load

        return tune_page(self)

    def _summary(self) -> str:
        best = self.tuning.exhaustive.latency_bounded_qps
        return f"{self.question.name}: {rate(best)} queries/s with {' '.join(self.settings) or 'nothing'}"


def tune(
    scenario: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    sla_levels: bool = False,
    objective: Objective = "qps",
    static_batch: int | None = None,
    batch_sizes: Sequence[int] = (),
    thresholds: Sequence[int] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> TuneAnswer:
    """Find the batch size and offload threshold that carry the most load: `perfplan tune`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`; its rate, batch size and threshold play no part.
    overrides : sequence of str
        Changes as for `--set`: `"sla.latency_ms=50"`.
    sla_levels : bool
        Tune at low (/ 1.5) and high (x 1.5) SLA too.
    objective : {"qps", "qps-per-watt"}
        What is best; power is static TDP.
    static_batch : int, optional
        Batch size of the baseline; by default the largest query over the cores. [items]
    batch_sizes, thresholds : sequence of int
        What to try, ascending; empty: sizes doubling from 1, thresholds by equal steps of the items' share.
        [items]
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Try batches outside the calibrated range too.

    Returns
    -------
    TuneAnswer
        What to set (`settings`, as `overrides` takes it), what it gains over the static baseline, and all
        that was tried.

    Raises
    ------
    InputError
        If the scenario, a file that it names, or an argument says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> quick = ["simulation.max_queries=50000", "simulation.min_queries=50000"]
    >>> answer = perfmodel.tune("rm3_skylake", overrides=quick, batch_sizes=[64, 128])
    >>> answer.settings
    ('policy.batch_size=128', 'policy.offload_threshold_items=null')
    """
    asked = checked(
        "tune",
        TuneArguments,
        objective=objective,
        static_batch=static_batch,
        batch_sizes=tuple(batch_sizes),
        thresholds=tuple(thresholds),
    )
    loaded = load_scenario(scenario, overrides)
    question = prepare(loaded, mixed_stacks=mixed_stacks)
    options = TuneOptions(sla_levels=sla_levels, extrapolate=extrapolate, **dict(asked))
    with loaded.places():
        return TuneAnswer.of(tune_question(question, options))
