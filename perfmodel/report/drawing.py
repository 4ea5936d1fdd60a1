"""Drawings as inline SVG in the page's own colours, each with a title, a description and its data as a table.

Coordinates are in units of the drawing's own box, which is as wide as a phone shows text without zooming; the
same data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html import escape
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from perfmodel.report.tables import number

WIDTH, HEIGHT = 384.0, 270.0
LEFT, RIGHT, BOTTOM = 60.0, 12.0, 44.0
CHARACTER = 6.9
"""Mean width of a character of 12 units, on the safe side."""
ROW = 17.0
COLOURS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A drawing and what it says, for who cannot see it.

    Attributes
    ----------
    svg : str
        Markup; its texts are escaped.
    title, text : str
        What it is, and what it shows.
    headings, rows : sequences
        Its data.
    """

    svg: str
    title: str
    text: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points joined by a line, under one name in the legend.

    Attributes
    ----------
    x, y : sequences of float
        Points, in the units that the axes name.
    dashed : bool
        Set published values, or a second of a pair, apart by a broken line.
    low, high : sequences of float
        Ends of a band around the line; empty where there is none.
    is_points : bool
        Marks without a line.
    paint : int or None
        Which of the colours; None: that of its place, so that one name has one colour where order differs.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_points: bool = False
    paint: int | None = None


FARTHEST_END = 10.0
"""Times a value, beyond which the upper end of its band is not drawn. [1]"""


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places on a side of the box."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Place of a value, at an end where it lies beyond."""
        return self.start + min(1.0, max(0.0, self._part(value))) * (self.end - self.start)

    def beyond(self, value: float) -> float:
        """Place of a value, above the axis where it lies above it, so that a line to it has its slope."""
        return self.start + max(0.0, self._part(value)) * (self.end - self.start)

    def _part(self, value: float) -> float:
        low, high, value = (
            map(log10, (self.low, self.high, max(value, 1e-300)))
            if self.is_log
            else (self.low, self.high, value)
        )
        return (value - low) / (high - low) if high > low else 0.5

    def ticks(self, most: int) -> list[float]:
        """Round values between the ends, at most so many."""
        if self.is_log:
            return _log_ticks(self.low, self.high, most)
        return [
            tick
            for tick in _linear_ticks(self.low, self.high, most)
            if self.low <= tick <= self.high * (1 + 1e-9)
        ]


@dataclass(slots=True)
class Canvas:
    """Collects the markup of one drawing."""

    title: str
    text: str
    height: float = HEIGHT
    parts: list[str] = field(default_factory=list)

    def add(self, markup: str) -> None:
        """Add an element."""
        self.parts.append(markup)

    def words(
        self, x: float, y: float, text: str, *, anchor: str = "start", kind: str = "", turn: str = ""
    ) -> None:
        """Write a text."""
        css = f' class="{kind}"' if kind else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}{turn}>{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draw a straight line."""
        self.add(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def rect(
        self, x: float, y: float, wide: float, high: float, paint: str, opacity: float | None = None
    ) -> None:
        """Fill a rectangle."""
        size = f'width="{max(0.0, wide):.1f}" height="{max(0.0, high):.1f}"'
        through = "" if opacity is None else f' fill-opacity="{opacity:.3f}"'
        self.add(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{paint}"{through}/>')

    def path(self, points: Sequence[tuple[float, float]], paint: str, more: str = "") -> None:
        """Join points by lines."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'fill="none" stroke="{paint}" stroke-width="2"{more}'
        self.add(f'<polyline points="{joined}" {style}/>')

    def legend(self, entries: Sequence[tuple[str, str]], top: float) -> float:
        """Write colours and names side by side, as many rows as they take; returns where they end."""
        x, y = 4.0, top + 11.0
        for colour, name in entries:
            wide = 16.0 + CHARACTER * len(name) + 12.0
            if x > 4.0 and x + wide > WIDTH:
                x, y = 4.0, y + ROW
            self.add(f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="11" height="11" fill="{colour}"/>')
            self.words(x + 16.0, y, name)
            x += wide
        return y + 8.0 if entries else top

    def done(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Drawing:
        """The drawing with its data."""
        name = "d" + sha256((self.title + "".join(self.parts)).encode()).hexdigest()[:10]
        svg = (
            f'<svg viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" aria-labelledby="{name}t {name}d" '
            f'xmlns="http://www.w3.org/2000/svg"><title id="{name}t">{escape(self.title)}</title>'
            f'<desc id="{name}d">{escape(self.text)}</desc>{"".join(self.parts)}</svg>'
        )
        return Drawing(svg=svg, title=self.title, text=self.text, headings=headings, rows=rows)


def colour(index: int) -> str:
    """The colour of a series."""
    return f"var(--c{index % COLOURS})"


def lines(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    text: str = "",
    log_x: bool = False,
    log_y: bool = False,
    y_limit: tuple[float, str] | None = None,
    x_marks: Sequence[tuple[float, str]] = (),
    y_most: float | None = None,
    labels: Sequence[tuple[float, float, str]] = (),
) -> Drawing:
    """Draw lines with marks; `y_limit` is a bound across, `x_marks` are values to note upright.

    A line that goes above `y_most` leaves the drawing there; its data have all of it.
    """
    text = text or f"{y_label} over {x_label}: {', '.join(one.name for one in series)}."
    canvas = Canvas(title, text)
    paints = [colour(i if one.paint is None else one.paint) for i, one in enumerate(series)]
    top = canvas.legend([(paint, one.name) for paint, one in zip(paints, series, strict=True)], 0.0) + 24.0
    xs = [x for one in series for x in one.x] + [x for x, _ in x_marks]
    drawn = [_with_ends_near(one) for one in series]
    ys = [y for one in drawn for y in (*one.y, *one.high) if isfinite(y)]
    if y_limit is not None:
        ys.append(1.05 * y_limit[0])
    x = axis_over(xs, LEFT, WIDTH - RIGHT, log_x, from_zero=False)
    y = axis_over(
        [v for v in ys if y_most is None or v <= y_most] + ([y_most] if y_most else []),
        canvas.height - BOTTOM,
        top,
        log_y,
        from_zero=True,
    )
    _frame(canvas, x, y, top, x_label, y_label)
    for at, _ in x_marks:
        canvas.line(x.at(at), top, x.at(at), canvas.height - BOTTOM, "sla")
    if y_limit is not None:
        canvas.line(LEFT, y.at(y_limit[0]), WIDTH - RIGHT, y.at(y_limit[0]), "sla")
    for paint, one in zip(paints, drawn, strict=True):
        _draw(canvas, one, x, y, paint, top)
    dots = [(x.at(a), y.at(b)) for one in drawn if one.is_points for a, b in zip(one.x, one.y, strict=True)]
    if labels or x_marks or y_limit is not None:
        dots += [dot for one in drawn if not one.is_points for dot in _along(one, x, y)]
    taken = [(px - 5.0, py - 5.0, px + 5.0, py + 5.0) for px, py in dots]
    ruled = [(x.at(at) - 2.0, top, x.at(at) + 2.0, canvas.height) for at, _ in x_marks]
    if y_limit is not None:
        bound = y.at(y_limit[0])
        ruled.append((LEFT, bound - 2.0, WIDTH, bound + 2.0))
    written: list[Box] = []
    for at, name in x_marks:
        _write(canvas, name, _beside(x.at(at), name, top), [*taken, *ruled], written)
    if y_limit is not None:
        _write(canvas, y_limit[1], _at_bound(bound, y_limit[1]), [*taken, *ruled], written)
    taken += written
    for lx, ly, name in labels:
        _label(canvas, (x.at(lx), y.at(ly)), name, top, taken)
    headings = ["series", x_label, y_label]
    banded = any(one.low for one in series)
    rows = [
        [
            one.name,
            number(a, 4),
            number(b, 4),
            *([number(one.low[i], 4), _end(one.high[i])] if one.low else ["", ""] if banded else []),
        ]
        for one in series
        for i, (a, b) in enumerate(zip(one.x, one.y, strict=True))
    ]
    return canvas.done(headings + (["from", "to"] if banded else []), rows)


def _along(one: Series, x: Axis, y: Axis) -> Iterator[tuple[float, float]]:
    """Places on a line, close enough that no label fits between."""
    at = [(x.at(a), y.at(b)) for a, b in zip(one.x, one.y, strict=True)]
    for (x1, y1), (x2, y2) in pairwise(at):
        steps = max(1, ceil(max(abs(x2 - x1), abs(y2 - y1)) / ROW))
        for step in range(steps + 1):
            yield x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps


Box = tuple[float, float, float, float]
"""Left, top, right and bottom of what is written or drawn."""

FREE_ROWS = 9
"""In which a text is tried below the place where it would stand best."""


def _beside(at: float, name: str, top: float) -> Iterator[tuple[float, float]]:
    """Where the name of an upright line may begin: on its inner side, at the top and below."""
    wide = CHARACTER * len(name)
    sides = [at - 4.0 - wide, at + 4.0] if at > (LEFT + WIDTH) / 2 else [at + 4.0, at - 4.0 - wide]
    for row in range(FREE_ROWS):
        yield from ((left, top + 10.0 + ROW * row) for left in sides)


def _at_bound(at: float, name: str) -> Iterator[tuple[float, float]]:
    """Where the name of a line across may begin: above it, from left to right, then below it."""
    last = WIDTH - RIGHT - CHARACTER * len(name)
    for row in (at - 6.0, at + 15.0):
        yield from ((left, row) for left in (LEFT + 4.0, (LEFT + last) / 2, last))


def _write(
    canvas: Canvas, name: str, places: Iterable[tuple[float, float]], full: Sequence[Box], written: list[Box]
) -> None:
    """Write a name at the first place where nothing is, else where it covers least, but nothing written."""
    wide = CHARACTER * len(name)
    boxes = [(left, row - 11.0, left + wide, row + 3.0) for left, row in places]
    inside = [box for box in boxes if box[0] >= LEFT and box[2] <= WIDTH] or boxes
    clear = [box for box in inside if all(not _overlap(box, other) for other in written)] or inside
    free = min(clear, key=lambda box: sum(_overlap(box, other) for other in full))
    written.append(free)
    canvas.words(free[0], free[3] - 3.0, name, kind="slatext")


def _label(canvas: Canvas, at: tuple[float, float], name: str, top: float, taken: list[Box]) -> None:
    """Name a point beside it, where nothing is written or drawn yet; above all that is, if need be."""
    (x, y), wide = at, CHARACTER * len(name)
    places = [(x - wide + 5.0, y - 9.0), (x - wide - 8.0, y + 4.0), (x + 8.0, y + 4.0)]
    places += [(x - wide + 5.0, y + 18.0), (x - 5.0, y - 9.0), (x - 5.0, y + 18.0)]
    places += [(x - wide + 5.0, y + 18.0 + ROW * row) for row in range(1, 4)]
    inside = [
        (left, row)
        for left, row in places
        if left >= LEFT and left + wide <= WIDTH and top + 10.0 <= row <= canvas.height - BOTTOM - 3.0
    ]
    boxes = [(left, row - 11.0, left + wide, row + 3.0) for left, row in inside]
    free = next(
        (box for box in boxes if all(not _overlap(box, other) for other in taken)),
        (max(LEFT, min(x, WIDTH - wide)), top - 1.0, WIDTH, top + 13.0),
    )
    taken.append(free)
    canvas.words(free[0], free[3] - 3.0, name, kind="over")


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _with_ends_near(series: Series) -> Series:
    """The band with its upper ends no farther than a drawing has room for; its data say where they are."""
    high = [min(end, FARTHEST_END * y) for end, y in zip(series.high, series.y, strict=bool(series.high))]
    return replace(series, high=high)


def _end(value: float) -> str:
    return number(value, 4) if isfinite(value) else "no end"


def bars(
    groups: Sequence[str],
    heights: Mapping[str, Sequence[float | None]],
    *,
    y_label: str,
    title: str,
    text: str = "",
    marks: Mapping[str, Sequence[float | None]] | None = None,
    is_log: bool = False,
) -> Drawing:
    """Draw lying bars, a group below the other; `marks` are values to compare with."""
    marks = marks or {}
    text = text or f"{y_label} of {', '.join(groups)}: {', '.join([*heights, *marks])}."
    has_numbers = len(heights) <= 3 and not marks
    thick, gap = (16.0 if has_numbers and len(heights) > 1 else 12.0), 10.0
    per_group = thick * max(1, len(heights)) + gap
    canvas = Canvas(title, text)
    own = {
        mark: list(heights).index(name) for mark in marks for name in heights if mark.startswith(f"{name},")
    }
    entries = [(colour(i), name) for i, name in enumerate(heights)]
    entries += [("var(--ink)", name) for name in dict.fromkeys(_mark_name(mark, own) for mark in marks)]
    top = canvas.legend(entries, 0.0) + 8.0
    left = min(160.0, 14.0 + 7.8 * max((len(group) for group in groups), default=4))
    canvas.height = top + per_group * len(groups) + BOTTOM
    values = [v for each in (*heights.values(), *marks.values()) for v in each if v is not None]
    longest = max((len(number(value)) for value in values), default=0) if has_numbers else 0
    x = axis_over(values, left, WIDTH - RIGHT - max(34.0, CHARACTER * longest), is_log, from_zero=True)
    bottom = canvas.height - BOTTOM
    for tick in x.ticks(5):
        canvas.line(x.at(tick), top, x.at(tick), bottom, "grid")
        canvas.words(x.at(tick), bottom + 15.0, number(tick), anchor="middle", kind="dim")
    canvas.words((left + WIDTH) / 2, bottom + 34.0, y_label, anchor="middle")
    for g, group in enumerate(groups):
        y = top + per_group * g
        canvas.words(left - 6.0, y + (per_group - gap) / 2 + 4.0, shortened(group, left), anchor="end")
        for i, each in enumerate(heights.values()):
            value = each[g]
            if value is None:
                continue
            long = max(0.0, x.at(value) - left)
            canvas.rect(left, y + thick * i, long, thick - 1.0, colour(i))
            if has_numbers:
                at = y + thick * (i + 0.5) + 4.0
                canvas.words(left + long + 4.0, at, number(value), kind="dim")
        for mark, each in marks.items():
            if (value := each[g]) is not None:
                begin, high = (y - 2.0, per_group - gap + 3.0)
                if mark in own:
                    begin, high = (y + thick * own[mark] - 1.0, thick + 1.0)
                canvas.rect(x.at(value) - 1.5, begin, 3.0, high, "var(--ink)")
    rows = [
        [group, *(number(each[g], 4) for each in (*heights.values(), *marks.values()))]
        for g, group in enumerate(groups)
    ]
    return canvas.done(["", *heights, *marks], rows)


def stacked(
    columns: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    title: str,
    text: str = "",
    line: Series | None = None,
) -> Drawing:
    """Draw standing columns of stacked parts, and perhaps a line against the same axis."""
    text = text or f"{y_label} by {x_label}, stacked: {', '.join(parts)}."
    canvas = Canvas(title, text)
    entries = [(colour(i), name) for i, name in enumerate(parts)]
    if line is not None:
        entries.append(("var(--ink)", line.name))
    top = canvas.legend(entries, 0.0) + 24.0
    sums = [sum(each[i] for each in parts.values()) for i in range(len(columns))]
    bottom = canvas.height - BOTTOM
    y = axis_over([*sums, *(line.y if line else ())], bottom, top, False, from_zero=True)
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(columns))
    _left_axis(canvas, y, top, y_label)
    every = max(
        1, ceil(len(columns) * (CHARACTER * max(map(len, columns), default=1) + 6.0) / (WIDTH - LEFT - RIGHT))
    )
    for i, name in enumerate(columns):
        base, x = 0.0, LEFT + wide * i
        for part, each in enumerate(parts.values()):
            y0, y1 = y.at(base), y.at(base + each[i])
            canvas.rect(x + 0.08 * wide, y1, 0.84 * wide, y0 - y1, colour(part))
            base += each[i]
        if i % every == 0:
            canvas.words(x + wide / 2, bottom + 15.0, name, anchor="middle", kind="dim")
    canvas.words((LEFT + WIDTH) / 2, bottom + 34.0, x_label, anchor="middle")
    if line is not None:
        points = [(LEFT + wide * (i + 0.5), y.at(v)) for i, v in enumerate(line.y)]
        canvas.path(points, "var(--ink)")
    headings = [x_label, *parts, *([line.name] if line else [])]
    rows = [
        [name, *(number(each[i], 4) for each in parts.values()), *([number(line.y[i], 4)] if line else [])]
        for i, name in enumerate(columns)
    ]
    return canvas.done(headings, rows)


def heatmap(
    xs: Sequence[str],
    ys: Sequence[str],
    values: Mapping[tuple[int, int], float | None],
    *,
    x_label: str,
    y_label: str,
    title: str,
    text: str = "",
    path: Sequence[tuple[int, int]] = (),
    best: tuple[int, int] | None = None,
    kinds: Mapping[tuple[int, int], str] | None = None,
) -> Drawing:
    """Draw a value over two settings as darker and lighter fields, and a path through them.

    `kinds`: of what kind each field is; every kind has a colour, which a legend names.
    """
    canvas = Canvas(title, text or f"{title} over {x_label} and {y_label}.")
    left = 14.0 + ROW + CHARACTER * max(map(len, ys), default=1)
    cell_x, cell_y = (WIDTH - left - RIGHT) / max(1, len(xs)), 26.0
    paints = {kind: colour(index) for index, kind in enumerate(dict.fromkeys((kinds or {}).values()))}
    top = canvas.legend([(paint, kind) for kind, paint in paints.items()], 0.0) + 8.0
    canvas.height = top + cell_y * len(ys) + BOTTOM
    known = [v for v in values.values() if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    every = max(1, ceil((CHARACTER * max(map(len, xs), default=1) + 6.0) / cell_x))
    fits = cell_x >= 40.0
    for i in range(len(xs)):
        if i % every == 0:
            canvas.words(
                left + cell_x * (i + 0.5), canvas.height - BOTTOM + 15.0, xs[i], anchor="middle", kind="dim"
            )
    for j, name in enumerate(ys):
        y = top + cell_y * j
        canvas.words(left - 5.0, y + cell_y / 2 + 4.0, name, anchor="end", kind="dim")
        for i in range(len(xs)):
            value = values.get((i, j))
            part = (
                0.0 if value is None else 0.08 + 0.5 * ((value - low) / (high - low) if high > low else 1.0)
            )
            field_at = (left + cell_x * i, y, cell_x - 1.0, cell_y - 1.0)
            if kinds is not None and (i, j) in kinds:
                canvas.rect(*field_at, paints[kinds[i, j]], part)
            else:
                canvas.rect(*field_at, f"rgba(var(--heat), {part:.3f})")
            if value is not None and fits and not path:
                canvas.words(left + cell_x * (i + 0.5), y + cell_y / 2 + 4.0, number(value), anchor="middle")

    def centre(at: tuple[int, int]) -> tuple[float, float]:
        return left + cell_x * (at[0] + 0.5), top + cell_y * (at[1] + 0.5)

    if path:
        canvas.path([centre(at) for at in path], "var(--c1)")
        x, y = centre(path[0])
        canvas.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--c1)"/>')
    if best is not None:
        x, y = centre(best)
        canvas.add(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="var(--ink)" stroke-width="2.5"/>'
        )
    canvas.words((left + WIDTH) / 2, canvas.height - 8.0, x_label, anchor="middle")
    middle = top + cell_y * len(ys) / 2
    canvas.words(
        12.0, middle, y_label, anchor="middle", turn=f' transform="rotate(-90 12 {middle:.1f})"'
    ) if len(ys) * cell_y > CHARACTER * len(y_label) else None
    rows = [
        [ys[j], xs[i], number(values.get((i, j)), 4), *([] if kinds is None else [kinds.get((i, j), "")])]
        for j in range(len(ys))
        for i in range(len(xs))
        if (i, j) in values
    ]
    headings = [y_label, x_label, title, *([] if kinds is None else ["of"])]
    return canvas.done(headings, rows)


def _mark_name(mark: str, own: Mapping[str, int]) -> str:
    """What the legend calls a mark: of one that belongs to a bar, what follows the bar's name."""
    return mark.partition(",")[2].strip() if mark in own else mark


def _draw(canvas: Canvas, one: Series, x: Axis, y: Axis, paint: str, top: float) -> None:
    """A line with its marks and its band, below the top; what is not finite is left out."""
    every = [(x.at(a), y.beyond(b)) for a, b in zip(one.x, one.y, strict=True) if isfinite(b)]
    at = [(a, b) for a, b in every if b >= top]
    if one.low:
        upper = [f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in zip(one.x, one.high, strict=True)]
        lower = [f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in zip(one.x, one.low, strict=True)]
        canvas.add(
            f'<polygon points="{" ".join([*upper, *lower[::-1]])}" fill="{paint}" fill-opacity="0.18"/>'
        )
    if not one.is_points:
        dash = ' stroke-dasharray="5 4"' if one.dashed else ""
        for run in _below(every, top):
            canvas.path(run, paint, dash)
    for a, b in at:
        if one.dashed:
            canvas.add(f'<rect x="{a - 3:.1f}" y="{b - 3:.1f}" width="6" height="6" fill="{paint}"/>')
        else:
            canvas.add(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{4 if one.is_points else 2.8}" fill="{paint}"/>'
            )


def _below(points: Sequence[tuple[float, float]], top: float) -> list[list[tuple[float, float]]]:
    """The parts of a line that lie below the top; where it crosses the top, they end.

    Examples
    --------
    >>> _below([(0.0, 30.0), (2.0, 10.0), (4.0, 30.0)], 20.0)
    [[(0.0, 30.0), (1.0, 20.0)], [(3.0, 20.0), (4.0, 30.0)]]
    """
    parts: list[list[tuple[float, float]]] = [[]]
    before: tuple[float, float] | None = None
    for x, y in points:
        if before is not None and (before[1] < top) != (y < top):
            part = (top - before[1]) / (y - before[1])
            parts[-1].append((before[0] + part * (x - before[0]), top))
        if y >= top:
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
        before = (x, y)
    return [part for part in parts if part]


def axis_over(
    values: Sequence[float], start: float, end: float, is_log: bool = False, *, from_zero: bool = False
) -> Axis:
    """An axis over all values, with some room at its ends; on a logarithmic one those above zero count."""
    finite = [value for value in values if isfinite(value) and (value > 0.0 or not is_log)]
    low, high = min(finite, default=0.1 if is_log else 0.0), max(finite, default=1.0)
    if is_log:
        return Axis(low / 1.15, high * 1.15, start, end, True)
    if from_zero:
        return Axis(min(0.0, low), high * 1.04 if high > 0 else 1.0, start, end)
    margin = 0.03 * (high - low) or 1.0
    return Axis(low - margin if low - margin >= 0.0 or low < 0.0 else 0.0, high + margin, start, end)


def _frame(canvas: Canvas, x: Axis, y: Axis, top: float, x_label: str, y_label: str) -> None:
    bottom = canvas.height - BOTTOM
    _left_axis(canvas, y, top, y_label)
    shown = x.ticks(7)
    room = (WIDTH - LEFT - RIGHT) / (CHARACTER * max((len(number(tick)) for tick in shown), default=1) + 10.0)
    last = -1e9
    for tick in x.ticks(int(min(7, room))):
        place, wide = x.at(tick), CHARACTER * len(number(tick)) + 6.0
        canvas.line(place, bottom, place, bottom + 4.0, "axis")
        if place - wide / 2 >= last:
            inside = place + wide / 2 <= WIDTH
            at, anchor = (place, "middle") if inside else (WIDTH - 2.0, "end")
            canvas.words(at, bottom + 16.0, number(tick), anchor=anchor, kind="dim")
            last = place + wide / 2
    canvas.words((LEFT + WIDTH - RIGHT) / 2, bottom + 34.0, x_label, anchor="middle")


def _left_axis(canvas: Canvas, y: Axis, top: float, y_label: str) -> None:
    bottom = canvas.height - BOTTOM
    last = 1e9
    for tick in y.ticks(5):
        place = y.at(tick)
        canvas.line(LEFT, place, WIDTH - RIGHT, place, "grid")
        if place + 13.0 <= last and place >= top + 3.0:
            canvas.words(LEFT - 5.0, place + 4.0, _tick(tick), anchor="end", kind="dim")
            last = place
    canvas.line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis")
    canvas.words(4.0, top - 8.0, y_label)


def _tick(value: float) -> str:
    """A number as an axis has room for it.

    Examples
    --------
    >>> _tick(250.0), _tick(2_000_000.0)
    ('250', '2M')
    """
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else number(value)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    span = (high - low) or 1.0
    step = 10.0 ** floor(log10(span / max(1, most)))
    step *= next((m for m in (1, 2, 5, 10) if span / (step * m) <= most), 10)
    first = ceil(low / step - 1e-9)
    return [step * i for i in range(first, floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    choices: Sequence[Sequence[int]] = ((1, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,))
    for steps in choices:
        ticks = [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]
        if len(ticks) <= most:
            return ticks or [low, high]
    return ticks[:: ceil(len(ticks) / most)]


def shortened(text: str, left: float) -> str:
    """A name that fits to the left of a place, cut in its middle."""
    most = int((left - 8.0) / CHARACTER)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"
