"""Numbers in JSON that no float holds, and dates that do not end, are refused where they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.recordings.formats import read_recording

FILES = Path(__file__).parent / "files"
LARGE = "1" + "0" * 399


def test_a_size_and_an_executor_that_no_float_holds(tmp_path: Path) -> None:
    text = (FILES / "log.jsonl").read_text().splitlines(keepends=True)
    for key, found in (("num_items", r'"num_items": \d+'), ("worker", r'"worker": "\w+"')):
        path = tmp_path / "log.jsonl"
        path.write_text("".join(re.sub(found, f'"{key}": {LARGE}', line) for line in text))
        with pytest.raises(InputError, match=rf"log\.jsonl:1:\d+: {key}: expected"):
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
