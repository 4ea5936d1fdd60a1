"""Drawings as inline SVG: the same series give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

SIZE_INCHES = (7.0, 3.4)
MANY_TICKS = 7
"""Labels that stand side by side; more are slanted."""

_SLANTED: Mapping[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points joined by a line, under one name in the legend.

    Attributes
    ----------
    x, y : sequences of float
        Points, in the units that the axes name.
    dashed : bool
        Set published values, or a second of a pair, apart by a broken line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def lines_svg(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Draw lines with markers; logarithmic axes are labelled with the points' own values."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    for index, one in enumerate(series):
        axes.plot(
            one.x,
            one.y,
            linestyle="--" if one.dashed else "-",
            marker="s" if one.dashed else "o",
            markersize=4,
            color=f"C{index % 10}",
            label=one.name,
        )
    if log_x:
        ticks = sorted({x for one in series for x in one.x})
        axes.set_xscale("log")
        labels = [f"{tick:g}" for tick in ticks]
        axes.set_xticks(ticks, labels, **(_SLANTED if len(ticks) > MANY_TICKS else {}))
        axes.xaxis.set_minor_locator(NullLocator())
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return _svg(figure, title or y_label)


def bars_svg(
    groups: Sequence[str],
    heights: Mapping[str, Sequence[float]],
    *,
    y_label: str,
    title: str = "",
) -> str:
    """Draw one bar for each name in `heights` beside each other, in each group."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(heights))
    for index, (name, values) in enumerate(heights.items()):
        at = [group + (index - 0.5 * (len(heights) - 1)) * width for group in range(len(groups))]
        axes.bar(at, list(values), width=width, label=name, color=f"C{index % 10}")
    axes.set_xticks(range(len(groups)), list(groups), **(_SLANTED if len(groups) > MANY_TICKS else {}))
    axes.set(ylabel=y_label, title=title)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    axes.legend()
    return _svg(figure, title or y_label)


def _svg(figure: object, salt: str) -> str:
    """SVG without the XML prologue, a date or random identifiers."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    text = StringIO()
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
