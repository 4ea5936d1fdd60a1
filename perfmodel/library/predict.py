"""`perfmodel.predict`: what will this load look like?"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from perfmodel.errors import InputError
from perfmodel.library.arguments import PredictArguments, checked
from perfmodel.library.shown import Shown
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.predict import answer
from perfmodel.planning.predict.computation import predict as predict_question
from perfmodel.planning.prepare import prepare, scaled_load
from perfmodel.report.documents.predict import PredictDocument, predict_document
from perfmodel.sim.engines import EngineName
from perfmodel.units import MS

if TYPE_CHECKING:
    from rich.console import RenderableType


class Prediction(Shown, answer.Prediction):
    """The answer of `perfmodel.predict`; as a table, one row."""

    __slots__ = ()

    def to_dict(self) -> PredictDocument:
        """Return the JSON document of `perfplan predict`; what does not exist is None."""
        return predict_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.predict import predict_page  # rich takes a while to load

        return predict_page(self)

    def _summary(self) -> str:
        at = self.sla_interval
        said = ""
        if at is not None and isfinite(at.value_s):
            said = f", p{100 * self.question.sla.percentile:g} {at.value_s / MS:.4g} ms"
        return f"{self.question.name}: {self.verdict}{said}"


def predict(
    scenario: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    scale_load: float | None = None,
    engine: EngineName = "auto",
    policy: str | None = None,
    policy_file: Path | str | None = None,
    accept_uncertain: bool = False,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Prediction:
    """Predict tail latency, throughput and power of a scenario: `perfplan predict`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        A shipped scenario's name, the path of a scenario file, what such a file says, or a scenario made or
        loaded before.
    overrides : sequence of str
        Changes as for `--set`: `"traffic.arrivals.rate_qps=500"`.
    scale_load : float, optional
        Ask of so many times the scenario's arrival rate. [1]
    engine : {"auto", "compiled", "simpy"}
        What simulates; the answer is the same.
    policy : str, optional
        An installed policy (entry-point group perfplan.policies).
    policy_file : path, optional
        A Python file with a policy class. It is executed.
    accept_uncertain : bool
        Let the central estimate decide, however uncertain.
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    Prediction
        Verdict, latencies with their intervals, the largest load, power, and where the time goes. An overload
        is an answer: its verdict is "unstable", and its latencies are None.

    Raises
    ------
    InputError
        If the scenario, or a file that it names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> answer = perfmodel.predict("rm3_skylake", overrides=["simulation.precision=0.05"])
    >>> answer
    <Prediction rm3_skylake: meets_sla, p95 12.42 ms>
    >>> answer.to_dict()["offered_qps"]
    400.0
    """
    checked("predict", PredictArguments, engine=engine)
    loaded = load_scenario(scenario, overrides)
    question = scaled_load(prepare(loaded, mixed_stacks=mixed_stacks, stages=True), scale_load)
    if question.pipeline is not None and (policy is not None or policy_file is not None):
        raise InputError("policy: expected a scenario without pipeline, whose stages are simulated in turn")
    if policy is not None or policy_file is not None:
        # Imported on use: few questions bring a policy, and what checks one takes a while to load.
        from perfmodel.planning.predict.own_policy import with_own_policy

        file = None if policy_file is None else Path(policy_file)
        question = with_own_policy(question, file=file, name=policy, engine=engine)
    with loaded.places():
        return Prediction.of(
            predict_question(
                question, engine=engine, extrapolate=extrapolate, accept_uncertain=accept_uncertain
            )
        )
