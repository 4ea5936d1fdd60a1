"""`perfmodel.capacity`: the largest load that meets the SLA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perfmodel.library.shown import Shown, rate
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.capacity import answer
from perfmodel.planning.capacity.computation import capacity as capacity_of
from perfmodel.planning.prepare import prepare
from perfmodel.report.documents.capacity import CapacityDocument, capacity_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class Capacity(Shown, answer.Capacity):
    """The answer of `perfmodel.capacity`; as a table, one row."""

    __slots__ = ()

    def to_dict(self) -> CapacityDocument:
        """Return the JSON document of `perfplan capacity`; what does not exist is None."""
        return capacity_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.capacity import capacity_page  # rich takes a while to load

        return capacity_page(self)

    def _summary(self) -> str:
        rates = f"plan for {rate(self.plan_for_qps)} of {rate(self.latency_bounded_qps)} queries/s"
        return f"{self.question.name}: {rates}"


def capacity(
    scenario: ScenarioLike,
    *,
    overrides: Sequence[str] = (),
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> Capacity:
    """Find the largest load that a node carries within its SLA: `perfplan capacity`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`; its arrival rate plays no part.
    overrides : sequence of str
        Changes as for `--set`: `"sla.latency_ms=50"`.
    mixed_stacks : bool
        Let the node's devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    Capacity
        `plan_for_qps`, the load that meets the SLA with the confidence asked for; `latency_bounded_qps`, as
        likely too high as too low. None where no load meets the SLA.

    Raises
    ------
    InputError
        If the scenario, or a file that it names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> quick = ["simulation.max_queries=50000", "simulation.min_queries=50000"]
    >>> answer = perfmodel.capacity("rm3_skylake", overrides=quick)
    >>> answer.plan_for_qps < answer.latency_bounded_qps < answer.saturation_qps
    True
    """
    loaded = load_scenario(scenario, overrides)
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    with loaded.places():
        return Capacity.of(capacity_of(question, extrapolate=extrapolate))
