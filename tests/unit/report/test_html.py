"""The HTML page stands alone, escapes what it is given, and is the same bytes each time."""

from __future__ import annotations

import re

from perfmodel.report.html import Figure, Heading, Prose, Table, page
from perfmodel.report.plots import Series, bars_svg, lines_svg

LINES = [
    Series(name="ours", x=[16, 32, 64], y=[1.0, 2.0, 3.0]),
    Series(name="published", x=[16, 32, 64], y=[1.5, 1.8, 3.5], dashed=True),
]


def drawn() -> str:
    return lines_svg(LINES, x_label="batch size [items]", y_label="queries/s", title="T", log_x=True)


def test_every_text_is_escaped() -> None:
    blocks = [
        Heading("<h>"),
        Prose("<p>"),
        Table(headings=["<th>"], rows=[["<td>"]], caption="<caption>"),
        Figure("", caption="<figcaption>"),
    ]
    html = page("<title>", blocks)
    for text in ("h", "p", "th", "td", "caption", "figcaption", "title"):
        assert f"&lt;{text}&gt;" in html


def test_a_page_fetches_nothing() -> None:
    html = page("T", [Figure(drawn()), Prose("see https://example.org")])
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(https?:", html)
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', html)


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    html = Table(headings=["case", "value"], rows=[["batch", "-3 %"], ["none", "–"]]).to_html()
    assert html.count('<td class="words">') == 2
    assert "<td>-3 %</td>" in html
    assert "<td>–</td>" in html


def test_the_same_series_give_the_same_drawing() -> None:
    assert drawn() == drawn()
    assert "<?xml" not in drawn()


def test_a_drawing_names_its_series_axes_and_points() -> None:
    svg = drawn()
    for text in ("ours", "published", "batch size [items]", "queries/s", ">16<", ">64<"):
        assert text in svg


def test_bars_name_their_groups() -> None:
    svg = bars_svg(["dien", "ncf"], {"low": [1.0, 2.0], "high": [2.0, 3.0]}, y_label="gain")
    for text in ("dien", "ncf", "low", "high", "gain"):
        assert text in svg
