"""The traffic that a scenario asks for, its files read: arrivals, sizes, lengths, time outside the node."""

from __future__ import annotations

from math import log

import numpy as np

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.outside import FileTime, FixedTime, LogNormalTime, NormalTime
from perfmodel.domain.serving import SlaTarget
from perfmodel.domain.workload import (
    FileLengths,
    FileSizes,
    FixedLengths,
    LogNormalLengths,
    LogNormalSizes,
    NamedSizes,
    NormalSizes,
    QuerySizes,
    TraceSizes,
    Traffic,
)
from perfmodel.loading.scenario_file import NamedFiles
from perfmodel.sim.outside import ConstantOutside, ListedOutside, NormalOutside, OutsideLaw
from perfmodel.sim.query_sizes import SizePmf, pmf_of
from perfmodel.sim.statistics import MIN_QUERIES
from perfmodel.sim.traffic import TrafficSource
from perfmodel.units import MS

PUBLISHED_MAX_ITEMS = {"deeprecsys-production": 1000}
"""ISCA 2020: a query ranks up to 1000 items; the last of the list's 100 sizes is smaller. [items]"""


def traffic_of(traffic: Traffic, files: NamedFiles) -> TrafficSource:
    """Where queries come from; a trace is long enough for an interval."""
    trace, sizes = files.trace, traffic.query_sizes
    if trace is not None and (found := len(trace.arrival_s)) < MIN_QUERIES:  # too few for an interval
        expected = f"expected a trace of at least {MIN_QUERIES} queries, found {found}"
        raise ValueErrorAt(expected, ("traffic", "arrivals", "file"))
    law = None
    if isinstance(sizes, TraceSizes):
        if trace is None or trace.num_items is None:
            raise ValueErrorAt("the trace has no column num_items", ("traffic", "query_sizes"))
    elif isinstance(sizes, NamedSizes | FileSizes):
        assert files.sizes is not None, "a list that is named has been read"
        law = SizePmf(files.sizes.num_items, files.sizes.probabilities)
    else:
        law = pmf_of(sizes)
    return TrafficSource(
        arrivals=traffic.arrivals,
        sizes=law,
        trace_s=None if trace is None else trace.arrival_s,
        trace_num_items=None if trace is None else trace.num_items,
    )


def length_law(lengths: FixedLengths | LogNormalLengths | FileLengths, files: NamedFiles) -> SizePmf:
    """How long the queries' histories are, as exact as the law of their sizes."""
    match lengths:
        case FixedLengths():
            return SizePmf(np.array([lengths.length]), np.ones(1))
        case FileLengths():
            assert files.lengths is not None, "a list that is named has been read"
            return SizePmf(files.lengths.num_items, files.lengths.probabilities)
        case LogNormalLengths():
            return pmf_of(
                LogNormalSizes(
                    mu=lengths.mu,
                    sigma=lengths.sigma,
                    min_items=lengths.min_length,
                    max_items=lengths.max_length,
                )
            )


def outside_of(sla: SlaTarget, files: NamedFiles) -> OutsideLaw | None:
    """Time of a query outside the node; None where there is none."""
    match sla.outside_ms:
        case float() | int() as time_ms:
            return ConstantOutside(time_ms * MS) if time_ms else None
        case FixedTime(time_ms=time_ms):
            return ConstantOutside(time_ms * MS) if time_ms else None
        case LogNormalTime() as law:
            ends = (law.min_ms * MS, law.max_ms * MS)
            return NormalOutside(
                mean=law.mu + log(MS), std=law.sigma, is_log=True, least_s=ends[0], most_s=ends[1]
            )
        case NormalTime() as law:
            ends = (law.min_ms * MS, law.max_ms * MS)
            return NormalOutside(
                mean=law.mean_ms * MS, std=law.std_ms * MS, is_log=False, least_s=ends[0], most_s=ends[1]
            )
        case FileTime():
            assert files.outside_s is not None, "a file that is named has been read"
            return ListedOutside(files.outside_s)


def stated_max_items(sizes: QuerySizes) -> int | None:
    """Size of the largest query as published, or as the distribution is clipped; None: not stated. [items]"""
    if isinstance(sizes, NamedSizes):
        return PUBLISHED_MAX_ITEMS.get(sizes.distribution)
    return sizes.max_items if isinstance(sizes, LogNormalSizes | NormalSizes) else None
