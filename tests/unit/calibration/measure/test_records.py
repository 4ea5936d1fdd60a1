"""What a calibration adds to is read strictly: one line with its place for whatever is no measurement."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure.points import require_kernels
from calibration.measure.records import Records, read_records
from calibration.measure.visits import Visit
from perfmodel.errors import InputError

FACTS = '# {"drawn_by": 3, "most_table_bytes": 6000000000.0, "co_located.fc.2": 1.02}'
HEADER = "seed,round,batch_size,kernel,seconds,spread,l3_lifetime_s"
ROW = "0,0,13,1,1.5e-05,0.02,inf"


def read(tmp_path: Path, *lines: str, end: str = "\n") -> Records:
    path = tmp_path / "x.measured.csv"
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return read_records(path)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    times, spread = np.array([0.0, 1e-6]), np.array([0.0, 0.1])
    visit = Visit(seed=4, batch_size=7, seconds=times, spread=spread, probe_s=5e-6)
    records = Records(facts={"drawn_by": 3, "most_table_bytes": 1e9}, visits=[(0, visit)])
    records.write(tmp_path / "r.csv")
    again = read_records(tmp_path / "r.csv")
    assert again.facts == records.facts
    ((number, one),) = again.visits
    assert (number, one.seed, one.batch_size, one.l3_lifetime_s, one.probe_s) == (0, 4, 7, inf, 5e-6)
    assert one.seconds.tolist() == [0.0, 1e-6]
    assert len(read(tmp_path, FACTS, HEADER, ROW).visits) == 1


@pytest.mark.parametrize(
    "facts",
    [
        "",
        "# null",
        "# [1]",
        "# NaN",
        "NaN",
        "# 3",
        '# {"drawn_by": 3, "most_table_bytes": "big"}',
        '# {"drawn_by": 3, "most_table_bytes": -1}',
        '# {"drawn_by": 3, "most_table_bytes": 0}',
        '# {"drawn_by": 3, "most_table_bytes": true}',
        '# {"drawn_by": 3, "most_table_bytes": NaN}',
        '# {"drawn_by": 3, "most_table_bytes": 1e999}',
        f'# {{"drawn_by": 3, "most_table_bytes": 1{"0" * 400}}}',
        '# {"drawn_by": 3, "most_table_bytes": 1e9, "co_located.fc": 1.0}',
        "# {}",
        "# " + "[" * 100_000,
        "# " + "9" * 200_000,
    ],
)
def test_a_first_line_that_says_no_facts_is_one_line(facts: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, facts, HEADER, ROW)
    assert str(caught.value).startswith(f"{tmp_path / 'x.measured.csv'}:1:1: ")
    assert len(str(caught.value)) < len(str(tmp_path)) + 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "place", "says"),
    [
        ("0,1,3", 1, "expected 7 values, got 3"),
        ("", 1, "expected 7 values, got 1"),
        (ROW + ",1", 1, "expected 7 values, got 8"),
        ("-1,0,13,1,1.5e-05,0.02,inf", 1, "seed: expected a whole number from 0"),
        ("9" * 200_000 + ",0,13,1,1.5e-05,0.02,inf", 1, "seed: expected a whole number"),
        ("0,11,13,1,1.5e-05,0.02,inf", 3, "round: expected a whole number from 0 to 10, got '11'"),
        ("0,0,0,1,1.5e-05,0.02,inf", 5, "batch_size: expected a whole number from 1"),
        ("0,0,1.5,1,1.5e-05,0.02,inf", 5, "batch_size: expected a whole number from 1"),
        ("0,0,13,100000000000,1.5e-05,0.02,inf", 8, "kernel: expected a whole number from 0 to 10000"),
        ("0,0,13,1,nan,0.02,inf", 10, "seconds: expected a number from"),
        ("0,0,13,1,-1e-6,0.02,inf", 10, "seconds: expected a number from"),
        ("0,0,13,1,0,0.02,inf", 10, "seconds: expected a number from"),
        ("0,0,13,1,inf,0.02,inf", 10, "seconds: expected a number from"),
        ("0,0,13,1,x,0.02,inf", 10, "seconds: expected a number from"),
        ("0,0,13,1,1.5e-05,-1,inf", 18, "spread: expected a number from"),
        ("0,0,13,1,1.5e-05,0.02,nan", 23, "l3_lifetime_s: expected a number from"),
    ],
)
def test_a_row_that_is_no_measurement_is_one_line_with_its_place(
    row: str, place: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, FACTS, HEADER, ROW, row, ROW)
    assert str(caught.value).startswith(f"{tmp_path / 'x.measured.csv'}:4:{place}: {says}")
    assert len(str(caught.value)) < len(str(tmp_path)) + 200


ISSUED = f"{HEADER},issue_s,probe_s"


@pytest.mark.parametrize(
    "row",
    [
        "0,0,1,0,1e-12,0,0,0,0",
        "1000000000,1,1000000,10000,3600,1e9,inf,3600,3600",
    ],
)
def test_the_least_and_the_greatest_of_each_column_are_measurements(row: str, tmp_path: Path) -> None:
    seed, number, batch_size, kernel, seconds, spread, lifetime_s, *issued = map(float, row.split(","))
    ((got, visit),) = read(tmp_path, FACTS, ISSUED, row).visits
    assert (visit.seed, got, visit.batch_size, visit.l3_lifetime_s) == (seed, number, batch_size, lifetime_s)
    assert visit.issue_s is not None
    columns = (visit.seconds, visit.spread, visit.issue_s)
    found = [column[int(kernel)] for column in columns]
    assert [*found, visit.probe_s] == [seconds, spread, *issued]


@pytest.mark.parametrize(
    ("column", "odd"),
    [
        ("seed", "1000000001"),
        ("round", "11"),
        ("batch_size", "1000001"),
        ("kernel", "10001"),
        ("seconds", "3600.1"),
        ("spread", "1.01e9"),
    ],
)
def test_more_than_the_greatest_of_a_column_is_no_measurement(column: str, odd: str, tmp_path: Path) -> None:
    fields = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {column: odd}
    with pytest.raises(InputError, match=f"{column}: expected a .*number from"):
        read(tmp_path, FACTS, HEADER, ",".join(fields.values()))


@pytest.mark.parametrize(
    ("fact", "is_accepted"), [("0", True), ("0.0", True), ("9.9e299", True), ("1e300", False)]
)
def test_a_fact_is_from_0_to_what_can_be_multiplied(fact: str, *, is_accepted: bool, tmp_path: Path) -> None:
    first = f'{FACTS[:-1]}, "x": {fact}}}'
    if is_accepted:
        assert read(tmp_path, first, HEADER, ROW).facts["x"] == float(fact)
        return
    with pytest.raises(InputError, match="a JSON object of numbers"):
        read(tmp_path, first, HEADER, ROW)


def test_a_line_that_is_no_model_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"csv:2:1: expected a number and a model, got '# model 1 nothing'"):
        read(tmp_path, FACTS, "# model 1 nothing", HEADER, ROW)


@pytest.mark.parametrize("odd", ["3601", "-1e-9", "nan"])
def test_a_time_to_issue_is_read_as_strictly(odd: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r":3:21: issue_s: expected a number from 0 to 3600"):
        read(tmp_path, FACTS, ISSUED, f"0,0,13,1,1e-6,0,inf,{odd},0")
    with pytest.raises(InputError, match=r":3:23: probe_s: expected a number from 0 to 3600"):
        read(tmp_path, FACTS, ISSUED, f"0,0,13,1,1e-6,0,inf,1,{odd}")


def test_times_to_issue_are_written_where_they_were_measured_and_read_back(tmp_path: Path) -> None:
    seconds, spread, issue_s = (
        np.array([0.0, 2e-6, 3e-6]),
        np.array([0.0, 0.1, 0.2]),
        np.array([0.0, 5e-6, 0.0]),
    )
    issued = Visit(seed=4, batch_size=7, seconds=seconds, spread=spread, issue_s=issue_s, probe_s=4e-6)
    records = Records(facts={"drawn_by": 3, "most_table_bytes": 1e9}, visits=[(1, issued)])
    records.write(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()[1] == ISSUED
    ((number, one),) = read_records(tmp_path / "r.csv").visits
    assert number == 1
    assert one.issue_s is not None
    assert one.issue_s.tolist() == [0.0, 5e-6, 0.0]
    assert one.probe_s == 4e-6
    assert one.spread.tolist() == [0.0, 0.1, 0.2]
    assert one.seconds.tolist() == [0.0, 2e-6, 3e-6]
    ((_, without),) = read(tmp_path, FACTS, HEADER, ROW).visits
    assert (without.issue_s, without.probe_s) == (None, 0.0)


def test_rows_are_of_one_visit_where_all_that_tells_visits_apart_is_equal(tmp_path: Path) -> None:
    """Seed, round, batch size and lifetime; a kernel without a row took no time of its own."""
    rows = ["0,0,13,1,1e-6,0,inf", "0,0,13,3,3e-6,0,inf"]
    others = ["1,0,13,0,5e-6,0,inf", "0,1,13,0,6e-6,0,inf", "0,0,14,0,7e-6,0,inf", "0,0,13,0,8e-6,0,0.5"]
    records = read(tmp_path, FACTS, HEADER, *rows, *others)
    found = [(number, visit.seed, visit.batch_size, visit.l3_lifetime_s) for number, visit in records.visits]
    assert found == [(0, 0, 13, inf), (0, 1, 13, inf), (1, 0, 13, inf), (0, 0, 14, inf), (0, 0, 13, 0.5)]
    assert [visit.seconds.tolist() for _, visit in records.visits] == [
        [0.0, 1e-6, 0.0, 3e-6],
        [5e-6],
        [6e-6],
        [7e-6],
        [8e-6],
    ]
    assert records.seeds(0) == {0, 1}
    assert records.seeds(1) == {0}


@pytest.mark.parametrize("seconds", ["1.5e-05", "9e-05"])
def test_a_kernel_that_a_visit_has_twice_is_told(seconds: str, tmp_path: Path) -> None:
    """Files joined by hand, or measured twice: which of the two counts is nobody's to guess."""
    again = ROW.replace("1.5e-05", seconds)
    with pytest.raises(InputError, match=r"csv:5:1: expected each kernel .* again; it stands in line 3, too"):
        read(tmp_path, FACTS, HEADER, ROW, ROW.replace(",1,", ",2,", 1), again)


def test_other_columns_and_a_cut_end_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"csv:2:1: expected the columns seed,round"):
        read(tmp_path, FACTS, "seed,round", ROW)
    with pytest.raises(InputError, match=r"csv:2:1: expected the columns"):
        read(tmp_path, FACTS, end="")
    with pytest.raises(InputError, match=r"csv:3:26: expected the end of a line; it was cut"):
        read(tmp_path, FACTS, HEADER, ROW, end="")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=":1:1: not UTF-8 text"):
        read_records(tmp_path / "b.csv")


def test_a_kernel_that_a_sequence_does_not_have_is_told(tmp_path: Path) -> None:
    records = read(tmp_path, FACTS, HEADER, ROW)
    require_kernels(records.visits, 6e9, "x.csv")
    records = read(tmp_path, FACTS, HEADER, ROW.replace(",1,", ",9999,", 1))
    with pytest.raises(InputError, match=r"x\.csv: sequence 0 has \d+ kernels, got one of number 9999"):
        require_kernels(records.visits, 6e9, "x.csv")
