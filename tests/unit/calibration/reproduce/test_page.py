"""The page of a recomputed evaluation: deviations, gaps, and nothing that drops out."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from calibration.reproduce.evaluation import BarPlot, Compared, Line, LinePlot, Reproduction, Section
from calibration.reproduce.page import reproduction_page
from perfmodel.report.pages.made import document_html
from perfmodel.report.pages.reproduce import answer

CLOSE = Compared(case="rmc3, batch 16", quantity="QPS", predicted=105.0, published=100.0)
FAR = Compared(case="rmc3, batch 32", quantity="QPS", predicted=50.0, published=100.0, cause="coarse rates")
GONE = Compared(case="rmc3, batch 64", quantity="QPS", predicted=None, published=100.0)
PART = Compared(case="rmc3, part", quantity="FC [ms]", predicted=1.0, published=2.0, detail=True)
RESULT = Reproduction(
    name="deeprecsys",
    title="A study, recomputed",
    source="A paper",
    sections=(
        Section(
            title="Curves",
            prose="Two cores.",
            rows=(CLOSE, FAR, GONE, PART),
            plots=(
                LinePlot(
                    title="QPS", x_label="batch", y_label="queries/s",
                    lines=(Line(name="ours", x=(16.0, 32.0), y=(105.0, None)),),
                ),
                BarPlot(title="bars", y_label="gain", groups=("a",), heights={"low": (None,)}),
            ),
        ),
    ),
)  # fmt: skip


def text_page() -> str:
    shown = StringIO()
    Console(width=200, file=shown).print(reproduction_page(RESULT))
    return shown.getvalue()


def test_a_deviation_is_predicted_over_published_less_one() -> None:
    assert CLOSE.deviation == pytest.approx(0.05)
    assert FAR.deviation == pytest.approx(-0.50)
    assert GONE.deviation is None


def test_json_has_every_figure_and_null_for_what_does_not_exist() -> None:
    (section,) = RESULT.to_dict()["sections"]
    assert len(section["rows"]) == 4
    assert section["rows"][2]["predicted"] is None
    assert section["rows"][1]["deviation_percent"] == pytest.approx(-50.0)
    assert section["rows"][1]["cause"] == "coarse rates"


def test_the_page_shows_figures_that_deviate_and_why() -> None:
    html = document_html(json.loads(json.dumps(RESULT.to_dict())))
    for text in ("-50 %", "coarse rates", "+5 %", "rmc3, part", "A paper", "<svg"):
        assert text in html


def test_a_summary_counts_figures_with_a_published_value_and_no_details() -> None:
    # Two of the three figures that have a published value can be compared; 5 % and 50 % off.
    said = answer(RESULT.to_dict())
    assert said.startswith("2 figures have a published value: 1 come out within 10 %, 1 within 30 %; ")
    assert "half of them within 28 %, the farthest below by 50 % (rmc3, batch 32, QPS)" in said
    assert "1 more have one, and none in the prediction" in said
    assert said[:60] in text_page()


def test_a_saved_answer_draws_what_the_page_draws_gaps_included() -> None:
    html = document_html(json.loads(json.dumps(RESULT.to_dict())))
    assert html.count("<figure>") == html.count("<details>") == 2
    assert "<td>32</td>" not in html  # a point without a value is none
    assert "<h1>A study, recomputed</h1>" in html


def test_an_answer_of_before_there_were_drawings_still_has_its_tables() -> None:
    older = json.loads(json.dumps(RESULT.to_dict()))
    del older["title"], older["sections"][0]["drawings"]
    for row in older["sections"][0]["rows"]:
        del row["detail"]
    html = document_html(older)
    assert "<figure>" not in html
    assert "rmc3, batch 64" in html


def test_a_terminal_leaves_details_out_and_says_so() -> None:
    text = text_page()
    assert "rmc3, batch 64" in text
    assert "rmc3, part" not in text
    assert "and 1 figures behind these" in text
