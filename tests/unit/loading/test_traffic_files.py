"""Recorded traffic: published lists, users' files, and the first bad line of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfmodel.errors import InputError
from perfmodel.loading.published_sizes import named_sizes
from perfmodel.loading.recordings import delimited
from perfmodel.loading.traffic_files import read_sizes, read_trace


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "traffic.csv"


def test_the_production_list_has_its_published_mean_and_tail() -> None:
    sizes = named_sizes("deeprecsys-production")
    assert (sizes.num_items.min(), sizes.num_items.max()) == (3, 878)
    assert sizes.num_items @ sizes.probabilities == pytest.approx(223, abs=1)


def test_the_mlperf_list_is_200_items_at_the_median() -> None:
    sizes = named_sizes("mlperf-dlrm")
    assert dict(zip(sizes.num_items.tolist(), sizes.probabilities.tolist(), strict=True))[
        200
    ] == pytest.approx(0.6)


def test_the_hercules_bins_are_whole_items_and_normalised() -> None:
    sizes = named_sizes("hercules-service")
    assert sizes.num_items[:3].tolist() == [3, 6, 9]
    assert sizes.num_items[-1] == 1177
    assert sizes.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(np.diff(sizes.num_items) > 0)


def test_sizes_of_a_file_are_equiprobable(file: Path) -> None:
    file.write_text("# mine\n300\n\n100  # small\n300\n200\n")
    sizes = read_sizes(file)
    assert sizes.num_items.tolist() == [100, 200, 300]
    assert sizes.probabilities.tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("100\n  x\n", ":2:3: expected a whole number from 1 to 1000000, got 'x'"),
        ("0\n", ":1:1: expected a whole number from 1 to 1000000, got '0'"),
        (
            "10.5\n",
            ":1:1: expected a whole number from 1 to 1000000 (a table needs a header, such as "
            "arrival_s,num_items), got '10.5'",
        ),
        ("7\n1e9\n", ":2:1: expected a whole number from 1 to 1000000, got '1e9'"),
        ("# none\n", ":1:1: expected recorded traffic, found an empty file"),
    ],
)
def test_the_first_bad_size_is_located(file: Path, text: str, error: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_sizes(file)
    assert str(caught.value) == f"{file}{error}"


def test_a_trace_may_or_may_not_record_sizes(file: Path) -> None:
    file.write_text("# recorded\narrival_s\n0.5\n0.5\n1.25\n")
    trace = read_trace(file)
    assert trace.arrival_s.tolist() == [0.5, 0.5, 1.25]
    assert trace.num_items is None
    file.write_text("num_items, arrival_s\n7, 0.5\n9, 1e0\n")
    trace = read_trace(file)
    assert trace.num_items is not None
    assert (trace.arrival_s.tolist(), trace.num_items.tolist()) == ([0.5, 1.0], [7, 9])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ":1:1: expected recorded traffic, found an empty file"),
        (
            "0.5\n1\n",
            ":1:1: expected a whole number from 1 to 1000000 (a table needs a header, such as "
            "arrival_s,num_items), got '0.5'",
        ),
        (
            "1\n2\n",
            ":1:1: looks like a list of query sizes, one a line, which gives query sizes, but no arrival "
            "times; expected a header with arrival_s, num_items",
        ),
        ("arrival_s,num_item\n", ":1:11: unknown column 'num_item'; did you mean 'num_items'?"),
        ("arrival_s,arrival_s\n", ":1:11: column 'arrival_s' is given twice"),
        (
            "num_items\n3\n",
            ":1:1: missing column 'arrival_s': looks like a table separated by commas, which gives query "
            "sizes, but no arrival times",
        ),
        ("arrival_s,num_items\n1,2\n3\n", ":3:1: expected 2 values (arrival_s, num_items), got 1"),
        (
            "arrival_s\n1\n2\n1.5\n",
            ":4:1: arrival_s: expected a time >= 2.0, that of the query before, got '1.5'",
        ),
        ("arrival_s\n1\nnan\n", ":3:1: arrival_s: expected a finite number, got 'nan'"),
        ("arrival_s\n1\nsoon\n", ":3:1: arrival_s: expected a number, got 'soon'"),
        (
            "arrival_s,num_items\n1, \n",
            ":2:3: num_items: expected a whole number from 1 to 1000000, got nothing",
        ),
        (
            "arrival_s,num_items\n1, -4\n",
            ":2:4: num_items: expected a whole number from 1 to 1000000, got '-4'",
        ),
        ("arrival_s\n1\n", ":1:1: expected a trace of at least 2 queries, found 1"),
    ],
)
def test_the_first_bad_line_of_a_trace_is_located(file: Path, text: str, error: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_trace(file)
    assert str(caught.value) == f"{file}{error}"


def test_a_good_file_is_read_in_one_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads line by line, and takes ten times as long, is there to find mistakes."""
    monkeypatch.setattr(delimited, "rows_of", None)
    file.write_text("# recorded\n\nnum_items, arrival_s\n7, 0.5\n# later\n9, 1e0\n")
    trace = read_trace(file)
    assert trace.num_items is not None
    assert (trace.arrival_s.tolist(), trace.num_items.tolist()) == ([0.5, 1.0], [7, 9])


def test_what_only_the_slow_reader_knows_is_read_too(file: Path) -> None:
    file.write_text("arrival_s,num_items\n1_000,7\n1_001.5,9\n")
    trace = read_trace(file)
    assert trace.num_items is not None
    assert (trace.arrival_s.tolist(), trace.num_items.tolist()) == ([1000.0, 1001.5], [7, 9])


@pytest.mark.parametrize(
    ("stamps", "error"),
    [
        ([3, 3, 3], ":1:1: arrival_s: all times are equal, so there is no rate"),
        (
            [index * 1e300 for index in range(9)],
            ":1:1: arrival_s: expected a mean rate from 1e-06 to 1e+12 queries/s, got 1e-300",
        ),
        (
            [-1.7e308, 0, 1.7e308],
            ":1:1: arrival_s: expected a mean rate from 1e-06 to 1e+12 queries/s, got 0",
        ),
        ([0, 5e-324], ":1:1: arrival_s: expected a mean rate from 1e-06 to 1e+12 queries/s, got inf"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_stamps_without_a_rate_are_refused(file: Path, stamps: list[float], error: str) -> None:
    file.write_text("arrival_s\n" + "".join(f"{stamp}\n" for stamp in stamps))
    with pytest.raises(InputError) as caught:
        read_trace(file)
    assert str(caught.value) == f"{file}{error}"


@pytest.mark.thorough
def test_a_refusal_quotes_a_lines_worth(file: Path) -> None:
    file.write_text(" ".join(["x100"] * 5000))
    for read in (read_sizes, read_trace):
        with pytest.raises(InputError) as caught:
            read(file)
        assert len(str(caught.value)) < len(str(file)) + 220


def test_what_is_no_text_is_refused_at_its_place(file: Path) -> None:
    file.write_bytes(b"arrival_s\n1\n2 \xe9\n")
    with pytest.raises(InputError, match=r"traffic\.csv:3:3: not UTF-8 text"):
        read_trace(file)
    file.write_text("arrival_s\n1\n2\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"traffic\.csv:1:1: not UTF-8 text"):
        read_trace(file)
    file.write_text("arrival_s\r\n1\r\n2\r\n", encoding="utf-8-sig", newline="")
    assert read_trace(file).arrival_s.tolist() == [1.0, 2.0]
