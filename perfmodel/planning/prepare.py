"""From a loaded scenario to what the questions need: node, traffic, policy, SLA; one stack for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_RATE_QPS
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import files_of, parse_any, read_profile
from perfmodel.loading.inputs import InputFile, input_files
from perfmodel.loading.scenario_file import LoadedScenario, NamedFiles, read_named_files
from perfmodel.loading.shipped import find_file, find_profile
from perfmodel.loading.validated import parse_file
from perfmodel.planning.asked_node import misfit_of, require_their_kinds
from perfmodel.planning.question import Question, question_of
from perfmodel.planning.stack_choice import Wish, choose_stacks, devices_of, shared_stack, wishes_of


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
        from perfmodel.planning.asked_stages import staged  # most scenarios have one stage

        return staged(loaded, loaded.scenario.pipeline, mixed_stacks)
    files = read_named_files(loaded)
    with loaded.places():
        require_their_kinds(files)
        wishes = wishes_of(loaded, files)
        stacks = choose_stacks(wishes, files.model, mixed=mixed_stacks) if files.model else []
        question = question_of(loaded, files, wishes, stacks)
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
            "expected none: this asks about one stage; --set pipeline=null asks it of the first, and another "
            "is a scenario of its own: its model, node and policy, and as query sizes the items that reach it"
        )
        raise loaded.error(several, "pipeline")


def _one_by_one(loaded: LoadedScenario) -> list[LoadedScenario]:
    """A scenario; of several stages one each."""
    if loaded.scenario.pipeline is None:
        return [loaded]
    from perfmodel.planning.asked_stages import stage_scenarios  # most scenarios have one stage

    return stage_scenarios(loaded, loaded.scenario.pipeline)


def _together(loaded: LoadedScenario, questions: Sequence[Question]) -> Question:
    """The question of a scenario, given those of its stages."""
    if loaded.scenario.pipeline is None:
        return questions[0]
    from perfmodel.planning.asked_stages import joined  # most scenarios have one stage

    with loaded.places():
        return joined(loaded, loaded.scenario.pipeline, questions)


def prepare_together(
    scenarios: Sequence[LoadedScenario], *, mixed_stacks: bool = False, stages: bool = False
) -> list[Question]:
    """Read scenarios whose nodes stand side by side in an answer: all devices with one software stack.

    Parameters
    ----------
    scenarios : sequence of LoadedScenario
        What is put side by side; `node.stack` and `name@stack` count as asked for.
    mixed_stacks : bool
        Whether devices may have different stacks all the same.
    stages : bool
        As of `prepare`.

    Raises
    ------
    InputError
        As `prepare`; or if there is no stack that all devices have.
    """
    for loaded in scenarios:
        if not stages:
            _refuse_stages(loaded)
    if mixed_stacks:
        return [prepare(loaded, mixed_stacks=True, stages=stages) for loaded in scenarios]
    own = [_one_by_one(loaded) for loaded in scenarios]
    read = [(each, read_named_files(each)) for every in own for each in every]
    wishes = [wishes_of(each, files) for each, files in read]
    shared = shared_stack(read, wishes)
    found = []
    for (each, files), wish in zip(read, wishes, strict=True):
        with each.places():
            require_their_kinds(files)
            found.append(question_of(each, files, wish, [shared] * len(wish)))
    questions, rest = [], iter(found)
    for loaded, every in zip(scenarios, own, strict=True):
        questions.append(_together(loaded, [next(rest) for _ in every]))
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
    if question.traffic.is_closed:
        raise InputError(
            "--scale-load: closed users have no rate to scale; --set traffic.arrivals.users=N asks it of more"
        )
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
    stages : tuple of PreparedPair
        Of several stages each by itself, the first included; empty where there is one.
    """

    loaded: LoadedScenario
    files: NamedFiles
    paths: tuple[Path, ...]
    checksums: tuple[str, ...]
    stacks: tuple[str, ...]
    misfit: str | None
    stages: tuple[PreparedPair, ...] = ()

    def question(self) -> Question:
        """The question, of a model that fits."""
        if self.stages:
            questions = [stage.question() for stage in self.stages]
            # What is asked may have another SLA meanwhile.
            questions[0] = replace(questions[0], sla=self.loaded.scenario.sla)
            return _together(self.loaded, questions)
        with self.loaded.places():
            return question_of(self.loaded, self.files, wishes_of(self.loaded, self.files), self.stacks)


def prepare_pairs(
    scenarios: Sequence[LoadedScenario], *, mixed_stacks: bool = False
) -> tuple[PreparedPair, ...]:
    """As `prepare_together`, of scenarios whose nodes need not hold their models; each file is read once."""
    if not scenarios:
        return ()
    own = [_one_by_one(loaded) for loaded in scenarios]
    rest = iter(_prepared([each for every in own for each in every], mixed_stacks))
    found = []
    for loaded, every in zip(scenarios, own, strict=True):
        stages = tuple(next(rest) for _ in every)
        found.append(stages[0] if loaded.scenario.pipeline is None else _of_stages(loaded, stages))
    return tuple(found)


def _of_stages(loaded: LoadedScenario, stages: tuple[PreparedPair, ...]) -> PreparedPair:
    """Several stages as one pair; it fits where each of them does."""
    files = dict(each for stage in stages for each in zip(stage.paths, stage.checksums, strict=True))
    return PreparedPair(
        loaded=loaded,
        files=stages[0].files,
        paths=tuple(files),
        checksums=tuple(files.values()),
        stacks=tuple(stack for stage in stages for stack in stage.stacks),
        misfit=next((stage.misfit for stage in stages if stage.misfit is not None), None),
        stages=stages,
    )


def _prepared(scenarios: Sequence[LoadedScenario], mixed_stacks: bool) -> list[PreparedPair]:
    """Each by itself, all devices with one software stack unless they may differ."""
    parse: Callable[[Path, type[Any]], Any] = cache(parse_any)  # type: ignore[assignment]  # paths are hashable
    paths = [(*loaded.node_paths(), *loaded.traffic_paths()) for loaded in scenarios]
    checksum = cache(lambda path: checksums_now((path,))[0])
    checksums = [tuple(checksum(path) for path in each) for each in paths]
    read = [(loaded, read_named_files(loaded, parse)) for loaded in scenarios]
    wishes = [wishes_of(loaded, files) for loaded, files in read]
    shared = None if mixed_stacks else shared_stack(read, wishes)
    found = []
    for (loaded, files), each, path, before in zip(read, wishes, paths, checksums, strict=True):
        with loaded.places():
            require_their_kinds(files)
            if shared is None and files.model is not None:
                stacks = choose_stacks(each, files.model, mixed=True)
            else:
                stacks = [shared or ""] * len(each)
            misfit = misfit_of(loaded, files.model, devices_of(each, stacks, files.model)) if each else None
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
    return found


def checksums_now(paths: Sequence[Path]) -> tuple[str, ...]:
    """SHA-256 of files as they are; empty of one that cannot be read."""
    return tuple(file.sha256 for path in paths for file in input_files([path]))


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
    return devices_of(wishes, choose_stacks(wishes, model, mixed=mixed_stacks), model)
