"""A profile and the table of its surfaces: read as one, and written so that one of two pairs is whole."""

from __future__ import annotations

import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from perfmodel.errors import InputError
from perfmodel.loading import profile_writing
from perfmodel.loading.derived_profile import measured_document, read_profile
from perfmodel.loading.profile_text import profile_text
from perfmodel.loading.profile_writing import write_profile
from perfmodel.loading.shipped import find_file, shipped_directory
from perfmodel.loading.surface_files import surface_files
from perfmodel.loading.surface_table import surfaces_csv, surfaces_node
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.loading.yaml_tree import plain
from tests.measured_profiles import measured_names
from tests.unit.loading.test_profile_file import document, surface_values

CALIBRATED = [name for name in measured_names() if surface_files(find_file("profile", name))]


def values(**surface: Any) -> dict[str, Any]:
    """A profile with surfaces of two calls, all in one file."""
    layers = surface_values("fc") | {"source": "measured: raw.csv, in two passes"} | surface
    described = document()
    described["stacks"] = {
        "plain": described["stacks"]["plain"] | {"surfaces": [layers, surface_values("sum")]}
    }
    return described


def written(folder: Path, **surface: Any) -> tuple[Path, Path]:
    """The profile and its table."""
    profile = folder / "mine.yaml"
    write_profile(profile, values(**surface))
    (table,) = surface_files(profile)
    return profile, table


def test_those_that_are_shipped_keep_their_surfaces_in_a_file_each() -> None:
    assert len(CALIBRATED) == 8
    for name in CALIBRATED:
        path = find_file("profile", name)
        # Ways to serve modules, or launches of a card, are more than a half.
        assert len(path.read_text(encoding="utf-8").splitlines()) < 350
        assert len(surface_files(path)) == 1
    tables = {table.name for name in CALIBRATED for table in surface_files(find_file("profile", name))}
    assert {path.name for path in shipped_directory("profile").glob("*.csv")} == tables


@pytest.mark.parametrize("name", CALIBRATED)
@pytest.mark.thorough_cases(*CALIBRATED[1:])
def test_apart_and_in_one_file_say_the_same(name: str, tmp_path: Path) -> None:
    path = find_file("profile", name)
    data: Any = measured_document(read_yaml(path)).data()
    whole = tmp_path / "whole.yaml"
    whole.write_text(profile_text(data), encoding="utf-8")
    assert read_profile(whole) == read_profile(path)
    write_profile(whole, data)
    assert read_profile(whole) == read_profile(path)
    (shipped,), (again,) = surface_files(path), surface_files(whole)
    assert again.read_bytes() == shipped.read_bytes()


def test_a_table_is_named_by_its_content_and_keeps_every_digit(tmp_path: Path) -> None:
    digits = {"amplitude": 0.1 + 0.2, "calls": 12, "relative_error": 1e-17}
    profile, table = written(tmp_path, **digits)
    text = profile.read_text(encoding="utf-8")
    assert re.fullmatch(r"mine\.surfaces-[0-9a-f]{8}\.csv", table.name)
    assert f"file: {table.name}\n" in text
    assert "residual" not in text
    layers, sums = read_profile(profile).stacks["plain"].surfaces
    assert (layers.amplitude, layers.relative_error) == (0.30000000000000004, 1e-17)
    assert layers.source == "measured: raw.csv, in two passes"
    assert sums.residual == surface_values("sum")["residual"]


def test_a_table_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    profile, table = written(tmp_path)
    table.unlink()
    line = next(
        number
        for number, text in enumerate(profile.read_text(encoding="utf-8").splitlines(), start=1)
        if "file: " in text
    )
    expected = f"expected the surfaces beside the profile, found no '{table.name}' there"
    with pytest.raises(InputError, match=rf"mine\.yaml:{line}:13: file: {expected}$"):
        read_profile(profile)


def test_a_table_that_was_changed_is_one_line(tmp_path: Path) -> None:
    profile, table = written(tmp_path)
    table.write_text(table.read_text(encoding="utf-8").replace("2000.0", "1000.0"), encoding="utf-8")
    message = (
        r"mine\.yaml:\d+:15: sha256: expected mine\.surfaces-\w+\.csv as it was written with this profile"
    )
    with pytest.raises(InputError, match=message):
        read_profile(profile)


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("file: ", "fil: ", r"mine.yaml:\d+:7: unknown key 'fil'.*did you mean 'file'"),
        ("file: mine", "file: ../mine", "file: expected"),
        ("sha256: ", "sha256: 0", "sha256: expected"),
        (r"(?s)\n      file: .*?\n      sha256: .*?\n", " {}\n", "missing key 'file'"),
        (
            r"(?s) *\n      file: .*?\n      sha256: .*?\n",
            " mine.csv\n",
            "surfaces: expected .* list, got 'mine.csv'",
        ),
    ],
)
def test_a_name_that_is_none_is_one_line(before: str, after: str, error: str, tmp_path: Path) -> None:
    profile, _ = written(tmp_path)
    text, count = re.subn(before, after, profile.read_text(encoding="utf-8"), count=1)
    assert count == 1
    profile.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=error):
        read_profile(profile)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("call,fc", "fc"), r"1:1: expected call and the name of a kind of call, got 'fc'"),
        (("amplitude,", "amplitud,"), r"4:1: expected one of call, source, .*, got 'amplitud,1.0'"),
        (("amplitude,1.0", "amplitude,high"), r"4:1: expected a finite number, got 'high'"),
        (("amplitude,1.0", "amplitude,1.0,2.0"), r"4:1: expected one value, got 2 of 1 cells"),
        (("noise,0.1", "amplitude,0.1"), r"5:1: amplitude: given twice for one kind of call"),
        (("law_ns,row,", "law_ns,call,"), r"law_ns,call: given twice for one kind of call"),
        (("noise,0.1\n", ""), r"1:1: missing key 'noise' in stacks.plain.surfaces.0"),
        (
            ("scale,1.0", "scale,1.0,1.0"),
            r"expected a number for each of the coordinates above, got 11 of 10",
        ),
        (("\nlow,", "\n#low,"), r"expected one of call"),
        (
            ("centre,0.5", "centre,0.5,0.5"),
            r":\d\d:1: expected 10 coordinates and a weight, got 12 of 11 cells",
        ),
        (("centre,0.5", "centre,nan"), r":\d\d:1: expected a finite number, got 'nan'"),
        (("centre,0.5", "centre,1e999"), r"residual: line 2: expected finite numbers, got inf|1e999"),
        (("call,sum", "call,som"), r"call: expected family or family.variant"),
    ],
)
def test_what_is_no_table_is_refused_at_its_place(
    change: tuple[str, str], error: str, tmp_path: Path
) -> None:
    """As if the hash had been written anew by hand."""
    profile, table = written(tmp_path)
    text = table.read_text(encoding="utf-8")
    assert change[0] in text
    table.write_text(text.replace(*change, 1), encoding="utf-8")
    now = sha256(table.read_bytes()).hexdigest()
    said = re.sub(r"sha256: \w+", f"sha256: {now}", profile.read_text(encoding="utf-8"))
    profile.write_text(said, encoding="utf-8")
    with pytest.raises(InputError, match=error) as raised:
        read_profile(profile)
    assert str(raised.value).startswith(str(table))
    assert "\n" not in str(raised.value)


def test_a_copy_of_a_shipped_profile_finds_the_shipped_table(tmp_path: Path) -> None:
    """`perfplan show NAME > mine.yaml`: the hash says that it is the same."""
    shutil.copy(find_file("profile", CALIBRATED[0]), tmp_path / "mine.yaml")
    assert read_profile(tmp_path / "mine.yaml") == read_profile(find_file("profile", CALIBRATED[0]))


def test_a_link_finds_the_table_beside_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    profile, table = written(tmp_path / "a")
    link = tmp_path / "link.yaml"
    link.symlink_to(profile)
    assert surface_files(link)[0].samefile(table)
    write_profile(link, values(amplitude=2.0))
    assert link.is_symlink()
    assert read_profile(link).stacks["plain"].surfaces[0].amplitude == 2.0
    assert sorted(path.suffix for path in (tmp_path / "a").iterdir()) == [".csv", ".yaml"]


def test_an_older_table_goes_unless_another_profile_names_it(tmp_path: Path) -> None:
    profile, first = written(tmp_path)
    _, second = written(tmp_path, amplitude=2.0)
    assert (first.exists(), second.exists()) == (False, True)
    shutil.copy(profile, tmp_path / "copy.yaml")
    _, third = written(tmp_path, amplitude=3.0)
    assert (second.exists(), third.exists()) == (True, True)
    assert read_profile(tmp_path / "copy.yaml").stacks["plain"].surfaces[0].amplitude == 2.0


@pytest.mark.parametrize("file", [1, 2])
def test_an_interruption_leaves_the_older_pair(
    file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the table is written, and between the two."""
    profile, table = written(tmp_path)
    before = {path: path.read_bytes() for path in (profile, table)}
    seen = []
    write = profile_writing.write_atomically

    def interrupted(path: Path, text: str) -> None:
        seen.append(path)
        if len(seen) == file:
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(profile_writing, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_profile(profile, values(amplitude=2.0))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert seen[-1].suffix == (".csv" if file == 1 else ".yaml")


def test_a_pipe_gets_all_of_it() -> None:
    write_profile(Path("/dev/null"), values())  # nothing beside it


def test_names_and_numbers_of_a_table_come_back_in_any_order_of_columns() -> None:
    section = surface_values("sum")
    names = list(reversed(section["coordinates"]))
    section["residual"] = f"weight {' '.join(names)}\n-1.5 0.1 0.2 0.3 0.4 0.5\n"
    (again,) = plain(surfaces_node(surfaces_csv([section]), "x.csv"))  # type: ignore[misc]  # a list of one
    assert isinstance(again, dict)
    assert again["residual"] == f"{' '.join(names)} weight\n0.1 0.2 0.3 0.4 0.5 -1.5\n"
    assert again | {"residual": ""} == section | {"residual": ""}
