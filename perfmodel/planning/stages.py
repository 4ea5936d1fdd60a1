"""What an answer needs of several stages, one after the other: their times together, and each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from perfmodel.domain.estimate import Basis
from perfmodel.domain.scenario import PipelineSettings
from perfmodel.errors import ExtrapolationError
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.sensitivity import Errors
from perfmodel.planning.service_times import AnyTimes, times_of
from perfmodel.sim.pipeline import LaterStage, Pipeline, stage_laws
from perfmodel.sim.policies import Policy
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.service import ServiceTimes
from perfmodel.units import MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage with its files read.

    Attributes
    ----------
    name : str
        As answers call it.
    node : ServingNode or TableNode
        Where it runs.
    policy : Policy
        How.
    most_items : int or None
        Items of a query that reach it; None: all, of the first. [items]
    price_usd_per_h : float or None
        Of its node; None: not known, or it has none of its own. [USD/h]
    shares_machine : bool
        Whether its cores are some of the first stage's machine.
    stack_note : str or None
        Where another stack answers than the file names.
    """

    name: str
    node: AnyNode
    policy: Policy
    most_items: int | None = None
    price_usd_per_h: float | None = None
    shares_machine: bool = False
    stack_note: str | None = None

    @property
    def tdp_w(self) -> float | None:
        """What it adds to the static power: nothing on the first stage's machine. [W]"""
        return 0.0 if self.shares_machine else self.node.tdp_w


class StageTimes:
    """The service times of all stages under the traffic's sizes, with what an answer says of them.

    Parameters
    ----------
    stages : sequence of Stage
        The first included.
    settings : PipelineSettings
        How they go together.
    sizes : SizePmf
        Of the queries.
    by_stage : sequence, optional
        The times of each stage by itself, where they are known.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        settings: PipelineSettings,
        sizes: SizePmf,
        by_stage: Sequence[AnyTimes] | None = None,
    ) -> None:
        self._stages, self._settings = stages, settings
        self.laws = laws_of(stages, settings, sizes)
        self.by_stage: Sequence[AnyTimes] = by_stage or [
            times_of(stage.node, stage.policy, law) for stage, law in zip(stages, self.laws, strict=True)
        ]

    @cached_property
    def table(self) -> ServiceTimes:
        """What the simulation needs."""
        first, *later = self.by_stage
        stages = tuple(
            LaterStage(service=times.table, policy=stage.policy, most_items=stage.most_items or law.max_items)
            for times, stage, law in zip(later, self._stages[1:], self.laws[1:], strict=True)
        )
        pipeline = Pipeline(
            stages=stages,
            sub_batches=self._settings.sub_batches,
            handover_s=self._settings.handover_ms * MS,
        )
        return replace(first.table, pipeline=pipeline)

    @cached_property
    def errors(self) -> Errors:
        """The largest of any stage's, as if all were wrong in the same direction. [ln]"""
        found = [times.errors for times in self.by_stage]
        cards = [errors.accelerator for errors in found if errors.accelerator is not None]
        return Errors(
            max(errors.cpu for errors in found),
            max(cards) if cards else None,
            known=all(errors.known for errors in found),
        )

    @property
    def serving_w(self) -> float | None:
        """None: power by load is not known of several stages."""
        return None

    @property
    def asking_share(self) -> float:
        """Likewise 0. [1]"""
        return 0.0

    @property
    def words(self) -> str:
        """What is in the times, of each stage that differs."""
        # How to name another stack is said of one stage's node, and these are several.
        words = [times.words.partition("; `--set ")[0] for times in self.by_stage]
        if len(set(words)) == 1:
            return words[0]
        named = zip(self._stages, words, strict=True)
        return "; ".join(f"{stage.name}: {said}" for stage, said in named)

    @property
    def basis(self) -> Basis:
        """That of the weakest stage."""
        return max(times.basis for times in self.by_stage)

    def require_calibrated(self) -> None:
        """Refuse batches beyond the calibrated range, and name the stage.

        Raises
        ------
        ExtrapolationError
            Of the first stage that has such.
        """
        for stage, times in zip(self._stages, self.by_stage, strict=True):
            try:
                times.require_calibrated()
            except ExtrapolationError as error:
                raise ExtrapolationError(f"stage {stage.name}: {error}") from None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of each stage, and of how they go together."""
        notes = [self._how()]
        if any(stage.shares_machine for stage in self._stages):
            notes.append(
                "stages on one machine have cores of their own; assumed: those of the others count as busy"
            )
        for stage, times in zip(self._stages, self.by_stage, strict=True):
            notes += [f"{stage.name}: {note}" for note in times.notes]
            if stage.stack_note is not None:
                notes.append(f"{stage.name}: {stage.stack_note}")
        return tuple(notes)

    def _how(self) -> str:
        parts = self._settings.sub_batches
        overlap = "stages of one query do not overlap (pipeline.sub_batches: 1)"
        if parts > 1:
            overlap = f"each query goes through in {parts} parts, each filtered by itself"
        return (
            f"{len(self._stages)} stages, each on executors of its own; {overlap}; a hand-over takes "
            f"{self._settings.handover_ms:g} ms, and choosing the best items nothing"
        )


def laws_of(stages: Sequence[Stage], settings: PipelineSettings, sizes: SizePmf) -> list[SizePmf]:
    """The law of the items of a part in each stage."""
    most_items = [stage.most_items or sizes.max_items for stage in stages[1:]]
    return stage_laws(sizes, most_items, settings.sub_batches)


def machine_cores(stages: Sequence[Stage]) -> int:
    """Cores of the first stage's machine that serve any stage."""
    shared = [stage for stage in stages[1:] if stage.shares_machine]
    return stages[0].node.cores + sum(stage.node.cores for stage in shared)


def beside_each_other(stages: Sequence[Stage]) -> list[Stage]:
    """The stages, of which those on one machine know how many cores the others have."""
    total, found = machine_cores(stages), []
    for number, stage in enumerate(stages):
        node = stage.node
        if isinstance(node, ServingNode) and (number == 0 or stage.shares_machine):
            node = replace(node, beside=total - node.cores)
        found.append(replace(stage, node=node))
    return found


def lets_all_through(later: Sequence[Stage], max_items: int) -> Iterator[str]:
    """What to say of stages that no query is filtered before, since none has so many items there.

    Parameters
    ----------
    later : sequence of Stage
        Those after the first.
    max_items : int
        Of the largest query that arrives. [items]
    """
    most = max_items
    for number, stage in enumerate(later, start=2):
        if stage.most_items is None:
            continue
        if stage.most_items >= most:
            than = "the largest query has" if most == max_items else "the stages before let through"
            yield (
                f"stage {number}, {stage.name}: `items: {stage.most_items}` is no fewer than {than} "
                f"({most}): it ranks all that the stage before it ranks"
            )
        most = min(most, stage.most_items)
