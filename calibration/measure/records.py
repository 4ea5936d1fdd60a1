"""Raw measurements on disk: one line for each kernel of each visit, so that an interruption loses nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path

import numpy as np

from calibration.measure.served import LAST_ROUND
from calibration.measure.visits import Visit
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_text
from perfmodel.loading.written import write_atomically

_COLUMNS = ("seed", "round", "batch_size", "kernel", "seconds", "spread", "l3_lifetime_s")
_ISSUE, _PROBE = "issue_s", "probe_s"
"""Further columns: of an accelerator's measurements both, of a CPU's the second."""
_LONGEST_S = 3600.0
"""Of a call: passes are kept below a second."""
_RANGES: Mapping[str, tuple[float, float, Callable[[str], float]]] = {
    "seed": (0, 10**9, int),
    "round": (0, LAST_ROUND, int),
    "batch_size": (1, 10**6, int),
    "kernel": (0, 10**4, int),  # sequences have some dozens
    "seconds": (1e-12, _LONGEST_S, float),
    "spread": (0.0, 1e9, float),
    "l3_lifetime_s": (0.0, inf, float),
    _ISSUE: (0.0, _LONGEST_S, float),
    _PROBE: (0.0, _LONGEST_S, float),
}
"""What a column may hold: least and greatest value, and how it is read."""
_VISIT = ("seed", "round", "batch_size", "l3_lifetime_s")
"""Columns that tell visits apart, beside that of probes."""
_BY_WORKERS = ("co_located.", "alone.", "shared.", "threads.")
"""Facts whose names end with a number: of workers, or of threads in one."""
_MODEL = "# model "
"""Begins a line with a model that was given to be measured."""
_QUOTED = 40
"""Characters of a wrong value that a message shows."""


@dataclass(slots=True)
class Records:
    """Everything that a calibration has measured so far.

    Attributes
    ----------
    facts : dict
        What the sequences were drawn with, and what was measured once, such as memory bandwidth.
    visits : list of (int, Visit)
        Each with its round: 0 for the first time, 1 for a repetition, from 2 on sequences that were run as
        modules too (`measure.served`).
    models : dict
        Models that were given to be measured, by the numbers of their visits (`measure.given`).
    """

    facts: dict[str, float] = field(default_factory=dict)
    visits: list[tuple[int, Visit]] = field(default_factory=list)
    models: dict[int, RecModel] = field(default_factory=dict)

    def seeds(self, round_number: int) -> set[int]:
        """Sequences that were visited in a round."""
        return {visit.seed for number, visit in self.visits if number == round_number}

    def write(self, path: Path) -> None:
        """Write all of it, whole or not at all."""
        text = io.StringIO()
        text.write(f"# {json.dumps(self.facts)}\n")
        for seed, model in self.models.items():
            text.write(f"{_MODEL}{seed} {model.model_dump_json(exclude_defaults=True)}\n")
        writer = csv.writer(text, lineterminator="\n")
        issued = any(visit.issue_s is not None for _, visit in self.visits)
        writer.writerow((*_COLUMNS, _ISSUE, _PROBE) if issued else (*_COLUMNS, _PROBE))
        for number, visit in self.visits:
            writer.writerows(_rows(number, visit, issued=issued))
        write_atomically(path, text.getvalue())


def read_records(path: Path) -> Records:
    """Read back what was written.

    Raises
    ------
    InputError
        If the file is not one of these: one line with the place.
    """
    text = read_text(path)
    lines = text.split("\n")
    facts = _facts(lines[0], f"{path}:1:1")
    head = next((index for index, line in enumerate(lines[1:], 1) if not line.startswith(_MODEL)), 1)
    models = dict(_model(line, f"{path}:{index}:1") for index, line in enumerate(lines[1:head], start=2))
    columns = tuple(lines[head].split(",")) if len(lines) > head else ()
    if columns not in (_COLUMNS, (*_COLUMNS, _PROBE), (*_COLUMNS, _ISSUE, _PROBE)):
        expected = f"expected the columns {','.join(_COLUMNS)}, got {_short(columns)}"
        raise InputError(f"{path}:{head + 1}:1: {expected}")
    if lines[-1]:  # files are written whole: a copy of one was cut, perhaps within a number
        raise InputError(f"{path}:{len(lines)}:{len(lines[-1]) + 1}: expected the end of a line; it was cut")
    numbered = enumerate(lines[head + 1 : -1], start=head + 2)
    rows = [_row(line, columns, f"{path}:{number}") for number, line in numbered]
    if rows and not {"drawn_by", "most_table_bytes"} <= facts.keys():
        raise InputError(
            f"{path}:1:1: expected drawn_by and most_table_bytes, which rows have no sense without"
        )
    _require_once(rows, path, head + 2)
    return Records(facts=facts, visits=list(_visits(rows)), models=models)


def _model(line: str, where: str) -> tuple[int, RecModel]:
    """A given model, and the number of its visits."""
    seed, _, text = line.removeprefix(_MODEL).partition(" ")
    try:
        return int(seed), RecModel.model_validate_json(text)
    except ValueError:
        raise InputError(f"{where}: expected a number and a model, got {_short(line)}") from None


def _facts(line: str, where: str) -> dict[str, float]:
    """The first line: a comment with a JSON object of numbers."""
    expected = f"{where}: expected '# ' and a JSON object of numbers >= 0 by name"
    try:
        facts = json.loads(line.removeprefix("# "))
    except (ValueError, RecursionError):
        raise InputError(f"{expected}, got {_short(line)}") from None
    if not isinstance(facts, dict):
        raise InputError(f"{expected}, got {_short(line)}")
    for name, value in facts.items():
        # 1e300 leaves room for products; whole numbers may have any number of digits
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1e300:
            raise InputError(f"{expected}, got {_short({name: value})}")
        if name.startswith(_BY_WORKERS) and not name.rpartition(".")[2].isdecimal():
            raise InputError(f"{expected}, the last part of {_short(name)} a number of workers")
    if facts.get("most_table_bytes") == 0:
        raise InputError(f"{where}: most_table_bytes: expected a number > 0, got 0")
    return facts


def _row(line: str, columns: Sequence[str], where: str) -> dict[str, float]:
    """The numbers of a row by column."""
    fields = line.split(",")
    if len(fields) != len(columns):
        raise InputError(f"{where}:1: expected {len(columns)} values, got {len(fields)}: {_short(line)}")
    found: dict[str, float] = {}
    at = 1
    for name, written in zip(columns, fields, strict=True):
        low, high, kind = _RANGES[name]
        try:
            value = kind(written)
        except ValueError:
            value = nan
        if not low <= value <= high:
            whole = "whole " if kind is int else ""
            expected = f"expected a {whole}number from {low:g} to {high:g}"
            raise InputError(f"{where}:{at}: {name}: {expected}, got {_short(written)}")
        found[name] = value
        at += len(written) + 1
    return found


def _require_once(rows: Sequence[Mapping[str, float]], path: Path, first_line: int) -> None:
    """Refuse a kernel that a visit has twice: files joined by hand would count it as the later one alone."""
    lines: dict[tuple[float, ...], int] = {}
    for number, row in enumerate(rows, start=first_line):
        visit = *(row[name] for name in _VISIT), row.get(_PROBE, 0.0)
        before = lines.setdefault((*visit, row["kernel"]), number)
        if before != number:
            raise InputError(
                f"{path}:{number}:1: expected each kernel of a visit once, got kernel {row['kernel']} of "
                f"sequence {row['seed']} again; it stands in line {before}, too"
            )


def _short(value: object) -> str:
    """What was found, on at most half a line."""
    text = value if isinstance(value, str) else repr(value)
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}..."


def _rows(number: int, visit: Visit, *, issued: bool) -> Iterable[tuple[object, ...]]:
    for kernel, (seconds, spread) in enumerate(zip(visit.seconds, visit.spread, strict=True)):
        if seconds:
            measured = [f"{seconds:.5g}", f"{spread:.3g}", f"{visit.l3_lifetime_s:.3g}"]
            if issued:
                measured.append(f"{0.0 if visit.issue_s is None else visit.issue_s[kernel]:.5g}")
            measured.append(f"{visit.probe_s:.4g}")
            yield visit.seed, number, visit.batch_size, kernel, *measured


def _visits(rows: Iterable[Mapping[str, float]]) -> Iterator[tuple[int, Visit]]:
    """Rows of one visit follow each other; kernels without a row took no time of their own."""
    gathered: dict[tuple[int, int, int, float, float], dict[int, tuple[float, float, float]]] = {}
    issued = False
    for row in rows:
        named = int(row["seed"]), int(row["round"]), int(row["batch_size"])
        key = (*named, row["l3_lifetime_s"], row.get(_PROBE, 0.0))  # `_VISIT`, and that of probes
        issued = _ISSUE in row
        times = row["seconds"], row["spread"], row.get(_ISSUE, 0.0)
        gathered.setdefault(key, {})[int(row["kernel"])] = times
    for (seed, number, batch_size, lifetime_s, probe_s), kernels in gathered.items():
        columns = np.zeros((3, max(kernels) + 1))
        columns[:, list(kernels)] = np.array(list(kernels.values())).T
        seconds, spread, issue_s = columns
        yield (
            number,
            Visit(
                seed=seed,
                batch_size=batch_size,
                seconds=seconds,
                spread=spread,
                l3_lifetime_s=lifetime_s,
                issue_s=issue_s if issued else None,
                probe_s=probe_s,
            ),
        )
