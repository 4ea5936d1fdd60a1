"""A parsed YAML document that remembers where everything was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.words import cut, quoted

Key = str | int
KeyPath = tuple[Key, ...]
ScalarValue = str | int | float | bool | None
Data = ScalarValue | list["Data"] | dict[str, "Data"]

MAX_DEPTH = 60
"""Levels of a document: nobody writes more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a line and column (from 1) of a file, or a `--set` option.

    Attributes
    ----------
    source : str
        The file as the user named it, or the option.
    line, column : int
        From 1; 0 for an option.
    option_path : tuple of str or None
        The keys that the option sets; None for a file.
    """

    source: str
    line: int = 0
    column: int = 0
    option_path: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.source if self.option_path is not None else f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `text` is how it was written."""

    value: ScalarValue
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Listing:
    """A YAML sequence."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Section:
    """A YAML mapping, with the places of its keys."""

    entries: Mapping[str, Node]
    key_places: Mapping[str, Place]
    place: Place


Node = Scalar | Listing | Section


def plain(node: Node) -> Data:
    """Turn a node into plain dicts, lists and scalars."""
    match node:
        case Scalar():
            return node.value
        case Listing():
            return [plain(item) for item in node.items]
        case Section():
            return {key: plain(entry) for key, entry in node.entries.items()}


def child(node: Node, key: Key) -> Node | None:
    """Look up one key or index; None where there is none."""
    match node:
        case Section():
            return node.entries.get(str(key))
        case Listing():
            index = int(key) if str(key).isdecimal() else -1
            return node.items[index] if 0 <= index < len(node.items) else None
        case Scalar():
            return None


def shown(node: Node) -> str:
    """Show a value in an error message, as it was written."""
    match node:
        case Section():
            return "a section"
        case Listing():
            return "a list"
        case Scalar(value=str() as value):
            return quoted(value)
        case Scalar():
            return cut(node.text or "nothing")


@dataclass(frozen=True, slots=True)
class YamlSource:
    """A document and where it came from; finds the place of any key, for error messages.

    Attributes
    ----------
    name : str
        The file as the user named it.
    directory : Path
        Where relative paths in the file start.
    root : Node
        The document.

    Examples
    --------
    >>> from perfmodel.loading.yaml_source import parse_yaml
    >>> source = parse_yaml("node:\\n  cpu: skylake\\n", "a.yaml")
    >>> source.locate("node", "cpu")
    'a.yaml:2:8'
    >>> print(source.error("no such profile", "node", "cpu"))
    a.yaml:2:8: cpu: no such profile
    """

    name: str
    directory: Path
    root: Node

    def data(self) -> Data:
        """Return the document as plain dicts, lists and scalars."""
        return plain(self.root)

    def find(self, *path: Key) -> Node | None:
        """Look up the node at a key path; None where there is none."""
        node: Node | None = self.root
        for key in path:
            node = child(node, key) if node is not None else None
        return node

    def place(self, *path: Key) -> Place:
        """Place of a value; of one that was not written, of the key of the section that lacks it."""
        node, place = self.root, self.root.place
        for key in path:
            inner = child(node, key)
            if inner is None:
                return place
            place = node.key_places[str(key)] if isinstance(node, Section) else inner.place
            node = inner
        return node.place

    def key_place(self, *path: Key) -> Place:
        """Place of the last key itself rather than of its value."""
        parent = self.find(*path[:-1])
        written = parent.key_places.get(str(path[-1])) if isinstance(parent, Section) else None
        return written or self.place(*path)

    def locate(self, *path: Key) -> str:
        """Write the place of a value as `file:line:column`, or as the option that set it."""
        return str(self.place(*path))

    def directory_of(self, *path: Key) -> Path:
        """Where a relative path at this key starts: beside its file, or where an option was typed."""
        place = self.place(*path)
        if place.option_path is not None:
            return Path()
        return self.directory if place.source == self.name else Path(place.source).parent

    def error(self, message: str, *path: Key) -> InputError:
        """Build the one-line error about the value at a key path; the caller raises it."""
        place = self.place(*path)
        label = label_of(path, place)
        return InputError(f"{place}: {label}: {message}" if label else f"{place}: {message}")

    def with_node(self, path: tuple[str, ...], node: Node, place: Place) -> YamlSource:
        """Replace one value; sections on the way that do not exist yet are made.

        Raises
        ------
        InputError
            If the path leads through a value that is no section, or to a list entry that does not exist.
        """
        return replace(self, root=_replaced(self.root, path, node, place))


def source_of(values: Any, name: str) -> YamlSource:
    """Take values of Python for a document, so that what is wrong with one is said as it is of a file.

    Parameters
    ----------
    values : mapping
        Texts, numbers, truth values, None, paths, and mappings and sequences of these.
    name : str
        What messages call the whole.

    Raises
    ------
    InputError
        If there is anything else in it.

    Examples
    --------
    >>> source = source_of({"node": {"cores": 40}}, "scenario")
    >>> print(source.error("expected fewer", "node", "cores"))
    scenario: cores: expected fewer
    """
    return YamlSource(name=name, directory=Path(), root=_node_of(values, Place(name, option_path=()), ()))


def _node_of(value: Any, place: Place, path: KeyPath) -> Node:
    if len(path) > MAX_DEPTH:
        raise InputError(f"{place}: nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return Scalar(value, "null" if value is None else str(value).lower(), place)
        case str() | PurePath():
            return Scalar(str(value), str(value), place)
        case Integral():  # numpy's too
            return Scalar(int(value), str(value), place)
        case Real():
            return Scalar(float(value), f"{float(value)!r}", place)
        case Mapping():
            entries = {str(key): _node_of(inner, place, (*path, str(key))) for key, inner in value.items()}
            return Section(entries, dict.fromkeys(entries, place), place)
        case Sequence() if not isinstance(value, bytes):
            return Listing(
                tuple(_node_of(inner, place, (*path, index)) for index, inner in enumerate(value)), place
            )
    label = ".".join(map(str, path)) or "all of it"
    raise InputError(f"{place}: {label}: expected what a YAML file can say, got {type(value).__name__}")


def label_of(path: KeyPath, place: Place) -> str:
    """Name a value in a message: its key, with list indices (`widths.2`); what an option says is left out."""
    if place.option_path is not None:
        path = path[len(place.option_path) :]
    key_indices = [index for index, key in enumerate(path) if isinstance(key, str)]
    return ".".join(str(key) for key in path[key_indices[-1] :]) if key_indices else ""


def _replaced(node: Node, path: tuple[str, ...], new: Node, place: Place) -> Node:
    if not path:
        return new
    key, rest = path[0], path[1:]
    empty = Section({}, {}, place)
    match node:
        case Section():
            inner = _replaced(node.entries.get(key, empty), rest, new, place)
            key_place = node.key_places.get(key, place) if rest else place
            return replace(
                node,
                entries={**node.entries, key: inner},
                key_places={**node.key_places, key: key_place},
            )
        case Listing():
            index = int(key) if key.isdecimal() else len(node.items)
            if index >= len(node.items):
                raise InputError(
                    f"{place}: no entry {key} in a list of {len(node.items)}; set the whole list: [a, b]"
                )
            inner = _replaced(node.items[index], rest, new, place)
            return replace(node, items=(*node.items[:index], inner, *node.items[index + 1 :]))
        case Scalar(value=None):
            return _replaced(empty, path, new, place)
        case Scalar():
            raise InputError(f"{place}: {shown(node)} is a single value; it has no key {key!r}")
