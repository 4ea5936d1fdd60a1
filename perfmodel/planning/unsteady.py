"""Scatter and pauses of a scenario, on a node's service times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfmodel.domain.unsteady import PauseSettings, ScatterSettings
from perfmodel.sim.pauses import Pauses
from perfmodel.sim.scatter import scatter_of
from perfmodel.sim.service import ServiceTimes


def made_unsteady(
    service: ServiceTimes,
    scatter: ScatterSettings | None,
    pauses: Sequence[PauseSettings],
) -> ServiceTimes:
    """Return the same times scattered, on cores and accelerators alike, on a node that pauses."""
    table = None if scatter is None else scatter_of(scatter)
    return replace(
        service,
        cpu_scatter=table,
        accelerator_scatter=None if service.accelerator_s is None else table,
        node_pauses=tuple(_pauses(each) for each in pauses if each.scope == "node"),
        core_pauses=tuple(_pauses(each) for each in pauses if each.scope == "executor"),
    )


def made_steady(service: ServiceTimes) -> ServiceTimes:
    """Return the same times without scatter, on a node that never pauses."""
    pipeline = None if service.pipeline is None else service.pipeline.steady(made_steady)
    return replace(
        service,
        cpu_scatter=None,
        accelerator_scatter=None,
        node_pauses=(),
        core_pauses=(),
        pipeline=pipeline,
    )


def _pauses(settings: PauseSettings) -> Pauses:
    return Pauses(
        rate_per_s=settings.rate_per_s,
        length_s=settings.length_s,
        exponential=settings.lengths == "exponential",
    )
