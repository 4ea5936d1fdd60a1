"""A scenario: which model, on which node, under which traffic, with which policy and SLA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import MOST_ACCELERATORS, Cores, Positive, within
from perfmodel.domain.serving import PolicySettings, SimulationSettings, SlaTarget
from perfmodel.domain.unsteady import NodePauses, Scatter
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
    scatter : LogNormalScatter, ListedScatter or None
        How service times of one size differ from request to request, on cores and accelerators alike; None:
        they do not.
    pauses : tuple of PauseSettings
        Times in which an executor, or the whole node, stands still.
    """

    cpu: FileOrName
    cores: Cores | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    # Not strict: which description a node is has been looked up by then, and a list is no longer JSON's.
    accelerators: Annotated[tuple[FileOrName, ...], Field(max_length=MOST_ACCELERATORS, strict=False)] = ()
    stack: FileOrName | None = None
    scatter: Scatter | None = None
    pauses: NodePauses = ()

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
    tdp_w : float or None
        Static power of the node, where queries per watt are asked for. [W]
    error_percent : float or None
        How far off the table's times may be, root mean square; None: nobody knows. [%]
    scatter : LogNormalScatter, ListedScatter or None
        How service times of one size differ from request to request; None: they do not.
    pauses : tuple of PauseSettings
        Times in which an executor, or the whole node, stands still.
    """

    service_times: Path
    executors: Cores
    tdp_w: Positive | None = None
    error_percent: Annotated[float, Field(ge=0), within(high=1000.0)] | None = None
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


class Scenario(Frozen):
    """One question to ask of the simulator; files are referred to by name and not yet read.

    Attributes
    ----------
    description : str
        What the scenario shows, in a line or two.
    model : str or None
        A shipped model, or the path of a model file; None exactly where the node is known by its service
        times.
    """

    description: str = ""
    model: FileOrName | None = None
    node: AnyNodeChoice
    traffic: Traffic
    policy: Policy
    sla: SlaTarget
    simulation: SimulationSettings = SimulationSettings()

    @model_validator(mode="after")
    def _a_model_runs_on_profiles(self) -> Scenario:
        by_table = isinstance(self.node, TableNodeChoice)
        if by_table and self.model is not None:
            raise ValueErrorAt("expected none, since node.service_times takes its place", ("model",))
        if not by_table and self.model is None:
            raise ValueErrorAt("missing key 'model': expected a shipped model, or the path of one", ())
        return self

    @model_validator(mode="after")
    def _offloading_needs_an_accelerator(self) -> Scenario:
        setting = self.policy.offloading
        if setting is not None and not self.node.accelerators:
            why = "node.accelerators is empty"
            if isinstance(self.node, TableNodeChoice):
                why = "a node known by its service times has no accelerator"
            raise ValueErrorAt(
                f"expected {setting.without}, since {why}, got {setting.value}",
                ("policy", setting.key),
            )
        return self
