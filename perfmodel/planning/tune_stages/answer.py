"""What tuning a pipeline found: where its stages are best put, and in how many parts queries go through."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.domain.estimate import Basis
from perfmodel.planning.question import Question
from perfmodel.planning.tune.question import Objective

AS_WRITTEN = "as written"
"""The place that the file gives a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where each stage is, and in how many parts queries go through.

    Attributes
    ----------
    on : tuple of str
        Of each stage, the first included: a candidate's name, or "as written".
    sub_batches : int
        Parts of a query.
    """

    on: tuple[str, ...]
    sub_batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedPlacement:
    """A placement and what it carries.

    Attributes
    ----------
    placement : Placement
        What was tried.
    latency_bounded_qps : float or None
        Greatest rate that meets the SLA; None: none does, or it was not worth finding. [queries/s]
    below_qps : float or None
        Where it was not worth finding: a rate that it does not carry. [queries/s]
    tdp_w : float or None
        Static power of all machines; None: not known. [W]
    num_queries : int
        Behind the rate; 0 where nothing was simulated.
    reason : str or None
        Why it cannot be.
    """

    placement: Placement
    latency_bounded_qps: float | None
    tdp_w: float | None
    below_qps: float | None = None
    num_queries: int = 0
    reason: str | None = None

    @property
    def qps_per_w(self) -> float | None:
        """Throughput over static TDP. [queries/s/W]"""
        if self.latency_bounded_qps is None or not self.tdp_w:
            return None
        return self.latency_bounded_qps / self.tdp_w


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageTuning:
    """The answer of `perfplan tune` for a pipeline.

    Attributes
    ----------
    question, best : Question
        As the file has it, and with what was found.
    objective : {"qps", "qps-per-watt"}
        What is best.
    static, tuned : TriedPlacement
        What the file says, and the best, both by the long sample.
    tried : tuple of TriedPlacement
        Everything, by a short sample.
    """

    question: Question
    best: Question
    objective: Objective
    static: TriedPlacement
    tuned: TriedPlacement
    tried: tuple[TriedPlacement, ...]

    @property
    def gain(self) -> float | None:
        """Throughput of the best over that of the file; None where either carries nothing. [1]"""
        best, static = self.tuned.latency_bounded_qps, self.static.latency_bounded_qps
        return None if best is None or static is None else best / static

    @property
    def basis(self) -> Basis:
        """How far to trust the service times of the best."""
        return self.best.times.basis
