"""A question: a scenario with every file read, and how what the scenario says goes together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.bounds import MOST_ITEMS
from perfmodel.domain.scenario import (
    LoadTestAnchor,
    PipelineSettings,
    TableNodeChoice,
)
from perfmodel.domain.serving import SimulationSettings, SlaTarget
from perfmodel.errors import Note
from perfmodel.loading.asked_paths import asked_of
from perfmodel.loading.inputs import InputFile
from perfmodel.loading.scenario_file import LoadedScenario, NamedFiles
from perfmodel.planning.asked_node import node_of, price_usd_per_h, with_lengths
from perfmodel.planning.asked_traffic import length_law, outside_of, stated_max_items, traffic_of
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.run_cost import affordable_settings, require_affordable, require_few_users
from perfmodel.planning.service_times import AnyTimes, times_of
from perfmodel.planning.stack_choice import Wish, devices_of, stack_note
from perfmodel.planning.stages import Stage, StageTimes, lets_all_through
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.policies import Policy, check_cores, largest_cpu_launch_items
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import offered_utilisation

if TYPE_CHECKING:
    from perfmodel.planning.load_test_fit import LoadTestFit


@dataclass(frozen=True, kw_only=True)  # no slots: what it works out once is kept
class Question:
    """A scenario with every file read: what runs where, under what, and what is asked of it."""

    name: str
    node: AnyNode
    traffic: TrafficSource
    policy: Policy
    sla: SlaTarget
    simulation: SimulationSettings
    stack_note: str | None = None  # where another stack answers than the file names
    price_usd_per_h: float | None = None  # of the node
    stated_max_items: int | None = None  # what the traffic's source says, where its sizes may end below
    asked: Mapping[str, Any] = field(default_factory=dict)  # the scenario as a file says it, --set applied
    inputs: tuple[InputFile, ...] = ()
    load_test: LoadTestFit | None = None  # what fixed the level of the service times
    pipeline: PipelineSettings | None = None  # how the stages go together; None: there is one
    later_stages: tuple[Stage, ...] = ()  # after the first, which node and policy are
    known_times: StageTimes | None = None  # of a pipeline, where they were worked out before

    @property
    def max_items(self) -> int:
        """Largest query that can arrive. [items]"""
        return self.traffic.size_pmf.max_items

    @property
    def serving_node(self) -> ServingNode:
        """The node, where what is asked needs its model and its hardware.

        Raises
        ------
        ValueErrorAt
            At `node.service_times`, where it is known by those alone.
        """
        if isinstance(self.node, TableNode):
            asked = "expected a node with a model and hardware profiles, got one known by its service times"
            raise ValueErrorAt(asked, ("node", "service_times"))
        return self.node

    @cached_property
    def times(self) -> AnyTimes | StageTimes:
        """The node's service times under the policy and the traffic's sizes; of a pipeline all stages'."""
        if self.known_times is not None:
            return self.known_times
        return self.times_under(self.traffic.size_pmf)

    @property
    def saturation_qps(self) -> float:
        """Rate from which a pool with all executors busy cannot keep up. [queries/s]"""
        one = self.traffic.at_rate(1.0)
        return 1.0 / max(offered_utilisation(one, self.times.table, self.policy, contended=True))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage, the first included."""
        name = self.node.model_name or self.node.short_name
        first = Stage(name=name, node=self.node, policy=self.policy, stack_note=self.stack_note)
        return (first, *self.later_stages)

    def times_under(self, sizes: SizePmf) -> AnyTimes | StageTimes:
        """As `times`, of queries of other sizes."""
        if self.pipeline is not None:
            return StageTimes(self.stages, self.pipeline, sizes)
        return times_of(self.node, self.policy, sizes)

    @property
    def num_cores(self) -> int:
        """Cores that serve, of all stages. [cores]"""
        return sum(stage.node.cores for stage in self.stages)

    @property
    def num_accelerators(self) -> int:
        """Accelerators of all stages."""
        return sum(stage.node.num_accelerators for stage in self.stages)

    @property
    def num_machines(self) -> int:
        """Machines of all stages, those that hold tables included."""
        own = [stage for stage in self.stages if not stage.shares_machine]
        return sum(stage.node.num_machines for stage in own)

    @property
    def model_names(self) -> tuple[str | None, ...]:
        """The model of each stage, as far as that is known."""
        return tuple(stage.node.model_name for stage in self.stages)

    @property
    def tdp_w(self) -> float | None:
        """Static power of all machines; None where that of one is not known. [W]"""
        own = [self.node.tdp_w, *(stage.tdp_w for stage in self.later_stages)]
        known = [each for each in own if each is not None]
        return sum(known) if len(known) == len(own) else None

    def power_w(self, cpu_utilisation: float, accelerator_utilisation: float | None) -> float | None:
        """Power of the node at a load; None where it is not known, as of several stages. [W]"""
        if self.pipeline is not None:
            return None
        times = self.times
        return self.node.power_w(
            cpu_utilisation, accelerator_utilisation, times.serving_w, times.asking_share
        )

    @property
    def service_times_of(self) -> str:
        """What is in the service times, in words."""
        return self.times.words

    @property
    def node_notes(self) -> tuple[str, ...]:
        """What a reader of any answer must know of the node."""
        notes = (*self.times.notes, *(() if self.load_test is None else self.load_test.notes))
        notes = (*notes, *lets_all_through(self.later_stages, self.max_items))
        return notes if self.stack_note is None else (self.stack_note, *notes)

    @property
    def largest_query_items(self) -> int:
        """Largest query to be ready for: as stated, else the largest that arrives. [items]"""
        return self.stated_max_items or self.max_items


def question_of(
    loaded: LoadedScenario, files: NamedFiles, wishes: Sequence[Wish], stacks: Sequence[str]
) -> Question:
    """The question with these stacks; a `ValueErrorAt` says what in the scenario does not go together."""
    scenario = loaded.scenario
    node = node_of(scenario.node, files, devices_of(wishes, stacks, files.model))
    if (lengths := scenario.traffic.lengths) is not None:
        if isinstance(node, TableNode):
            by_size = "a node known by its service times knows sizes alone: give it their `scatter`"
            raise ValueErrorAt(by_size, ("traffic", "lengths"))
        if node.shards is not None or node.tier_settings is not None:
            apart = f"node.{'tiers' if node.shards is None else 'shards'}"
            raise ValueErrorAt(
                f"expected none beside {apart}, which are asked by size", ("traffic", "lengths")
            )
        if node.near_memory is not None:
            raise ValueErrorAt(
                "expected none beside node.near_memory, whose lookups are known by size",
                ("traffic", "lengths"),
            )
        node = with_lengths(node, length_law(lengths, files))
    policy = policy_from(scenario.policy)
    if policy.share_query_work and (isinstance(node, TableNode) or not node.model.has_query_work):
        nothing = f"{node.model_name or 'the table'} has no work of the query (scope: query) to share"
        raise ValueErrorAt(nothing, ("policy", "share_query_work"))
    if isinstance(node, ServingNode) and node.near_memory is not None:
        _require_lookups_on_cores(node, policy)
    if isinstance(node, ServingNode) and node.model.has_query_work:
        _require_whole_passes(node, policy)
    if isinstance(node, ServingNode) and node.shards is not None:
        _require_free_shards(node, policy)
    check_cores(policy, node.num_workers)
    traffic = replace(traffic_of(scenario.traffic, files), outside=outside_of(scenario.sla, files))
    require_affordable(policy, traffic.size_pmf, workers=node.num_workers)
    require_few_users(traffic.arrivals)
    load_test = None
    if isinstance(test := scenario.node.anchor, LoadTestAnchor):
        from perfmodel.planning.load_test_fit import fit_level  # few scenarios bring a load test

        load_test = fit_level(test, node, policy, traffic, seed=scenario.simulation.seed)
        node = replace(node, level=load_test.level)
    simulation = affordable_settings(scenario.simulation, policy, traffic.size_pmf)
    if simulation.max_queries < scenario.simulation.max_queries:
        short = f"runs end after {simulation.max_queries:_} queries, which take minutes and gigabytes"
        warnings.warn(Note(f"simulation.max_queries: {short}"), stacklevel=2)
    return Question(
        name=loaded.name,
        node=node,
        traffic=traffic,
        policy=policy,
        sla=scenario.sla,
        simulation=simulation,
        price_usd_per_h=price_usd_per_h(scenario.node.price_usd_per_h, node),
        stated_max_items=stated_max_items(scenario.traffic.query_sizes),
        stack_note=None
        if isinstance(scenario.node, TableNodeChoice)
        else stack_note(scenario.node.stack, wishes, stacks),
        asked=as_asked(loaded),
        inputs=files.inputs,
        load_test=load_test,
    )


def _require_whole_passes(node: ServingNode, policy: Policy) -> None:
    """Refuse what takes work of the query apart from a request whose rows are not all in memory."""
    key = "shards" if node.shards is not None else "tiers" if node.tier_settings is not None else None
    if key is None:
        return
    if policy.share_query_work:
        alone = f"expected false beside node.{key}, whose answers requests wait for one by one"
        raise ValueErrorAt(alone, ("policy", "share_query_work"))
    if any(lane.joining is not None for lane in policy.lanes):
        joins = f"{node.model.name} has work of the query, which joined requests do not ask {key} for yet"
        raise ValueErrorAt(joins, ("node", key))


def _require_free_shards(node: ServingNode, policy: Policy) -> None:
    """Refuse shards of so few cores that launches would wait for them beside workers."""
    assert node.shards is not None, "asked for"
    if not node.num_accelerators or (on := node.shards.on) is None:
        return
    asking, copies = node.num_workers + node.num_accelerators * policy.streams, node.shards.replicas
    if on.cores * copies < asking:
        least = (
            f"expected at least {-(-asking // copies)} beside accelerators, one for each worker and launch"
        )
        why = f"{least} that may ask: how both wait for a core is not worked out; got {on.cores}"
        raise ValueErrorAt(why, ("node", "shards", "node", "cores"))


def _require_lookups_on_cores(node: ServingNode, policy: Policy) -> None:
    """Refuse memory modules that are asked for nothing, and work of queries that is shared."""
    joins = any(lane.joining is not None for lane in policy.lanes)
    if node.model.has_query_work and (joins or policy.share_query_work):
        shared = f"{node.model.name} has work of the query, which is not shared beside near memory yet"
        raise ValueErrorAt(shared, ("node", "near_memory"))
    if not largest_cpu_launch_items(policy, MOST_ITEMS):
        alone = "expected none: every query goes to the accelerator, whose tables are on the card"
        raise ValueErrorAt(alone, ("node", "near_memory"))


def as_asked(loaded: LoadedScenario) -> Mapping[str, Any]:
    """The scenario as plain values, whose paths are found again from any folder."""
    data = asked_of(loaded.source)
    assert isinstance(data, dict), "the top level of a scenario is a section"
    return data
