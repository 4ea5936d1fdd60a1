"""`perfmodel.mlperf`: what would LoadGen say of a run?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perfmodel.library.arguments import MlperfArguments, checked
from perfmodel.library.shown import Shown, rate
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.mlperf import answer
from perfmodel.planning.mlperf.computation import mlperf as mlperf_of
from perfmodel.planning.mlperf.target import mlperf_target
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.mlperf import MlperfDocument, mlperf_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class MlperfAnswer(Shown, answer.MlperfAnswer):
    """The answer of `perfmodel.mlperf`; as a table, one row."""

    __slots__ = ()

    def to_dict(self) -> MlperfDocument:
        """Return the JSON document of `perfplan mlperf`; what does not exist is None."""
        return mlperf_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.mlperf import mlperf_page  # rich takes a while to load

        return mlperf_page(self)

    def _summary(self) -> str:
        largest = f"largest valid {rate(self.largest_valid_qps)} queries/s"
        return f"{self.question.name}: {self.result} at {rate(self.target_qps)} queries/s, {largest}"


def mlperf(
    scenario: ScenarioLike,
    target_qps: float | None = None,
    *,
    loadgen_scenario: Literal["Server", "Offline"] = "Server",
    benchmark: str | None = None,
    conf: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
    accept_uncertain: bool = False,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> MlperfAnswer:
    """Say whether LoadGen would call a run VALID, and which rate is the largest: `perfplan mlperf`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`; its arrivals and its SLA's percentile and limit give way to LoadGen's.
    target_qps : float, optional
        Rate to offer (Server), or to expect (Offline); by default that of `conf`, else the scenario's.
        [queries/s]
    loadgen_scenario : {"Server", "Offline"}
        How LoadGen sends queries.
    benchmark : str, optional
        "dlrm", "dlrm-v2", "dlrm-v3", or a name in a file of `conf`; by default the scenario's model.
    conf : sequence of str or Path
        `user.conf`, or `mlperf.conf` and `user.conf`; the later goes before the earlier.
    overrides : sequence of str
        Changes as for `--set`.
    accept_uncertain : bool
        Let the central estimate decide.
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    MlperfAnswer
        `result` is "VALID", "INVALID" or "undecided"; `largest_valid_qps` is as likely too high as too low,
        `plan_for_qps` is VALID with the confidence that is asked for.

    Raises
    ------
    InputError
        If the scenario, or a file that it or `conf` names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    At 155 samples/s, 39,600 samples are over before the 600 s that a run has to last.

    >>> import perfmodel
    >>> offline = perfmodel.mlperf("mlperf_dlrm_v2_skylake", 60.0, loadgen_scenario="Offline")
    >>> offline.result, offline.run_queries
    ('INVALID', 39600)
    """
    asked = checked(
        "mlperf",
        MlperfArguments,
        target_qps=target_qps,
        loadgen_scenario=loadgen_scenario,
        benchmark=benchmark,
    )
    loaded = load_scenario(scenario, overrides)
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    target = mlperf_target(
        question, asked.loadgen_scenario, benchmark=asked.benchmark, conf=[Path(path) for path in conf]
    )
    with loaded.places():
        found = mlperf_of(
            question,
            target,
            target_qps=asked.target_qps,
            extrapolate=extrapolate,
            accept_uncertain=accept_uncertain,
        )
    return MlperfAnswer.of(found)
