"""A scenario: which model, on which node, under which traffic, with which policy and SLA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import (
    MOST_ACCELERATORS,
    MOST_INSTANCES,
    Cores,
    FileOrName,
    Milliseconds,
    MillisecondsFromZero,
    NonNegative,
    Positive,
    QueryItems,
    QueueBlobs,
    Rate,
    Share,
    Slowdown,
    StoredItems,
    within,
)
from perfmodel.domain.near_memory import NearMemorySettings
from perfmodel.domain.serving import PolicySettings, SimulationSettings, SlaTarget
from perfmodel.domain.shards import ShardSettings
from perfmodel.domain.tiers import NodeTiers
from perfmodel.domain.unsteady import NodePauses, Scatter
from perfmodel.domain.workload import ClosedArrivals, DiurnalArrivals, StagedArrivals, Traffic

ErrorPercent = Annotated[float, Field(ge=0), within(high=1000.0)]

MOST_STAGES = 8
"""After the first: a few times what published pipelines have."""
MOST_SUB_BATCHES = 64
"""Of a query: with more the simulation only takes longer."""

Policy = Annotated[PolicySettings, Field(discriminator="name")]
"""The policies of a scenario, told apart by `name`."""


class TableAnchor(Frozen):
    """A table of service times that corrects those of a model on a profile, size by size.

    Attributes
    ----------
    service_times : Path
        A table as of a node that is known by it.
    error_percent : float or None
        How far off its times may be, root mean square; None: nobody knows. [%]
    """

    service_times: Path
    error_percent: ErrorPercent | None = None


class LoadTestAnchor(Frozen):
    """One load test of the node, which fixes the level of its service times.

    Attributes
    ----------
    rate_qps : float
        Arrival rate. [queries/s]
    utilisation : float or None
        Share of the executors' time that it took; where given, it is what fixes the level. [1]
    p50_ms : float or None
        Median latency on the node; without a utilisation it fixes the level. [ms]
    p95_ms : float or None
        95th percentile of the latency on the node. [ms]
    p99_ms : float or None
        99th percentile of it. [ms]
    """

    rate_qps: Rate
    utilisation: Annotated[float, Field(gt=0, lt=1)] | None = None
    p50_ms: Milliseconds | None = None
    p95_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _fixes_the_level(self) -> LoadTestAnchor:
        if self.utilisation is None and self.p50_ms is None:
            raise ValueErrorAt("expected utilisation or p50_ms, which fix the level of service times", ())
        return self


def _kind_of_anchor(anchor: Any) -> str:
    """Which of the two is meant: by what only one of them can have."""
    if isinstance(anchor, dict):
        return "table" if "service_times" in anchor else "load test"
    return "table" if isinstance(anchor, TableAnchor) else "load test"


Anchor = Annotated[
    Annotated[TableAnchor, Tag("table")] | Annotated[LoadTestAnchor, Tag("load test")],
    Discriminator(_kind_of_anchor),
]
"""What was measured of a node, by which its service times are corrected."""


class EngineChanges(Frozen):
    """What serving processes would do for each request otherwise than the stack's.

    Each key takes the place of the one of the stack that the node's cores have; None: as there.

    Attributes
    ----------
    stored_batch_items : int or None
        Items of the stored batch that is converted for each request; 0: a request converts its own. [items]
    feed_call_us : float or None
        Of each input tensor. [us]
    hand_over_us : float or None
        Between processes, there and back. [us]
    input_queue_blobs : int or None
        Requests taken ahead of the network; 0: none.
    interpreter_lock : float or None
        Share of the shorter of conversion and network that cannot run beside the other. [1]
    stored_index_ns : float or None
        Of each index of the stored batch. [ns]
    conversion_slowdown, network_slowdown : float or None
        Time with all cores busy over that alone. [1]
    """

    stored_batch_items: StoredItems | None = None
    feed_call_us: NonNegative | None = None
    hand_over_us: NonNegative | None = None
    input_queue_blobs: QueueBlobs | None = None
    interpreter_lock: Share | None = None
    stored_index_ns: NonNegative | None = None
    conversion_slowdown: Slowdown | None = None
    network_slowdown: Slowdown | None = None


class NodeChoice(Frozen):
    """The node that serves, by the names of hardware profiles.

    Attributes
    ----------
    cpu : str
        A shipped profile, or the path of one.
    price_usd_per_h : float or None
        What the node costs while it is on, where USD a million queries are asked for. [USD/h]
    cores : int or None
        Cores that serve requests; None: all that the profile has.
    instances : int or None
        Serving processes, each pinned to as many cores of one socket, with a copy of the tables of its own;
        None: one copy serves all cores.
    accelerators : tuple of str
        Profiles of the accelerators, if any.
    threads : int
        Threads of each worker process, which serves one request at a time with that many cores; more than
        one where the profile knows how they scale.
    stack : str or None
        Software stack of the profiles to use; None: the model's own where the profile has it, else
        the profile's default.
    scatter : LogNormalScatter, ListedScatter, ExponentialScatter or None
        How service times of one size differ from request to request, on cores and accelerators alike; None:
        they do not.
    pauses : tuple of PauseSettings
        Times in which an executor, or the whole node, stands still.
    measured_unrest : bool
        Whether scatter and pauses are those that the CPU's calibration measured, in place of the two above.
    anchor : TableAnchor, LoadTestAnchor or None
        What was measured of the model on this node.
    shards : ShardSettings or None
        Nodes that hold the embedding tables, which this one asks over a network; None: the tables are in its
        own memory.
    engine : EngineChanges or None
        What its serving processes would do otherwise than the stack's.
    near_memory : NearMemorySettings or None
        Memory modules that look rows up and pool them themselves; None: the cores do.
    tiers : NodeTiers or None
        Memories beyond its own that hold the rows looked up least; None: its own holds all.
    """

    cpu: FileOrName
    price_usd_per_h: NonNegative | None = None
    cores: Cores | None = None
    instances: Annotated[int, Field(ge=1, le=MOST_INSTANCES)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    # Not strict: which description a node is has been looked up by then, and a list is no longer JSON's.
    accelerators: Annotated[tuple[FileOrName, ...], Field(max_length=MOST_ACCELERATORS, strict=False)] = ()
    stack: FileOrName | None = None
    scatter: Scatter | None = None
    pauses: NodePauses = ()
    measured_unrest: bool = False
    anchor: Anchor | None = None
    shards: ShardSettings | None = None
    engine: EngineChanges | None = None
    near_memory: NearMemorySettings | None = None
    tiers: NodeTiers | None = None

    @model_validator(mode="after")
    def _unrest_is_stated_once(self) -> NodeChoice:
        if self.measured_unrest:
            for key, given in (("scatter", self.scatter is not None), ("pauses", bool(self.pauses))):
                if given:
                    raise ValueErrorAt("expected none beside measured_unrest, which states it", (key,))
        return self

    @model_validator(mode="after")
    def _tiers_are_of_one_machine(self) -> NodeChoice:
        if self.tiers is None:
            return self
        if self.shards is not None:
            raise ValueErrorAt("expected none beside shards, which have the rows", ("tiers",))
        if self.near_memory is not None:
            why = "expected none beside near_memory, whose modules look rows up in memory"
            raise ValueErrorAt(why, ("tiers",))
        if self.threads > 1:
            raise ValueErrorAt(f"expected 1 beside tiers, got {self.threads}", ("threads",))
        if self.anchor is not None:
            why = "expected none beside tiers: no measured node had its rows beyond its memory"
            raise ValueErrorAt(why, ("anchor",))
        for number, tier in enumerate(self.tiers.beyond):
            if tier.link is not None and not self.accelerators:
                why = "expected gb_per_s in its place, since node.accelerators is empty: links are of cards"
                raise ValueErrorAt(why, ("tiers", "beyond", number, "link"))
            if tier.host_memory and not self.accelerators:
                why = (
                    "expected false, since node.accelerators is empty: cores have the host's memory as theirs"
                )
                raise ValueErrorAt(why, ("tiers", "beyond", number, "host_memory"))
        return self

    @model_validator(mode="after")
    def _shards_stand_alone(self) -> NodeChoice:
        if self.shards is None:
            return self
        if self.threads > 1:
            raise ValueErrorAt(f"expected 1 beside shards, got {self.threads}", ("threads",))
        priced, of_shards = self.price_usd_per_h is not None, self.shards.node
        if of_shards is not None and priced != (of_shards.price_usd_per_h is not None):
            why = "expected a price of the main node and of the shards' both, or of neither"
            raise ValueErrorAt(why, ("shards", "node", "price_usd_per_h"))
        if self.anchor is not None:
            why = "expected none beside shards: no measured node had its tables elsewhere"
            raise ValueErrorAt(why, ("anchor",))
        return self

    @model_validator(mode="after")
    def _near_memory_serves_its_own_cores(self) -> NodeChoice:
        if self.near_memory is None:
            return self
        if self.shards is not None:
            raise ValueErrorAt("expected none beside near_memory: the tables are in one place", ("shards",))
        if self.threads > 1:
            raise ValueErrorAt(f"expected 1 beside near_memory, got {self.threads}", ("threads",))
        if self.anchor is not None:
            why = "expected none beside near_memory: no measured node had such modules"
            raise ValueErrorAt(why, ("anchor",))
        return self

    @model_validator(mode="after")
    def _instances_have_the_tables(self) -> NodeChoice:
        for key in ("shards", "tiers", "near_memory"):
            if self.instances is not None and getattr(self, key) is not None:
                raise ValueErrorAt(
                    f"expected none beside {key}: each has the tables in memory", ("instances",)
                )
        return self

    @model_validator(mode="before")
    @classmethod
    def _has_no_table(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in TableNodeChoice.model_fields:
                if key in values and key not in cls.model_fields:
                    raise ValueErrorAt("expected beside service_times only, in place of a profile", (key,))
        return values


class TableNodeChoice(Frozen):
    """A node known by its service times, which take the place of a model and of profiles.

    Attributes
    ----------
    service_times : Path
        A table, CSV: `items,service_ms`, perhaps `busy`, and `std_ms` or `p50_ms,p99_ms`.
    executors : int
        What serves side by side, each one request at a time.
    anchor : LoadTestAnchor or None
        A load test, which fixes the level of the table's times.
    tdp_w : float or None
        Static power of the node, where queries per watt are asked for. [W]
    price_usd_per_h : float or None
        What the node costs while it is on. [USD/h]
    error_percent : float or None
        How far off the table's times may be, root mean square; None: nobody knows. [%]
    scatter : LogNormalScatter, ListedScatter, ExponentialScatter or None
        How service times of one size differ from request to request; None: they do not.
    pauses : tuple of PauseSettings
        Times in which an executor, or the whole node, stands still.
    """

    service_times: Path
    executors: Cores
    anchor: LoadTestAnchor | None = None
    tdp_w: Positive | None = None
    price_usd_per_h: NonNegative | None = None
    error_percent: ErrorPercent | None = None
    scatter: Scatter | None = None
    pauses: NodePauses = ()

    @model_validator(mode="before")
    @classmethod
    def _names_no_profile(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in NodeChoice.model_fields:
                if key in values and key not in cls.model_fields:
                    remedy = "executors, not cores" if key == "cores" else f"no {key}"
                    raise ValueErrorAt(f"expected {remedy}, beside service_times", (key,))
            if isinstance(values.get("anchor"), dict) and "service_times" in values["anchor"]:
                raise ValueErrorAt(
                    "expected a load test (rate_qps, and utilisation or p50_ms): it has a table already",
                    ("anchor", "service_times"),
                )
        return values

    @property
    def accelerators(self) -> tuple[str, ...]:
        """None: all that such a node is known by is one pool of executors."""
        return ()


def _kind_of_node(node: Any) -> str:
    """Which of the two descriptions of a node is meant: by what only one of them can have."""
    if isinstance(node, dict):
        return "table" if "service_times" in node else "profiles"
    return "table" if isinstance(node, TableNodeChoice) else "profiles"


AnyNodeChoice = Annotated[
    Annotated[NodeChoice, Tag("profiles")] | Annotated[TableNodeChoice, Tag("table")],
    Discriminator(_kind_of_node),
]
"""A node by the names of hardware profiles, or by its service times."""


class LaterStage(Frozen):
    """A stage of a pipeline that ranks the best of what the stage before it ranked.

    Attributes
    ----------
    items : int
        Best candidates of a query, which the stage before lets through; of a smaller query all. [items]
    name : str
        What answers call it; empty: its model.
    model : str or None
        A shipped model, or the path of a model file; None exactly where its node is known by its service
        times.
    node : NodeChoice, TableNodeChoice or None
        The stage's own machine; None: it has `cores` of the first stage's.
    cores : int or None
        Cores of the first stage's machine that serve this stage alone, beside the `node.cores` that serve the
        first; None: it has a node of its own.
    policy : Policy
        As of a scenario; none that sheds.
    """

    items: QueryItems
    name: str = ""
    model: FileOrName | None = None
    node: AnyNodeChoice | None = None
    cores: Cores | None = None
    policy: Policy

    @model_validator(mode="after")
    def _has_one_place(self) -> LaterStage:
        if (self.node is None) == (self.cores is None):
            either = "expected a node of its own, or cores of the first stage's, and not both"
            raise ValueErrorAt(either, ("node",) if self.node is not None else ())
        _check_model(self.model, self.node)
        if self.node is not None:
            _check_offloading(self.policy, self.node)
        elif self.policy.offloading is not None:
            without = self.policy.offloading.without
            raise ValueErrorAt(
                f"expected {without}, since it has cores alone, got {self.policy.offloading.value}",
                ("policy", self.policy.offloading.key),
            )
        _check_serves_all(self.policy, ("policy",))
        return self


class Candidate(Frozen):
    """A place that `tune` may put any stage on: a node, and the policy there.

    Attributes
    ----------
    node : NodeChoice
        Of hardware profiles: the stages' models run on it.
    policy : Policy
        As of a scenario; none that sheds.
    """

    node: NodeChoice
    policy: Policy

    @model_validator(mode="after")
    def _serves(self) -> Candidate:
        _check_offloading(self.policy, self.node)
        _check_serves_all(self.policy, ("policy",))
        return self


class PipelineSettings(Frozen):
    """Stages after the first, each of which ranks fewer items: what a query is filtered by on its way.

    The scenario's own model, node and policy are the first stage, which ranks every item. A query goes on
    when a stage has ranked all of it, or all of a sub-batch; it ends with the last stage.

    Attributes
    ----------
    stages : tuple of LaterStage
        In order.
    sub_batches : int
        Parts that a query's items are shared out to. Each is ranked and filtered by itself, the next stage
        begins with the first part while the others are still in the one before; 1: stages of one query do
        not overlap.
    handover_ms : float
        From the end of a stage to its items' arrival at the next. [ms]
    candidates : mapping of str to Candidate
        Further places for any stage, by the names that `tune` tells them apart by; others look at none.
    """

    stages: Annotated[tuple[LaterStage, ...], Field(min_length=1, max_length=MOST_STAGES, strict=False)]
    sub_batches: Annotated[int, Field(ge=1, le=MOST_SUB_BATCHES)] = 1
    handover_ms: MillisecondsFromZero = 0.0
    candidates: Mapping[Annotated[str, Field(min_length=1, max_length=100)], Candidate] = {}

    @model_validator(mode="after")
    def _parts_have_items(self) -> PipelineSettings:
        fewest = min(stage.items for stage in self.stages)
        if self.sub_batches > fewest:
            every = f"expected at most {fewest}, so that every part has an item in every stage"
            raise ValueErrorAt(f"{every}, got {self.sub_batches}", ("sub_batches",))
        return self


def _check_model(model: str | None, node: NodeChoice | TableNodeChoice | None) -> None:
    """A model runs on profiles; a table takes its place."""
    by_table = isinstance(node, TableNodeChoice)
    if by_table and model is not None:
        raise ValueErrorAt("expected none, since node.service_times takes its place", ("model",))
    if not by_table and model is None:
        raise ValueErrorAt("missing key 'model': expected a shipped model, or the path of one", ())


def _check_offloading(policy: PolicySettings, node: NodeChoice | TableNodeChoice) -> None:
    """What offloads needs an accelerator."""
    setting = policy.offloading
    if setting is not None and not node.accelerators:
        why = "node.accelerators is empty"
        if isinstance(node, TableNodeChoice):
            why = "a node known by its service times has no accelerator"
        raise ValueErrorAt(
            f"expected {setting.without}, since {why}, got {setting.value}",
            ("policy", setting.key),
        )


def _check_serves_all(policy: PolicySettings, place: tuple[str, ...]) -> None:
    """A stage passes on every query."""
    if getattr(policy, "shedding", None) is not None:
        raise ValueErrorAt(
            "expected none in a pipeline, whose stages serve every query", (*place, "shedding")
        )


class Scenario(Frozen):
    """One question to ask of the simulator; files are referred to by name and not yet read.

    Attributes
    ----------
    description : str
        What the scenario shows, in a line or two.
    model : str or None
        A shipped model, or the path of a model file; None exactly where the node is known by its service
        times.
    pipeline : PipelineSettings or None
        Stages after the first, which model, node and policy are; None: there are no others.
    """

    description: str = ""
    model: FileOrName | None = None
    node: AnyNodeChoice
    traffic: Traffic
    policy: Policy
    sla: SlaTarget
    pipeline: PipelineSettings | None = None
    simulation: SimulationSettings = SimulationSettings()

    @model_validator(mode="after")
    def _a_model_runs_on_profiles(self) -> Scenario:
        _check_model(self.model, self.node)
        return self

    @model_validator(mode="after")
    def _offloading_needs_an_accelerator(self) -> Scenario:
        _check_offloading(self.policy, self.node)
        return self

    @model_validator(mode="after")
    def _stages_go_together(self) -> Scenario:
        if self.pipeline is None:
            return self
        _check_serves_all(self.policy, ("policy",))
        if self.traffic.lengths is not None:
            raise ValueErrorAt(
                "expected none beside pipeline: stages know sizes alone", ("traffic", "lengths")
            )
        if isinstance(self.traffic.arrivals, DiurnalArrivals | StagedArrivals):
            steady = "expected a steady process beside pipeline: its worst five minutes are not simulated"
            raise ValueErrorAt(f"{steady}, got {self.traffic.arrivals.process}", ("traffic", "arrivals"))
        if isinstance(self.traffic.arrivals, ClosedArrivals):
            later = "expected arrivals that do not wait for answers beside pipeline, whose stages run in turn"
            raise ValueErrorAt(f"{later}, got closed", ("traffic", "arrivals"))
        for number, stage in enumerate(self.pipeline.stages):
            if stage.cores is not None and not self._has_cores_to_share:
                own = (
                    "expected an own node: the first's has a table, an anchor, threads, instances, or rows "
                    "elsewhere"
                )
                raise ValueErrorAt(own, ("pipeline", "stages", number, "cores"))
        return self

    @property
    def _has_cores_to_share(self) -> bool:
        node = self.node
        if isinstance(node, TableNodeChoice):
            return False
        elsewhere = (node.shards, node.tiers, node.near_memory, node.instances)
        return node.anchor is None and elsewhere == (None, None, None, None) and node.threads == 1
