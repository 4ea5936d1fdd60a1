"""Points, columns and fronts."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.errors import InputError
from perfmodel.loading.over import parse_over
from perfmodel.planning.sweep.answer import column_of, less_is_better, pareto_front, table_of
from perfmodel.planning.sweep.points import points_of


@pytest.mark.thorough
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_the_front_is_what_no_other_row_beats(values: list[tuple[int, int]]) -> None:
    rows = [{"latency_ms": latency, "qps": qps} for latency, qps in values]
    beaten = {
        mine
        for (mine, (latency, qps)), (other_latency, other_qps) in product(enumerate(values), values)
        if other_latency <= latency and other_qps >= qps and (other_latency, other_qps) != (latency, qps)
    }
    assert pareto_front(rows, ["latency_ms", "qps"]) == set(range(len(rows))) - beaten


def test_more_of_a_load_is_better_and_less_of_a_latency() -> None:
    rows = [{"latency_bounded_qps": q, "qps_per_w": w} for q, w in ((1.0, 1.0), (2.0, 2.0), (3.0, 1.5))]
    assert pareto_front(rows, ["latency_bounded_qps", "qps_per_w"]) == {1, 2}
    assert [
        less_is_better(name)
        for name in ("latency_bounded_qps", "latency_ms.p95", "share_late", "static.num_nodes", "gain")
    ] == [False, True, True, True, False]


def test_rows_without_a_metric_are_on_no_front() -> None:
    assert pareto_front([{"qps": None}, {"qps": 1.0}], ["qps"]) == {1}


@pytest.mark.parametrize(
    ("name", "said"),
    [("qps_per_q", "did you mean 'qps_per_w'"), ("low", "may be"), ("verdict", "no metric 'verdict'")],
)
def test_a_metric_that_no_row_has_is_refused(name: str, said: str) -> None:
    rows = [{"qps_per_w": 1.0, "a.low": 1.0, "b.low": 2.0, "verdict": "meets_sla"}]
    with pytest.raises(InputError, match=said):
        column_of(name, rows, "--pareto")


def test_all_rows_have_all_columns_and_a_section_that_is_missing_is_none_of_them() -> None:
    keys = [parse_over("a=1,2")]
    found = [
        ({"a": 1}, {"exit_code": 0, "stack": None, "s": None}),
        ({"a": 2}, {"exit_code": 0, "stack": "x", "s.t": 3}),
    ]
    table = table_of("name", "predict", keys, found)
    assert table.rows == (
        {"a": 1, "exit_code": 0, "stack": None, "s.t": None},
        {"a": 2, "exit_code": 0, "stack": "x", "s.t": 3},
    )


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ([], "at least one --over"),
        (["a=1", "a=2"], "given twice"),
        (["a.b=1", "a=2"], "lies within"),
        (["a=1..1000+1", "b=1..1000+1"], "at most 100_000 points, got 1_000_000"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(over: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        points_of([parse_over(text) for text in over])


@pytest.mark.parametrize("setting", ["a.b=3", "a.b.c=3", " a.b =3"])
def test_what_is_swept_is_not_set_as_well(setting: str) -> None:
    with pytest.raises(InputError, match=r"^--set a.b.*: expected no value of it beside --over a.b$"):
        points_of([parse_over("a.b=1,2")], [setting])
    assert len(points_of([parse_over("a.b=1,2")], ["a={b: 3}", "a.bc=1"])) == 2
