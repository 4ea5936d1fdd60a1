"""What `explain` answers: what binds, the cliff, and the changes by what they bring."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.domain.hardware import Device
from perfmodel.planning.explain.changes import PHYSICAL
from perfmodel.planning.node import ServingNode
from perfmodel.planning.question import Question
from perfmodel.planning.verdict import Verdict

NEGLIGIBLE = 0.001
"""Of the largest load: who changes a node for less? Nor do searches for a load promise as much. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binds:
    """What keeps the node from carrying more.

    Attributes
    ----------
    resource : str
        "cores" or "accelerator" (the executors and their arithmetic), "memory", "cache", "conversion" (of
        inputs), or "sla": its slack, the node being far from full.
    why : str
        In words, with the figures that it rests on.
    operator : str or None
        The operator that takes most of a full batch's time; None where the node is not full, or not known.
    operator_share : float or None
        How much of it. [1]
    stage : str or None
        Of several stages the one that is fullest; None: there is one, or the SLA binds.
    """

    resource: str
    why: str
    operator: str | None = None
    operator_share: float | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a change alone brings.

    Attributes
    ----------
    change : str
        In words.
    kind : {"step", "option"}
        The same small step as of everything else, or a whole option.
    resource : str
        What it is more of.
    setting : tuple of str
        As `--set` takes it; empty where that cannot say it.
    latency_bounded_qps : float or None
        The largest load with it; None: no load meets the SLA, or it is refused. [queries/s]
    gain : float or None
        Over the largest load without it, less 1. [1]
    ci95 : (float, float) or None
        95 % interval of the gain. [1]
    tdp_w : float or None
        Static power of the changed node, where a change of it is known. [W]
    reason : str or None
        Why there is no rate.
    stage : str or None
        Of several stages the one that is changed.
    """

    change: str
    kind: str
    resource: str
    setting: tuple[str, ...]
    latency_bounded_qps: float | None
    gain: float | None
    ci95: tuple[float, float] | None
    tdp_w: float | None
    reason: str | None = None
    stage: str | None = None

    @property
    def qps_per_w(self) -> float | None:
        """The largest load over static TDP. [queries/s/W]"""
        if self.latency_bounded_qps is None or not self.tdp_w:
            return None
        return self.latency_bounded_qps / self.tdp_w

    @property
    def is_significant(self) -> bool | None:
        """Whether the interval leaves 0 out, and the gain is not next to nothing."""
        if self.ci95 is None or self.gain is None:
            return None
        return not self.ci95[0] <= 0.0 <= self.ci95[1] and abs(self.gain) > NEGLIGIBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer of `perfplan explain`.

    Attributes
    ----------
    question : Question
        What was asked.
    binds : Binds
        What binds.
    latency_bounded_qps : float or None
        The largest load; None: no load meets the SLA. [queries/s]
    ci95_qps : (float, float) or None
        Its 95 % interval. [queries/s]
    saturation_qps : float
        Load from which a pool cannot keep up, all of it busy. [queries/s]
    gains : tuple of Gain
        By gain, the largest first; what is refused last.
    offered_qps : float
        The load that was asked about; of closed users what they ask. [queries/s]
    verdict : {"meets_sla", "misses_sla", "unstable", "within_error"}
        Of the offered load, by the central estimate of the service times, as `predict --accept-uncertain`.
    """

    question: Question
    binds: Binds
    latency_bounded_qps: float | None
    ci95_qps: tuple[float, float] | None
    saturation_qps: float
    gains: tuple[Gain, ...]
    offered_qps: float
    verdict: Verdict

    @property
    def room(self) -> float | None:
        """By how much the offered load may grow until the SLA's cliff; negative: it lies beyond it. [1]"""
        largest_qps = self.latency_bounded_qps
        return None if largest_qps is None else largest_qps / self.offered_qps - 1.0

    @property
    def room_to_saturation(self) -> float:
        """The same until the node cannot keep up. [1]"""
        return self.saturation_qps / self.offered_qps - 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        notes = [
            "each change is made alone; gains do not add up",
            "the error of the service times meets both sides of a gain, and is not in its interval",
        ]
        for stage in self.question.stages:
            node, own = stage.node, None if self.question.pipeline is None else stage.name
            tried = any(gain.resource == PHYSICAL and gain.stage == own for gain in self.gains)
            if isinstance(node, ServingNode) and tried:
                notes.append(_of_hyper_threads(node.cpu))
        if self.question.traffic.is_closed:
            notes.append("loads are what closed users ask; the largest is that of the most within the SLA")
            notes.append(
                "users ask no faster than they are answered: a load near the largest does not say that they "
                "are few enough; `perfplan capacity` says how many there may be"
            )
        if self.question.node.stack is not None and not any(
            gain.resource == "compute" for gain in self.gains
        ):
            notes.append(
                "calls were measured as they are: what each part of a core does to them is not known"
            )
        return (*dict.fromkeys(notes), *self.question.node_notes)


def _of_hyper_threads(cpu: Device) -> str:
    """Why cores that a CPU has not bring less than those that it has."""
    if cpu.threads_per_core == 1:
        return f"{cpu.threads_in_words}: more of them are another machine"
    products, lookups = cpu.interference.hyper_thread_gemm, cpu.interference.hyper_thread_lookup
    said = f"{cpu.name} has {cpu.num_cores} cores, and more of them share one as hyper-threads"
    if max(products, lookups) == 1.0:
        return (
            f"{said}; how much two on a core slow each other down its profile does not know: none is counted"
        )
    return (
        f"{said}: two on a core take {products:g} times as long for products, {lookups:g} times for lookups, "
        "and as with physical ones each has less of the caches and of the memory's bandwidth"
    )
