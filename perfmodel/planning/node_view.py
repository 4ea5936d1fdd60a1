"""A node seen closer, for pages: latency against load, the time of batches, and the device's roofs."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.planning.breakdown import BatchBreakdown, Roofs, break_down, roofs_of
from perfmodel.planning.load_curve import PARTS, LoadPoint, load_curve
from perfmodel.planning.node import AnyNode, ServingNode
from perfmodel.planning.question import Question
from perfmodel.sim.policies import Policy

BATCHES = (1, 4, 16, 64, 256)
"""Batch sizes whose time is taken apart, beside the policy's own. [items]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inside:
    """Where the time of a node's batches goes.

    Attributes
    ----------
    batches : tuple of BatchBreakdown
        One batch on a core with no other at work, by size.
    roofs : Roofs
        Of the CPU.
    stage : str or None
        Of several stages the one that runs there.
    """

    batches: tuple[BatchBreakdown, ...]
    roofs: Roofs
    stage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeView:
    """What a page shows of a node beside its answers.

    Attributes
    ----------
    curve : tuple of LoadPoint
        Latency at rates up to the cliff; empty where it is no function of a rate.
    cliff_qps : float or None
        Rate that fills the executors; None: closed users, who ask for less then. [queries/s]
    inside : tuple of Inside
        Where the time goes, of several stages in each; nothing of a node without a model.
    """

    curve: tuple[LoadPoint, ...]
    cliff_qps: float | None
    inside: tuple[Inside, ...] = ()

    @property
    def far_qps(self) -> float | None:
        """How far the curve tells: to the cliff, or where bursts end it before, its last rate. [queries/s]"""
        cliff, last = self.cliff_qps, max((point.rate_qps for point in self.curve), default=None)
        return cliff if cliff is None or last is None or last >= PARTS[-2] * cliff else last


def node_view(question: Question, *rates_qps: float | None) -> NodeView:
    """Look closer at a question's node.

    Parameters
    ----------
    question : Question
        Prepared.
    *rates_qps : float or None
        Loads that the curve shall go through, such as the one to plan for. [queries/s]
    """
    curve = load_curve(question, *rates_qps)
    cliff = None if question.traffic.is_closed else question.saturation_qps
    found = [
        _inside(stage.node, stage.policy, None if question.pipeline is None else stage.name)
        for stage in question.stages
    ]
    return NodeView(curve=curve, cliff_qps=cliff, inside=tuple(each for each in found if each is not None))


def _inside(node: AnyNode, policy: Policy, stage: str | None) -> Inside | None:
    if not isinstance(node, ServingNode):
        return None
    most = node.cpu.batch_range[1]
    own = getattr(policy, "batch_size", None)
    sizes = sorted({*BATCHES, *([own] if own else [])})
    return Inside(
        batches=tuple(break_down(node.cpu_time(size, 1)) for size in sizes if size <= most),
        roofs=roofs_of(node.cpu),
        stage=stage,
    )
