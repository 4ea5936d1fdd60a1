"""A scenario: which model, on which node, under which traffic, with which policy and SLA."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import MOST_ACCELERATORS, Cores
from perfmodel.domain.serving import PolicySettings, SimulationSettings, SlaTarget
from perfmodel.domain.workload import Traffic

FileOrName = Annotated[str, Field(min_length=1)]

Policy = Annotated[PolicySettings, Field(discriminator="name")]
"""The policies of a scenario, told apart by `name`."""


class NodeChoice(Frozen):
    """The node that serves, by the names of hardware profiles.

    Attributes
    ----------
    cpu : str
        A shipped profile, or the path of one.
    cores : int or None
        Cores that serve requests; None: all that the profile has.
    accelerators : tuple of str
        Profiles of the accelerators, if any.
    threads : int
        Threads of each worker process, which serves one request at a time with that many cores; more than
        one where the profile knows how they scale.
    stack : str or None
        Software stack of the profiles to use; None: the model's own where the profile has it, else
        the profile's default.
    """

    cpu: FileOrName
    cores: Cores | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    accelerators: Annotated[tuple[FileOrName, ...], Field(max_length=MOST_ACCELERATORS)] = ()
    stack: FileOrName | None = None


class Scenario(Frozen):
    """One question to ask of the simulator; files are referred to by name and not yet read.

    Attributes
    ----------
    description : str
        What the scenario shows, in a line or two.
    model : str
        A shipped model, or the path of a model file.
    """

    description: str = ""
    model: FileOrName
    node: NodeChoice
    traffic: Traffic
    policy: Policy
    sla: SlaTarget
    simulation: SimulationSettings = SimulationSettings()

    @model_validator(mode="after")
    def _offloading_needs_an_accelerator(self) -> Scenario:
        setting = self.policy.offloading
        if setting is not None and not self.node.accelerators:
            raise ValueErrorAt(
                f"expected {setting.without}, since node.accelerators is empty, got {setting.value}",
                ("policy", setting.key),
            )
        return self
