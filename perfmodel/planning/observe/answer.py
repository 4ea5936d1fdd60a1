"""The answer of `perfplan observe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perfmodel.domain.serving import SlaTarget
from perfmodel.planning.observe.drift import Drift
from perfmodel.planning.observe.executors import Executors
from perfmodel.planning.observe.log import ServedLog
from perfmodel.planning.observe.replay import Backtest, WindowErrors
from perfmodel.planning.observe.times import ServiceFit
from perfmodel.planning.observe.traffic import ArrivalFit, Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedSizes:
    """Query sizes as a scenario names them: a published list, one size, or a file of those that came."""

    kind: Literal["named", "fixed", "file", "trace"]
    name: str | None
    law: Distribution
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a log says of its traffic and of the node that served it.

    Attributes
    ----------
    log : ServedLog
        What was read.
    arrivals : ArrivalFit
        The process, and its rate.
    sizes : FittedSizes
        Of the queries.
    times : ServiceFit
        Service times of requests.
    executors : Executors
        What serves side by side.
    utilisation : float
        Busy time over that of all executors; of a lower bound at most so much. [1]
    sla : SlaTarget
        That the backtest and the scenario have.
    windows : tuple of WindowErrors
        Replayed: the whole log, then its windows.
    latency_bounded_qps, plan_for_qps : float or None
        Of the fitted node under the fitted traffic; None: no rate meets the SLA. [queries/s]
    backtest : Backtest or None
        The log at `plan_for_qps`; None where there is none.
    drift : Drift or None
        From a given scenario; None: none was given.
    scenario : mapping
        What the scenario file says.
    files : mapping of str to str
        Names and texts of the files that belong to the scenario, itself first.
    notes : tuple of str
        What a reader must know.
    """

    log: ServedLog
    arrivals: ArrivalFit
    sizes: FittedSizes
    times: ServiceFit
    executors: Executors
    utilisation: float
    sla: SlaTarget
    windows: tuple[WindowErrors, ...]
    latency_bounded_qps: float | None
    plan_for_qps: float | None
    backtest: Backtest | None
    drift: Drift | None
    scenario: Mapping[str, Any]
    files: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def has_drifted(self) -> bool:
        """Whether the load is not that of the given scenario any more."""
        return self.drift is not None and bool(self.drift.drifted)
