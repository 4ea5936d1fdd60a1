"""What a reproduction covers: models with their SLA targets, and how much is simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from calibration.published.observations import read_rows

Progress = Callable[[str], None]
"""Told what comes next."""

CPU, OTHER_CPU, CARD = "broadwell", "skylake", "gtx1080ti"
FINAL_QUERIES = 300_000
"""Behind a rate: 0.2 % from one to the next of the same queries, as close as a search looks."""
VARIANT_QUERIES = 50_000
"""Behind a rate of which only differences count, of tens of per cent: 0.6 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How much of the evaluation is recomputed.

    Attributes
    ----------
    targets_ms : mapping of str to float
        Models and their medium p95 targets: ISCA 2020 Table II. [ms]
    final_queries : int
        Behind every final rate.
    variant_queries : int
        The same in the variants, of which only the differences count.
    """

    targets_ms: Mapping[str, float]
    final_queries: int = FINAL_QUERIES
    variant_queries: int = VARIANT_QUERIES


def published_targets_ms() -> dict[str, float]:
    """Medium p95 target of each of the eight models. [ms]"""
    return {row["model"]: float(row["p95_medium_ms"]) for row in read_rows("sla_targets.csv")}


def silent(_: str) -> None:
    """Report no progress."""
