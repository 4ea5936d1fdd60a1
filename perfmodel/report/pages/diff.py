"""The page of `perfplan diff`: what differs between two answers, and which key it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perfmodel.report.diff import MAIN
from perfmodel.report.documents import made_of
from perfmodel.report.html import Block, Figure, Heading, Prose, Table, page
from perfmodel.report.pages.shared import ends, glossary, notes, questions_text
from perfmodel.report.pages.sources import sources
from perfmodel.report.spans import Span, spans
from perfmodel.report.tables import as_asked, number

Document = Mapping[str, Any]

MOST_DRAWN = 24

WORDS = {
    "latency_bounded_qps": "the largest load",
    "latency_ms.p95": "p95",
    "latency_ms.p99": "p99",
    "qps_per_w": "queries/s/W",
    "static.num_nodes": "the number of nodes",
    "static.power_w": "power",
    "static.price_usd_per_h": "price",
}
"""What a sentence calls the metrics that are looked at most."""


def diff_html(diff: Document) -> str:
    """Write the page of a comparison's document."""
    a, b = _names(str(diff["a"]), str(diff["b"]))
    blocks: list[Block] = [
        Prose(answer(diff), is_answer=True),
        Prose(f"A is {a}, B is {b}; every difference is B less A."),
        Heading("What differs"),
        *_differences(diff),
    ]
    blocks += _keys(diff)
    blocks += sources(diff)
    blocks += notes(diff)
    blocks += glossary()
    names = [(diff.get(f"asked_{side}"), str(diff[side])) for side in ("a", "b")]
    blocks += questions_text(names, "diff")
    return page(f"{a} and {b}", blocks, facts=made_of(diff))  # type: ignore[arg-type]  # a document is one


def _names(a: str, b: str) -> tuple[str, str]:
    """What both are called: of saved answers their files, without folders where that tells them apart.

    Examples
    --------
    >>> _names("runs/a.json", "runs/b.json"), _names("old/a.json", "new/a.json")
    (('a.json', 'b.json'), ('old/a.json', 'new/a.json'))
    """
    short = [Path(each).name if each.endswith(".json") else each for each in (a, b)]
    return (short[0], short[1]) if short[0] != short[1] else (a, b)


def answer(diff: Document) -> str:
    """How the figures that are looked at most move from A to B, and which key moves the first of them."""
    found = {each["metric"]: each for each in diff["differences"]}
    if not found:
        return "Nothing differs."
    said = [_moves(found[metric]) for metric in MAIN if metric in found]
    said = [each for each in said if each]
    if not said:
        some = [each["metric"] for each in found.values() if each["significant"]]
        return f"{len(some)} of {len(found)} figures differ by more than luck can explain."
    text = f"From A to B, {'; '.join(said)}."
    first = next(metric for metric in MAIN if metric in found)
    shares = [each for each in diff["keys"] if each["contribution"].get(first)]
    if shares:
        most = max(shares, key=lambda each: abs(float(each["contribution"][first])))
        moved = _with_sign(most["contribution"][first])
        text += f" Of single keys, {most['key']} moves {_name(first)} most: {moved} with it alone."
    return text


def _name(metric: str) -> str:
    return WORDS.get(metric, metric)


def _moves(found: Document) -> str:
    """A metric's way in words; nothing where it is known of neither."""
    a, b = found["a"], found["b"]
    name = _name(found["metric"])
    unit = " ms" if "_ms" in found["metric"] else ""
    if a is None and b is None:
        return ""
    if a is None or b is None:
        known, side, other = (b, "B", "A") if a is None else (a, "A", "B")
        return f"{name} is {number(known, 4)}{unit} in {side}, and not known, or none, in {other}"
    if found["difference"] == 0.0:
        return f"{name} stays {number(a, 4)}{unit}"
    if found["significant"] is False:
        return f"{name} differs by no more than luck ({number(a, 4)} and {number(b, 4)}{unit})"
    percent = f" ({100.0 * (b / a - 1.0):+.1f} %)" if a else ""
    verb = "rises" if b > a else "falls"
    return f"{name} {verb} from {number(a, 4)} to {number(b, 4)}{unit}{percent}"


def _with_sign(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{number(abs(value), 3)}"


def _differences(diff: Document) -> list[Block]:
    blocks: list[Block] = []
    drawn = [
        _relative(each)
        for each in diff["differences"]
        if each["a"] and each["difference"] is not None and each["difference"] != 0.0
    ]
    if drawn:
        text = (
            "By how much each figure of B is above (to the right) or below that of A. Bars are 95 % "
            "intervals; a hollow dot may be luck. What does not differ is left out."
        )
        label = "B over A [%]"
        blocks.append(
            Figure(spans(drawn[:MOST_DRAWN], x_label=label, title="Figures of B against A", text=text))
        )
    rows = [
        [
            each["metric"],
            number(each["a"], 4),
            number(each["b"], 4),
            number(each["difference"], 4),
            _interval(each["ci95"]),
            "–"
            if each["difference"] is None or not each["a"]
            else f"{100.0 * each['difference'] / each['a']:+.1f} %",
            _said(each),
        ]
        for each in diff["differences"]
    ]
    if rows:
        heads = ["figure", "A", "B", "B − A", "95 % interval", "relative", "certain"]
        blocks.append(Table(heads, rows, caption="In the units of the names; figures as --json names them"))
    return blocks


def _relative(each: Document) -> Span:
    a = float(each["a"])
    interval = each["ci95"]
    some = None
    if interval is not None and None not in interval:
        low, high = sorted(100.0 * end / abs(a) for end in interval)
        some = (low, high)
    return Span(
        name=each["metric"],
        value=100.0 * each["difference"] / abs(a),
        ends=some,
        is_sure=each["significant"] is not False,
    )


def _interval(interval: Any) -> str:
    return "exact" if interval is not None and interval[0] == interval[1] else ends(interval)


def _said(found: Document) -> str:
    if found["difference"] == 0.0:
        return "equal"
    return {False: "may be luck", True: "yes", None: "–"}[found["significant"]]


def _keys(diff: Document) -> list[Block]:
    """Which key it comes from: each alone in A, and alone in B."""
    if not diff["keys"]:
        return []
    known = [each["metric"] for each in diff["differences"]]
    shown = [metric for metric in MAIN if metric in known]
    if not any(each["contribution"].get(m) is not None for each in diff["keys"] for m in shown):
        rows = [[each["key"], _text(each["a"]), _text(each["b"])] for each in diff["keys"]]
        return [Heading("Which keys differ"), Table(["key", "A", "B"], rows), *_refused(diff)]
    blocks: list[Block] = [Heading("Which key it comes from")]
    for metric in [each for each in MAIN if each in known][:2]:
        drawn = [
            Span(name=each["key"], value=value, ends=_pair(each["contribution_ci95"].get(metric)))
            for each in diff["keys"]
            if (value := each["contribution"].get(metric)) is not None
        ]
        rest = diff["interaction"].get(metric)
        if rest is not None:
            drawn.append(Span(name="interaction", value=rest))
        if any(each.value for each in drawn):
            text = (
                f"What each key of B, put into A alone, does to {_name(metric)}; the interaction is what "
                "they do together beyond that."
            )
            title = f"What moves {_name(metric)}"
            blocks.append(Figure(spans(drawn[:MOST_DRAWN], x_label=metric, title=title, text=text)))
    rows = [
        [
            each["key"],
            _text(each["a"]),
            _text(each["b"]),
            *(f"{number(each['contribution'].get(m))} / {number(each['from_b'].get(m))}" for m in shown),
        ]
        for each in diff["keys"]
    ]
    rows.append(["interaction", "", "", *(number(diff["interaction"].get(metric)) for metric in shown)])
    caption = "Each key alone: put into A / taken out of B"
    blocks.append(Table(["key", "A", "B", *shown], rows, caption=caption))
    return [*blocks, *_refused(diff)]


def _refused(diff: Document) -> list[Block]:
    """Keys that cannot be changed alone, and why."""
    refused = [[each["key"], each["reason"]] for each in diff["keys"] if each["reason"]]
    return [Table(["key", "why it has no answer alone"], refused)] if refused else []


def _pair(interval: Any) -> tuple[float, float] | None:
    return None if interval is None or None in interval else (interval[0], interval[1])


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(each)}" for key, each in value.items())
    return "–" if value is None else as_asked(value) if isinstance(value, float) else str(value)
