"""A drawing of figures with their intervals, a row each, on both sides of a line at zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfmodel.report.drawing import (
    BOTTOM,
    CHARACTER,
    RIGHT,
    WIDTH,
    Canvas,
    Drawing,
    axis_over,
    shortened,
)
from perfmodel.report.tables import number

ROW_HEIGHT = 22.0
NAME_HEIGHT = 14.0
WIDEST_NAME = 150.0
"""Of names to the left of their rows; longer ones stand above them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A figure and its interval.

    Attributes
    ----------
    name : str
        What it is of.
    value : float
        In the unit of the axis.
    ends : (float, float) or None
        Of its 95 % interval; None: not known.
    is_sure : bool
        Whether the interval leaves zero out: drawn full, else hollow.
    """

    name: str
    value: float
    ends: tuple[float, float] | None = None
    is_sure: bool = True


def spans(
    entries: Sequence[Span], *, x_label: str, title: str, text: str, digits: int = 3, below: str = "interval"
) -> Drawing:
    """Draw a dot and its interval a row; zero is an upright line."""
    canvas = Canvas(title, text)
    left = 14.0 + CHARACTER * max((len(each.name) for each in entries), default=4)
    above = NAME_HEIGHT if left > WIDEST_NAME else 0.0
    left = 6.0 if above else left
    canvas.height = 8.0 + (ROW_HEIGHT + above) * len(entries) + BOTTOM
    bottom = canvas.height - BOTTOM
    reach = [0.0, *(each.value for each in entries)]
    widest = max(map(abs, reach))
    for each in entries:  # an interval far wider than all figures would press them together
        reach += [max(-2.0 * widest, min(2.0 * widest, end)) for end in each.ends or ()]
    x = axis_over([*reach, min(reach) - 0.04 * widest], left + 6.0, WIDTH - RIGHT - 52.0)
    for tick in x.ticks(5):
        canvas.line(x.at(tick), 4.0, x.at(tick), bottom, "axis" if tick == 0.0 else "grid")
        canvas.words(x.at(tick), bottom + 15.0, number(tick), anchor="middle", kind="dim")
    canvas.words((left + WIDTH) / 2, bottom + 34.0, x_label, anchor="middle")
    for index, each in enumerate(entries):
        y = 8.0 + (ROW_HEIGHT + above) * (index + 0.5) + 0.5 * above
        if above:
            canvas.words(left, y - 10.0, shortened(each.name, WIDTH - left), kind="over")
        else:
            canvas.words(left - 2.0, y + 4.0, each.name, anchor="end")
        colour = "var(--c0)" if each.value >= 0.0 else "var(--c1)"
        if each.ends is not None:
            canvas.path([(x.at(each.ends[0]), y), (x.at(each.ends[1]), y)], colour)
        fill = colour if each.is_sure else "var(--ground)"
        canvas.add(
            f'<circle cx="{x.at(each.value):.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" '
            f'stroke="{colour}" stroke-width="2"/>'
        )
        canvas.words(WIDTH - 4.0, y + 4.0, _signed(each.value, digits), anchor="end", kind="dim")
    rows = [
        [
            each.name,
            number(each.value, 4),
            "–" if each.ends is None else " to ".join(number(end, 4) for end in each.ends),
        ]
        for each in entries
    ]
    return canvas.done(["", x_label, below], rows)


def _signed(value: float, digits: int) -> str:
    return f"{'+' if value > 0.0 else ''}{number(value, digits)}"
