"""What each stage of a pipeline does at a load: how busy it is, and how long parts of queries are in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perfmodel.domain.estimate import Basis
from perfmodel.planning.question import Question
from perfmodel.planning.stages import Stage, StageTimes
from perfmodel.sim.run_result import REPORTED_PERCENTILES, RunResult
from perfmodel.sim.statistics import order_statistic
from perfmodel.sim.utilisation import PoolLoads, stage_loads


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """One stage.

    Attributes
    ----------
    stage : Stage
        Which.
    words : str
        What is in its service times.
    basis : Basis
        How far to trust them.
    mean_items : float
        Of a part of a query there. [items]
    offered : PoolLoads
        Utilisation that the load asks of it with all its executors busy. [1]
    utilisation : PoolLoads or None
        Of the run; None where the load is unstable. [1]
    mean_s : float or None
        From a part's arrival at the stage to its end there; None where unstable. [s]
    percentiles_s : mapping of float to float
        The same by percentile; empty where unstable. [s]
    """

    stage: Stage
    words: str
    basis: Basis
    mean_items: float
    offered: PoolLoads
    utilisation: PoolLoads | None
    mean_s: float | None
    percentiles_s: Mapping[float, float]


def stage_figures(question: Question, run: RunResult) -> tuple[StageFigures, ...]:
    """Every stage at a load, the first included; none where there is one."""
    times = question.times
    if not isinstance(times, StageTimes):
        return ()
    loads = stage_loads(question.traffic, times.table, question.policy, contended=True)
    records = run.record.stages if run.record is not None and run.is_stable else ()
    found = []
    for number, (stage, law, own, offered) in enumerate(
        zip(question.stages, times.laws, times.by_stage, loads, strict=True)
    ):
        record = records[number] if records else None
        counted_s = np.empty(0)
        if record is not None:
            warm_up = record.num_queries * run.warm_up_queries // max(1, run.num_queries)
            counted_s = np.sort(record.node_latency_s[warm_up:])
        found.append(
            StageFigures(
                stage=stage,
                words=own.words,
                basis=own.basis,
                mean_items=law.mean_items,
                offered=offered,
                utilisation=None
                if record is None
                else PoolLoads(record.cpu_utilisation, record.accelerator_utilisation or 0.0),
                mean_s=float(counted_s.mean()) if len(counted_s) else None,
                percentiles_s={each: order_statistic(counted_s, each) for each in REPORTED_PERCENTILES}
                if len(counted_s)
                else {},
            )
        )
    return tuple(found)
