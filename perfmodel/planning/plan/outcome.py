"""What the simulation of a plan shows of a service."""

from __future__ import annotations

from typing import NamedTuple

HOLDS = "meets_sla"

MOST_RAISED = 2.0
"""A service that takes more than so many times its planned nodes is not short of nodes. [1]"""


class Outcome(NamedTuple):
    """What a simulation shows: the verdict, and the SLA's percentile where there is one. [s]"""

    verdict: str
    latency_s: float | None
