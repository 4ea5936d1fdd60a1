"""Shipped files are found by name from anywhere, other files by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.shipped import find_file, find_profile, shipped_directory, shipped_names


@pytest.mark.parametrize("name", ["rm3_skylake", "rm3_skylake.yaml"])
def test_a_shipped_scenario_is_found_from_any_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file("scenario", name) == shipped_directory("scenario") / "rm3_skylake.yaml"


def test_a_file_in_the_folder_goes_before_a_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "rm3_skylake.yaml"
    own.write_text("model: own\n")
    assert find_file("scenario", "rm3_skylake.yaml", relative_to=tmp_path) == own
    assert find_file("scenario", "rm3_skylake", relative_to=tmp_path) != own


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("model: own\n")
    assert find_file("scenario", str(own), relative_to=Path("elsewhere")) == own


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    with pytest.raises(InputError) as caught:
        find_file("scenario", "rm3_skylak")
    expected = (
        "unknown scenario 'rm3_skylak'; did you mean 'rm3_skylake'? (perfplan list scenarios shows all)"
    )
    assert str(caught.value) == expected


def test_a_name_whose_file_is_here_is_told_how_to_write_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: own\n")
    with pytest.raises(InputError, match=r"did you mean './mine.yaml'\?"):
        find_file("scenario", "mine", relative_to=tmp_path)


def test_a_file_of_another_kind_is_told_apart_from_a_name(tmp_path: Path) -> None:
    for name in ("net.py", "notes.txt", "folder.yaml"):
        (tmp_path / name).mkdir() if name.startswith("folder") else (tmp_path / name).write_text("1\n")
    with pytest.raises(InputError, match=r"perfplan import net.py:FACTORY --out FILE.yaml makes one"):
        find_file("model", "net.py", relative_to=tmp_path)
    with pytest.raises(InputError, match=r"a YAML file, got 'notes.txt' \(./notes.txt is read whatever"):
        find_file("scenario", "notes.txt", relative_to=tmp_path)
    with pytest.raises(InputError, match=r"expected a fleet file, got the folder 'folder\.yaml'"):
        find_file("fleet", "folder.yaml", relative_to=tmp_path)


def test_a_path_without_a_file_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a model file, found none at .*absent\.yaml"):
        find_file("model", "./absent.yaml", relative_to=tmp_path)


@pytest.mark.parametrize("name", ["\0", "", "..", "*"])
def test_odd_names_are_unknown_rather_than_a_crash(name: str) -> None:
    with pytest.raises(InputError, match="unknown model"):
        find_file("model", name)


def test_an_at_without_a_stack_is_refused() -> None:
    with pytest.raises(InputError, match="expected a stack after @"):
        find_profile("skylake@")


def test_an_at_in_a_folder_is_no_stack(tmp_path: Path) -> None:
    folder = tmp_path / "me@home"
    folder.mkdir()
    (folder / "box.yaml").write_text("name: box\n")
    assert find_profile(str(folder / "box.yaml")) == (folder / "box.yaml", None)
    assert find_profile(f"{folder / 'box.yaml'}@torch") == (folder / "box.yaml", "torch")


def test_shipped_names_have_no_suffix_and_are_sorted() -> None:
    names = shipped_names("scenario")
    assert names == sorted(names)
    assert "rm3_skylake" in names
