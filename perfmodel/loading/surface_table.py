"""Measured surfaces as a table beside their profile: CSV, a block of lines for each kind of call.

    call,activation.relu
    source,measured: here.measured.csv
    calls,639
    amplitude,0.41637
    noise,0.19633
    noise_ns,47.838
    relative_error,0.1216
    law_ns,call,1700.1
    law_ns,element,0.10899
    coordinates,log_elements,log_reuse_bytes
    scale,5.2536,1.6941
    low,0.0,8.9258
    high,14.803,18.562
    centre,0,10.111,-0.38235

A line's first cell says what follows: `centre` is followed by its coordinates and its weight. Digits are
those of `SurfaceSection`, which says what each value means; reading a table and writing it changes none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.words import quoted
from perfmodel.loading.yaml_tree import Listing, Node, Place, Scalar, Section

WEIGHT = "weight"
"""What ends each line of a residual, after the coordinates."""
_NUMBERS = ("calls", "amplitude", "noise", "noise_ns", "relative_error")
_RANGE = ("scale", "low", "high")
_PLAIN = r"-?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?"
"""A number as tables are written."""
_KEYS = ("call", "source", *_NUMBERS, "law_ns", "coordinates", *_RANGE, "centre")


def surfaces_csv(sections: Iterable[Mapping[str, Any]]) -> str:
    """Write the plain values of surface sections as a table.

    Examples
    --------
    >>> head = {"call": "sum", "source": "measured: x", "calls": 2, "amplitude": 1.0, "noise": 1.0}
    >>> tail = {"noise_ns": 0.0, "relative_error": 0.1, "law_ns": {"call": 9.5}}
    >>> at = {"coordinates": {"log_pieces": {"scale": 1.0, "low": 0.0, "high": 2.0}}}
    >>> text = surfaces_csv([head | tail | at | {"residual": "log_pieces weight\\n0.5 -0.25\\n"}])
    >>> text.splitlines()[-5:]
    ['coordinates,log_pieces', 'scale,1.0', 'low,0.0', 'high,2.0', 'centre,0.5,-0.25']
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    for section in sections:
        header, *centres = section["residual"].splitlines()
        names = [name for name in header.split() if name != WEIGHT]
        order = [header.split().index(name) for name in (*names, WEIGHT)]
        table.writerow(("call", section["call"]))
        table.writerow(("source", section["source"]))
        table.writerows((key, repr(section[key])) for key in _NUMBERS)
        table.writerows(("law_ns", term, repr(value)) for term, value in section["law_ns"].items())
        table.writerow(("coordinates", *names))
        ranges = section["coordinates"]
        table.writerows((key, *(repr(ranges[name][key]) for name in names)) for key in _RANGE)
        table.writerows(("centre", *(line.split()[index] for index in order)) for line in centres)
    return text.getvalue()


def surfaces_node(text: str, name: str) -> Listing:
    """Read a table as the list of sections that may stand in a profile, each value with its place.

    Parameters
    ----------
    text : str
        The table.
    name : str
        Its file, for places.

    Raises
    ------
    InputError
        At the line that is none of such a table.
    """
    blocks: list[_Block] = []
    for number, line in enumerate(text.splitlines(), start=1):
        key, _, rest = line.partition(",")
        if key == "centre" and blocks:
            blocks[-1].centres.append(rest)
            blocks[-1].centre_lines.append(number)
            continue
        place = Place(name, number, 1)
        _, *cells = next(csv.reader([line])) or [""]
        if key == "call" and len(cells) == 1:
            blocks.append(_Block(place, cells[0]))
        elif blocks and key in _KEYS:
            blocks[-1].take(key, cells, place)
        else:
            expected = f"one of {', '.join(_KEYS)}" if blocks else "call and the name of a kind of call"
            raise InputError(f"{place}: expected {expected}, got {quoted(line)}")
    if not blocks:
        raise InputError(f"{name}:1:1: expected surfaces, a line of each beginning with call; got none")
    return Listing(tuple(block.section() for block in blocks), Place(name, 1, 1))


@dataclass(slots=True)
class _Block:
    """The lines of one surface, while a table is read."""

    place: Place
    call: str
    values: dict[str, Node] = field(default_factory=dict)
    law: dict[str, Scalar] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    ranges: dict[str, tuple[Scalar, ...]] = field(default_factory=dict)
    centres: list[str] = field(default_factory=list)
    centre_lines: list[int] = field(default_factory=list)

    def take(self, key: str, cells: list[str], place: Place) -> None:
        """Take a line that is no centre."""
        if key == "law_ns":
            term = _of(cells, 2, place, "a term and its coefficient")[0]
            _once(term in self.law, f"law_ns,{term}", place)
            self.law[term] = _number(cells[1], place)
            return
        _once(
            key in self.values or key in self.ranges or (key == "coordinates" and bool(self.names)),
            key,
            place,
        )
        if key == "coordinates":
            if len(set(cells)) < len(cells) or not all(cells):
                raise InputError(f"{place}: expected the names of coordinates, each once")
            self.names = tuple(cells)
        elif key in _RANGE:
            given = _of(cells, len(self.names), place, "a number for each of the coordinates above")
            self.ranges[key] = tuple(_number(cell, place) for cell in given)
        else:
            (cell,) = _of(cells, 1, place, "one value")
            self.values[key] = Scalar(cell, cell, place) if key == "source" else _number(cell, place)

    def section(self) -> Section:
        """The surface as a section of a profile."""
        absent = [key for key in _RANGE if key not in self.ranges]
        if absent or not self.names:
            raise InputError(
                f"{self.place}: {self.call}: expected a line of {(absent or ['coordinates'])[0]}"
            )
        self._require_numbers()
        lines = [" ".join((*self.names, WEIGHT)), *(line.replace(",", " ") for line in self.centres)]
        residual = "\n".join(lines) + "\n"
        at = Place(self.place.source, (self.centre_lines or [self.place.line])[0], 1)
        coordinates = {
            name: _section({key: self.ranges[key][index] for key in _RANGE}, self.place)
            for index, name in enumerate(self.names)
        }
        return _section(
            {
                "call": Scalar(self.call, self.call, self.place),
                **self.values,
                "law_ns": _section(self.law, self.place),
                "coordinates": _section(coordinates, self.place),
                "residual": Scalar(residual, residual, at),
            },
            self.place,
        )

    def _require_numbers(self) -> None:
        """Refuse, at its place, a centre of other cells than a number a coordinate and a weight."""
        size = len(self.names) + 1
        plain = re.compile(rf"(?:{_PLAIN}(?:,{_PLAIN}){{{size - 1}}};)*")
        if plain.fullmatch("".join(f"{line};" for line in self.centres)):
            return  # whoever turns them into numbers finds what is too large for one
        for number, line in zip(self.centre_lines, self.centres, strict=True):
            place, cells = Place(self.place.source, number, 1), line.split(",")
            for value in _of(cells, size, place, f"{size - 1} coordinates and a weight"):
                _number(value, place)


def _section(entries: Mapping[str, Node], place: Place) -> Section:
    """A section whose keys stand where their values do, or at `place`."""
    places = {key: node.place if isinstance(node, Scalar) else place for key, node in entries.items()}
    return Section(dict(entries), places, place)


def _of(cells: list[str], count: int, place: Place, expected: str) -> list[str]:
    """The cells, of which there have to be as many."""
    if len(cells) != count:
        raise InputError(f"{place}: expected {expected}, got {len(cells)} of {count} cells")
    return cells


def _once(is_known: bool, what: str, place: Place) -> None:
    if is_known:
        raise InputError(f"{place}: {what}: given twice for one kind of call")


def _number(cell: str, place: Place) -> Scalar:
    """A finite number; a whole one without a point stays whole."""
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or "_" in cell:
        raise InputError(f"{place}: expected a finite number, got {quoted(cell)}")
    is_whole = cell.strip().lstrip("+-").isdecimal()
    return Scalar(int(cell) if is_whole else value, cell, place)
