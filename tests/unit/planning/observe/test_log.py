"""What is wrong with a log is said in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perfmodel.errors import InputError
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.loading.recordings.rows import sorted_by_arrival
from perfmodel.planning.observe.log import checked_log

HEADER = "arrival_s,size,start_s,end_s\n"


def rows(num: int = 200) -> list[str]:
    """A query every 10 ms, which starts 1 ms later and takes 5 ms."""
    return [f"{0.01 * i:.6f},100,{0.01 * i + 0.001:.6f},{0.01 * i + 0.006:.6f}" for i in range(num)]


def change(row: int, text: str) -> Callable[[list[str]], str]:
    def changed(lines: list[str]) -> str:
        return HEADER + "\n".join([*lines[:row], text, *lines[row + 1 :]]) + "\n"

    return changed


def whole(
    change_line: Callable[[list[float]], list[object]], header: str = HEADER
) -> Callable[[list[str]], str]:
    def changed(lines: list[str]) -> str:
        values = [[float(cell) for cell in line.split(",")] for line in lines]
        return header + "".join(",".join(map(str, change_line(each))) + "\n" for each in values)

    return changed


def of_queries(number: int) -> Callable[[list[str]], str]:
    """Rows that are requests of so many queries."""

    def changed(lines: list[str]) -> str:
        of_each = len(lines) // number
        return HEADER.replace("\n", ",query\n") + "".join(
            f"{line},{index // of_each}\n" for index, line in enumerate(lines)
        )

    return changed


def _second(index: int) -> str:
    return f"2026-01-01T00:{index // 60:02}:{index % 60:02}"


MISTAKES: dict[str, tuple[Callable[[list[str]], str], str]] = {
    "no end": (
        whole(lambda v: v[:3], "arrival_s,size,start_s\n"),
        ":1:1: missing column end: looks like a table separated by commas",
    ),
    "all rows of one query": (
        of_queries(1),
        ":1:1: query: expected a log of at least 100 queries, found 1 in 200 rows",
    ),
    "requests of too few queries": (
        of_queries(50),
        ":1:1: query: expected a log of at least 100 queries, found 50 in 200 rows",
    ),
    "an end that was put in for never": (
        lambda lines: (
            HEADER
            + "".join(
                f"{_second(i)},100,{_second(i)},{_second(i) if i != 7 else '9999-12-31'}\n"
                for i in range(len(lines))
            )
        ),
        ":9:.*: end_s: expected a date, such as .*, from 1678 to 2261, got '9999-12-31'",
    ),
    "arrivals only": (whole(lambda v: v[:1], "arrival_s\n"), ":1:1: missing columns size, start, end"),
    "an end before its start": (
        change(7, "0.07,100,0.071,0.070"),
        ":9:16: end_s: ends 1 ms before it starts, at '0.070'",
    ),
    "a start before its arrival": (
        change(7, "0.07,100,0.068,0.076"),
        ":9:10: start_s: starts 2 ms before it arrives, at '0.068'",
    ),
    "unsorted": (
        change(7, "0.05,100,0.071,0.076"),
        ":9:1: arrival_s: expected a time >= 0.06, .* got '0.05'",
    ),
    "clocks that are minutes apart": (
        whole(lambda v: [v[0], 100, v[2] - 5, v[3] - 5]),
        "mixed clocks: 100 % of the queries start before they arrive",
    ),
    "a clock of 1970 beside another": (
        whole(lambda v: [v[0] + 1.7e9, 100, v[2], v[3]], "arrival,size,start,end\n"),
        r"mixed clocks: start lies -1.7e\+09 s from arrival",
    ),
    "milliseconds beside seconds": (
        whole(lambda v: [v[0], 100, 1e3 * v[2], 1e3 * v[3]], "arrival_s,size,start,end\n"),
        "the median service time is|mixed clocks",
    ),
    "empty": (lambda _: "", ":1:1: expected recorded traffic, found an empty file"),
    "a header": (lambda _: HEADER, ":1:1: expected a log of at least 100 queries, found 0"),
    "one line": (
        lambda lines: HEADER + lines[0] + "\n",
        ":1:1: expected a log of at least 100 queries, found 1$",
    ),
    "a row twice": (
        lambda lines: HEADER + "\n".join([*lines[:8], lines[7], *lines[8:]]) + "\n",
        r":10:1: arrival_s: the row is there twice, as are 0 others \(--duplicates drop, or keep\)",
    ),
    "milliseconds taken for seconds": (
        whole(lambda v: [1e3 * v[0], 100, 1e3 * v[2], 1e3 * v[3]], "arrival,size,start,end\n"),
        "the name of arrival gives no unit .* median service time is 5 s, .* say --time-unit ms",
    ),
    "no time at all": (whole(lambda v: [v[0], 100, v[2], v[2]]), "the median service time is 0"),
    "a size of nothing": (change(7, "0.07,0,0.071,0.076"), ":9:6: size: expected a whole number"),
    "no stamp": (change(7, "0.07,100,,0.076"), ":9:10: start_s: expected a number, got nothing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, mistake: str) -> None:
    file = tmp_path / "log.csv"
    broken, said = MISTAKES[mistake]
    file.write_text(broken(rows()))
    with pytest.raises(InputError) as caught:
        checked_log(read_recording(file))
    message = str(caught.value)
    assert message.startswith(f"{file}:")
    assert re.search(said, message), message
    assert "\n" not in message


def test_a_mistake_in_rows_that_were_sorted_has_its_place_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    lines = rows()
    lines[7] = "0.07,100,0.071,0.070"
    file.write_text(HEADER + "\n".join(reversed(lines)) + "\n")
    with pytest.raises(InputError) as caught:
        checked_log(sorted_by_arrival(read_recording(file)))
    assert str(caught.value) == f"{file}:194:16: end_s: ends 1 ms before it starts, at '0.070'"
    file.write_text(HEADER + "\n".join([lines[7], *reversed([*rows(), rows()[8]])]) + "\n")
    with pytest.raises(InputError, match=r":\d+:16: end_s: ends 1 ms"):  # of what is left without the double
        checked_log(sorted_by_arrival(read_recording(file)), duplicates="drop")


def test_what_was_refused_can_be_mended(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(HEADER + "\n".join(reversed(rows())) + "\n")
    assert len(checked_log(sorted_by_arrival(read_recording(file))).arrival_s) == 200
    file.write_text(HEADER + "\n".join([*rows(), rows()[-1]]) + "\n")
    assert len(checked_log(read_recording(file), duplicates="drop").arrival_s) == 200
    assert len(checked_log(read_recording(file), duplicates="keep").arrival_s) == 201
    text = whole(lambda v: [1e3 * v[0], 100, 1e3 * v[2], 1e3 * v[3]], "arrival,size,start,end\n")(rows())
    file.write_text(text)
    log = checked_log(read_recording(file, time_unit="ms"))
    assert log.service_s == pytest.approx(np.full(200, 0.005))


def test_requests_of_one_query_are_one_arrival_and_end_with_the_last(tmp_path: Path) -> None:
    lines = []
    for i in range(100):
        at = 0.1 * i
        lines += [f"q{i},{at},60,{at},{at + 0.01}", f"q{i},{at},40,{at + 0.01},{at + 0.03}"]
    (tmp_path / "log.csv").write_text("query,arrival_s,size,start_s,end_s\n" + "\n".join(lines) + "\n")
    log = checked_log(read_recording(tmp_path / "log.csv"))
    assert log.query_items.tolist() == [100] * 100
    assert log.query_latency_s == pytest.approx(np.full(100, 0.03))
    assert len(log.service_s) == 200


def test_a_log_lasts_to_the_last_arrival_also_where_its_last_row_is_of_the_first_query(
    tmp_path: Path,
) -> None:
    # Queries arrive each 0.1 s, the last at 19.8; the last row is a part of the first, sent on at 19.9.
    path = tmp_path / "log.csv"
    lines = [f"{0.1 * row:.3f},8,{0.1 * row:.3f},{0.1 * row + 0.01:.3f},{row % 199}" for row in range(200)]
    path.write_text("\n".join(["arrival_s,num_items,start_s,end_s,query", *lines]) + "\n")
    assert checked_log(read_recording(path)).span_s == pytest.approx(19.8)


def test_a_request_of_more_than_thirty_years_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = [f"{0.1 * row:.3f},8,{0.1 * row:.3f},{0.1 * row + 0.01:.3f}" for row in range(200)]
    lines[5] = "0.500,8,0.500,1e308"
    path.write_text("\n".join(["arrival_s,num_items,start_s,end_s", *lines]) + "\n")
    with pytest.raises(InputError, match=r"log\.csv:7:\d+: end_s: ends 1e\+308 s after it starts"):
        checked_log(read_recording(path))
