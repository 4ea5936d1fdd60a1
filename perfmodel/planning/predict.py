"""What a load will look like on a node: verdict, tail latency, throughput, utilisation, power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from perfmodel.domain.estimate import Basis
from perfmodel.planning.breakdown import BatchBreakdown, break_down
from perfmodel.planning.prepare import Question
from perfmodel.planning.throughput import RateSearch
from perfmodel.sim.engines import EngineName
from perfmodel.units import MS

Verdict = Literal["meets_sla", "misses_sla", "unstable"]
