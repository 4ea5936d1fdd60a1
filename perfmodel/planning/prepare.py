"""From a loaded scenario to what the questions need: node, traffic, policy, SLA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perfmodel.costmodel.footprint import require_fit
from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.scenario import NodeChoice
from perfmodel.domain.serving import SimulationSettings, SlaTarget
from perfmodel.domain.workload import (
    FileSizes,
    LogNormalSizes,
    NamedSizes,
    NormalSizes,
    QuerySizes,
    TraceArrivals,
    TraceSizes,
)
from perfmodel.errors import InputError, Note
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.loading.shipped import find_file, find_profile
from perfmodel.loading.traffic_files import SizeFrequencies, Trace, named_sizes, read_sizes, read_trace
from perfmodel.loading.validated import parse_file
from perfmodel.planning.node import ServingNode
from perfmodel.planning.run_cost import affordable_settings, require_affordable
from perfmodel.planning.service_times import service_times_of
from perfmodel.planning.stack_choice import Wish, choose_stacks
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.policies import Policy, check_cores
from perfmodel.sim.query_sizes import SizePmf, pmf_of
from perfmodel.sim.statistics import MIN_QUERIES
from perfmodel.sim.traffic import TrafficSource

PUBLISHED_MAX_ITEMS = {"deeprecsys-production": 1000}
"""ISCA 2020: a query ranks up to 1000 items; the last of the list's 100 sizes is smaller. [items]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A scenario with every file read: what runs where, under what, and what is asked of it."""

    name: str
    node: ServingNode
    traffic: TrafficSource
    policy: Policy
    sla: SlaTarget
    simulation: SimulationSettings
    stack_note: str | None = None  # where another stack answers than the file names
    stated_max_items: int | None = None  # what the traffic's source says, where its sizes may end below

    @property
    def max_items(self) -> int:
        """Largest query that can arrive. [items]"""
        return self.traffic.size_pmf.max_items

    @property
    def service_times_of(self) -> str:
        """What is in the service times, in words."""
        return service_times_of(self.node, self.policy, self.traffic.size_pmf)

    @property
    def node_notes(self) -> tuple[str, ...]:
        """What a reader of any answer must know of the node."""
        notes = self.node.notes(self.policy, self.max_items)
        return notes if self.stack_note is None else (self.stack_note, *notes)

    @property
    def largest_query_items(self) -> int:
        """Largest query to be ready for: as stated, else the largest that arrives. [items]"""
        return self.stated_max_items or self.max_items


def prepare(loaded: LoadedScenario, *, mixed_stacks: bool = False) -> Question:
    """Read the model, the profiles and the traffic files that a scenario names.

    Parameters
    ----------
    loaded : LoadedScenario
        The scenario.
    mixed_stacks : bool
        Whether the node's devices may have different software stacks.

    Raises
    ------
    InputError
        At the place in the scenario, or in the file it names, that cannot be used.
    """
    return _prepared(loaded, None, mixed_stacks=mixed_stacks)


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
    if mixed_stacks:
        return [prepare(loaded, mixed_stacks=True) for loaded in scenarios]
    wishes = [wish for loaded in scenarios for wish in _wishes(loaded)]
    model = parse_file(scenarios[0].model_path(), RecModel)
    stack = choose_stacks(wishes, model)[0]
    return [_prepared(loaded, stack, mixed_stacks=False) for loaded in scenarios]


def _wishes(loaded: LoadedScenario) -> list[Wish]:
    """The devices of a scenario's node, the CPU first; what `name@stack` says goes before `node.stack`.

    A stack that a file names for its own devices does not bind others, put in their place by `--set`.
    """
    choices = [loaded.cpu_profile(), *loaded.accelerator_profiles()]
    profiles = [parse_file(choice.path, ProfileFile) for choice in choices]
    stack = loaded.scenario.node.stack
    if loaded.has_changed_devices and any(stack not in profile.stacks for profile in profiles):
        stack = None
    return [Wish(profile, choice.stack or stack) for profile, choice in zip(profiles, choices, strict=True)]


def _prepared(loaded: LoadedScenario, stack: str | None, *, mixed_stacks: bool) -> Question:
    """The question with one stack for all devices, or with those that the scenario leads to."""
    scenario = loaded.scenario
    model = parse_file(loaded.model_path(), RecModel)
    node_choice = scenario.node
    wishes = _wishes(loaded)
    _require_their_kinds(loaded, [wish.profile for wish in wishes])
    try:
        stacks = [stack] * len(wishes) if stack else choose_stacks(wishes, model, mixed=mixed_stacks)
    except InputError as error:
        raise loaded.error(str(error), "node", _place_of_stack(node_choice, wishes)) from None
    cpu, *accelerators = (wish.profile.device(name) for wish, name in zip(wishes, stacks, strict=True))
    cores = node_choice.cores or cpu.num_cores
    if cores > 2 * cpu.num_cores:
        most = f"at most {2 * cpu.num_cores} ({cpu.num_cores} cores of {cpu.name}, two threads each)"
        raise loaded.error(f"expected {most}, got {cores}", "node", "cores")
    threads = node_choice.threads
    if threads > cores:
        raise loaded.error(f"expected at most the {cores} cores, got {threads}", "node", "threads")
    if threads > 1 and not cpu.thread_scaling:
        unknown = f"expected 1, since the profile {cpu.name} does not know how threads scale, got {threads}"
        raise loaded.error(unknown, "node", "threads")
    for device, key in [(cpu, "cpu"), *((device, "accelerators") for device in accelerators)]:
        try:
            require_fit(model, device)
        except InputError as error:
            raise loaded.error(str(error), "node", key) from None
    policy = policy_from(scenario.policy)
    try:
        check_cores(policy, cores // threads)
    except InputError as error:
        raise loaded.located(error) from None
    traffic = _traffic(loaded)
    try:
        require_affordable(policy, traffic.size_pmf, workers=cores // threads)
        simulation = affordable_settings(scenario.simulation, policy, traffic.size_pmf)
    except ValueErrorAt as error:
        raise loaded.error(str(error), *error.path) from None
    if simulation.max_queries < scenario.simulation.max_queries:
        short = f"runs end after {simulation.max_queries:_} queries, which take minutes and gigabytes"
        warnings.warn(Note(f"simulation.max_queries: {short}"), stacklevel=2)
    return Question(
        name=loaded.name,
        node=ServingNode(
            model=model,
            cpu=cpu,
            cores=cores,
            threads=threads,
            accelerator=accelerators[0] if accelerators else None,
            num_accelerators=len(accelerators),
        ),
        traffic=traffic,
        policy=policy,
        sla=scenario.sla,
        simulation=simulation,
        stated_max_items=_stated_max_items(scenario.traffic.query_sizes),
        stack_note=_stack_note(node_choice.stack, wishes, stacks),
    )


def _stack_note(named: str | None, wishes: Sequence[Wish], stacks: Sequence[str]) -> str | None:
    """Say that a file's stack gave way, to devices that `--set` put in the place of its own."""
    if named is None or named in stacks or any(wish.asked for wish in wishes):
        return None
    without = ", ".join(wish.profile.name for wish in wishes if named not in wish.profile.stacks)
    return f"node.stack: {without} was not measured with {named}; all times are those of {stacks[0]}"


def _require_their_kinds(loaded: LoadedScenario, profiles: Sequence[ProfileFile]) -> None:
    """Refuse accelerators as the CPU, CPUs as accelerators, and accelerators of several kinds."""
    cpu, *cards = profiles
    if cpu.kind != "cpu":
        raise loaded.error(f"expected a cpu profile, got {cpu.name}, a {cpu.kind}", "node", "cpu")
    for index, card in enumerate(cards):
        if card.kind == "cpu":
            got = f"expected an accelerator profile, got {card.name}, a cpu"
            raise loaded.error(got, "node", "accelerators", index)
        if card.name != cards[0].name:
            both = f"expected accelerators of one kind, got {cards[0].name} and {card.name}"
            raise loaded.error(both, "node", "accelerators", index)


def _place_of_stack(node: NodeChoice, wishes: Sequence[Wish]) -> str:
    """The key that an error about stacks is about."""
    if node.stack is not None:
        return "stack"
    missing = [wish.asked is not None and wish.asked not in wish.profile.stacks for wish in wishes]
    return "accelerators" if len(wishes) > 1 and not missing[0] else "cpu"


def find_model(name: str) -> RecModel:
    """Read a model by its shipped name or its path."""
    return parse_file(find_file("model", name), RecModel)


def find_device(name: str, model: RecModel) -> Device:
    """Read a device by the name or path of its profile, perhaps with `@stack`."""
    return find_devices([name], model)[0]


def find_devices(names: Sequence[str], model: RecModel, *, mixed_stacks: bool = False) -> list[Device]:
    """Read devices that stand side by side in an answer, all with one stack: see `choose_stacks`."""
    choices = [find_profile(name) for name in names]
    wishes = [Wish(parse_file(choice.path, ProfileFile), choice.stack) for choice in choices]
    stacks = choose_stacks(wishes, model, mixed=mixed_stacks)
    return [wish.profile.device(stack) for wish, stack in zip(wishes, stacks, strict=True)]


def _traffic(loaded: LoadedScenario) -> TrafficSource:
    arrivals, sizes = loaded.scenario.traffic.arrivals, loaded.scenario.traffic.query_sizes
    trace: Trace | None = None
    if isinstance(arrivals, TraceArrivals):
        trace = read_trace(_data_path(loaded, arrivals.file, "arrivals"))
        if (found := len(trace.arrival_s)) < MIN_QUERIES:  # too few for a confidence interval
            expected = f"expected a trace of at least {MIN_QUERIES} queries, found {found}"
            raise loaded.error(expected, "traffic", "arrivals", "file")
    if isinstance(sizes, TraceSizes):
        if trace is None or trace.num_items is None:
            raise loaded.error("the trace has no column num_items", "traffic", "query_sizes")
        law = None
    elif isinstance(sizes, NamedSizes):
        law = _pmf(named_sizes(sizes.distribution))
    elif isinstance(sizes, FileSizes):
        law = _pmf(read_sizes(_data_path(loaded, sizes.file, "query_sizes")))
    else:
        try:
            law = pmf_of(sizes)
        except InputError as error:
            raise loaded.located(error) from None
    return TrafficSource(
        arrivals=arrivals,
        sizes=law,
        trace_s=None if trace is None else trace.arrival_s,
        trace_num_items=None if trace is None else trace.num_items,
    )


def _stated_max_items(sizes: QuerySizes) -> int | None:
    """Size of the largest query as published, or as the distribution is clipped; None: not stated. [items]"""
    if isinstance(sizes, NamedSizes):
        return PUBLISHED_MAX_ITEMS.get(sizes.distribution)
    return sizes.max_items if isinstance(sizes, LogNormalSizes | NormalSizes) else None


def _data_path(loaded: LoadedScenario, file: Path, key: str) -> Path:
    return loaded.data_path(file, "traffic", key, "file")


def _pmf(frequencies: SizeFrequencies) -> SizePmf:
    return SizePmf(frequencies.num_items, frequencies.probabilities)
