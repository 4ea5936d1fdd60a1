"""Files are written whole or not at all, and what cannot be written is refused before the work."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import perfmodel
from perfmodel.errors import InputError
from perfmodel.loading.written import require_writable, write_atomically

CHECKOUT = Path(perfmodel.__file__).parent.parent


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text in ("one\n", "two – more\n"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_longest_name_has_room_for_its_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    require_writable(path)
    write_atomically(path, "text")
    assert path.read_text() == "text"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
def test_whatever_ends_the_writing_leaves_what_was_there(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((InputError, KeyboardInterrupt, MemoryError)):
        write_atomically(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.yaml"
    link.symlink_to(tmp_path / "there" / "file.yaml")
    require_writable(link)
    write_atomically(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file.yaml").read_text() == "text"


def test_a_device_is_written_to_and_not_replaced() -> None:
    require_writable(Path(os.devnull))
    write_atomically(Path(os.devnull), "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = {
        tmp_path: "is a directory",
        tmp_path / "no" / "x.html": "no directory",
        tmp_path / "file" / "x.html": "no directory",
        tmp_path / ("n" * 256): "name too long",
    }
    for path, says in wrong.items():
        with pytest.raises(InputError, match=rf"(?i)--records .*{says}"):
            require_writable(path, "--records")
        with pytest.raises(InputError, match="cannot be written"):
            write_atomically(path, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that takes no file, for anybody")
def test_a_folder_that_takes_no_file_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be written"):
        require_writable(Path("/proc/self/x.html"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from perfmodel.errors import InputError
from perfmodel.loading.written import require_writable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    require_writable(Path(sys.argv[1]))
except InputError as error:
    print(error)
"""


def test_a_disk_that_is_full_already_is_refused(tmp_path: Path) -> None:
    # In a process of its own: the limit would hold for a file that pytest's own output goes to.
    pytest.importorskip("resource")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "x.html")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []
