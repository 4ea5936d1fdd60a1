"""How queries are served: the policy's settings, the SLA, the simulation's precision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from perfmodel.domain.base import Frozen
from perfmodel.units import MS


class SplitPolicy(Frozen):
    """Split a query into requests of at most `batch_size` items for the cores, or offload it whole.

    Attributes
    ----------
    batch_size : int
        Largest number of items in one forward pass. [items]
    offload_threshold_items : int or None
        Queries of at least this size go whole to the accelerator; None: no query does. [items]
    """

    name: Literal["split"] = "split"
    batch_size: Annotated[int, Field(ge=1)]
    offload_threshold_items: Annotated[int, Field(ge=1)] | None = None


class SlaTarget(Frozen):
    """A percentile of query latency (a fraction: 0.95) and its bound, which files give in milliseconds."""

    percentile: Annotated[float, Field(gt=0, lt=1)]
    latency_ms: Annotated[float, Field(gt=0)]

    @property
    def latency_s(self) -> float:
        """The bound. [s]"""
        return self.latency_ms * MS


class SimulationSettings(Frozen):
    """Seed and stopping rule of a simulation.

    Attributes
    ----------
    seed : int
        Seed of all random streams.
    precision : float
        Half-width of the 95 % confidence interval over the SLA's percentile, relative. [1]
    min_queries, max_queries : int
        The stopping rule may fire from `min_queries` on; at `max_queries` the run ends regardless.
    """

    seed: Annotated[int, Field(ge=0)] = 1
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.02
    min_queries: Annotated[int, Field(ge=1000)] = 300_000
    max_queries: Annotated[int, Field(ge=1000)] = 10_000_000
