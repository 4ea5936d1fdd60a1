"""Where a change is made: the node of a question, or that of one of its stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from perfmodel.domain.scenario import PipelineSettings
from perfmodel.loading.scenario_file import LoadedScenario
from perfmodel.planning.asked_stages import require_room
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.question import Question
from perfmodel.planning.service_times import times_of
from perfmodel.planning.stages import Stage, StageTimes, beside_each_other
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_sizes import SizePmf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A stage whose node and policy are changed; of a question with one stage the only one.

    Attributes
    ----------
    question : Question
        Whose.
    number : int
        Of the stage, the first is 0.
    stage : Stage
        What it is.
    sizes : SizePmf
        Law of what reaches it. [items]
    policy_settings : mapping
        As the scenario writes its policy.
    policy_key, node_key : str
        What `--set` calls the sections, with the dot; of a stage on the first one's machine `node_key` is
        where its cores are.
    cards : tuple of str
        Accelerators, as the scenario writes them.
    """

    question: Question
    number: int
    stage: Stage
    sizes: SizePmf
    policy_settings: dict[str, Any]
    policy_key: str
    node_key: str
    cards: tuple[str, ...]

    @property
    def node(self) -> AnyNode:
        """Where it runs."""
        return self.stage.node

    @property
    def policy(self) -> Policy:
        """How."""
        return self.stage.policy

    @property
    def name(self) -> str | None:
        """Of the stage; None where there is one."""
        return None if self.question.pipeline is None else self.stage.name

    @property
    def is_shared(self) -> bool:
        """Whether the machine serves other stages too."""
        others = any(stage.shares_machine for stage in self.question.stages)
        return others and self._on_the_first_machine(self.number)

    @property
    def machine(self) -> str | None:
        """Name of the stage at which the machine's devices are changed; None where there is one stage."""
        return self.question.stages[0].name if self.stage.shares_machine else self.name

    def called(self, words: str) -> str:
        """Words of a change, with the stage."""
        return words if self.name is None else f"{self.name}: {words}"

    def with_node(self, node: ServingNode) -> Question:
        """The question with another node here; those on the same machine have its devices too.

        Raises
        ------
        ValueErrorAt
            If the machine has no room for all stages on it.
        """
        if self.question.pipeline is None:
            return replace(self.question, node=node)
        stages = [
            replace(stage, node=node) if number == self.number else self._beside(number, stage, node)
            for number, stage in enumerate(self.question.stages)
        ]
        require_room(stages)
        return with_stages(self.question, stages)

    def _beside(self, number: int, stage: Stage, changed: ServingNode) -> Stage:
        """Another stage; on the machine of one that is changed it has the changed device."""
        both = self._on_the_first_machine(self.number) and self._on_the_first_machine(number)
        if not both or not isinstance(stage.node, ServingNode):
            return stage
        return replace(stage, node=replace(stage.node, cpu=changed.cpu))

    def _on_the_first_machine(self, number: int) -> bool:
        return number == 0 or self.question.stages[number].shares_machine


def with_stages(question: Question, stages: list[Stage]) -> Question:
    """The question of a pipeline with other nodes; times of those that are as they were are kept."""
    assert question.pipeline is not None, "of several stages"
    before = question.stages
    known: StageTimes | None = None
    if any(stage.shares_machine for stage in stages):
        stages = beside_each_other(stages)
    else:
        own = question.times
        assert isinstance(own, StageTimes), "a pipeline's"
        known = StageTimes(
            stages,
            question.pipeline,
            question.traffic.size_pmf,
            [
                times if stage.node is old.node else times_of(stage.node, stage.policy, law)
                for stage, old, law, times in zip(stages, before, own.laws, own.by_stage, strict=True)
            ],
        )
    first, *later = stages
    return replace(question, node=first.node, later_stages=tuple(later), known_times=known)


def places_of(loaded: LoadedScenario, question: Question) -> Iterator[Place]:
    """Return every stage of a question, the first included."""
    scenario, pipeline = loaded.scenario, loaded.scenario.pipeline
    times = question.times
    laws = times.laws if isinstance(times, StageTimes) else [question.traffic.size_pmf]
    for number, (stage, sizes) in enumerate(zip(question.stages, laws, strict=True)):
        if number == 0:
            policy, cards, prefix = scenario.policy, tuple(scenario.node.accelerators), ""
        else:
            policy, cards = _later(pipeline, number - 1)
            prefix = f"pipeline.stages.{number - 1}."
        yield Place(
            question=question,
            number=number,
            stage=stage,
            sizes=sizes,
            policy_settings=policy.model_dump(),
            policy_key=f"{prefix}policy.",
            node_key=prefix if stage.shares_machine else f"{prefix}node.",
            cards=cards,
        )


def _later(pipeline: PipelineSettings | None, number: int) -> tuple[Any, tuple[str, ...]]:
    assert pipeline is not None, "it has later stages"
    stage = pipeline.stages[number]
    return stage.policy, () if stage.node is None else tuple(stage.node.accelerators)
