"""A node seen closer, for pages: latency against load, the time of batches, and the device's roofs."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.planning.breakdown import BatchBreakdown, Roofs, break_down, roofs_of
from perfmodel.planning.load_curve import LoadPoint, load_curve, saturation_qps
from perfmodel.planning.node import ServingNode
from perfmodel.planning.question import Question

BATCHES = (1, 4, 16, 64, 256)
"""Batch sizes whose time is taken apart, beside the policy's own. [items]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeView:
    """What a page shows of a node beside its answers.

    Attributes
    ----------
    curve : tuple of LoadPoint
        Latency at rates up to the cliff; empty where it is no function of a rate.
    cliff_qps : float or None
        Rate that fills the executors; None: closed users, who ask for less then. [queries/s]
    batches : tuple of BatchBreakdown
        One batch on a core with no other at work, by size; empty of a node without a model.
    roofs : Roofs or None
        Of the CPU.
    """

    curve: tuple[LoadPoint, ...]
    cliff_qps: float | None
    batches: tuple[BatchBreakdown, ...] = ()
    roofs: Roofs | None = None


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
    cliff = None if question.traffic.is_closed else saturation_qps(question)
    node = question.node
    if not isinstance(node, ServingNode):
        return NodeView(curve=curve, cliff_qps=cliff)
    most = node.cpu.batch_range[1]
    own = getattr(question.policy, "batch_size", None)
    sizes = sorted({*BATCHES, *([own] if own else [])})
    return NodeView(
        curve=curve,
        cliff_qps=cliff,
        batches=tuple(break_down(node.cpu_time(size, 1)) for size in sizes if size <= most),
        roofs=roofs_of(node.cpu),
    )
