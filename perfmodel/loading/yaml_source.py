"""Safe YAML: text -> a tree of plain values and places. Nothing in a file can run or build an object.

Stricter than YAML 1.1: keys are unique and text; a number is decimal (`1e6` and `4_000_000` are numbers,
`010`, `0x10` and `1:30` are text); only true and false are booleans (yes, no, on and off are text); dates
are text; tags and merge keys are refused; what aliases expand to is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_text, unprintable
from perfmodel.loading.yaml_tree import (
    MAX_DEPTH,
    Listing,
    Node,
    Place,
    Scalar,
    ScalarValue,
    Section,
    YamlSource,
)

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_MAX_NODES = 1_000_000

_WORDS: dict[str, ScalarValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_EXPONENT = r"[eE][-+]?[0-9]+"
_FLOAT = re.compile(
    rf"[-+]?([0-9]+(_[0-9]+)*\.[0-9]*({_EXPONENT})?|\.[0-9]+({_EXPONENT})?|[0-9]+(_[0-9]+)*{_EXPONENT})"
)
_MAX_DIGITS = 400
LARGEST_EXACT = 2.0**53
"""Up to here floats hold every whole number."""
_MAX_BYTES = 8_000_000
"""Ten times the largest profile; one second of parsing for each megabyte. [bytes]"""


def read_yaml(path: Path) -> YamlSource:
    """Read one YAML document from a file.

    Raises
    ------
    InputError
        One line, `file:line:column: what is wrong`.
    """
    return parse_yaml(read_text(path, most_bytes=_MAX_BYTES), str(path), directory=path.parent)


def parse_yaml(text: str, name: str, *, directory: Path = Path()) -> YamlSource:
    """Parse the text of one YAML document, which must be a mapping.

    Raises
    ------
    InputError
        One line, `name:line:column: what is wrong`.
    """
    root = parse_node(text, name)
    start = Place(name, 1, 1)
    if root is None or (isinstance(root, Scalar) and root.value is None):
        raise InputError(f"{start}: the file is empty")
    if not isinstance(root, Section):
        raise InputError(f"{root.place}: expected a section (key: value) at the top level")
    return YamlSource(name=name, directory=directory, root=root)


def parse_node(text: str, name: str) -> Node | None:
    """Parse the text of one YAML document, whatever it is; None where there is none.

    Raises
    ------
    InputError
        One line, `name:line:column: what is wrong`.
    """
    return _parse(text, lambda line, column: Place(name, line, column))


def parse_value(text: str, place: Place) -> Node:
    """Parse one value of an option as YAML; every part of it has the option's place.

    Raises
    ------
    InputError
        One line that begins with the option.
    """
    if (bad := unprintable(text)) is not None:
        raise InputError(f"{place}: {bad[1]}")
    return _parse(text, lambda _line, _column: place) or Scalar(None, "", place)


PlaceAt = Callable[[int, int], Place]


def _parse(text: str, place_at: PlaceAt) -> Node | None:
    """Compose the tree of the only document; None where there is none."""
    events = yaml.parse(text, Loader=_LOADER)
    composer = _Composer(events, place_at)
    try:
        return composer.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = place_at(mark.line + 1, mark.column + 1) if mark else place_at(1, 1)
        problem = " ".join((error.problem or error.context or "cannot be parsed").split())
        hint = "" if "token" not in problem else " (indent with spaces, not tabs)" * ("\t" in text)
        raise InputError(f"{place}: not valid YAML: {problem}{hint}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{place_at(1, 1)}: not valid YAML: {' '.join(str(error).split())}") from None


@dataclass(slots=True)
class _Composer:
    """Turns the parser's events into one tree; owns the aliases and the count of nodes while it runs."""

    events: Iterator[yaml.Event]
    place_at: PlaceAt
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    num_nodes: int = 0

    def document(self) -> Node | None:
        """Compose the only document of the stream."""
        next(self.events)  # the stream starts
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        root = self.node(next(self.events), depth=0)
        next(self.events)  # the document ends
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise InputError(f"{self.place(after)}: a second document; expected one in a file")
        return root

    def place(self, event: yaml.Event) -> Place:
        """Where an event starts."""
        mark = event.start_mark
        assert mark is not None, "parsed events carry marks"
        return self.place_at(mark.line + 1, mark.column + 1)

    def node(self, event: yaml.Event, *, depth: int) -> Node:
        """Compose the node that starts with this event."""
        place = self.place(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, place)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent), "the grammar of YAML events"
        if event.tag is not None:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise InputError(f"{place}: tags are not allowed, got {shown}")
        if depth > MAX_DEPTH:
            raise InputError(f"{place}: nested more than {MAX_DEPTH} levels deep")
        nodes_before = self.num_nodes
        self.count(1, place)
        match event:
            case yaml.ScalarEvent():
                node: Node = Scalar(_scalar_value(event, place), event.value, place)
            case yaml.SequenceStartEvent():
                node = self.listing(place, depth=depth)
            case _:
                node = self.section(place, depth=depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.num_nodes - nodes_before)
        return node

    def alias(self, event: yaml.AliasEvent, place: Place) -> Node:
        """Look up an alias, and count what it expands to."""
        if event.anchor not in self.anchors:
            raise InputError(f"{place}: unknown alias *{event.anchor}; its anchor must end before it")
        node, num_nodes = self.anchors[event.anchor]
        self.count(num_nodes, place)
        return node

    def count(self, num_nodes: int, place: Place) -> None:
        """Bound the size of the expanded document."""
        self.num_nodes += num_nodes
        if self.num_nodes > _MAX_NODES:
            raise InputError(f"{place}: the file expands to more than {_MAX_NODES} values")

    def listing(self, place: Place, *, depth: int) -> Listing:
        """Compose a sequence, whose start event has been read."""
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, depth=depth + 1))
        return Listing(tuple(items), place)

    def section(self, place: Place, *, depth: int) -> Section:
        """Compose a mapping, whose start event has been read."""
        entries: dict[str, Node] = {}
        key_places: dict[str, Place] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key_place = self.place(event)
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise InputError(f"{key_place}: expected a plain key")
            key = event.value
            if key == "<<" and event.implicit[0]:
                raise InputError(f"{key_place}: merge keys (<<) are not supported; write the keys out")
            if key in entries:
                raise InputError(f"{key_place}: duplicate key {key!r}, first given at {key_places[key]}")
            entry = self.node(next(self.events), depth=depth + 1)
            is_left_out = isinstance(entry, Scalar) and entry.value is None and not entry.text
            entries[key] = Scalar(None, "", key_place) if is_left_out else entry
            key_places[key] = key_place
        return Section(entries, key_places, place)


def _scalar_value(event: yaml.ScalarEvent, place: Place) -> ScalarValue:
    """Read a scalar: quoted ones are text, plain ones may be a number or a word."""
    text = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    is_integer = _INTEGER.fullmatch(text)
    if (is_integer or _FLOAT.fullmatch(text)) and len(text) > _MAX_DIGITS:
        raise InputError(f"{place}: a number of {len(text)} digits is too long")
    if is_integer:
        return int(text)
    return _number(text) if _FLOAT.fullmatch(text) else text


def _number(text: str) -> float:
    """A number with a point or an exponent; `1e6` is the whole number that it says, `1.0` is none.

    Examples
    --------
    >>> _number("1e6"), _number("2.5e3"), _number("1.0"), _number("1e-3")
    (1000000, 2500, 1.0, 0.001)
    """
    value = float(text)
    is_whole = "e" in text.lower() and abs(value) <= LARGEST_EXACT and value.is_integer()
    return int(value) if is_whole else value
