"""Tables of service times: rows in any order, and the place of each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.service_table_file import read_service_table


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_and_rows_come_in_any_order_in_milliseconds(tmp_path: Path) -> None:
    text = '\ufeff"busy",service_ms,"items"\n\n2,8,64  # late\n1,1.5,16\n'
    table = read_service_table(written(tmp_path, text))
    assert table.busy is not None
    assert (table.items.tolist(), table.busy.tolist()) == ([64.0, 16.0], [2.0, 1.0])
    assert table.service_s.tolist() == pytest.approx([0.008, 0.0015])
    assert (table.name, table.std_s, table.p99_s) == ("mine.csv", None, None)


def test_scatter_is_a_deviation_or_two_percentiles(tmp_path: Path) -> None:
    one = read_service_table(written(tmp_path, "items,service_ms,std_ms\n16,2,0\n"))
    two = read_service_table(written(tmp_path, "items,service_ms,p50_ms,p99_ms\n16,2,1.5,9\n"))
    assert one.std_s is not None
    assert two.p50_s is not None
    assert two.p99_s is not None
    assert one.std_s.tolist() == [0.0]
    assert [*two.p50_s, *two.p99_s] == pytest.approx([0.0015, 0.009])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: expected a header with items,service_ms"),
        ("# nothing\n", "1:1: expected a header"),
        ("items,service_ms\n", "1:1: expected rows of service times"),
        ("items,service\n16,2\n", "1:7: unknown column 'service'; did you mean 'service_ms'?"),
        ("items,service_ms,items\n16,2,16\n", "1:1: column 'items' is given twice"),
        ("service_ms\n2\n", "1:1: missing column 'items'"),
        ("items;service_ms\n16;2\n", "1:1: expected commas between columns, got semicolons"),
        ("items,service_ms,p99_ms\n16,2,3\n", "1:1: expected p50_ms and p99_ms together"),
        ("items,service_ms,std_ms,p50_ms,p99_ms\n16,2,1,2,3\n", "1:1: expected std_ms or p50_ms,p99_ms"),
        (
            "items,service_ms\n16,2\n\n16,3\n",
            "4:1: items: expected a size once, got 16 again, first in line 2",
        ),
        ("items,service_ms,busy\n16,2,1\n16,3,1\n", "3:1: items: expected a size once, got 16 with busy 1"),
        ("items,service_ms\n16, -2\n", "2:5: service_ms: expected a time > 0 ms, got '-2'"),
        ("items,service_ms\n16,1e-9\n", "2:4: service_ms: expected 1e-06 to 1e+09 ms"),
        ("items,service_ms\n16,\n", "2:4: service_ms: expected a time > 0 ms, got nothing"),
        ("items,service_ms\n16,nan\n", "2:4: service_ms: expected a time > 0 ms, got 'nan'"),
        ("items,service_ms\n0,2\n", "2:1: items: expected a whole number from 1 to 1000000, got '0'"),
        ("items,service_ms,busy\n16,2,1.5\n", "2:6: busy: expected a whole number from 1"),
        ("items,service_ms,std_ms\n16,2,-1\n", "2:6: std_ms: expected a time from 0 ms on"),
        ("items,service_ms,p50_ms,p99_ms\n16,2,3,1\n", "2:8: p99_ms: expected at least p50_ms, 3, got '1'"),
        ("items,service_ms\n16\n", "2:1: expected 2 values (items, service_ms), got 1"),
    ],
)
def test_each_mistake_has_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as refused:
        read_service_table(path)
    assert str(refused.value).startswith(f"{path}:{message}")
