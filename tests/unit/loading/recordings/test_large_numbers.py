"""Numbers in JSON that no float holds, and dates that do not end, are refused where they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.recordings.formats import read_recording

FILES = Path(__file__).parent / "files"
LARGE = "1" + "0" * 399


def test_a_size_that_no_float_holds(tmp_path: Path) -> None:
    text = (FILES / "log.jsonl").read_text().splitlines(keepends=True)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(re.sub(r'"num_items": \d+', f'"num_items": {LARGE}', line) for line in text))
    with pytest.raises(InputError, match=r"log\.jsonl:1:\d+: num_items: expected"):
        read_recording(path)


@pytest.mark.parametrize("first", [2**53, 2**63 - 1, 2**64, 10**30])
@pytest.mark.parametrize("suffix", ["csv", "quoted.csv", "jsonl"])
def test_queries_are_told_apart_to_the_last_digit(first: int, suffix: str, tmp_path: Path) -> None:
    # Floats are alike from 2^53 up, and 64 bits end at 2^63 - 1: identifiers of queries are as long as that.
    path = tmp_path / f"log.{suffix}"
    rows = [(0.0, 8, first), (0.1, 8, first + 1), (0.2, 8, first)]
    if suffix == "jsonl":
        lines = [json.dumps(dict(zip(("arrival_s", "num_items", "query"), row, strict=True))) for row in rows]
    else:
        mark = '"' if "quoted" in suffix else ""
        lines = [
            "arrival_s,num_items,query",
            *(f"{at},{size}.0,{mark}{query}{mark}" for at, size, query in rows),
        ]
    path.write_text("\n".join(lines) + "\n")
    query = read_recording(path).query
    assert query is not None
    assert query[0] == query[2] != query[1]


def test_a_query_is_numbered_by_a_whole_number(tmp_path: Path) -> None:
    for suffix, text in (
        ("csv", "arrival_s,num_items,query\n0,8,1\n1,8,1.5\n"),
        (
            "jsonl",
            '{"arrival_s": 0, "num_items": 8, "query": 1}\n{"arrival_s": 1, "num_items": 8, "query": 1.5}\n',
        ),
    ):
        path = tmp_path / f"log.{suffix}"
        path.write_text(text)
        with pytest.raises(
            InputError, match=rf"log\.{suffix}:[23]:\d+: query: expected a whole number, got '?1\.5"
        ):
            read_recording(path)


def test_counts_of_minutes_that_are_no_text_are_refused_where_they_stand(tmp_path: Path) -> None:
    # In the last line: what a file is was read off its first bytes before.
    source = FILES / "invocations_per_function_md.anon.d01.csv"
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes().rstrip()[:-1] + b"\xe9\n")
    with pytest.raises(InputError, match=rf"{source.name}:4:\d+: .*UTF-8"):
        read_recording(path)


def test_a_date_that_does_not_end(tmp_path: Path) -> None:
    text = (FILES / "log.jsonl").read_text().splitlines(keepends=True)
    path = tmp_path / "log.jsonl"
    path.write_text("".join([text[0], text[1].replace('Z", "worker"', f'{LARGE}Z", "worker"'), *text[2:]]))
    with pytest.raises(InputError, match=r"log\.jsonl:2:\d+: end: expected a date"):
        read_recording(path)


def test_a_time_of_prometheus_that_no_float_holds(tmp_path: Path) -> None:
    path = tmp_path / "query_range.json"
    path.write_text((FILES / "query_range.json").read_text().replace("1435781445.781", LARGE, 1))
    with pytest.raises(InputError, match=r"query_range\.json:\d+:\d+: .*expected a time and a number"):
        read_recording(path)


def test_numbers_of_more_digits_than_python_reads(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    for text in ('{"arrival_s": %s, "num_items": 1}\n' % ("9" * 5000), '[{"arrival_s": %s}]' % ("9" * 5000)):
        path.write_text(text)
        with pytest.raises(InputError, match=r"some\.json:1:\d+: "):
            read_recording(path)
