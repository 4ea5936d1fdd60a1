"""Ten broken files of each format: one line each, with the place, or the format that the file looks like."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.traffic_files import read_sizes, read_trace

FILES = Path(__file__).with_name("files")

Break = Callable[[str], str]


def swap(old: str, new: str) -> Break:
    def broken(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return broken


def line(number: int, change: Break) -> Break:
    """Change one line, counted from 1."""

    def broken(text: str) -> str:
        lines = text.splitlines()
        lines[number - 1] = change(lines[number - 1])
        return "\n".join(lines) + "\n"

    return broken


def cell(index: int, value: str) -> Break:
    """Change one value of a line, counted from 0."""

    def broken(text: str) -> str:
        cells = text.split(",")
        cells[index] = value
        return ",".join(cells)

    return broken


def cut(text: str) -> str:
    return text[: len(text) * 2 // 3]


def header_only(text: str) -> str:
    return text.splitlines()[0] + "\n"


SIZE = "expected a whole number from 1 to 1000000"
BROKEN: dict[str, list[tuple[Break, str]]] = {
    "AzureLLMInferenceTrace_code.csv": [
        (line(4, cell(0, "soon")), ":4:1: TIMESTAMP: expected a date"),
        (line(4, cell(0, "")), ":4:1: TIMESTAMP: expected a date.* got nothing"),
        (line(5, cell(0, "2023-13-16 18:15:47")), ":5:1: TIMESTAMP: expected a date"),
        (line(3, cell(1, "0")), rf":3:29: ContextTokens: {SIZE}, got '0'"),
        (line(3, cell(1, "many")), rf":3:29: ContextTokens: {SIZE}, got 'many'"),
        (line(3, cell(1, "3.5")), rf":3:29: ContextTokens: {SIZE}, got '3.5'"),
        (line(9, cell(0, "2023-11-16 18:15:40.0")), ":9:1: TIMESTAMP: expected a time not before"),
        (line(6, lambda _: "2023-11-16 18:15:50,17"), ":6:1: expected 3 values"),
        (header_only, "at least 2 queries, found 0"),
        (swap("TIMESTAMP", "ContextTokens"), ":1:15: column 'ContextTokens' is given twice"),
    ],
    "AzureFunctionsInvocationTraceForTwoWeeksJan2021.txt": [
        (line(3, cell(2, "x")), r":3:\d+: end_timestamp: expected a number, got 'x'"),
        (line(3, cell(2, "")), r":3:\d+: end_timestamp: expected a number, got nothing"),
        (line(3, cell(2, "nan")), r":3:\d+: end_timestamp: expected a finite number"),
        (line(3, cell(2, "inf")), r":3:\d+: end_timestamp: expected a finite number"),
        (line(3, cell(3, "-1")), r":3:\d+: duration: expected a number from 0 to 9007199254740992, got '-1'"),
        (line(3, cell(3, "slow")), r":3:\d+: duration: expected a number, got 'slow'"),
        (line(3, cell(3, "1,2")), r":3:1: expected 4 values"),
        (line(7, lambda _: "a,b"), ":7:1: expected 4 values"),
        (header_only, "at least 2 queries, found 0"),
        (swap("end_timestamp", "ends"), r"which gives (?!.*arrival).*|says when queries arrive"),
    ],
    "invocations_per_function_md.anon.d01.csv": [
        (line(2, cell(9, "-1")), r":2:\d+: 6: expected a whole number from 0 to 9007199254740992, got '-1'"),
        (line(4, cell(1443, "1e308")), r":4:\d+: 1440: expected a whole number from 0 to"),
        (line(2, cell(9, "x")), r":2:\d+: 6: expected a number, got 'x'"),
        (line(2, cell(9, "")), r":2:\d+: 6: expected a number, got nothing"),
        (line(2, cell(9, "nan")), r":2:\d+: 6: expected a finite number"),
        (line(3, lambda text: text + ",7"), ":3:1: expected 1444 values"),
        (line(3, lambda text: text.rpartition(",")[0]), ":3:1: expected 1444 values"),
        (line(1, cell(6, "33")), ":1:1: expected the columns Trigger, 1, 2"),
        (header_only, "expected at least 2 queries, found 0"),
        (
            lambda _: "HashOwner,HashApp,HashFunction,Average,Count,Minimum\na,b,c,1,2,3\n",
            "looks like Azure Functions durations, 2019: summaries by function",
        ),
    ],
    "latency.hlog": [
        (swap("HISTF", "HIST!"), r":5:20: expected a histogram in base64"),
        (line(6, lambda text: text[:40]), r":6:19: (expected a histogram in base64|the histogram is)"),
        (swap("HISTFAAA", "HISTEAAA"), r":5:\d+: expected a compressed histogram of encoding V2"),
        (
            line(5, lambda text: text[:60] + text[60:].swapcase()),
            ":5:20: (the histogram is damaged|expected a)",
        ),
        (line(5, cell(0, "x")), ":5:1: expected a number, got 'x'"),
        (line(5, cell(0, "-1")), ":5:1: expected a time >= 0"),
        (line(5, cell(1, "soon")), ":5:7: expected a number, got 'soon'"),
        (line(5, cell(1, "-2")), ":5:7: expected a time >= 0"),
        (
            line(7, lambda text: text.rpartition(",")[0]),
            ":7:1: expected start, length, largest value and histogram",
        ),
        (
            lambda text: "\n".join(text.splitlines()[:4]),
            "looks like an HdrHistogram log, but holds no interval",
        ),
    ],
    "latency.hgrm": [
        (lambda text: text, "looks like an HdrHistogram percentile table, which gives latencies, but no"),
        (line(3, lambda text: text.replace(text.split()[0], "x")), ":3:8: expected a number, got 'x'"),
        (line(3, lambda text: text.replace(text.split()[2], "?", 1)), ":3:"),
        (
            line(4, lambda text: "99 " + text.split(maxsplit=1)[1]),
            ":5:8: expected a value and count not below",
        ),
        (line(4, lambda _: "1 2"), ":4:1: expected value, percentile, count"),
        (line(4, lambda _: "1 2 3 4 5"), ":4:1: expected value, percentile, count"),
        (line(4, lambda _: "nan 0.1 3 4"), ":4:1: expected a finite number"),
        (line(6, lambda _: "9.9 0.3 1 1.4"), ":6:1: expected a value and count not below"),
        (header_only, "looks like an HdrHistogram percentile table, but counts no value"),
        (lambda _: "Value Percentile TotalCount 1/(1-Percentile)\n0 1.0 0 inf\n", "but counts no value"),
    ],
    "query_range.json": [
        (swap('"matrix"', '"vector"'), "looks like an instant query of Prometheus"),
        (swap('"success"', '"error"'), "but is an error"),
        (
            lambda _: '{"status": "success", "data": {"resultType": "matrix", "result": []}}',
            "holds no series",
        ),
        (swap('"__name__"', '"le": "0.5", "__name__"'), "looks like the buckets of a histogram"),
        (lambda text: re.sub(r'"\d+"', '"x"', text, count=1), "a time and a number as text"),
        (swap('"values"', '"value"'), r"result\[0\]: expected values"),
        (swap("1435781445.781", "1435781430.781"), r"result\[0\]: expected ascending times"),
        (cut, r":\d+:\d+: expected JSON"),
        (
            lambda _: (
                '{"status": "success", "data": {"resultType": "matrix", "result": '
                '[{"metric": {}, "values": [[1435781430, "-3"], [1435781445, "1"]]}]}}'
            ),
            "expected values >= 0, got -3",
        ),
        (
            lambda _: (
                '{"status": "success", "data": {"resultType": "matrix", "result": '
                '[{"metric": {}, "values": [[1435781430, "3"]]}]}}'
            ),
            "fewer than two times",
        ),
    ],
    "log.jsonl": [
        (line(3, lambda _: "{"), ":3:2: expected a JSON object on each line"),
        (line(3, lambda _: "[1]"), ":3:1: expected an object on each line"),
        (line(3, lambda _: "{}"), ":3:1: missing key 'ts', which the first object has"),
        (
            line(3, lambda text: re.sub(r'"num_items": \d+', '"num_items": 0', text)),
            rf":3:\d+: num_items: {SIZE}",
        ),
        (
            line(3, lambda text: re.sub(r'"num_items": \d+', '"num_items": null', text)),
            rf":3:\d+: num_items: {SIZE}",
        ),
        (
            line(3, lambda text: re.sub(r'"num_items": \d+', '"num_items": "x"', text)),
            rf":3:\d+: num_items: {SIZE}",
        ),
        (line(3, lambda text: text.replace("2026-03-01T", "", 1)), ":3:2: ts: expected a date"),
        (line(3, lambda text: text.replace('"ts"', '"tz"', 1)), ":3:1: missing key 'ts'"),
        (line(5, lambda text: text.replace("2026", "2025", 1)), ":5:1: expected a time not before"),
        (swap('"num_items"', '"num_item"'), ":1:1: unknown key 'num_item'; did you mean 'num_items'"),
    ],
    "pandas_index.csv": [
        (line(3, cell(1, "soon")), ":3:3: arrival_s: expected a number, got 'soon'"),
        (line(3, cell(1, "")), ":3:3: arrival_s: expected a number, got nothing"),
        (line(3, cell(1, "inf")), ":3:3: arrival_s: expected a finite number, got 'inf'"),
        (line(3, cell(2, "10.5")), rf":3:\d+: num_items: {SIZE}, got '10.5'"),
        (line(3, cell(2, "-3")), rf":3:\d+: num_items: {SIZE}, got '-3'"),
        (line(3, cell(2, "1e9")), rf":3:\d+: num_items: {SIZE}, got '1e9'"),
        (line(5, cell(1, "0")), ":5:3: arrival_s: expected a time >= .*, got '0'"),
        (line(4, lambda text: text + ",1"), r":4:1: expected 3 values \(, arrival_s, num_items\), got 4"),
        (swap("num_items", "num_itmes"), ":1:12: unknown column 'num_itmes'; did you mean 'num_items'"),
        (line(2, cell(1, "1700000000000")), "looks like milliseconds since 1970; rename the column"),
    ],
}
SIZE_LISTS: dict[str, list[tuple[Break, str]]] = {
    "dist_quantile.txt": [
        (swap("100, 100", "100, x"), rf":1:6: {SIZE}, got 'x'"),
        (swap("100, 100", "100, 0"), rf":1:6: {SIZE}, got '0'"),
        (swap("100, 100", "100, -5"), rf":1:6: {SIZE}, got '-5'"),
        (swap("100, 100", "100, 2.5"), rf":1:6: {SIZE}, got '2.5'"),
        (swap("100, 100", "100, 1e3"), rf":1:6: {SIZE}, got '1e3'"),
        (swap("100, 100", "100, 1000001"), rf":1:6: {SIZE}, got '1000001'"),
        (swap("100, 100", "100, nan"), rf":1:6: {SIZE}, got 'nan'"),
        (lambda _: "", "found an empty file"),
        (lambda _: "# none\n", "found an empty file"),
        (lambda _: "0.5, 100\n0.7, 200\n", r":1:1: expected a whole number .*a table needs a header"),
    ],
    "deeprecsys_sizes.txt": [
        (line(2, lambda _: "x"), rf":2:1: {SIZE}, got 'x'"),
        (line(2, lambda _: "0.0"), rf":2:1: {SIZE}, got '0.0'"),
        (line(2, lambda _: "-7"), rf":2:1: {SIZE}, got '-7'"),
        (line(2, lambda _: "7.5"), rf":2:1: {SIZE}, got '7.5'"),
        (line(2, lambda _: "  inf"), rf":2:3: {SIZE}, got 'inf'"),
        (line(2, lambda _: "1e9"), rf":2:1: {SIZE}, got '1e9'"),
        (line(2, lambda _: "2000000"), rf":2:1: {SIZE}, got '2000000'"),
        (line(2, lambda _: "\x00"), ":2:1: unprintable character"),
        (lambda _: "\n\n", "found an empty file"),
        (lambda _: "a,b\n1,2\n", ":1:1: none of the columns"),
    ],
    "deeprecsys_batch_configs.txt": [
        (swap("512", "0"), rf":1:6: {SIZE}, got '0'"),
        (swap("512", "x"), r":1:1: "),
        (swap("512", "5.5"), r":1:1: "),
        (swap("512", ""), r":1:1: "),
        (swap("512", "99999999"), rf":1:6: {SIZE}, got '99999999'"),
        (swap("1024", "0"), rf":1:1: {SIZE}, got '0'"),
        (lambda text: text + "7-x\n", r":2:"),
        (lambda text: text + "soon\n", rf":2:1: {SIZE}, got 'soon'"),
        (lambda text: text + "7\n0\n", rf":3:1: {SIZE}, got '0'"),
        (lambda _: "-", r":1:1: "),
    ],
}
EVERY = [
    pytest.param(name, change, said, read, id=f"{name} {index}")
    for table, read in ((BROKEN, read_trace), (SIZE_LISTS, read_sizes))
    for name, broken in table.items()
    for index, (change, said) in enumerate(broken)
]


def test_there_are_ten_of_each_format() -> None:
    assert all(len(broken) == 10 for broken in (*BROKEN.values(), *SIZE_LISTS.values()))
    assert {*BROKEN, *SIZE_LISTS} | {"AzureLLMInferenceTrace_code_1week.csv", "README.md"} == {
        each.name for each in FILES.iterdir()
    }


@pytest.mark.parametrize(("name", "change", "said", "read"), EVERY)
@pytest.mark.filterwarnings("ignore::perfmodel.errors.Note")
def test_a_broken_file_is_refused_in_one_line(
    tmp_path: Path, name: str, change: Break, said: str, read: Callable[[Path], object]
) -> None:
    file = tmp_path / name
    file.write_text(change((FILES / name).read_text()))
    with pytest.raises(InputError) as caught:
        read(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:")
    assert len(message.splitlines()) == 1
    assert re.search(said, message.removeprefix(str(file))), message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest", "looks like a zip archive: unpack it"),
        (b"\x28\xb5\x2f\xfdrest", "looks like a zstd archive"),
        (b"\x1f\x8b\x08rest", "damaged gzip"),
        (b"<!DOCTYPE html><p>404", "looks like a web page or XML"),
        (b"# HELP http_requests_total x\nhttp_requests_total 3\n", "looks like a Prometheus exposition"),
        (b'{"traceEvents": []}', "looks like a Chrome trace"),
        (b'{"schema": {"name": "predict"}}', "looks like an answer of perfplan"),
        (b'{"a": 1, "b": [2]}\n', "looks like JSON lines, without arrival times"),
        (b"HashApp,SampleCount,AverageAllocatedMb\na,1,2\n", "looks like Azure Functions memory"),
        (b"\x93NUMPYrest", "looks like a NumPy array"),
    ],
)
def test_what_is_no_recording_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_trace(file)
    assert re.search(said, str(caught.value)), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
