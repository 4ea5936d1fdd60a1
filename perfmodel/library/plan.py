"""`perfmodel.plan`: how many nodes of which kind?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from perfmodel.errors import InputError
from perfmodel.library.shown import Shown
from perfmodel.loading.fleet_file import FleetLike, load_fleet
from perfmodel.planning.plan import answer
from perfmodel.planning.plan.computation import plan as plan_of
from perfmodel.planning.plan.growth import MOST_GROWTH
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.simulation import simulated
from perfmodel.report.documents.plan import PlanDocument, plan_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class PlanAnswer(Shown, answer.PlanAnswer):
    """The answer of `perfmodel.plan`; as a table, a row an hour."""

    __slots__ = ()
    _table: ClassVar[str] = "hours"

    def to_dict(self) -> PlanDocument:
        """Return the JSON document of `perfplan plan`; what does not exist is None."""
        return plan_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.plan import plan_page  # rich takes a while to load

        return plan_page(self)

    def _summary(self) -> str:
        nodes = "" if self.static is None else f", {self.static.provisioned.num_nodes} nodes"
        return f"{self.question.name}: {self.verdict}{nodes}"


def plan(
    fleet: FleetLike,
    *,
    overrides: Sequence[str] = (),
    growth: Sequence[float] = (),
    simulate: bool = True,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> PlanAnswer:
    """Plan a fleet, how many nodes of which kind, hour by hour: `perfplan plan`.

    Parameters
    ----------
    fleet : str, path or mapping
        A shipped fleet's name, the path of a fleet file, or what such a file says.
    overrides : sequence of str
        Changes as for `--set`: `"services.feed.demand.growth=1.4"`.
    growth : sequence of float
        Factors on all demand to plan for as well.
    simulate : bool
        Simulate the plan, and raise it where an SLA is missed.
    mixed_stacks : bool
        Let the node types have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    PlanAnswer
        The static provision, each hour for itself, baselines, what each safety costs; or, where there is no
        provision, what binds and what would free it.

    Raises
    ------
    InputError
        If the fleet file, or a file that it names, says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> perfmodel.plan("two_services")
    <PlanAnswer two services on two kinds of machine: feasible, 86 nodes>
    """
    for factor in growth:
        if not 0.0 < factor <= MOST_GROWTH:
            raise InputError(f"plan: growth: expected numbers > 0, got {factor:g}")
    loaded = load_fleet(fleet, overrides)
    question = plan_question(loaded, mixed_stacks=mixed_stacks, extrapolate=extrapolate)
    found = plan_of(question, growth=growth, extrapolate=extrapolate)
    return PlanAnswer.of(simulated(found, extrapolate=extrapolate) if simulate else found)
