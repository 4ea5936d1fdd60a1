"""From a loaded scenario to what the questions need: node, traffic, policy, SLA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfmodel.costmodel.footprint import require_fit
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
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
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.loading.shipped import ProfileChoice, find_file, find_profile
from perfmodel.loading.traffic_files import SizeFrequencies, Trace, named_sizes, read_sizes, read_trace
from perfmodel.loading.validated import parse_file
from perfmodel.planning.node import ServingNode
from perfmodel.sim.builtin_policies import policy_from
from perfmodel.sim.policies import Policy, check_cores
from perfmodel.sim.query_sizes import SizePmf, pmf_of
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
    stated_max_items: int | None = None  # what the traffic's source says, where its sizes may end below

    @property
    def max_items(self) -> int:
        """Largest query that can arrive. [items]"""
        return self.traffic.size_pmf.max_items

    @property
    def largest_query_items(self) -> int:
        """Largest query to be ready for: as stated, else the largest that arrives. [items]"""
        return self.stated_max_items or self.max_items


def prepare(loaded: LoadedScenario) -> Question:
    """Read the model, the profiles and the traffic files that a scenario names.

    Raises
    ------
    InputError
        At the place in the scenario, or in the file it names, that cannot be used.
    """
    scenario = loaded.scenario
    model = parse_file(loaded.model_path(), RecModel)
    node_choice = scenario.node
    try:
        cpu = choose_device(loaded.cpu_profile(), model, wanted=node_choice.stack)
    except InputError as error:
        raise _at(loaded, error, "node", "stack" if node_choice.stack else "cpu") from None
    if cpu.kind != "cpu":
        raise loaded.error(f"expected a cpu profile, got {cpu.name}, a {cpu.kind}", "node", "cpu")
    accelerators = _accelerators(loaded, model, cpu)
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
        traffic=_traffic(loaded),
        policy=policy,
        sla=scenario.sla,
        simulation=scenario.simulation,
        stated_max_items=_stated_max_items(scenario.traffic.query_sizes),
    )


def choose_device(choice: ProfileChoice, model: RecModel, *, wanted: str | None = None) -> Device:
    """Read a profile with the stack asked for, else the model's own, else the profile's default.

    Raises
    ------
    InputError
        If the profile has no such stack.
    """
    profile = parse_file(choice.path, ProfileFile)
    asked = choice.stack or wanted
    if asked is not None and asked not in profile.stacks:
        known = ", ".join(profile.stacks)
        raise InputError(f"{profile.name} has no stack {asked!r}; it has {known}")
    own = model.stack if model.stack in profile.stacks else None
    return profile.device(asked or own)


def find_model(name: str) -> RecModel:
    """Read a model by its shipped name or its path."""
    return parse_file(find_file("model", name), RecModel)


def find_device(name: str, model: RecModel) -> Device:
    """Read a device by the name or path of its profile, perhaps with `@stack`."""
    return choose_device(find_profile(name), model)


def find_companion(name: str, model: RecModel, cpu: Device) -> Device:
    """Read an accelerator by its profile's name or path, with the CPU's stack where it has that."""
    choice = find_profile(name)
    stacks = parse_file(choice.path, ProfileFile).stacks
    return choose_device(
        choice, model, wanted=cpu.stack if choice.stack is None and cpu.stack in stacks else None
    )


def _accelerators(loaded: LoadedScenario, model: RecModel, cpu: Device) -> list[Device]:
    """Read the accelerators; each takes the CPU's stack where its profile has it."""
    devices: list[Device] = []
    for index, choice in enumerate(loaded.accelerator_profiles()):
        profile = parse_file(choice.path, ProfileFile)
        stack = cpu.stack if choice.stack is None and cpu.stack in profile.stacks else None
        try:
            device = choose_device(choice, model, wanted=stack)
        except InputError as error:
            raise _at(loaded, error, "node", "accelerators", index) from None
        if device.kind == "cpu":
            got = f"expected an accelerator profile, got {device.name}, a cpu"
            raise loaded.error(got, "node", "accelerators", index)
        if devices and device.name != devices[0].name:
            both = f"expected accelerators of one kind, got {devices[0].name} and {device.name}"
            raise loaded.error(both, "node", "accelerators", index)
        devices.append(device)
    return devices


def _at(loaded: LoadedScenario, error: InputError, *path: str | int) -> InputError:
    """Locate an error about a stack; one from inside another file keeps its own place."""
    message = str(error)
    return loaded.error(message, *path) if " has no stack " in message else error


def _traffic(loaded: LoadedScenario) -> TrafficSource:
    arrivals, sizes = loaded.scenario.traffic.arrivals, loaded.scenario.traffic.query_sizes
    trace: Trace | None = None
    if isinstance(arrivals, TraceArrivals):
        trace = read_trace(_data_path(loaded, arrivals.file, "arrivals"))
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
