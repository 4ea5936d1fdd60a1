"""Each format, as its public source writes it, and what its figures are; what it cannot give is refused."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from perfmodel.errors import InputError, Note
from perfmodel.loading.recordings.cells import Cell
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.loading.recordings.hdr_histogram import decode
from perfmodel.loading.recordings.source import Line
from perfmodel.loading.traffic_files import read_sizes, read_trace

FILES = Path(__file__).with_name("files")


def test_azure_functions_by_minute_are_added_up_and_spread_within_each() -> None:
    file = FILES / "invocations_per_function_md.anon.d01.csv"
    lines = file.read_text().splitlines()
    by_hand = sum(int(cell) for line in lines[1:] for cell in line.split(",")[4:])
    with pytest.warns(Note, match="counts by 60 s"):
        trace = read_trace(file)
    assert len(trace.arrival_s) == by_hand
    first_minute = sum(int(line.split(",")[4]) for line in lines[1:])
    assert int((trace.arrival_s < 60.0).sum()) == first_minute
    assert np.all(np.diff(trace.arrival_s) >= 0)


def test_azure_functions_of_2021_arrive_their_duration_before_their_end() -> None:
    file = FILES / "AzureFunctionsInvocationTraceForTwoWeeksJan2021.txt"
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    starts = sorted(float(end) - float(duration) for _, _, end, duration in rows)
    assert read_trace(file).arrival_s.tolist() == pytest.approx(starts, abs=1e-9)


@pytest.mark.parametrize("name", ["AzureLLMInferenceTrace_code.csv", "AzureLLMInferenceTrace_code_1week.csv"])
def test_azure_llm_traces_have_dates_and_tokens(name: str) -> None:
    rows = [line.split(",") for line in (FILES / name).read_text().splitlines()[1:]]
    seconds = [float(stamp.split(":")[2].removesuffix("+00")) for stamp, _, _ in rows]
    trace = read_trace(FILES / name)
    assert trace.num_items is not None
    assert trace.num_items.tolist() == [int(tokens) for _, tokens, _ in rows]
    assert trace.arrival_s.tolist() == pytest.approx([each - seconds[0] for each in seconds], abs=2e-9)


def test_mlperfs_quantiles_are_one_line_of_twenty_sizes() -> None:
    sizes = read_sizes(FILES / "dist_quantile.txt")
    assert sizes.num_items @ sizes.probabilities == pytest.approx(270)  # published mean of the list
    assert sizes.num_items.tolist() == [100, 200, 300, 400, 500, 600, 700]


def test_deeprecsys_lists_are_a_number_a_line_or_joined_by_dashes() -> None:
    assert read_sizes(FILES / "deeprecsys_sizes.txt").num_items.tolist()[:3] == [3, 38, 52]
    assert read_sizes(FILES / "deeprecsys_batch_configs.txt").num_items.tolist() == [128, 256, 512, 1024]


def test_a_histogram_of_the_librarys_own_writer_is_decoded() -> None:
    """A line of the test data of HdrHistogram (public domain), with two digits.

    Its interval's largest value is 2.769 ms: the upper end of a bucket that is 2^14 ns wide.
    """
    text = (
        "HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2"
        "CsI="
    )
    found = decode(Cell(text, Line(Path("log"), 1, text), 0))
    assert (found.values.max() + 2**13) / 1e6 == pytest.approx(2.769, abs=0.0005)
    assert np.all(np.diff(found.values) > 0)
    assert np.all(found.counts >= 1)


def test_a_histogram_log_gives_counts_by_interval() -> None:
    with pytest.warns(Note, match="counts by 1 s"):
        trace = read_trace(FILES / "latency.hlog")
    counts = np.bincount((trace.arrival_s - 0.127).astype(int))
    assert counts.tolist() == [40, 50, 60, 70, 80, 90]


def test_a_percentile_table_gives_latencies_only() -> None:
    recording = read_recording(FILES / "latency.hgrm")
    assert recording.latencies is not None
    assert recording.latencies.counts.sum() == 1000
    for read in (read_trace, read_sizes):
        with pytest.raises(
            InputError, match="looks like an HdrHistogram percentile table, which gives latencies"
        ):
            read(FILES / "latency.hgrm")


def test_counters_of_prometheus_are_differences_added_over_series() -> None:
    file = FILES / "query_range.json"
    result = json.loads(file.read_text())["data"]["result"]
    grown = sum(float(one["values"][-1][1]) - float(one["values"][0][1]) for one in result)
    with pytest.warns(Note, match="counts by 15 s"):
        assert len(read_trace(file).arrival_s) == grown


def test_rates_of_prometheus_are_rate_times_step(tmp_path: Path) -> None:
    values = [[1435781430.0 + 30 * index, f"{2 + index}"] for index in range(4)]  # 2, 3, 4, 5 queries/s, 30 s
    document = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": {}, "values": values}]},
    }
    (tmp_path / "rate.json").write_text(json.dumps(document))
    with pytest.warns(Note):
        assert len(read_trace(tmp_path / "rate.json").arrival_s) == 30 * (2 + 3 + 4 + 5)


def test_json_lines_have_dates_sizes_and_workers_by_name() -> None:
    recording = read_recording(FILES / "log.jsonl")
    assert recording.executor is not None
    assert recording.executor.tolist() == [0, 1] * 6
    assert recording.start_s is not None
    assert recording.arrival_s is not None
    assert (recording.start_s - recording.arrival_s).tolist() == pytest.approx([1e-4] * 12, abs=2e-6)
    assert recording.ignored == ("user",)


def test_a_pandas_index_is_left_out_and_10_0_is_a_size() -> None:
    recording = read_recording(FILES / "pandas_index.csv")
    assert recording.ignored == ("a column without a name",)
    assert recording.num_items is not None
    assert set(recording.num_items.tolist()) <= {100, 200, 300}


PLAIN = "arrival_s,num_items\n0.5,7\n1.25,9\n3.5,8\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", " "),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        "# " + PLAIN,  # as numpy.savetxt writes it
        "# by hand\n" + PLAIN.replace("\n", "  # a comment\n"),
        '"arrival_s","num_items"\n"0.5","7"\n"1.25","9"\n"3.5","8"\n',
        'user,arrival_s,num_items\n"a, b",0.5,7\nc,1.25,9\nd,3.5,8\n',
        "arrival_s,num_items,user\n0.5,7,x\n1.25,9,y\n3.5,8,z\n",
        ",arrival_s,num_items\n0,0.5,7.0\n1,1.25,9.0\n2,3.5,8.0\n",
        "Unnamed: 0,Timestamp,Query Size\n0,0.5,7\n1,1.25,9\n2,3.5,8\n",
        "arrival_ms,size\n500,7\n1250,9\n3500,8\n",
        "Arrival (ms),items\n500,7\n1250,9\n3500,8\n",
        "arrival_us,items\n500000,7\n1250000,9\n3500000,8\n",
        "num_items;arrival_s\n7;0,5\n9;1,25\n8;3,5\n",
        "ts,num_items\n1700000000.5,7\n1700000001.25,9\n1700000003.5,8\n",
        "ts,num_items\n1700000000500,7\n1700000001250,9\n1700000003500,8\n",
        "ts,num_items\n1700000000500000,7\n1700000001250000,9\n1700000003500000,8\n",
        "ts,num_items\n1700000000500000000,7\n1700000001250000000,9\n1700000003500000000,8\n",
        "time,num_items\n2026-03-01 10:00:00.5,7\n2026-03-01 10:00:01.25,9\n2026-03-01 10:00:03.5,8\n",
        "time,num_items\n2026-03-01T10:00:00.5Z,7\n2026-03-01T10:00:01.25Z,9\n2026-03-01T10:00:03.5Z,8\n",
        "t,items\n2026-03-01T10:00:00.5+01:00,7\n2026-03-01T09:00:01.25Z,9\n2026-03-01T10:00:03.5+01:00,8\n",
        '{"arrival_s": 0.5, "size": 7}\n{"arrival_s": 1.25, "size": 9}\n{"size": 8, "arrival_s": 3.5}\n',
        '[{"arrival_s": 0.5, "size": 7}, {"arrival_s": 1.25, "size": 9}, {"arrival_s": 3.5, "size": 8.0}]',
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_one_trace_in_many_forms(tmp_path: Path, text: str, packed: bool) -> None:
    file = tmp_path / ("trace.csv.gz" if packed else "trace.csv")
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    trace = read_trace(file)
    assert trace.num_items is not None
    assert trace.num_items.tolist() == [7, 9, 8]
    assert np.diff(trace.arrival_s).tolist() == pytest.approx([0.75, 2.25], abs=1e-6)
    sizes = read_sizes(file)  # the sizes of a trace are sizes
    assert sizes.num_items.tolist() == [7, 8, 9]


def test_parquet_is_read_with_the_extra(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    stamps = [datetime(2026, 3, 1, 10, 0, second, tzinfo=UTC) for second in (0, 1, 3)]
    columns = {"arrival": stamps, "num_items": [7, 9, 8], "user": ["a", "b", "c"]}
    parquet.write_table(pa.table(columns), tmp_path / "trace.parquet")
    trace = read_trace(tmp_path / "trace.parquet")
    assert trace.arrival_s.tolist() == [0.0, 1.0, 3.0]
    assert trace.num_items is not None
    assert trace.num_items.tolist() == [7, 9, 8]
    columns["num_items"] = [7, 0, 8]
    parquet.write_table(pa.table(columns), tmp_path / "trace.parquet")
    with pytest.raises(
        InputError, match="row 2: num_items: expected a whole number from 1 to 1000000, got 0"
    ):
        read_trace(tmp_path / "trace.parquet")


def test_columns_of_parquet_are_what_their_types_say(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    number, rows = pa.array([0, 1000, 3000], pa.int64()), [7, 9, 8]

    def written(**columns: object) -> Path:
        whole = {"arrival_s": [0.0, 1.0, 3.0], "num_items": rows} | columns
        parquet.write_table(pa.table(whole), tmp_path / "a.parquet")
        return tmp_path / "a.parquet"

    # A column's unit goes before its name's: 1,000 ms are a second.
    assert read_trace(written(arrival_s=number.cast(pa.duration("ms")))).arrival_s.tolist() == [0.0, 1.0, 3.0]
    days = pa.array([20_000, 20_001, 20_003], pa.int32()).cast(pa.date32())
    assert read_trace(written(arrival_s=days)).arrival_s.tolist() == pytest.approx([0.0, 86400.0, 259200.0])
    for wrong, expected in (
        ({"arrival_s": pa.array([0, 1, 2**53], pa.timestamp("ms"))}, "expected a date, .* 1678 to 2261"),
        ({"arrival_s": [True, False, True]}, "arrival_s: expected numbers or times, got bool"),
        ({"num_items": [True, True, True]}, "num_items: expected numbers, got bool"),
        (
            {"num_items": pa.array([1, 2, 3], pa.timestamp("ns"))},
            "num_items: expected numbers, got timestamp",
        ),
        ({"num_items": [[1], [2], [3]]}, "num_items: expected numbers, got list"),
        ({"executor": [{"a": 1}] * 3}, "executor: expected numbers or text, got struct"),
        ({"query": [[1], [], [2]]}, "query: expected numbers or text, got list"),
        ({"arrival_s": [0.0, 2.0, 1.0]}, r"row 3: arrival: expected a time >= 2\.0, .* got 1\.0 s"),
    ):
        with pytest.raises(InputError, match=expected):
            read_trace(written(**wrong))


def test_dates_that_no_64_bits_hold_and_letters_that_are_in_none_are_refused(tmp_path: Path) -> None:
    first = "2023-11-16T10:00:00Z"
    for wrong in ("9999-12-31T00:00:00Z", "1600-01-01", "2023-11-16T10:00:0é", "２023-11-16T10:00:01Z"):
        (tmp_path / "a.jsonl").write_text(
            "".join(f'{{"timestamp": "{stamp}", "num_items": 3}}\n' for stamp in (first, wrong))
        )
        (tmp_path / "a.csv").write_text(f"timestamp,num_items\n{first},3\n{wrong},3\n")
        for file, place in (("a.jsonl", ":2:2"), ("a.csv", ":3:1")):
            with pytest.raises(InputError, match=f"{place}: timestamp: expected a date, .*got '{wrong}'"):
                read_trace(tmp_path / file)


def test_without_the_extra_parquet_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "trace.parquet").write_bytes(b"PAR1....PAR1")
    with pytest.raises(InputError, match=r"pip install 'perfplan\[parquet\]'"):
        read_trace(tmp_path / "trace.parquet")


def test_sizes_with_counts_are_as_likely_as_counted(tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("num_items,count\n100,3\n200,1\n")
    sizes = read_sizes(tmp_path / "sizes.csv")
    assert (sizes.num_items.tolist(), sizes.probabilities.tolist()) == ([100, 200], [0.75, 0.25])


@pytest.mark.parametrize(
    ("text", "unit", "reason"),
    [
        ("arrival\n0\n1\n", "s", "seconds, since the name of arrival gives no unit and its values no date"),
        ("arrival_ms\n0\n1\n", "ms", "the name of arrival_ms says ms"),
        ("ts\n1700000000000\n1700000000001\n", "ms", "2023 in milliseconds since 1970"),
        ("ts\n2026-03-01\n2026-03-02\n", "date", "ts holds dates"),
    ],
)
def test_it_says_what_times_were_taken_for_and_why(tmp_path: Path, text: str, unit: str, reason: str) -> None:
    (tmp_path / "trace.csv").write_text(text)
    recording = read_recording(tmp_path / "trace.csv")
    assert recording.time_unit == unit
    assert reason in recording.time_reason


@pytest.mark.parametrize("first", ["-inf", "inf", "nan", "-1", "1e400", "-inf,3"])
def test_a_first_line_of_numbers_that_are_no_size_is_refused_where_it_stands(
    first: str, tmp_path: Path
) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text(f"{first}\n1\n2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"sizes.txt:1:1: expected a whole number from 1 to 1000000"):
        read_recording(path)
