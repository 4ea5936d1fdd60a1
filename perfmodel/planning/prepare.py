"""From a loaded scenario to what the questions need: node, traffic, policy, SLA; one software stack for all.

Hardware is compared, not software: the devices of an answer have one stack, unless they are asked to differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.footprint import require_fit, require_weights_fit
from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_ITEMS, MOST_RATE_QPS
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.outside import FileTime, FixedTime, LogNormalTime, NormalTime
from perfmodel.domain.scenario import (
    LoadTestAnchor,
    NodeChoice,
    PipelineSettings,
    Scenario,
    TableAnchor,
    TableNodeChoice,
)
from perfmodel.domain.serving import SimulationSettings, SlaTarget
from perfmodel.domain.shards import ShardSettings
from perfmodel.domain.tiers import NodeTiers
from perfmodel.domain.unsteady import Unrest
from perfmodel.domain.workload import (
    FileLengths,
    FileSizes,
    FixedLengths,
    LogNormalLengths,
    LogNormalSizes,
    NamedSizes,
    NormalSizes,
    QuerySizes,
    TraceSizes,
    Traffic,
)
from perfmodel.errors import InputError, Note
from perfmodel.loading.derived_profile import files_of, parse_any, read_profile
from perfmodel.loading.inputs import InputFile, input_files
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.scenario_file import LoadedScenario, NamedFiles, read_named_files
from perfmodel.loading.shipped import find_file, find_profile, shipped_names
from perfmodel.loading.validated import parse_file, validate
from perfmodel.loading.yaml_tree import Section, plain
from perfmodel.planning.engine_changes import with_engine
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.run_cost import affordable_settings, require_affordable
from perfmodel.planning.service_times import AnyTimes, times_of
from perfmodel.planning.stages import Stage, StageTimes, beside_each_other, machine_cores
from perfmodel.planning.table_node import TableNode
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.outside import ConstantOutside, ListedOutside, NormalOutside, OutsideLaw
from perfmodel.sim.policies import Policy, check_cores, largest_cpu_launch_items
from perfmodel.sim.query_sizes import SizePmf, pmf_of
from perfmodel.sim.scatter import slowest_of
from perfmodel.sim.statistics import MIN_QUERIES
from perfmodel.sim.traffic import TrafficSource
from perfmodel.units import GIB, MS

if TYPE_CHECKING:
    from perfmodel.costmodel.rank_cache import NearMemory
    from perfmodel.costmodel.shard_places import Shards
    from perfmodel.costmodel.tiers import Tiers
    from perfmodel.domain.near_memory import NearMemorySettings
    from perfmodel.planning.load_test_fit import LoadTestFit

_SHARDS_HELP = (
    "; `node.shards: {count: auto}` puts the tables on nodes of their own, `node.tiers` rows beyond memory"
)

PUBLISHED_MAX_ITEMS = {"deeprecsys-production": 1000}
"""ISCA 2020: a query ranks up to 1000 items; the last of the list's 100 sizes is smaller. [items]"""


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
        if self.pipeline is not None:
            return StageTimes(self.stages, self.pipeline, self.traffic.size_pmf)
        return times_of(self.node, self.policy, self.traffic.size_pmf)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage, the first included."""
        name = self.node.model_name or self.node.short_name
        first = Stage(name=name, node=self.node, policy=self.policy, stack_note=self.stack_note)
        return (first, *self.later_stages)

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
        return notes if self.stack_note is None else (self.stack_note, *notes)

    @property
    def largest_query_items(self) -> int:
        """Largest query to be ready for: as stated, else the largest that arrives. [items]"""
        return self.stated_max_items or self.max_items


class Wish(NamedTuple):
    """A device of an answer: its profile, the stack that was asked for it, and where that was written.

    `asked` is None where it was not said; `place` is a key path, empty where there is no file.
    """

    profile: ProfileFile
    asked: str | None = None
    place: tuple[str | int, ...] = ()

    def alone(self, model: RecModel) -> str:
        """The stack of this device in an answer of its own."""
        return self.asked or own_stack(self.profile, model)


def own_stack(profile: ProfileFile, model: RecModel) -> str:
    """The stack of a device in an answer of its own, where none is named; a user's model runs as a module."""
    return profile.stack_of(model.name, model.stack, is_module=model.name not in shipped_names("model"))


def prepare(loaded: LoadedScenario, *, mixed_stacks: bool = False, stages: bool = False) -> Question:
    """Read the model, the profiles and the traffic files that a scenario names.

    Parameters
    ----------
    loaded : LoadedScenario
        The scenario.
    mixed_stacks : bool
        Whether the node's devices may have different software stacks.
    stages : bool
        Whether what is asked can be asked of a pipeline; others refuse one.

    Raises
    ------
    InputError
        At the place in the scenario, or in the file it names, that cannot be used.
    """
    if loaded.scenario.pipeline is not None:
        if not stages:
            _refuse_stages(loaded)
        return _staged(loaded, loaded.scenario.pipeline, mixed_stacks)
    files = read_named_files(loaded)
    with loaded.places():
        _require_their_kinds(files)
        wishes = _wishes(loaded, files)
        stacks = choose_stacks(wishes, files.model, mixed=mixed_stacks) if files.model else []
        question = _question(loaded, files, wishes, stacks)
    return question


def _refuse_stages(loaded: LoadedScenario) -> None:
    """Refuse a pipeline where one node is asked about.

    Raises
    ------
    InputError
        At `pipeline`.
    """
    if loaded.scenario.pipeline is not None:
        several = (
            "expected none: this asks about one stage; predict, capacity, tune, mlperf and sweep know several"
        )
        raise loaded.error(several, "pipeline")


def _staged(loaded: LoadedScenario, settings: PipelineSettings, mixed_stacks: bool) -> Question:
    """A scenario with several stages: each read like a scenario of its own, all devices with one stack."""
    each = [stage_scenario(loaded, number) for number in range(-1, len(settings.stages))]
    read = [(own, read_named_files(own)) for own in each]
    wishes = [_wishes(own, files) for own, files in read]
    shared = None if mixed_stacks else _shared_stack(read, wishes)
    questions = []
    for (own, files), whose in zip(read, wishes, strict=True):
        with own.places():
            _require_their_kinds(files)
            if shared is None and files.model is not None:
                stacks = choose_stacks(whose, files.model, mixed=True)
            else:
                stacks = [shared or ""] * len(whose)
            questions.append(_question(own, files, whose, stacks))
    with loaded.places():
        return _joined(loaded, settings, questions)


def prepare_candidates(
    loaded: LoadedScenario, *, mixed_stacks: bool = False
) -> tuple[Question, dict[str, tuple[Stage | None, ...]]]:
    """A pipeline's question, and each of its candidates as a place of each stage; None where none fits.

    All devices have one stack, those of candidates included, unless they are asked to differ.

    Raises
    ------
    InputError
        As `prepare`.
    """
    settings = loaded.scenario.pipeline
    assert settings is not None, "asked of a pipeline"
    question = prepare(loaded, mixed_stacks=mixed_stacks, stages=True)
    found: dict[str, tuple[Stage | None, ...]] = {}
    for name in settings.candidates:
        stages: list[Stage | None] = []
        for number, stage in enumerate(question.stages):
            own = stage_scenario(loaded, number - 1, candidate=name)
            files = read_named_files(own)
            wishes = _wishes(own, files)
            with own.places():
                _require_their_kinds(files)
                assert files.model is not None, "a candidate has profiles"
                stack = question.node.stack
                asked = [
                    wish._replace(asked=wish.asked or (None if mixed_stacks else stack)) for wish in wishes
                ]
                stacks = choose_stacks(asked, files.model, mixed=mixed_stacks)
                misfit = _misfit(own, files.model, _devices(wishes, stacks, files.model))
                placed = None if misfit is not None else _question(own, files, wishes, stacks)
            stages.append(
                None
                if placed is None
                else replace(
                    stage,
                    node=placed.node,
                    policy=placed.policy,
                    price_usd_per_h=placed.price_usd_per_h,
                    shares_machine=False,
                    stack_note=placed.stack_note,
                )
            )
        found[name] = tuple(stages)
    return question, found


def _joined(loaded: LoadedScenario, settings: PipelineSettings, questions: Sequence[Question]) -> Question:
    """One question of several stages."""
    first, *later = questions
    stages = [
        *first.stages,
        *(
            Stage(
                name=stage.name or question.node.model_name or question.node.short_name,
                node=question.node,
                policy=question.policy,
                most_items=stage.items,
                price_usd_per_h=question.price_usd_per_h,
                shares_machine=stage.node is None,
                stack_note=question.stack_note,
            )
            for stage, question in zip(settings.stages, later, strict=True)
        ),
    ]
    _require_room(stages)
    one, *others = beside_each_other(_named_apart(stages))
    own_prices = [
        first.price_usd_per_h,
        *(each.price_usd_per_h for each in others if not each.shares_machine),
    ]
    prices = [price for price in own_prices if price is not None]
    simulation = first.simulation
    fewer = simulation.max_queries // (settings.sub_batches * len(stages))
    return replace(
        first,
        name=loaded.name,
        node=one.node,
        pipeline=settings,
        later_stages=tuple(others),
        price_usd_per_h=sum(prices) if len(prices) == len(own_prices) else None,
        simulation=simulation.model_copy(update={"max_queries": max(simulation.min_queries, fewer)}),
        asked=_asked(loaded),
        inputs=tuple(dict.fromkeys(each for question in questions for each in question.inputs)),
    )


def _named_apart(stages: Sequence[Stage]) -> list[Stage]:
    """The stages, of which those with one name have their numbers in it."""
    names = [stage.name for stage in stages]
    return [
        replace(stage, name=f"{stage.name} ({number})") if names.count(stage.name) > 1 else stage
        for number, stage in enumerate(stages, start=1)
    ]


def _require_room(stages: Sequence[Stage]) -> None:
    """Refuse more cores, or more tables, than the machine has that several stages share."""
    first, shared = (
        stages[0].node,
        [number for number in range(1, len(stages)) if stages[number].shares_machine],
    )
    if not shared or not isinstance(first, ServingNode):
        return
    place = ("pipeline", "stages", shared[-1] - 1, "cores")
    total, most = machine_cores(stages), 2 * first.cpu.num_cores
    if total > most:
        raise ValueErrorAt(
            f"expected at most {most} cores of {first.cpu.name} for all stages, got {total}",
            place,
        )
    nodes = [first, *(node for number in shared if isinstance(node := stages[number].node, ServingNode))]
    needed = sum(node.model.embedding_bytes + node.model.dense_parameter_bytes for node in nodes)
    if needed > first.cpu.memory.capacity_bytes:
        has = f"{first.cpu.name} has {first.cpu.memory.capacity_bytes / GIB:.1f} GiB"
        raise ValueErrorAt(f"the stages' models need {needed / GIB:.1f} GiB together, {has}", place)


def stage_scenario(loaded: LoadedScenario, number: int, *, candidate: str | None = None) -> LoadedScenario:
    """One stage as a scenario of its own, its values at their places in the file; -1: the first.

    With a candidate, the stage's model there.
    """
    source = loaded.source
    root = source.root
    assert isinstance(root, Section), "a scenario is a section"
    entries = {key: node for key, node in root.entries.items() if key != "pipeline"}
    settings = loaded.scenario.pipeline
    if number >= 0 and settings is not None:
        path = ("pipeline", "stages", number)
        for key in ("model", "node", "policy"):
            entries.pop(key, None)
            if (found := source.find(*path, key)) is not None and plain(found) is not None:
                entries[key] = found
        if settings.stages[number].node is None:
            entries["node"] = _cores_of_the_first(loaded, number)
    places = {key: source.key_place("pipeline", "stages", number, key) for key in ("model", "node", "policy")}
    if candidate is not None:
        for key in ("node", "policy"):
            chosen = source.find("pipeline", "candidates", candidate, key)
            assert chosen is not None, "it has both"
            entries[key] = chosen
    own = replace(
        source,
        root=replace(
            root,
            entries=entries,
            key_places={
                key: places[key] if number >= 0 and key in places else root.key_places[key] for key in entries
            },
        ),
    )
    return LoadedScenario(name=loaded.name, scenario=validate(own, Scenario), source=own, path=loaded.path)


def _cores_of_the_first(loaded: LoadedScenario, number: int) -> Section:
    """The first stage's machine, of which a later one has some cores, and no accelerators or price."""
    node, cores = loaded.source.find("node"), loaded.source.find("pipeline", "stages", number, "cores")
    assert isinstance(node, Section), "it has profiles"
    assert cores is not None, "in place of a node"
    kept = {
        key: value for key, value in node.entries.items() if key not in ("accelerators", "price_usd_per_h")
    }
    key_places = {key: node.key_places[key] for key in kept} | {"cores": cores.place}
    return replace(node, entries={**kept, "cores": cores}, key_places=key_places)


def prepare_together(scenarios: Sequence[LoadedScenario], *, mixed_stacks: bool = False) -> list[Question]:
    """Read scenarios whose nodes stand side by side in an answer: all devices with one software stack.

    Parameters
    ----------
    scenarios : sequence of LoadedScenario
        What is put side by side; `node.stack` and `name@stack` count as asked for.
    mixed_stacks : bool
        Whether devices may have different stacks all the same.

    Raises
    ------
    InputError
        As `prepare`; or if there is no stack that all devices have.
    """
    for loaded in scenarios:
        _refuse_stages(loaded)
    if mixed_stacks:
        return [prepare(loaded, mixed_stacks=True) for loaded in scenarios]
    read = [(loaded, read_named_files(loaded)) for loaded in scenarios]
    wishes = [_wishes(loaded, files) for loaded, files in read]
    shared = _shared_stack(read, wishes)
    questions = []
    for (loaded, files), each in zip(read, wishes, strict=True):
        with loaded.places():
            _require_their_kinds(files)
            questions.append(_question(loaded, files, each, [shared] * len(each)))
    return questions


def scaled_load(question: Question, factor: float | None) -> Question:
    """The same question at so many times its arrival rate; as it is where there is no factor.

    Raises
    ------
    InputError
        If the factor, or the rate that it makes, is none.

    Examples
    --------
    >>> from perfmodel.loading.scenario_file import load_scenario
    >>> scaled_load(prepare(load_scenario("rm3_skylake")), 1.4).traffic.rate_qps
    560.0
    """
    if factor is None:
        return question
    rate_qps = factor * question.traffic.rate_qps
    if not isfinite(factor) or factor <= 0.0:
        raise InputError(f"--scale-load: expected a factor > 0, such as 1.4, got {factor:g}")
    if not LEAST_RATE_QPS <= rate_qps <= MOST_RATE_QPS:
        most = f"a rate from {LEAST_RATE_QPS:g} to {MOST_RATE_QPS:g}"
        raise InputError(f"--scale-load: expected {most}, got {factor:g} x {question.traffic.rate_qps:g}")
    traffic: Mapping[str, Any] = question.asked["traffic"]
    arrivals = {**traffic["arrivals"], "rate_qps": rate_qps}
    return replace(
        question,
        traffic=question.traffic.at_rate(rate_qps),
        asked={**question.asked, "traffic": {**traffic, "arrivals": arrivals}},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPair:
    """A scenario with its files read, of several whose nodes need not all hold their models.

    Attributes
    ----------
    loaded : LoadedScenario
        The scenario.
    files : NamedFiles
        What it names.
    paths, checksums : tuple
        The files that say what is computed, and their SHA-256 before they were read.
    stacks : tuple of str
        Of the node's devices.
    misfit : str or None
        Why the model does not fit the node; None: it does.
    """

    loaded: LoadedScenario
    files: NamedFiles
    paths: tuple[Path, ...]
    checksums: tuple[str, ...]
    stacks: tuple[str, ...]
    misfit: str | None

    def question(self) -> Question:
        """The question, of a model that fits."""
        with self.loaded.places():
            return _question(self.loaded, self.files, _wishes(self.loaded, self.files), self.stacks)


def prepare_pairs(
    scenarios: Sequence[LoadedScenario], *, mixed_stacks: bool = False
) -> tuple[PreparedPair, ...]:
    """As `prepare_together`, of scenarios whose nodes need not hold their models; each file is read once."""
    if not scenarios:
        return ()
    for loaded in scenarios:
        _refuse_stages(loaded)
    parse: Callable[[Path, type[Any]], Any] = cache(parse_any)  # type: ignore[assignment]  # paths are hashable
    paths = [(*loaded.node_paths(), *loaded.traffic_paths()) for loaded in scenarios]
    checksum = cache(lambda path: checksums_now((path,))[0])
    checksums = [tuple(checksum(path) for path in each) for each in paths]
    read = [(loaded, read_named_files(loaded, parse)) for loaded in scenarios]
    wishes = [_wishes(loaded, files) for loaded, files in read]
    shared = None if mixed_stacks else _shared_stack(read, wishes)
    found = []
    for (loaded, files), each, path, before in zip(read, wishes, paths, checksums, strict=True):
        with loaded.places():
            _require_their_kinds(files)
            if shared is None and files.model is not None:
                stacks = choose_stacks(each, files.model, mixed=True)
            else:
                stacks = [shared or ""] * len(each)
            misfit = _misfit(loaded, files.model, _devices(each, stacks, files.model)) if each else None
        found.append(
            PreparedPair(
                loaded=loaded,
                files=files,
                paths=path,
                checksums=before,
                stacks=tuple(stacks),
                misfit=misfit,
            )
        )
    return tuple(found)


def checksums_now(paths: Sequence[Path]) -> tuple[str, ...]:
    """SHA-256 of files as they are; empty of one that cannot be read."""
    return tuple(file.sha256 for path in paths for file in input_files([path]))


def _misfit(loaded: LoadedScenario, model: RecModel | None, devices: Sequence[Device]) -> str | None:
    """Why a model does not fit a node, or the shards beside it; None: it does."""
    assert model is not None, "what runs on profiles is named"
    shards = loaded.profiled_node.shards
    try:
        if shards is not None:
            from perfmodel.costmodel.shard_places import place_tables  # few nodes have shards

            require_weights_fit(model, devices[0])
            place_tables(model, devices[0], shards)
            return None
        if (tiers := loaded.profiled_node.tiers) is not None:
            from perfmodel.costmodel.tiers import place_rows  # few nodes have tiers

            for device in devices:
                place_rows(model, device, tiers)
            return None
        for device in devices:
            require_fit(model, device)
        if loaded.profiled_node.near_memory is not None:
            from perfmodel.costmodel.near_memory import require_pooled  # few nodes have it

            require_pooled(model)
    except InputError as error:
        return str(error)
    return None


def _shared_stack(read: Sequence[tuple[LoadedScenario, NamedFiles]], wishes: Sequence[Sequence[Wish]]) -> str:
    """The stack that all devices have; empty where no node has a profile, and none has to be chosen."""
    model = next((files.model for _, files in read if files.model is not None), None)
    if model is None:
        return ""
    try:
        return choose_stacks([wish for each in wishes for wish in each], model)[0]
    except ValueErrorAt as error:  # about all of the scenarios
        raise InputError(error.message) from None


def find_model(name: str) -> RecModel:
    """Read a model by its shipped name or its path."""
    return parse_file(find_file("model", name), RecModel)


def inputs_of(model: str, devices: Sequence[str]) -> tuple[InputFile, ...]:
    """The files of a model and of devices, by what `find_model` and `find_devices` take."""
    profiles = (find_profile(name).path for name in devices)
    return input_files([find_file("model", model), *(part for path in profiles for part in files_of(path))])


def find_device(name: str, model: RecModel) -> Device:
    """Read a device by the name or path of its profile, perhaps with `@stack`."""
    return find_devices([name], model)[0]


def find_devices(names: Sequence[str], model: RecModel, *, mixed_stacks: bool = False) -> list[Device]:
    """Read devices that stand side by side in an answer, all with one stack: see `choose_stacks`."""
    choices = [find_profile(name) for name in names]
    wishes = [Wish(read_profile(choice.path), choice.stack) for choice in choices]
    return _devices(wishes, choose_stacks(wishes, model, mixed=mixed_stacks), model)


def choose_stacks(wishes: Sequence[Wish], model: RecModel, *, mixed: bool = False) -> list[str]:
    """Choose each device's stack: what was asked for, and one that all of them have.

    Of several that all have, the first that one of the devices would have alone, in their order.

    Parameters
    ----------
    wishes : sequence of Wish
        The devices, as the answer names them.
    model : RecModel
        What runs on them.
    mixed : bool
        Whether they may differ: then each takes the first's where it has it, else its own.

    Raises
    ------
    ValueErrorAt
        If a profile has no such stack; or, unless `mixed`, if they have none in common. Names what each has.
    """
    if mixed:
        return _each_its_own(wishes, model)
    asked = {wish.asked for wish in wishes if wish.asked is not None}
    known = {name for wish in wishes for name in wish.profile.stack_names}
    for wish in wishes:
        if wish.asked is not None and (wish.asked not in known or len(wishes) == 1):
            _require_stack(wish)
    shared = [
        name
        for name in wishes[0].profile.stack_names
        if all(name in wish.profile.stack_names for wish in wishes)
    ]
    wanted = [name for name in shared if not asked or asked == {name}]
    if not wanted:
        raise _nothing_shared(wishes, shared)
    preferred = [wish.alone(model) for wish in wishes]
    return [next((name for name in preferred if name in wanted), wanted[0])] * len(wishes)


def _each_its_own(wishes: Sequence[Wish], model: RecModel) -> list[str]:
    """The first device's stack, and each other's: as asked, else the first's, else its own."""
    _require_stack(wishes[0])
    first = wishes[0].alone(model)
    return [
        next(
            (name for name in (wish.asked, first) if name is not None and name in wish.profile.stack_names),
            own_stack(wish.profile, model),
        )
        for wish in wishes
    ]


def _require_stack(wish: Wish) -> None:
    """Refuse a stack that a profile does not have, and name those that it has."""
    stacks = wish.profile.stack_names
    if wish.asked is not None and wish.asked not in stacks:
        lacks = f"{wish.profile.name} has no stack {wish.asked!r}; it has {', '.join(stacks)}"
        raise ValueErrorAt(lacks, wish.place)


def _nothing_shared(wishes: Sequence[Wish], shared: Sequence[str]) -> ValueErrorAt:
    """What each device has and was asked for, and what to do; at one that lacks what it was asked for."""
    each: Mapping[str, str] = {
        wish.profile.name + (f"@{wish.asked}" if wish.asked else ""): ", ".join(wish.profile.stack_names)
        for wish in wishes
    }
    listed = "; ".join(f"{name} has {stacks}" for name, stacks in each.items())
    remedy = f"name {' or '.join(shared)}, which all have" if shared else "none is common to all"
    lacking = (
        wish for wish in wishes if wish.asked is not None and wish.asked not in wish.profile.stack_names
    )
    return ValueErrorAt(
        f"expected one software stack for all devices, or software is compared: {listed}; {remedy} "
        "(--mixed-stacks answers all the same)",
        next(lacking, wishes[-1]).place,
    )


def _wishes(loaded: LoadedScenario, files: NamedFiles) -> list[Wish]:
    """The devices of a scenario's node, the CPU first; what `name@stack` says goes before `node.stack`.

    A stack that a file names for its own devices does not bind others, put in their place by `--set`.
    """
    if isinstance(loaded.scenario.node, TableNodeChoice):
        return []
    named = stack = loaded.scenario.node.stack
    if loaded.has_changed_devices and any(stack not in each.profile.stack_names for each in files.profiles):
        stack = None
    return [
        Wish(each.profile, each.stack or stack, each.place[:2] if named is None else ("node", "stack"))
        for each in files.profiles
    ]


def _require_their_kinds(files: NamedFiles) -> None:
    """Refuse accelerators as the CPU, CPUs as accelerators, and accelerators of several kinds."""
    if not files.profiles:
        return
    (cpu, _, place), *cards = files.profiles
    if cpu.kind != "cpu":
        raise ValueErrorAt(f"expected a cpu profile, got {cpu.name}, a {cpu.kind}", place)
    for card, _, place in cards:
        first = cards[0].profile
        if card.kind == "cpu":
            raise ValueErrorAt(f"expected an accelerator profile, got {card.name}, a cpu", place)
        if card.name != first.name:
            both = f"expected accelerators of one kind, got {first.name} and {card.name}"
            raise ValueErrorAt(both, place)


def _question(
    loaded: LoadedScenario, files: NamedFiles, wishes: Sequence[Wish], stacks: Sequence[str]
) -> Question:
    """The question with these stacks; a `ValueErrorAt` says what in the scenario does not go together."""
    scenario = loaded.scenario
    node = _node(scenario.node, files, _devices(wishes, stacks, files.model))
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
        node = _with_lengths(node, _length_law(lengths, files))
    policy = policy_from(scenario.policy)
    if policy.share_query_work and (isinstance(node, TableNode) or not node.model.has_query_work):
        nothing = f"{node.model_name or 'the table'} has no work of the query (scope: query) to share"
        raise ValueErrorAt(nothing, ("policy", "share_query_work"))
    if isinstance(node, ServingNode) and node.near_memory is not None:
        _require_lookups_on_cores(node, policy)
    if isinstance(node, ServingNode) and node.model.has_query_work:
        _require_whole_passes(node, policy)
    check_cores(policy, node.num_workers)
    traffic = replace(_traffic(scenario.traffic, files), outside=_outside(scenario.sla, files))
    require_affordable(policy, traffic.size_pmf, workers=node.num_workers)
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
        price_usd_per_h=_price(scenario.node.price_usd_per_h, node),
        stated_max_items=_stated_max_items(scenario.traffic.query_sizes),
        stack_note=None
        if isinstance(scenario.node, TableNodeChoice)
        else _stack_note(scenario.node.stack, wishes, stacks),
        asked=_asked(loaded),
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


def _price(each_usd_per_h: float | None, node: AnyNode) -> float | None:
    """What a node costs with the machines that hold its tables, and the tiers that hold its rows. [USD/h]"""
    if each_usd_per_h is None:
        return None
    tiers = node.tier_settings if isinstance(node, ServingNode) else None
    return node.num_machines * each_usd_per_h + (0.0 if tiers is None else tiers.price_usd_per_h)


def _asked(loaded: LoadedScenario) -> Mapping[str, Any]:
    """The scenario as plain values."""
    data = loaded.source.data()
    assert isinstance(data, dict), "the top level of a scenario is a section"
    return data


def _devices(wishes: Sequence[Wish], stacks: Sequence[str], model: RecModel | None) -> list[Device]:
    return [_device(wish, stack, model) for wish, stack in zip(wishes, stacks, strict=True)]


def _device(wish: Wish, stack: str, model: RecModel | None) -> Device:
    """The device; of a user's model on a core whose modules nobody measured, with the error that this adds.

    Who asks for a stack by its name knows what runs.
    """
    device = wish.profile.device(stack)
    if model is None or wish.asked is not None or device.modules is not None:
        return device
    if model.name in shipped_names("model"):
        return device
    return device.as_unmeasured_modules() if device.kind == "cpu" and device.surfaces else device


def _node(choice: NodeChoice | TableNodeChoice, files: NamedFiles, devices: Sequence[Device]) -> AnyNode:
    """The node of either kind."""
    if isinstance(choice, NodeChoice):
        return _serving_node(choice, files, devices)
    assert files.service_times is not None, "read where it is named"
    return TableNode(
        table=files.service_times,
        executors=choice.executors,
        tdp_w=choice.tdp_w,
        relative_error=None if choice.error_percent is None else choice.error_percent / 100.0,
        scatter=choice.scatter,
        pauses=choice.pauses,
    )


def _serving_node(choice: NodeChoice, files: NamedFiles, devices: Sequence[Device]) -> ServingNode:
    """The CPU, first of the devices, with its cores and threads, and the accelerators; the model fits all."""
    assert files.model is not None, "what runs on profiles is named"
    cpu, *accelerators = devices
    cpu = with_engine(cpu, choice.engine)
    cores, threads = choice.cores or cpu.engine.engines or cpu.num_cores, choice.threads
    if cores > 2 * cpu.num_cores:
        most = f"at most {2 * cpu.num_cores} ({cpu.num_cores} cores of {cpu.name}, two threads each)"
        raise ValueErrorAt(f"expected {most}, got {cores}", ("node", "cores"))
    if threads > cores:
        raise ValueErrorAt(f"expected at most the {cores} cores, got {threads}", ("node", "threads"))
    if threads > 1 and not cpu.thread_scaling:
        unknown = f"expected 1, since the profile {cpu.name} does not know how threads scale, got {threads}"
        raise ValueErrorAt(unknown, ("node", "threads"))
    scatter, pauses = choice.scatter, choice.pauses
    if choice.measured_unrest:
        measured = _measured_unrest(cpu)
        scatter, pauses = measured.scatter, measured.pauses
        cpu = replace(cpu, describes=f"{cpu.describes}; {measured.words} are in it")
    elif cpu.unrest is not None and scatter is None and not pauses:
        left = f"{cpu.unrest.words} are left out (node.measured_unrest=true puts them in)"
        cpu = replace(cpu, describes=f"{cpu.describes}; {left}")
    shards, shard_factors = None, None
    tiers: list[Tiers] = []
    if choice.shards is not None:
        shards, shard_factors = _shards(choice.shards, files.model, cpu)
    elif choice.tiers is not None:
        tiers = _tiers(choice.tiers, files.model, devices)
    else:
        for device, named in zip(devices, files.profiles, strict=True):
            try:
                require_fit(files.model, device)
            except InputError as error:
                raise ValueErrorAt(str(error) + _SHARDS_HELP, named.place[:2]) from None
    return ServingNode(
        shards=shards,
        shard_factors=shard_factors,
        near_memory=None
        if choice.near_memory is None
        else _near_memory(choice.near_memory, files.model, cpu),
        tiers=tiers[0] if tiers else None,
        card_tiers=tiers[1] if len(tiers) > 1 else None,
        tier_settings=choice.tiers,
        shard_settings=choice.shards,
        model=files.model,
        cpu=cpu,
        cores=cores,
        threads=threads,
        accelerator=accelerators[0] if accelerators else None,
        num_accelerators=len(accelerators),
        scatter=scatter,
        pauses=pauses,
        anchor=files.anchor,
        anchor_error=choice.anchor.error_percent / 100.0
        if isinstance(choice.anchor, TableAnchor) and choice.anchor.error_percent is not None
        else None,
    )


def _measured_unrest(cpu: Device) -> Unrest:
    """Scatter and pauses as the profile's calibration measured them."""
    if cpu.unrest is None:
        raise ValueErrorAt(
            f"expected false: nobody measured scatter and pauses of {cpu.name}, as perfplan calibrate does",
            ("node", "measured_unrest"),
        )
    return cpu.unrest


def _near_memory(settings: NearMemorySettings, model: RecModel, cpu: Device) -> NearMemory:
    """The memory whose modules do the lookups, of which the model has some."""
    from perfmodel.costmodel.near_memory import require_pooled  # few nodes have it
    from perfmodel.costmodel.rank_cache import near_memory

    try:
        require_pooled(model)
    except InputError as error:
        raise ValueErrorAt(str(error), ("node", "near_memory")) from None
    return near_memory(settings, cpu)


def _require_lookups_on_cores(node: ServingNode, policy: Policy) -> None:
    """Refuse memory modules that are asked for nothing, and work of queries that is shared."""
    joins = any(lane.joining is not None for lane in policy.lanes)
    if node.model.has_query_work and (joins or policy.share_query_work):
        shared = f"{node.model.name} has work of the query, which is not shared beside near memory yet"
        raise ValueErrorAt(shared, ("node", "near_memory"))
    if not largest_cpu_launch_items(policy, MOST_ITEMS):
        alone = "expected none: every query goes to the accelerator, whose tables are on the card"
        raise ValueErrorAt(alone, ("node", "near_memory"))


def _shards(
    settings: ShardSettings, model: RecModel, cpu: Device
) -> tuple[Shards, npt.NDArray[np.float64] | None]:
    """The tables on nodes of their own, and how the slowest answer scatters around its mean."""
    from perfmodel.costmodel.shard_places import place_tables  # few nodes have shards

    try:
        require_weights_fit(model, cpu)
        shards = place_tables(model, cpu, settings)
    except InputError as error:
        raise ValueErrorAt(str(error), ("node", "shards")) from None
    if settings.scatter is None:
        return shards, None
    slowest, factors = slowest_of(settings.scatter, shards.num_shards)
    return replace(shards, slowest=slowest), factors


def _tiers(settings: NodeTiers, model: RecModel, devices: Sequence[Device]) -> list[Tiers]:
    """Where the rows are, for each of the node's devices."""
    from perfmodel.costmodel.tiers import place_rows  # few nodes have tiers

    try:
        return [place_rows(model, device, settings) for device in devices]
    except InputError as error:
        raise ValueErrorAt(str(error), ("node", "tiers")) from None


def _length_law(lengths: FixedLengths | LogNormalLengths | FileLengths, files: NamedFiles) -> SizePmf:
    """How long the queries' histories are, as exact as the law of their sizes."""
    match lengths:
        case FixedLengths():
            return SizePmf(np.array([lengths.length]), np.ones(1))
        case FileLengths():
            assert files.lengths is not None, "a list that is named has been read"
            return SizePmf(files.lengths.num_items, files.lengths.probabilities)
        case LogNormalLengths():
            return pmf_of(
                LogNormalSizes(
                    mu=lengths.mu,
                    sigma=lengths.sigma,
                    min_items=lengths.min_length,
                    max_items=lengths.max_length,
                )
            )


def _with_lengths(node: ServingNode, law: SizePmf) -> ServingNode:
    """The node for queries with histories of these lengths; what is asked of one batch is of the mean one."""
    place = ("traffic", "lengths")
    if node.model.history_length is None:
        lacks = f"{node.model.name} has no list whose length varies (an embedding_bag with varies: true)"
        raise ValueErrorAt(lacks, place)
    try:
        for length in (law.values[0], law.max_items):
            node.model.with_length(int(length))
    except ValueErrorAt as error:
        raise ValueErrorAt(f"{node.model.name}: {error.message}", place) from None
    mean = node.model.with_length(max(1, round(law.mean_items)))
    return replace(node, model=mean, lengths=law if len(law.values) > 1 else None)


def _stack_note(named: str | None, wishes: Sequence[Wish], stacks: Sequence[str]) -> str | None:
    """Say that a file's stack gave way, to devices that `--set` put in the place of its own."""
    if named is None or named in stacks or any(wish.asked for wish in wishes):
        return None
    without = ", ".join(wish.profile.name for wish in wishes if named not in wish.profile.stack_names)
    return f"node.stack: {without} was not measured with {named}; all times are those of {stacks[0]}"


def _traffic(traffic: Traffic, files: NamedFiles) -> TrafficSource:
    trace, sizes = files.trace, traffic.query_sizes
    if trace is not None and (found := len(trace.arrival_s)) < MIN_QUERIES:  # too few for an interval
        expected = f"expected a trace of at least {MIN_QUERIES} queries, found {found}"
        raise ValueErrorAt(expected, ("traffic", "arrivals", "file"))
    law = None
    if isinstance(sizes, TraceSizes):
        if trace is None or trace.num_items is None:
            raise ValueErrorAt("the trace has no column num_items", ("traffic", "query_sizes"))
    elif isinstance(sizes, NamedSizes | FileSizes):
        assert files.sizes is not None, "a list that is named has been read"
        law = SizePmf(files.sizes.num_items, files.sizes.probabilities)
    else:
        law = pmf_of(sizes)
    return TrafficSource(
        arrivals=traffic.arrivals,
        sizes=law,
        trace_s=None if trace is None else trace.arrival_s,
        trace_num_items=None if trace is None else trace.num_items,
    )


def _outside(sla: SlaTarget, files: NamedFiles) -> OutsideLaw | None:
    """Time of a query outside the node; None where there is none."""
    match sla.outside_ms:
        case float() | int() as time_ms:
            return ConstantOutside(time_ms * MS) if time_ms else None
        case FixedTime(time_ms=time_ms):
            return ConstantOutside(time_ms * MS) if time_ms else None
        case LogNormalTime() as law:
            ends = (law.min_ms * MS, law.max_ms * MS)
            return NormalOutside(
                mean=law.mu + log(MS), std=law.sigma, is_log=True, least_s=ends[0], most_s=ends[1]
            )
        case NormalTime() as law:
            ends = (law.min_ms * MS, law.max_ms * MS)
            return NormalOutside(
                mean=law.mean_ms * MS, std=law.std_ms * MS, is_log=False, least_s=ends[0], most_s=ends[1]
            )
        case FileTime():
            assert files.outside_s is not None, "a file that is named has been read"
            return ListedOutside(files.outside_s)


def _stated_max_items(sizes: QuerySizes) -> int | None:
    """Size of the largest query as published, or as the distribution is clipped; None: not stated. [items]"""
    if isinstance(sizes, NamedSizes):
        return PUBLISHED_MAX_ITEMS.get(sizes.distribution)
    return sizes.max_items if isinstance(sizes, LogNormalSizes | NormalSizes) else None
