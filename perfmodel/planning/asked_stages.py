"""A scenario with several stages: each is read as a scenario of its own, then all are one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.scenario import (
    PipelineSettings,
    Scenario,
)
from perfmodel.loading.scenario_file import LoadedScenario, read_named_files
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_tree import Section, plain
from perfmodel.planning.asked_node import misfit_of, require_their_kinds
from perfmodel.planning.node import ServingNode
from perfmodel.planning.question import Question, as_asked, question_of
from perfmodel.planning.stack_choice import choose_stacks, devices_of, shared_stack, wishes_of
from perfmodel.planning.stages import Stage, beside_each_other, machine_cores
from perfmodel.units import GIB


def staged(loaded: LoadedScenario, settings: PipelineSettings, mixed_stacks: bool) -> Question:
    """A scenario with several stages: each read like a scenario of its own, all devices with one stack."""
    read = [(own, read_named_files(own)) for own in stage_scenarios(loaded, settings)]
    wishes = [wishes_of(own, files) for own, files in read]
    shared = None if mixed_stacks else shared_stack(read, wishes)
    questions = []
    for (own, files), whose in zip(read, wishes, strict=True):
        with own.places():
            require_their_kinds(files)
            if shared is None and files.model is not None:
                stacks = choose_stacks(whose, files.model, mixed=True)
            else:
                stacks = [shared or ""] * len(whose)
            questions.append(question_of(own, files, whose, stacks))
    with loaded.places():
        return joined(loaded, settings, questions)


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
    question = staged(loaded, settings, mixed_stacks)
    found: dict[str, tuple[Stage | None, ...]] = {}
    for name in settings.candidates:
        stages: list[Stage | None] = []
        for number, stage in enumerate(question.stages):
            own = stage_scenario(loaded, number - 1, candidate=name)
            files = read_named_files(own)
            wishes = wishes_of(own, files)
            with own.places():
                require_their_kinds(files)
                assert files.model is not None, "a candidate has profiles"
                stack = question.node.stack
                asked = [
                    wish._replace(asked=wish.asked or (None if mixed_stacks else stack)) for wish in wishes
                ]
                stacks = choose_stacks(asked, files.model, mixed=mixed_stacks)
                misfit = misfit_of(own, files.model, devices_of(wishes, stacks, files.model))
                placed = None if misfit is not None else question_of(own, files, wishes, stacks)
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


def joined(loaded: LoadedScenario, settings: PipelineSettings, questions: Sequence[Question]) -> Question:
    """One question of several stages, given those of each.

    Raises
    ------
    ValueErrorAt
        If the machine that several stages share has no room for them.
    """
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
    require_room(stages)
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
        asked=as_asked(loaded),
        inputs=tuple(dict.fromkeys(each for question in questions for each in question.inputs)),
    )


def _named_apart(stages: Sequence[Stage]) -> list[Stage]:
    """The stages, of which those with one name have their numbers in it."""
    names = [stage.name for stage in stages]
    return [
        replace(stage, name=f"{stage.name} ({number})") if names.count(stage.name) > 1 else stage
        for number, stage in enumerate(stages, start=1)
    ]


def require_room(stages: Sequence[Stage]) -> None:
    """Refuse more cores, or more tables, than the machine has that several stages share.

    Raises
    ------
    ValueErrorAt
        At the last of them.
    """
    first, shared = (
        stages[0].node,
        [number for number in range(1, len(stages)) if stages[number].shares_machine],
    )
    if not shared or not isinstance(first, ServingNode):
        return
    place = ("pipeline", "stages", shared[-1] - 1, "cores")
    total, most = machine_cores(stages), first.cpu.num_threads
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


def stage_scenarios(loaded: LoadedScenario, settings: PipelineSettings) -> list[LoadedScenario]:
    """Every stage as a scenario of its own, the first included."""
    return [stage_scenario(loaded, number) for number in range(-1, len(settings.stages))]


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
