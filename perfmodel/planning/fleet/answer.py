"""What a fleet does, window by window and as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from perfmodel.domain.estimate import Basis
from perfmodel.domain.fleet import Window
from perfmodel.planning.fleet.question import FleetQuestion
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.sensitivity import Errors
from perfmodel.planning.verdict import Deciding, Judgement, Verdict
from perfmodel.sim.fleet_window import Stretch
from perfmodel.sim.run_length import MIN_CYCLES
from perfmodel.sim.statistics import Interval
from perfmodel.sim.utilisation import stage_loads

SAME_SPEED = 1e-6
"""A trace replayed at its own rate but for so little is replayed as recorded. [1]"""

# Shorter windows, and one begins before the queue of the one before has settled.
MIN_LATENCIES_PER_WINDOW = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetWindow:
    """What one window shows; an unstable one has no latencies.

    Attributes
    ----------
    window : Window
        When, and the rate of the whole fleet.
    share_of_time : float
        Of the period, in it. [1]
    judgement : Judgement
        Whether the SLA's percentile is within its bound, and how probably; the probability is left open where
        a busier window meets it.
    percentiles : mapping of float to Interval
        Latency by percentile, a fraction. [s]
    node_percentiles : mapping of float to Interval
        The same without what queries spend outside the nodes. [s]
    stretch : Stretch
        The simulation behind it; windows of one rate share it.
    cpu_utilisation, accelerator_utilisation : float, float or None
        Of all executors of the fleet; None without accelerators. [1]
    load_power_w : float or None
        Power of the fleet: idle + utilisation x (peak - idle); None where unstable. [W]
    """

    window: Window
    share_of_time: float
    judgement: Judgement
    percentiles: Mapping[float, Interval]
    node_percentiles: Mapping[float, Interval]
    stretch: Stretch
    cpu_utilisation: float
    accelerator_utilisation: float | None
    load_power_w: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether the SLA's percentile is within its bound."""
        return self.judgement.verdict


def shed_rate(windows: Sequence[FleetWindow]) -> float:
    """Share of the queries of all windows that were shed. [1]"""
    weights = [window.window.rate_qps * window.share_of_time for window in windows]
    shed = [window.stretch.shed_rate for window in windows]
    return sum(w * each for w, each in zip(weights, shed, strict=True)) / sum(weights)


def queries_needed(few: Sequence[Stretch], max_queries: int) -> int:
    """Queries that a run may take at the least, where runs of so many hold too few bursts."""
    return ceil(max_queries * MIN_CYCLES / min(stretch.cycles or 0.0 for stretch in few))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetPrediction:
    """The answer of `perfplan fleet`.

    Attributes
    ----------
    question : FleetQuestion
        What was asked.
    windows : tuple of FleetWindow
        In order of time.
    percentiles : mapping of float to Interval
        Latency over all queries of all windows; empty where one of them is unstable. [s]
    node_percentiles : mapping of float to Interval
        The same without what queries spend outside the nodes. [s]
    of_asked : Interval or None
        The SLA's percentile of all queries, those turned away taking for ever: inf where it is one of them;
        None where none can be, or a window is unstable. [s]
    basis : Basis
        How far to trust the service times.
    errors : tuple of Errors
        Of the service times of each kind of node.
    deciding : Deciding or None
        What would decide on the worst window, where neither "meets" nor "misses" can be said.
    """

    question: FleetQuestion
    windows: tuple[FleetWindow, ...]
    percentiles: Mapping[float, Interval]
    node_percentiles: Mapping[float, Interval]
    basis: Basis
    errors: tuple[Errors, ...]
    deciding: Deciding | None = None
    of_asked: Interval | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst window: an SLA holds at all times."""
        verdicts = {window.verdict for window in self.windows}
        return next(v for v in ("unstable", "misses_sla", "within_error", "meets_sla") if v in verdicts)

    @property
    def sla_probability(self) -> float | None:
        """That the worst window meets the SLA. [1]"""
        known = [window.judgement.sla_probability for window in self.windows]
        return min((probability for probability in known if probability is not None), default=None)

    @property
    def tdp_w(self) -> float | None:
        """Static power of the fleet: the TDP of everything in it; None where some of it is not known. [W]"""
        powers_w = [(member.num_nodes, member.question.tdp_w) for member in self.question.members]
        known = [number * tdp_w for number, tdp_w in powers_w if tdp_w is not None]
        return sum(known) if len(known) == len(powers_w) else None

    @property
    def load_power_w(self) -> float | None:
        """Mean power over the time of all windows; None where one is unstable, or has none known. [W]"""
        powers_w = [
            window.load_power_w * (window.share_of_time * len(self.windows))
            for window in self.windows
            if window.load_power_w is not None
        ]
        return sum(powers_w) / len(powers_w) if len(powers_w) == len(self.windows) else None

    @property
    def shed_rate(self) -> float | None:
        """Share of all queries that were shed; None where no node sheds. [1]"""
        if all(member.policy.shedding is None for member in self.question.members):
            return None
        return shed_rate(self.windows)

    @property
    def simulated_queries(self) -> int:
        """Queries simulated, those of windows that share a simulation counted once."""
        return sum({id(window.stretch): window.stretch.num_queries for window in self.windows}.values())

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Costs that no fit stands behind, each named once."""
        lines = (line for node in self._nodes for line in node.assumptions)
        return tuple(dict.fromkeys(lines))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        notes = []
        unstable = sum(not window.stretch.is_stable for window in self.windows)
        if unstable:
            notes.append(
                f"{unstable} of {len(self.windows)} windows are unstable with the service times as given: "
                "no percentile exists"
            )
        few = [w.stretch for w in self.windows if w.stretch.holds_too_few]
        imprecise = sum(not w.stretch.precision_reached for w in self.windows) - unstable - len(few)
        if imprecise:
            precision = self.question.scenario.simulation.precision
            ended = "the trace" if self.question.scenario.traffic.trace_s is not None else "max_queries"
            notes.append(f"{ended} ended {imprecise} windows before a precision of ±{precision:.1%}")
        if few:
            cycles = min(stretch.cycles or 0.0 for stretch in few)
            most = self.question.scenario.simulation.max_queries
            notes.append(
                f"the run of a node holds {cycles:.2g} bursts, or periods, in the mean, too few to say what "
                f"is usual; {MIN_CYCLES} take simulation.max_queries={queries_needed(few, most)}"
            )
        if self.shed_rate is not None:
            notes.append(
                f"{self.shed_rate:.3%} of the queries were shed; latencies are those of the queries served"
            )
        traffic = self.question.scenario.traffic
        if traffic.trace_s is not None:
            faster = self.question.offered_qps / traffic.rate_qps
            notes.append(
                "all nodes replay the trace once, from its first query on"
                + (f", {faster:.4g} times as fast as recorded" if abs(faster - 1.0) > SAME_SPEED else "")
            )
        metastable = sum(w.stretch.is_stable and w.stretch.contended >= 1.0 for w in self.windows)
        if metastable and self.shed_rate is None:
            notes.append(
                f"metastable: in {metastable} windows the load is more than the nodes serve with all "
                f"executors busy; no backlog grew in these runs, but a burst that fills them would start one"
            )
        slowest_s = max((i.value_s for w in self.windows for i in w.percentiles.values()), default=0.0)
        length_s = min(each.window.end_s - each.window.start_s for each in self.windows)
        if len(self.windows) > 1 and length_s < MIN_LATENCIES_PER_WINDOW * slowest_s:
            notes.append(
                f"windows of {length_s:.3g} s are short beside a latency of {slowest_s:.3g} s; "
                f"each is simulated as if its rate had lasted"
            )
        notes += self._stages
        nodes = self._nodes
        stacks = {node.cpu.stack: node.cpu.name for node in nodes if isinstance(node, ServingNode)}
        if len({member.question.model_names for member in self.question.members}) > 1:
            notes.append("which model a table of service times is of is not known: the same is taken for all")
        if len(stacks) > 1:
            each = ", ".join(f"{stack} on {name}" for stack, name in stacks.items())
            notes.append(f"mixed stacks: {each}; software is compared here, not hardware alone")
        of_nodes = (note for member in self.question.members for note in member.question.node_notes)
        return (*notes, *dict.fromkeys(of_nodes))

    @property
    def _stages(self) -> Iterator[str]:
        """How full the busiest window leaves each stage, of kinds of node with several."""
        busiest = max(self.windows, key=lambda window: window.window.rate_qps)
        for member, share in zip(self.question.members, busiest.stretch.shares, strict=True):
            of, rate_qps = member.question, busiest.window.rate_qps * share / member.num_nodes
            if of.pipeline is None or rate_qps <= 0.0:
                continue
            traffic = of.traffic.at_rate(rate_qps)
            loads = stage_loads(traffic, of.times.table, of.policy, contended=True)
            full = ", ".join(
                f"{stage.name} {100 * max(load):.3g} %" for stage, load in zip(of.stages, loads, strict=True)
            )
            when = "" if len(self.windows) == 1 else "in the busiest window "
            yield f"{of.name}: {when}its stages are busy for {full} of the time, at the pace of a full node"

    @property
    def _nodes(self) -> list[AnyNode]:
        """Of every kind, and every stage of it."""
        return [stage.node for member in self.question.members for stage in member.question.stages]

    @property
    def service_times_of(self) -> str:
        """What is in the service times, in words, of each kind of node."""
        said = {
            member.question.service_times_of: member.question.node.short_name
            for member in self.question.members
        }
        if len(said) == 1:
            return next(iter(said))
        return "; ".join(f"{name}: {words}" for words, name in said.items())
