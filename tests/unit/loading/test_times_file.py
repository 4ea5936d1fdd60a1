"""Lists of times, one a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.times_file import read_times


def test_times_are_in_milliseconds_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "outside.txt"
    path.write_text("15\n\n 0.5 # router\n0\n", encoding="utf-8")
    assert read_times(path).tolist() == pytest.approx([0.015, 0.0005, 0.0])


@pytest.mark.parametrize(
    ("text", "place"), [("", "1:1"), ("1\nx\n", "2:1"), ("1\n -2", "2:2"), ("inf", "1:1"), ("1,2", "1:1")]
)
def test_a_mistake_has_its_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "outside.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_times(path)
    assert str(refused.value).startswith(f"{path}:{place}: expected ")
