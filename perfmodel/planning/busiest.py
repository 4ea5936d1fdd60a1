"""The times of which an SLA is held where a rate changes: the day's peak, or bursts that last."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.domain.workload import BurstyArrivals
from perfmodel.planning.question import Question
from perfmodel.sim.arrivals import Periodic, peak_factor
from perfmodel.sim.traffic import has_days


class Busiest(NamedTuple):
    """When most arrives, and how many times the mean rate that is. [1]"""

    factor: float
    when: str


def busiest(question: Question) -> Busiest | None:
    """The times that decide about the SLA where the rate changes; None where the mean rate does.

    Of a day it is the peak. Bursts decide where they outlast the SLA's latency, so that a queue does not even
    them out, and hold more of the queries than the SLA lets be late:
    f·F / (1 − f + f·F) > 1 − percentile, f being the time in bursts and F their rate over the calm one.
    """
    arrivals, sla = question.traffic.arrivals, question.sla
    if isinstance(arrivals, Periodic) and has_days(question.traffic):
        return Busiest(peak_factor(arrivals), "at the day's peak")
    if isinstance(arrivals, BurstyArrivals):
        in_bursts = arrivals.burst_fraction * arrivals.burst_factor
        mean = 1.0 - arrivals.burst_fraction + in_bursts
        if arrivals.mean_burst_s > sla.latency_s and in_bursts / mean > 1.0 - sla.percentile:
            return Busiest(arrivals.burst_factor / mean, "in a burst")
    return None
