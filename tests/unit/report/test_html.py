"""The HTML page stands alone, escapes what it is given, and is the same bytes each time."""

from __future__ import annotations

import re

from perfmodel.report.drawing import Series, bars, lines
from perfmodel.report.html import Figure, Heading, Prose, Table, page

LINES = [
    Series(name="ours", x=[16, 32, 64], y=[1.0, 2.0, 3.0]),
    Series(name="published", x=[16, 32, 64], y=[1.5, 1.8, 3.5], dashed=True),
]


def drawn() -> str:
    return lines(LINES, x_label="batch size [items]", y_label="queries/s", title="T", log_x=True).svg


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
    assert '<th scope="col">value</th>' in html
    assert "<td>-3 %</td>" in html
    assert "<td>–</td>" in html


def test_the_same_series_give_the_same_drawing() -> None:
    assert drawn() == drawn()
    assert "<?xml" not in drawn()


def test_a_drawing_names_its_series_axes_and_points() -> None:
    svg = drawn()
    for text in ("ours", "published", "batch size [items]", "queries/s", ">20<", ">50<"):
        assert text in svg


def test_bars_name_their_groups() -> None:
    svg = bars(["dien", "ncf"], {"low": [1.0, 2.0], "high": [2.0, 3.0]}, y_label="gain", title="T").svg
    for text in ("dien", "ncf", "low", "high", "gain"):
        assert text in svg


def test_every_figure_has_a_title_a_description_and_its_data() -> None:
    drawing = bars(
        ["dien", "ncf"], {"ours": [1.0, None]}, y_label="gain", title="<T>", marks={"published": [2.0, 3.0]}
    )
    html = Figure(drawing).to_html()
    assert "<title id=" in html
    assert "&lt;T&gt;" in html
    assert "<desc id=" in html
    assert "<td>2</td>" in html
    assert "aria-labelledby" in html


def test_a_page_has_places_to_link_to_and_a_list_of_them() -> None:
    html = page(
        "T", [Prose("first"), Heading("What costs"), Heading("Who says so")], facts=["perfplan 1", "today"]
    )
    for text in (
        'href="#what-costs"',
        'id="who-says-so"',
        "perfplan 1 · today",
        'name="viewport"',
        "prefers-color-scheme: dark",
        "@media print",
    ):
        assert text in html


def test_a_sentence_that_begins_with_a_number_is_set_as_words() -> None:
    source = "40 % of TDP at idle, a common value for dual-socket servers of the time"
    text = page("Sources", [Table(["value", "source"], [["100 W", source]], caption="Where from")])
    assert f'<td class="words long">{source}</td>' in text
    assert "<td>100 W</td>" in text


def test_a_column_stands_on_the_side_of_most_of_its_cells() -> None:
    rows = [["1.2 to 3", "85 instances, 94 % of Offline"], ["the service time of many queries", ""]]
    table = Table(["interval", "setting"], rows).to_html()
    assert '<th scope="col">interval</th><th scope="col" class="words">setting</th>' in table
    assert '<td class="some">the service time of many queries</td><td class="words"></td>' in table


def test_rows_of_a_grouped_table_stand_below_what_they_have_in_common() -> None:
    table = Table(
        ["case", "figure", "value"],
        [["A", "p50", "1"], ["A", "p95", "2"], ["B", "p50", "3"]],
        is_grouped=True,
    ).to_html()
    assert table.count('<th scope="rowgroup" colspan="2">') == 2
    assert table.index(">A</th>") < table.index(">p95<") < table.index(">B</th>")
    assert ">case<" not in table


def test_figures_stand_beside_the_tables_that_follow_them_and_never_behind_those_before() -> None:
    figure = Figure("<svg></svg>")
    table, heading = Table(["a"], [["1"]]), Heading("One")
    text = page("P", [heading, figure, figure, table, figure, heading, table])
    rows = re.findall(r'<div class="row">(.*?)</div>(?=\n|</main>)', text, flags=re.DOTALL)
    assert [(row.count("<figure>"), row.count("<table>")) for row in rows] == [(2, 1), (1, 0)]
    assert text.rindex("<table>") > text.rindex('class="row"')


def test_a_line_that_goes_above_what_is_drawn_leaves_it_and_does_not_lie_along_its_end() -> None:
    steep = Series(name="p99", x=[1.0, 2.0, 3.0, 4.0], y=[10.0, 20.0, 400.0, 900.0])
    drawing = lines([steep], x_label="load", y_label="ms", title="T", y_most=100.0)
    assert drawing.svg.count("<circle") == 2  # the two points below 100; the table has all four
    (line,) = re.findall(r'<polyline points="([^"]*)"', drawing.svg)
    places = [tuple(map(float, each.split(","))) for each in line.split()]
    top = min(y for _, y in places)
    assert [y for _, y in places].count(top) == 1
    assert places[2][0] - places[1][0] < 0.5 * (places[1][0] - places[0][0])  # 84 of the 380 to the third
    assert [row[2] for row in drawing.rows] == ["10", "20", "400", "900"]


def test_names_of_lines_stand_where_no_curve_is() -> None:
    flat = Series(name="p95", x=[1.0, 2.0, 3.0], y=[12.0, 12.0, 12.0])
    drawing = lines(
        [flat], x_label="load", y_label="ms", title="T", y_limit=(10.0, "SLA"), x_marks=[(2.9, "cliff")]
    )
    ((_, curve), *_) = [
        map(float, each.split(","))
        for each in re.findall(r'<polyline points="([^"]*)"', drawing.svg)[0].split()
    ]
    rows = re.findall(r'y="([\d.]+)"[^>]*class="slatext"', drawing.svg)
    assert len(rows) == 2
    assert all(float(row) < curve - 5.0 or float(row) - 11.0 > curve for row in rows)
