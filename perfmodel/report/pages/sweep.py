"""The page of `perfplan sweep`: the figures asked for most over what was set, the front, every point."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from shlex import quote
from statistics import median
from typing import Any

from perfmodel.planning.sweep.answer import ANSWERED, less_is_better
from perfmodel.report.documents import made_of
from perfmodel.report.drawing import COLOURS, Drawing, Series, bars, heatmap, lines
from perfmodel.report.html import Block, Figure, Folded, Heading, Prose, Table, Verbatim, page
from perfmodel.report.pages.shared import file_name, glossary, notes, questions_text
from perfmodel.report.pages.sources import sources
from perfmodel.report.sweep import SHOWN, shortest, shown_cell
from perfmodel.report.table_files import csv_bytes
from perfmodel.report.tables import counted, number

Document = Mapping[str, Any]
Row = Mapping[str, Any]

DRAWN: Mapping[str, Sequence[str]] = {
    "predict": ("sla.predicted_ms", "plan_for_qps"),
    "capacity": ("plan_for_qps", "latency_bounded_qps", "qps_per_w"),
    "tune": ("tuned.latency_bounded_qps", "tuned.qps_per_w"),
    "plan": ("static.num_nodes", "static.power_w", "static.price_usd_per_h"),
}
"""What is drawn of a question's answers, the first what its sentence is of."""

NAMES = {
    "sla.predicted_ms": "latency at the SLA's percentile [ms]",
    "plan_for_qps": "load to plan for [queries/s]",
    "latency_bounded_qps": "largest load [queries/s]",
    "qps_per_w": "queries/s a watt",
    "tuned.latency_bounded_qps": "largest load [queries/s]",
    "tuned.qps_per_w": "queries/s a watt",
    "static.num_nodes": "number of nodes",
    "static.power_w": "power [W]",
    "static.price_usd_per_h": "price [USD/h]",
}
"""What a sentence and an axis call what is drawn."""

SLA = "sla.latency_ms"

DECADE = 10.0

MOST_CELLS = 60_000
"""Of the table of all metrics; a larger one is left to the files."""

MOST_BYTES = 2_000_000
"""Of all points and metrics as text in a page; more are left to the files."""

SIDE_BY_SIDE = 6
"""Points in a table of all metrics: as many as a page is wide."""

VERDICTS = {
    "meets_sla": ("meets the SLA", "meet the SLA"),
    "within_error": ("cannot be told", "cannot be told"),
    "misses_sla": ("misses the SLA", "miss the SLA"),
    "unstable": ("is unstable", "are unstable"),
    "feasible": ("is feasible", "are feasible"),
    "infeasible": ("is infeasible", "are infeasible"),
}
"""What one point does and what several do, by their verdict, in the order in which it is said."""

MOST_ROWS = 2000
MOST_BARS = 24


def sweep_html(sweep: Document) -> str:
    """Write the page of a sweep's document."""
    rows: Sequence[Row] = sweep["rows"]
    keys = [each["key"] for each in sweep["over"]]
    metrics = [name for name in DRAWN.get(sweep["question"], ()) if _known(rows, name)]
    blocks: list[Block] = [
        Prose(answer(sweep, metrics), is_answer=True),
        Prose(_points_words(sweep, keys)),
    ]
    varied = [metric for metric in metrics if len(_values(rows, metric)) > 1] or metrics
    if varied:
        same = [
            Prose(f"At every point the {_in_words(metric, min(_values(rows, metric)))}.")
            for metric in metrics
            if metric not in varied
        ]
        drawn = [Figure(each) for metric in varied for each in _drawn(sweep, keys, metric)]
        blocks += [Heading("Over what was set"), *same, *drawn]
    blocks += _front(sweep, keys)
    blocks += [Heading("Every point"), _table(sweep, keys)]
    blocks += _without_answer(rows)
    blocks += _all_metrics(rows, file_name(str(sweep["scenario"])).replace(".yaml", "-points.csv"))
    blocks += sources(sweep)
    blocks += notes(sweep)
    blocks += glossary()
    over = [f"{each['key']}={','.join(map(_as_set, each['values']))}" for each in sweep["over"]]
    options = [f"--question {sweep['question']}", *(f"--over {quote(each)}" for each in over)]
    options += [f"--pareto {','.join(sweep['pareto'])}"] if sweep["pareto"] else []
    asked = [(sweep.get("asked"), str(sweep["scenario"]))]
    blocks += questions_text(asked, "sweep", " ".join(options))
    title = f"{sweep['question']} of {sweep['scenario']}, {len(rows)} points"
    return page(title, blocks, facts=made_of(sweep))  # type: ignore[arg-type]  # a document is one


def answer(sweep: Document, metrics: Sequence[str]) -> str:
    """Which point is best in the figure that is looked at most, and how far the others lie from it."""
    rows = sweep["rows"]
    if not metrics:
        return f"None of the {len(rows)} points has an answer."
    metric = metrics[0]
    some = [row for row in rows if _number(row.get(metric)) is not None]
    keys = [each["key"] for each in sweep["over"]]
    least = less_is_better(metric)
    best = (min if least else max)(some, key=lambda row: float(row[metric]))
    worst = (max if least else min)(some, key=lambda row: float(row[metric]))
    text = f"Of {len(rows)} points the {'least' if least else 'greatest'} "
    text += f"{_in_words(metric, float(best[metric]))}, at {_setting(best, keys)}"
    if worst[metric] != best[metric]:
        text += f"; the {'greatest' if least else 'least'} is {number(worst[metric], 4)}, at "
        text += _setting(worst, keys)
    text += "."
    text += _verdicts(rows)
    if sweep["answered"] < len(rows):
        missing = len(rows) - sweep["answered"]
        text += f" {counted(missing, 'point')} {'has' if missing == 1 else 'have'} no answer."
    return text


def _values(rows: Sequence[Row], metric: str) -> set[float]:
    """Those that a metric has, one for each of which a reader sees the same figures."""
    known = (_number(row.get(metric)) for row in rows)
    return {float(f"{value:.4g}") for value in known if value is not None}


def _named(metric: str) -> str:
    """A metric in words, with its unit where these are known; else its name in the files."""
    return NAMES.get(metric, metric)


def _bare(metric: str) -> str:
    return _named(metric).partition(" [")[0]


def _in_words(metric: str, value: float) -> str:
    name, _, unit = NAMES[metric].partition(" [")
    return f"{name} is {number(value, 4)}" + (f" {unit.removesuffix(']')}" if unit else "")


def _verdicts(rows: Sequence[Row]) -> str:
    """How many points do what, where a point has a verdict."""
    found = Counter(row.get("verdict") for row in rows)
    said = [
        f"{found[verdict]} {does[found[verdict] > 1]}" for verdict, does in VERDICTS.items() if found[verdict]
    ]
    return f" {', '.join(said)}." if said else ""


def _points_words(sweep: Document, keys: Sequence[str]) -> str:
    over = "; ".join(
        f"{key} over {', '.join(_text(value) for value in each['values'][:12])}"
        + (f" and {len(each['values']) - 12} more" if len(each["values"]) > 12 else "")
        for key, each in zip(keys, sweep["over"], strict=True)
    )
    return f"{sweep['question']} was asked of {sweep['scenario']} with {over}."


def _setting(row: Row, keys: Sequence[str]) -> str:
    return ", ".join(f"{name} {_text(row[key])}" for name, key in zip(_short(keys), keys, strict=True))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else number(value, 4)
    return "none" if value is None else str(value)


def _as_set(value: object) -> str:
    """A value as `--over` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _known(rows: Sequence[Row], metric: str) -> bool:
    return any(_number(row.get(metric)) is not None for row in rows)


def _short(keys: Sequence[str]) -> list[str]:
    """Keys by their last names, but the SLA's, which would be taken for the latency that was found."""
    return [key if key == SLA else name for key, name in zip(keys, shortest(list(keys)), strict=True)]


def _drawn(sweep: Document, keys: Sequence[str], metric: str) -> list[Drawing]:
    """A metric over the key with most numbers, a line for each combination of the others.

    Over each key where lines would be too many and a map of two keys has no room for the others.
    """
    rows = [row for row in sweep["rows"] if _number(row.get(metric)) is not None]
    name = NAMES[metric]
    scales = [key for key in keys if all(_number(row[key]) is not None for row in sweep["rows"])]
    first = max(scales, key=lambda key: len({row[key] for row in sweep["rows"]}), default=None)
    if first is None or len({row[first] for row in rows}) < 2:
        return [_as_bars(rows, keys, metric, name)]
    others = [key for key in keys if key != first]
    groups = _curves(rows, first, others, metric)
    if len(groups) > COLOURS:
        return [_as_map(rows, keys, metric, name)] if len(keys) == 2 else _ranges(rows, keys, metric, name)
    series = []
    for label, own in groups.items():
        series.append(
            Series(name=label or name, x=[row[first] for row in own], y=[row[metric] for row in own])
        )
    sla = {row.get("sla.latency_ms") for row in rows}
    bound = next(iter(sla)) if len(sla) == 1 and metric == "sla.predicted_ms" else None
    drawing = lines(
        series,
        x_label=first,
        y_label=name,
        title=_over(name, keys, first),
        text=f"A dot a point{', a line for each setting of the rest' if others else ''}.",
        log_x=_is_far([float(row[first]) for row in sweep["rows"]], DECADE),
        log_y=_is_far([float(row[metric]) for row in rows], DECADE**1.5),
        y_limit=None if bound is None else (float(bound), f"SLA: {number(float(bound))} ms"),
    )
    return [drawing]


def _over(name: str, keys: Sequence[str], key: str) -> str:
    return f"{name[0].upper()}{name[1:]} over {_short(keys)[list(keys).index(key)]}"


def _is_far(values: Sequence[float], factor: float) -> bool:
    """Whether values lie so far apart that they need an axis in powers."""
    return min(values) > 0 and max(values) >= factor * min(values)


def _curves(rows: Sequence[Row], first: str, others: Sequence[str], metric: str) -> dict[str, list[Row]]:
    """The rows of each setting of the others, by name; settings that change nothing are one curve."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: float(row[first])):
        groups.setdefault(_setting(row, others), []).append(row)
    alike: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for label, own in groups.items():
        alike.setdefault(tuple((float(row[first]), float(row[metric])) for row in own), []).append(label)
    if len(alike) == 1 < len(groups):
        return {f"any {', '.join(shortest(list(others)))}": next(iter(groups.values()))}
    return {
        labels[0] + (f" and {len(labels) - 1} alike" if len(labels) > 1 else ""): groups[labels[0]]
        for labels in alike.values()
    }


def _as_bars(rows: Sequence[Row], keys: Sequence[str], metric: str, name: str) -> Drawing:
    some = list(rows)[:MOST_BARS]
    left = len(rows) - len(some)
    text = "A bar a point." + (f" {left} more points are in the table." if left else "")
    labels = [", ".join(_text(row[key]) for key in keys) for row in some]
    return bars(labels, {name: [float(row[metric]) for row in some]}, y_label=name, title=name, text=text)


def _as_map(rows: Sequence[Row], keys: Sequence[str], metric: str, name: str) -> Drawing:
    def values(key: str) -> list[Any]:
        found = list(dict.fromkeys(row[key] for row in rows))
        return sorted(found) if all(_number(each) is not None for each in found) else found

    xs, ys = values(keys[0]), values(keys[1])
    at = {(xs.index(row[keys[0]]), ys.index(row[keys[1]])): float(row[metric]) for row in rows}
    choose = min if less_is_better(metric) else max
    best = choose(at, key=lambda place: at[place])
    return heatmap(
        [_text(x) for x in xs],
        [_text(y) for y in ys],
        at,
        x_label=keys[0],
        y_label=_short(keys)[1],
        title=name,
        text="Stronger is more; the ring is the best.",
        best=best,
    )


def _ranges(rows: Sequence[Row], keys: Sequence[str], metric: str, name: str) -> list[Drawing]:
    """Over each key that changes anything: the ends and the middle of all settings of the rest."""
    drawings = []
    for key in keys:
        found: dict[Any, list[float]] = {}
        for row in rows:
            found.setdefault(row[key], []).append(float(row[metric]))
        summed = {at: (min(each), median(each), max(each)) for at, each in found.items()}
        if len(set(summed.values())) > 1:
            drawings.append(_range(summed, key, _over(name, keys, key), name))
    return drawings


def _range(summed: Mapping[Any, tuple[float, float, float]], key: str, title: str, name: str) -> Drawing:
    text = "Of all points with this value that have the figure: the greatest, the middle and the least."
    names = ("greatest", "middle", "least")
    if not all(_number(at) is not None for at in summed):
        some = list(summed)[:MOST_BARS]
        heights = {each: [summed[at][2 - i] for at in some] for i, each in enumerate(names)}
        return bars([_text(at) for at in some], heights, y_label=name, title=title, text=text)
    xs = sorted(summed)
    series = [
        Series(name=each, x=xs, y=[summed[at][2 - i] for at in xs], dashed=each != "middle")
        for i, each in enumerate(names)
    ]
    ys = [value for each in summed.values() for value in each]
    log_x, log_y = _is_far(xs, DECADE), _is_far(ys, DECADE**1.5)
    return lines(series, x_label=key, y_label=name, title=title, text=text, log_x=log_x, log_y=log_y)


def _front(sweep: Document, keys: Sequence[str]) -> list[Block]:
    """The points that no other beats: drawn where the front is of two metrics, and as a table."""
    metrics = sweep["pareto"]
    if not metrics:
        return []
    rows = [row for row in sweep["rows"] if all(_number(row[name]) is not None for name in metrics)]
    front = [row for row in rows if row["pareto"]]
    blocks: list[Block] = [Heading("The front")]
    wanted = " and ".join(f"{'less' if less_is_better(name) else 'more'} {_bare(name)}" for name in metrics)
    blocks.append(
        Prose(
            f"{len(front)} of {len(rows)} points {'is' if len(front) == 1 else 'are'} such that no other has "
            f"as good figures and a better one, where {wanted} is better."
        )
    )
    if len(metrics) == 2 and len(rows) > 1:
        x, y = metrics
        ordered = sorted(front, key=lambda row: float(row[x]))
        drawn = lines(
            [
                Series(name="points", x=[row[x] for row in rows], y=[row[y] for row in rows], is_points=True),
                Series(
                    name="front", x=[row[x] for row in ordered], y=[row[y] for row in ordered], dashed=True
                ),
            ],
            x_label=_named(x),
            y_label=_named(y),
            title=f"{_bare(y)[0].upper()}{_bare(y)[1:]} against {_bare(x)}",
            text="A dot a point; the broken line joins those that no other beats.",
        )
        blocks.append(Figure(drawn))
    rows_shown = [
        [*(_text(row[key]) for key in keys), *(number(row[name], 4) for name in metrics)] for row in front
    ]
    blocks.append(Table([*_short(keys), *map(_named, metrics)], rows_shown, caption="Points on the front"))
    return blocks


def _table(sweep: Document, keys: Sequence[str]) -> Table:
    rows = sweep["rows"]
    columns = rows[0] if rows else {}
    shown = {name: head for name, head in SHOWN.get(sweep["question"], {}).items() if name in columns}
    shown |= {name: _named(name) for name in sweep["pareto"] if name not in shown}
    cells = [
        [
            str(place),
            *(_text(row[key]) for key in keys),
            *(shown_cell(name, row[name]) for name in shown),
            *(["front" if row["pareto"] else ""] if sweep["pareto"] else []),
        ]
        for place, row in enumerate(rows[:MOST_ROWS], start=1)
    ]
    heads = ["point", *_short(keys), *shown.values(), *(["front"] if sweep["pareto"] else [])]
    caption = "Loads in queries/s of a node" if sweep["question"] != "plan" else "Plans"
    caption += "; latency is that of the SLA's percentile" if "sla.predicted_ms" in shown else ""
    if len(rows) > MOST_ROWS:
        caption += f"; {len(rows) - MOST_ROWS} more points: --out FILE.csv holds all"
    return Table(heads, cells, caption=caption)


def _without_answer(rows: Sequence[Row]) -> list[Block]:
    some = [
        [str(place), str(row["exit_code"]), str(row["reason"])]
        for place, row in enumerate(rows, start=1)
        if row["exit_code"] not in ANSWERED
    ]
    if not some:
        return []
    caption = "Points without an answer, with the exit code that the command would have"
    return [Table(["point", "exit code", "reason"], some[:MOST_ROWS], caption=caption)]


def _all_metrics(rows: Sequence[Row], file: str) -> list[Block]:
    """Every column as tables and as text to take along, where it is not too much for a page."""
    table = csv_bytes(rows).decode() if rows else ""
    taken = Verbatim(table, "All points and metrics as CSV", file)
    kept: list[Block] = [Folded("All points and metrics as CSV, to copy or to save", [taken])]
    if len(table) > MOST_BYTES:
        kept = [Prose("All metrics of all points: --out FILE.csv, .parquet or .json.")]
    return [Heading("All metrics"), *_metrics(rows), *kept]


def _metrics(rows: Sequence[Row]) -> list[Block]:
    """Every column beside its points, what is the same at all of them once; reasons have their own table."""
    columns = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    columns = [name for name in columns if name != "reason"]
    if len(rows) * len(columns) > MOST_CELLS:
        return []
    answered = [row for row in rows if row["exit_code"] in ANSWERED] or rows
    same = [name for name in columns if all(row[name] == answered[0][name] for row in answered)]
    varied = [name for name in columns if name not in same]
    folded: list[Block] = []
    tables = ceil(len(rows) / SIDE_BY_SIDE)
    wide = ceil(len(rows) / tables)  # as many in each, or one fewer in the last ones
    for begin in range(0, len(rows) if varied else 0, wide):
        some = rows[begin : begin + wide]
        places = [str(place) for place in range(begin + 1, begin + 1 + len(some))]
        cells = [[name, *(_cell(row[name]) for row in some)] for name in varied]
        of = f"points {places[0]} to {places[-1]}" if len(some) > 1 else f"point {places[0]}"
        folded.append(Table(["metric", *places], cells, caption=f"What is not the same at all points: {of}"))
    if same:
        of_all = "What is the same at all points" + (" with an answer" if len(answered) < len(rows) else "")
        cells = [[name, _cell(answered[0][name])] for name in same]
        folded.append(Table(["metric", "value"], cells, caption=of_all))
    summary = f"{counted(len(varied), 'metric')} that differ, and {len(same)} that are the same"
    return [Folded(summary, folded)]


def _cell(value: object) -> str:
    return "–" if value is None else _text(value)
