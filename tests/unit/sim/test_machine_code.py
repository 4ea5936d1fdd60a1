"""Where machine code is kept: damaged, unwritable, written by several at once, and asked for by none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfmodel.errors import CacheWarning
from perfmodel.sim import machine_code
from perfmodel.sim.machine_code import compiled


def thrice(number: float) -> float:
    return 3.0 * number


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine_code.config, "CACHE_DIR", str(tmp_path))
    return machine_code.cache_folders()[0]


def statistics_of(function: Any) -> tuple[int, int]:
    """Call a function once; how often machine code was found, and how often not."""
    assert function(2.0) == 6.0
    return sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values())


FOUND, COMPILED = (1, 0), (0, 1)


def the_entry(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_a_second_process_finds_what_the_first_has_compiled(folder: Path) -> None:
    assert statistics_of(compiled(thrice)) == COMPILED
    assert [path.suffix for path in folder.iterdir()] == [".nbc"]
    assert statistics_of(compiled(thrice)) == FOUND


def test_other_sources_compile_anew_and_leave_one_entry(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics_of(compiled(thrice))
    for name in ("sources_digest", "_SOURCES_AT_IMPORT"):
        monkeypatch.setattr(machine_code, name, (lambda: "new") if name == "sources_digest" else "new")
    assert statistics_of(compiled(thrice)) == COMPILED
    assert statistics_of(compiled(thrice)) == FOUND
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("setting", machine_code.CODE_SETTINGS)
def test_other_settings_of_the_compiler_compile_anew(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics_of(compiled(thrice))
    monkeypatch.setattr(machine_code.config, setting, int(not getattr(machine_code.config, setting)))
    assert statistics_of(compiled(thrice)) == COMPILED


def test_code_of_sources_that_were_edited_since_they_were_imported_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code, "sources_digest", lambda: "edited")
    assert statistics_of(compiled(thrice)) == COMPILED
    assert not folder.exists()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:1],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: bytes(len(content)),
        lambda content: os.urandom(len(content)),
        lambda content: b"\x80\x04." + content[3:],
        flipped,
    ],
)
def test_damaged_code_is_compiled_anew_with_one_note_and_replaced(
    folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    statistics_of(compiled(thrice))
    entry = the_entry(folder)
    entry.write_bytes(damage(entry.read_bytes()))
    with pytest.warns(CacheWarning, match="is damaged: compiled anew") as notes:
        assert statistics_of(compiled(thrice)) == COMPILED
    assert len(notes) == 1
    assert statistics_of(compiled(thrice)) == FOUND


@pytest.mark.thorough
def test_code_that_is_another_functions_is_damage(folder: Path) -> None:
    def twice(number: float) -> float:
        return 2.0 * number

    assert compiled(twice)(3.0) == 6.0
    stranger = the_entry(folder)
    content = stranger.read_bytes()
    stranger.unlink()
    statistics_of(compiled(thrice))
    the_entry(folder).write_bytes(content)
    assert compiled(twice)(4.0) == 8.0
    with pytest.warns(CacheWarning, match="damaged"):
        assert compiled(thrice)(2.0) == 6.0


def test_a_folder_in_the_place_of_an_entry_is_two_notes_and_no_error(folder: Path) -> None:
    statistics_of(compiled(thrice))
    entry = the_entry(folder)
    entry.unlink()
    entry.mkdir()
    with pytest.warns(CacheWarning) as notes:
        assert statistics_of(compiled(thrice)) == COMPILED
    assert [str(note.message).split(" (")[0] for note in notes] == [
        f"compiled code kept in {folder} is damaged: compiled anew",
        "compiled code cannot be kept",
    ]


def test_where_nothing_can_be_written_code_runs_without_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(machine_code, "cache_folders", lambda: [file / "one", file / "two"])
    with pytest.warns(CacheWarning, match=r"file/one: .*; .*file/two: .*NUMBA_CACHE_DIR"):
        assert statistics_of(compiled(thrice)) == COMPILED


def test_the_second_folder_is_taken_where_the_first_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(machine_code, "cache_folders", lambda: [file, tmp_path / "two"])
    assert statistics_of(compiled(thrice)) == COMPILED
    assert statistics_of(compiled(thrice)) == FOUND


NO_ROOM_SCRIPT = """
import resource, sys, warnings
from tests.unit.sim.test_machine_code import COMPILED, statistics_of, thrice
from perfmodel.sim.machine_code import compiled
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    assert statistics_of(compiled(thrice)) == COMPILED
for one in told:
    print(one.category.__name__, one.message)
"""


@pytest.mark.thorough
def test_a_full_disk_is_a_note_and_leaves_no_file_behind(folder: Path, tmp_path: Path) -> None:
    # In a process of its own: the limit would hold for a file that pytest's own output goes to.
    root = Path(machine_code.__file__).parents[2]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", NO_ROOM_SCRIPT]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    (note,) = done.stdout.splitlines()
    assert note.startswith(CacheWarning.__name__)
    assert os.strerror(errno.EFBIG) in note
    assert list(folder.iterdir()) == []


WRITERS_SCRIPT = """
import sys, warnings
warnings.simplefilter("error")
from tests.unit.sim.test_machine_code import thrice
from perfmodel.sim.machine_code import compiled
for _ in range(6):
    assert compiled(thrice)(2.0) == 6.0
    for path in __import__("pathlib").Path(sys.argv[1]).glob("*/*.nbc"):
        path.unlink(missing_ok=True)
"""


@pytest.mark.thorough
def test_processes_that_write_and_remove_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    root = Path(machine_code.__file__).parents[2]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WRITERS_SCRIPT, str(tmp_path)]
    writers = [
        subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2


def test_only_one_module_imports_numba() -> None:
    importers = [
        path.name
        for path in machine_code.SOURCES.rglob("*.py")
        if any(line.split()[:2] in (["import", "numba"], ["from", "numba"]) for line in _lines(path))
    ]
    assert importers == ["machine_code.py"]


def test_modules_with_compiled_functions_take_values_from_these_sources_only() -> None:
    for path in machine_code.SOURCES.glob("*.py"):
        lines = _lines(path)
        if any(line.startswith("@compiled") for line in lines):
            taken = [line.split()[1] for line in lines if line.startswith("from perfmodel")]
            known = ("perfmodel.sim.", "perfmodel.errors", "perfmodel.threads")  # no values in the last two
            others = [name for name in taken if not name.startswith(known)]
            assert others == [], path


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_note_is_not_an_error_for_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "cache_folders", lambda: [Path("/dev/null/x")])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert statistics_of(compiled(thrice)) == COMPILED
    assert [warning.category for warning in caught] == [CacheWarning]
