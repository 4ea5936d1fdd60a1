"""One scenario in both engines: its run alone, since a search in SimPy takes ten times as long."""

from __future__ import annotations

import os
from collections.abc import Sequence

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import prepare
from perfmodel.sim.run import run_until_precise
from perfmodel.sim.run_result import RunResult


def runs_of_both_engines(scenario: str | os.PathLike[str], overrides: Sequence[str]) -> list[RunResult]:
    """What `predict` finds of the load, compiled and in SimPy."""
    asked = prepare(load_scenario(scenario, overrides))
    return [
        run_until_precise(
            asked.traffic,
            asked.times.table,
            asked.policy,
            asked.simulation,
            percentile=asked.sla.percentile,
            engine=engine,
        )
        for engine in ("compiled", "simpy")
    ]
