"""`perfmodel.fleet`: what will this load look like on many nodes behind a router?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from perfmodel.domain.fleet import Routing
from perfmodel.library.arguments import FleetArguments, checked
from perfmodel.library.shown import Shown
from perfmodel.loading.scenario_file import ScenarioLike, load_scenario
from perfmodel.planning.fleet import answer
from perfmodel.planning.fleet.computation import predict_fleet
from perfmodel.planning.fleet.question import FleetMember, FleetQuestion
from perfmodel.planning.prepare import prepare_together, scaled_load
from perfmodel.report.documents.fleet import FleetDocument, fleet_document

if TYPE_CHECKING:
    from rich.console import RenderableType


class FleetPrediction(Shown, answer.FleetPrediction):
    """The answer of `perfmodel.fleet`; as a table, a row a window."""

    __slots__ = ()
    _table: ClassVar[str] = "windows"

    def to_dict(self) -> FleetDocument:
        """Return the JSON document of `perfplan fleet`; what does not exist is None."""
        return fleet_document(self)

    def _page(self) -> RenderableType:
        from perfmodel.report.fleet import fleet_page  # rich takes a while to load

        return fleet_page(self)

    def _summary(self) -> str:
        question = self.question
        return f"{question.scenario.name} on {question.num_nodes} nodes: {self.verdict}"


def fleet(
    scenario: ScenarioLike,
    nodes: int,
    *,
    routing: Routing | str = Routing.RANDOM,
    also: Sequence[tuple[ScenarioLike, int]] = (),
    rate_qps: float | None = None,
    windows: int = 96,
    overrides: Sequence[str] = (),
    scale_load: float | None = None,
    accept_uncertain: bool = False,
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> FleetPrediction:
    """Predict tail latency and power of many nodes behind a router, over a day: `perfplan fleet`.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        As for `predict`: the node and its policy, the arrival process, the query sizes and the SLA.
    nodes : int
        Nodes of the scenario's kind.
    routing : {"random", "round-robin", "join-shortest-queue", "power-of-two"}
        How the router chooses a node.
    also : sequence of (scenario, int)
        Further nodes of another kind: that scenario's node and policy, and how many.
    rate_qps : float, optional
        Mean rate of the whole fleet; by default the scenario's rate for each node. [queries/s]
    windows : int
        Windows of equal length that a diurnal period is cut into.
    overrides : sequence of str
        Changes of the first scenario, as for `--set`.
    scale_load : float, optional
        Ask of so many times that rate. [1]
    accept_uncertain : bool
        Let the central estimate decide, however uncertain.
    mixed_stacks : bool
        Let the devices have different software stacks.
    extrapolate : bool
        Answer outside the calibrated range too, marked.

    Returns
    -------
    FleetPrediction
        The verdict of the worst window, latencies over all queries, and what each window shows.

    Raises
    ------
    InputError
        If a scenario, a file that it names, or an argument says something that cannot be accepted.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.

    Examples
    --------
    >>> import perfmodel
    >>> quick = ["simulation.max_queries=50000", "simulation.min_queries=50000"]
    >>> perfmodel.fleet("rm3_skylake", 3, overrides=quick)
    <FleetPrediction rm3_skylake on 3 nodes: meets_sla>
    """
    asked = checked(
        "fleet",
        FleetArguments,
        nodes=nodes,
        also=[count for _, count in also],
        routing=routing,
        rate_qps=rate_qps,
        windows=windows,
    )
    loaded = [load_scenario(scenario, overrides), *(load_scenario(other) for other, _ in also)]
    members = tuple(
        FleetMember(question=scaled_load(question, scale_load), num_nodes=count)
        for question, count in zip(
            prepare_together(loaded, mixed_stacks=mixed_stacks, stages=True),
            (asked.nodes, *asked.also),
            strict=True,
        )
    )
    question = FleetQuestion(
        members=members,
        routing=asked.routing,
        rate_qps=asked.rate_qps and asked.rate_qps * (scale_load or 1.0),
        num_windows=asked.windows,
    )
    return FleetPrediction.of(
        predict_fleet(question, extrapolate=extrapolate, accept_uncertain=accept_uncertain)
    )
