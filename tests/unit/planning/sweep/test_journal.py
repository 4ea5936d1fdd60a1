"""What is finished is kept whatever ends the process, and nothing stale or half-written is taken for it."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from perfmodel.cli.main import main
from perfmodel.errors import InputError, Note
from perfmodel.loading.over import parse_over
from perfmodel.loading.written import PROBE_BYTES
from perfmodel.planning.sweep.backends import Ask
from perfmodel.planning.sweep.computation import answer_points
from perfmodel.planning.sweep.journal import FileDigests, Finished, Journal
from perfmodel.planning.sweep.points import Point, points_of

POINTS = points_of([parse_over("a=1..5+1")])


def ask(point: Point) -> Finished:
    square = int(point.values[0].text) ** 2
    return {"point": point.name, "row": {"exit_code": 0, "square": square}, "files": {}}


class Counting:
    """A backend that answers here, and remembers whom it asked."""

    def __init__(self, most: int = 99) -> None:
        self.asked: list[str] = []
        self._most = most

    def __call__(self, ask: Ask, points: Sequence[Point]) -> Iterator[Finished]:
        for point in points:
            if len(self.asked) == self._most:
                raise KeyboardInterrupt
            self.asked.append(point.name)
            yield ask(point)


def run(path: Path, backend: Counting, of: str = "x") -> list[int]:
    with Journal(path, of) as journal:
        return [row["square"] for _, row in answer_points(POINTS, ask, backend, journal=journal).rows]


def test_a_run_goes_on_where_another_was_interrupted(tmp_path: Path) -> None:
    path, first, second = tmp_path / "journal", Counting(most=3), Counting()
    with pytest.raises(KeyboardInterrupt):
        run(path, first)
    assert run(path, second) == [1, 4, 9, 16, 25]
    assert first.asked + second.asked == [point.name for point in POINTS]


@pytest.mark.thorough
def test_wherever_the_writing_ended_every_whole_line_counts_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    run(path, Counting())
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        # The last line is whole, too, where nothing but its end is missing.
        finished = max(0, lines - 1) + (
            0 < length < len(whole) and lines > 0 and whole[length : length + 1] == b"\n"
        )
        backend = Counting()
        assert run(path, backend) == [1, 4, 9, 16, 25]
        assert len(backend.asked) == 5 - finished
        again = Counting()
        run(path, again)
        assert again.asked == [], "what was added is readable, whatever stood before it"


def test_a_line_with_another_byte_anywhere_is_computed_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    run(path, Counting())
    whole = path.read_bytes()
    begins = whole.index(b"\n") + 1
    for at in range(begins, whole.index(b"\n", begins)):  # the first point's; its square becomes another, too
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        backend = Counting()
        assert run(path, backend) == [1, 4, 9, 16, 25]
        assert backend.asked == [POINTS[0].name]


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b"\xff\x00" * 100,
        b"1" * 10_000,
        b'{"point": ["a=1"], "row": {}, "files": {}}',
        b'{"point": "a=1", "row": 3, "files": {}}',
        b'{"point": "a=1", "row": {"exit_code": 0, "square": NaN}, "files": 3}',
        b'{"point": "a=1", "row": {}, "files": {"a\\u0000b": "x"}}',
    ],
    ids=["nested", "bytes", "digits", "a list for a name", "no row", "no files", "a file of no name"],
)
def test_lines_that_no_sweep_wrote_count_for_nothing(line: bytes, tmp_path: Path) -> None:
    path, backend = tmp_path / "journal", Counting()
    run(path, Counting(most=5))
    path.write_bytes(line + b"\n" + path.read_bytes() + line + b"\n" + line)
    assert run(path, backend) == [1, 4, 9, 16, 25]
    assert backend.asked == [], "the lines that it wrote count all the same"


def test_points_of_another_question_are_not_taken(tmp_path: Path) -> None:
    run(tmp_path / "journal", Counting(), of="x")
    backend = Counting()
    run(tmp_path / "journal", backend, of="y")
    assert len(backend.asked) == 5


def test_points_whose_files_changed_are_computed_anew(tmp_path: Path) -> None:
    path, file = tmp_path / "journal", tmp_path / "model.yaml"
    file.write_text("one")

    def ask_of_file(point: Point) -> Finished:
        files = {str(file): FileDigests().of(file) or ""}
        return {"point": point.name, "row": {"exit_code": 0}, "files": files}

    def asked() -> int:
        backend = Counting()
        with Journal(path, "x") as journal:
            answer_points(POINTS, ask_of_file, backend, journal=journal)
        return len(backend.asked)

    assert [asked(), asked()] == [5, 0]
    file.write_text("two")
    assert [asked(), asked()] == [5, 0]
    file.unlink()
    assert asked() == 5


def test_two_sweeps_do_not_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "x"), pytest.raises(InputError, match="another sweep"):
        Journal(tmp_path / "journal", "x").__enter__()


def test_a_folder_that_takes_no_journal_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot keep what is finished"):
        Journal(tmp_path / "none" / "journal", "x").__enter__()


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_what_would_be_kept_and_not_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with files_end_at(400), pytest.warns(Note, match="cannot be written: File too large; an interrupted"):
        assert run(path, Counting()) == [1, 4, 9, 16, 25]
    again = Counting()
    assert run(path, again) == [1, 4, 9, 16, 25], "half a line is none"
    assert 0 < len(again.asked) < 5


def test_an_answer_whose_file_cannot_be_written_is_printed_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["simulation.min_queries=5000", "simulation.max_queries=5000", "simulation.precision=0.5"]
    over = ["--over", "policy.batch_size=64,128", "--jobs", "1", "--out", str(tmp_path / "table.csv")]
    sets = [part for setting in few for part in ("--set", setting)]
    with files_end_at(PROBE_BYTES), patch("perfmodel.cli.sweep.table_bytes", return_value=b" " * 300_000):
        assert main(["sweep", "ncf_skylake", *sets, *over, "--json"]) == 2
    out, error = capsys.readouterr()
    assert len(json.loads(out)["rows"]) == 2
    assert "table.csv: cannot be written: File too large" in error.splitlines()[-1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["table.csv.unfinished"]
