"""What is asked of a fleet: its nodes, the routing, and the traffic."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.domain.fleet import Routing, Window, windows_of
from perfmodel.domain.workload import Arrivals, DiurnalArrivals, StagedArrivals
from perfmodel.errors import InputError
from perfmodel.planning.question import Question
from perfmodel.planning.run_cost import GB_A_QUERY
from perfmodel.sim.fleet_window import QUERIES_PER_NODE
from perfmodel.sim.policies import Policy
from perfmodel.sim.run_length import MOST_RECORDED
from perfmodel.sim.traffic import has_days

MOST_NODES = 1_000_000
"""Of one kind: more than any company has."""

MOST_WINDOWS = 86_400
"""In a period: one a second of a day. Each that has a rate of its own is simulated."""

MOST_NODES_SEEN = MOST_RECORDED // QUERIES_PER_NODE
"""Nodes whose queues a router looks at: each has queries enough to be warm, and all of them are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMember:
    """Equal nodes: the node and the policy of a prepared scenario, and how many there are."""

    question: Question
    num_nodes: int

    @property
    def policy(self) -> Policy:
        """The policy of each node."""
        return self.question.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetQuestion:
    """What is asked of a fleet.

    Attributes
    ----------
    members : tuple of FleetMember
        The kinds of nodes, all with the same model, as far as that is known. The first one's scenario gives
        the arrival process, the query sizes, the SLA and the settings of the simulation.
    routing : Routing
        How the router chooses a node.
    rate_qps : float or None
        Mean rate of the whole fleet; None: the scenario's rate for each node. [queries/s]
    num_windows : int
        Into how many windows one period of a diurnal rate is cut.
    """

    members: tuple[FleetMember, ...]
    routing: Routing
    rate_qps: float | None = None
    num_windows: int = 96

    def __post_init__(self) -> None:
        named = {member.question.model_names for member in self.members}
        models = {_of_stages(names) for names in named if None not in names}
        if len(models) > 1 or len({len(names) for names in named}) > 1:
            told = sorted(models | {_of_stages(names) for names in named})
            raise InputError(f"fleet: expected nodes that serve one model, got {', '.join(told)}")
        staged = any(member.question.pipeline is not None for member in self.members)
        if staged and self.routing.looks_at_queues:
            blind = "whose router does not see how busy later stages are"
            raise InputError(
                f"routing: expected random or round-robin for several stages, {blind}, got {self.routing}"
            )
        if self.routing.looks_at_queues and self.num_nodes > MOST_NODES_SEEN:
            takes = f"about {self.num_nodes * QUERIES_PER_NODE * GB_A_QUERY:.0f} GB"
            raise InputError(
                f"routing: expected random or round-robin for {self.num_nodes:_} nodes, got {self.routing}: "
                f"all nodes whose queues are looked at are simulated, which takes {takes}; at most "
                f"{MOST_NODES_SEEN:_} are"
            )
        if self.rate_qps is not None and not self.rate_qps > 0:
            raise InputError(f"--qps: expected a rate > 0, got {self.rate_qps:g}")

    @property
    def scenario(self) -> Question:
        """The scenario whose traffic, SLA and settings count."""
        return self.members[0].question

    @property
    def num_nodes(self) -> int:
        """All nodes."""
        return sum(member.num_nodes for member in self.members)

    @property
    def offered_qps(self) -> float:
        """Mean rate of the whole fleet. [queries/s]"""
        return self.rate_qps or self.num_nodes * self.scenario.traffic.rate_qps

    @property
    def arrivals(self) -> Arrivals:
        """What arrives at the router. [queries/s]"""
        return self.scenario.traffic.at_rate(self.offered_qps).arrivals

    def windows(self) -> tuple[Window, ...]:
        """Cut a rate that follows the time of day into windows of constant rate; all else is one window."""
        arrivals = self.arrivals
        if has_days(self.scenario.traffic):
            assert isinstance(arrivals, DiurnalArrivals | StagedArrivals), "what has days"
            return windows_of(arrivals, self.num_windows)
        length_s = arrivals.period_s if isinstance(arrivals, DiurnalArrivals | StagedArrivals) else 1.0
        return (Window(start_s=0.0, end_s=length_s, rate_qps=self.offered_qps),)

    @property
    def is_cut(self) -> bool:
        """Whether windows stand for hours, so that the arrivals within one are Poisson."""
        return has_days(self.scenario.traffic)


def _of_stages(names: tuple[str | None, ...]) -> str:
    """Models of one stage after the other, in words."""
    return " then ".join(name or "a table of service times" for name in names)
