"""Pieces that terminal reports share: numbers as people read them, and the operator table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf
from typing import Protocol

from perfmodel.planning.breakdown import OperatorTime
from perfmodel.planning.load_curve import LoadPoint
from perfmodel.planning.node import AnyNode
from perfmodel.planning.question import Question
from perfmodel.report.fitting import Column, FittingTable
from perfmodel.sim.outside import ConstantOutside, OutsideLaw
from perfmodel.sim.statistics import Interval
from perfmodel.units import GB, GFLOP, MS

GROUPED = 10_000
"""From here on the thousands of a number are set apart, however many digits it has."""


def counted(count: int, noun: str) -> str:
    """A number of things in words.

    Examples
    --------
    >>> counted(1, "hour"), counted(24, "hour")
    ('1 hour', '24 hours')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float | None, digits: int = 3) -> str:
    """Round to significant digits, without an exponent; a value that does not exist is a dash.

    Examples
    --------
    >>> number(1234.5), number(0.012345), number(999.7), number(None), number(float("inf"))
    ('1,230', '0.0123', '1,000', '–', 'no end')
    >>> number(21500.0, 5), number(1058.2, 4)
    ('21,500', '1058')
    """
    if value is None:
        return "–"
    if isinf(value):
        return "no end"
    if value == 0.0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if abs(float(text)) >= min(10**digits, GROUPED) else text


def as_asked(value: float) -> str:
    """A bound that the user gave, in the digits that it was given in: six at most.

    Examples
    --------
    >>> as_asked(100.0), as_asked(12.43), as_asked(1012.57), as_asked(200 / 3)
    ('100', '12.43', '1,012.57', '66.6667')
    """
    text = f"{float(f'{value:.6g}'):,.6f}"
    return text.rstrip("0").rstrip(".") if value >= 1e-4 else number(value)


def interval_ms(interval: Interval | None) -> str:
    """A latency with its interval, its upper end perhaps unbounded; a dash where there is none."""
    if interval is None:
        return "–"
    value, low, high = (number(each / MS, 4) for each in (interval.value_s, interval.low_s, interval.high_s))
    if low == high:
        # Many queries take just as long: a service time that nothing varies. No interval of luck is left.
        return f"{value} ms, the service time of many queries"
    return f"{value} ms [{low}, {high}]"


def operator_table(title: str, operators: Sequence[OperatorTime]) -> FittingTable:
    """One row an operator, kernel family and scope: time, share, work, and what bounds it.

    On a narrow page go, one after the other: rows, GB, GFLOP, basis, kind, scope, what bounds it, the bars.
    """
    of_query = any(operator.scope == "query" for operator in operators)
    columns = [
        Column(heading="operator", is_name=True),
        Column(heading="kind", leaves=5),
        *([Column(heading="scope", leaves=6)] if of_query else []),
        Column(heading="ms", right=True),
        Column(heading="share", right=True),
        Column(heading="", is_bar=True, leaves=8),
        Column(heading="GFLOP", right=True, leaves=3),
        Column(heading="GB", right=True, leaves=2),
        Column(heading="rows", right=True, leaves=1),
        Column(heading="bound by", leaves=7),
        Column(heading="basis", leaves=4),
    ]
    rows = [
        [
            operator.name,
            operator.kind,
            *([operator.scope] if of_query else []),
            number(operator.seconds / MS),
            f"{100 * operator.share:.1f} %",
            f"{operator.share:.4f}",
            number(operator.flop / GFLOP),
            number(operator.bytes_moved / GB),
            number(operator.random_rows) if operator.random_rows else "–",
            operator.bound,
            operator.basis.label,
        ]
        for operator in operators
    ]
    return FittingTable(columns, rows, title)


def card_words(node: AnyNode) -> str:
    """Its accelerators, to stand behind its cores; nothing where it has none."""
    if node.accelerator is None:
        return ""
    return f" + {node.num_accelerators} x {node.accelerator.name} ({node.accelerator.stack})"


def node_words(node: AnyNode) -> str:
    """What runs on which cores: the head of a page; of a table of service times, what it is of."""
    return (
        f"[bold]{node.where}[/]" if node.model_name is None else f"[bold]{node.model_name}[/] on {node.where}"
    )


def served_words(question: Question) -> str:
    """What is served on what, cards included; of several stages each in its turn."""
    return ", then ".join(f"{node_words(stage.node)}{card_words(stage.node)}" for stage in question.stages)


def outside_words(outside: OutsideLaw, percentiles_s: Mapping[float, float]) -> str:
    """Latencies on the node alone, and the time that is added to each."""
    alone = ", ".join(
        f"p{100 * percentile:g} {number(value_s / MS, 4)}" for percentile, value_s in percentiles_s.items()
    )
    mean = "" if isinstance(outside, ConstantOutside) else " in the mean"
    return f"{alone} ms; {number(outside.mean_s / MS)} ms{mean} outside of it are in the latencies above"


def curve_queries(curve: Sequence[LoadPoint]) -> str:
    """How many queries are behind the points of a load curve: bursts and pauses take more at high rates."""
    fewest, most = min(point.num_queries for point in curve), max(point.num_queries for point in curve)
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"


class Answer(Protocol):
    """What a page is about, or its question."""

    @property
    def service_times_of(self) -> str:
        """What is in the service times, in words."""


def times_of(answer: Answer) -> str:
    """What is in the service times: the second line of a page."""
    return f"times: {answer.service_times_of}"


def assumption_lines(assumptions: Sequence[str]) -> list[str]:
    """One line that counts the costs without a fit behind them; the JSON lists each with its reason."""
    if not assumptions:
        return []
    keys = ", ".join(
        entry.partition(" (")[0].rpartition(": ")[2].partition(" ")[0] for entry in assumptions[:3]
    )
    more = ", ..." if len(assumptions) > 3 else ""
    return [f"assumed, not fitted: {len(assumptions)} costs ({keys}{more}); --json lists them with reasons"]
