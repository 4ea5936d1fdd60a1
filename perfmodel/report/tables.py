"""Pieces that terminal reports share: numbers as people read them, and the operator table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.table import Table

from perfmodel.planning.breakdown import OperatorTime
from perfmodel.planning.node import AnyNode
from perfmodel.sim.statistics import Interval
from perfmodel.units import GB, GFLOP, MS


def number(value: float | None, digits: int = 3) -> str:
    """Round to significant digits, without an exponent; a value that does not exist is a dash."""
    if value is None:
        return "–"
    if value == 0.0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if abs(value) >= 10**digits else text


def interval_ms(interval: Interval | None) -> str:
    """A latency with its interval, its upper end perhaps unbounded; a dash where there is none."""
    if interval is None:
        return "–"
    high = "inf" if interval.high_s == float("inf") else number(interval.high_s / MS, 4)
    return f"{number(interval.value_s / MS, 4)} ms [{number(interval.low_s / MS, 4)}, {high}]"


def operator_table(title: str, operators: Sequence[OperatorTime]) -> Table:
    """One row an operator, kernel family and scope: time, share, work, and what bounds it."""
    of_query = any(operator.scope == "query" for operator in operators)
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("operator")
    table.add_column("kind")
    if of_query:
        table.add_column("scope")
    for heading in ("ms", "share", "GFLOP", "GB", "rows"):
        table.add_column(heading, justify="right")
    table.add_column("bound by")
    table.add_column("basis")
    for operator in operators:
        table.add_row(
            operator.name,
            operator.kind,
            *([operator.scope] if of_query else []),
            number(operator.seconds / MS),
            f"{100 * operator.share:.1f} %",
            number(operator.flop / GFLOP),
            number(operator.bytes_moved / GB),
            number(operator.random_rows) if operator.random_rows else "–",
            operator.bound,
            operator.basis.label,
        )
    return table


def node_words(node: AnyNode) -> str:
    """What runs on which cores: the head of a page; of a table of service times, what it is of."""
    return (
        f"[bold]{node.where}[/]" if node.model_name is None else f"[bold]{node.model_name}[/] on {node.where}"
    )


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
