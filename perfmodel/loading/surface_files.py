"""The tables of surfaces that a calibrated profile names by their content, read in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from perfmodel.errors import InputError
from perfmodel.loading.profile_sections import SurfacesFile
from perfmodel.loading.shipped import shipped_directory
from perfmodel.loading.surface_table import surfaces_node
from perfmodel.loading.text_file import is_file, read_text, unprintable, unreadable
from perfmodel.loading.validated import validate
from perfmodel.loading.words import quoted
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.loading.yaml_tree import Section, YamlSource

MOST_BYTES = 8_000_000
"""Of a table of surfaces: twenty times the largest shipped one. [bytes]"""
SHOWN_DIGITS = 8
"""Of a hash, in the name of a table and in messages: enough to tell two calibrations of a machine apart."""


def with_surfaces(source: YamlSource) -> YamlSource:
    """The document with each table that it names read into its place.

    Raises
    ------
    InputError
        Where the profile names a table that is not there, or is another than it was written with; at its
        place in a table that is none.
    """
    for stack, wanted, path in _tables(source):
        keys = ("stacks", stack, "surfaces")
        content = _content(path)
        if (found := sha256(content).hexdigest()) != wanted:
            raise source.error(
                f"expected {path.name} as it was written with this profile ({wanted[:SHOWN_DIGITS]}…), "
                f"found another or an edited one ({found[:SHOWN_DIGITS]}…)",
                *keys,
                "sha256",
            )
        source = source.with_node(keys, surfaces_node(_text(path, content), str(path)), source.place(*keys))
    return source


def surface_files(path: Path) -> tuple[Path, ...]:
    """The tables that a profile names: none where all of it is in one file, or it is derived from another.

    Raises
    ------
    InputError
        If the profile cannot be read, or a table is not there.
    """
    return tuple(table for _, _, table in _tables(read_yaml(path)))


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size <= MOST_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    raise InputError(f"{path}:1:1: expected at most {MOST_BYTES / 1e6:.0f} MB of surfaces, got more")


def _text(path: Path, content: bytes) -> str:
    """The table's text; what is none is refused at its place."""
    with suppress(UnicodeDecodeError):
        text = content.decode("utf-8-sig")
        if unprintable(text) is None:  # all at once: line by line takes ten times as long
            return text
    return read_text(path)


def _tables(source: YamlSource) -> Iterator[tuple[str, str, Path]]:
    """Each stack with a table, its hash and its place: beside the profile, else among the shipped ones."""
    stacks = source.find("stacks")
    for stack in stacks.entries if isinstance(stacks, Section) else ():
        node = source.find("stacks", stack, "surfaces")
        if not isinstance(node, Section):
            continue
        named = validate(YamlSource(source.name, source.directory, node), SurfacesFile)
        folders = (source.directory, Path(source.name).resolve().parent, shipped_directory("profile"))
        found = next((folder / named.file for folder in folders if is_file(folder / named.file)), None)
        if found is None:
            message = f"expected the surfaces beside the profile, found no {quoted(named.file)} there"
            raise source.error(message, "stacks", stack, "surfaces", "file")
        yield stack, named.sha256, found
