"""Raw measurements on disk: one line for each kernel of each visit, so that an interruption loses nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calibration.measure.visits import Visit
from perfmodel.errors import InputError
from perfmodel.loading.written import write_atomically

_COLUMNS = ("seed", "round", "batch_size", "kernel", "seconds", "spread", "l3_lifetime_s")
_ISSUE = "issue_s"
"""A further column of an accelerator's measurements."""


@dataclass(slots=True)
class Records:
    """Everything that a calibration has measured so far.

    Attributes
    ----------
    facts : dict
        What the sequences were drawn with, and what was measured once, such as memory bandwidth.
    visits : list of (int, Visit)
        Each with its round: 0 for the first time, 1 for a repetition.
    """

    facts: dict[str, float] = field(default_factory=dict)
    visits: list[tuple[int, Visit]] = field(default_factory=list)

    def seeds(self, round_number: int) -> set[int]:
        """Sequences that were visited in a round."""
        return {visit.seed for number, visit in self.visits if number == round_number}

    def write(self, path: Path) -> None:
        """Write all of it, whole or not at all."""
        text = io.StringIO()
        text.write(f"# {json.dumps(self.facts)}\n")
        writer = csv.writer(text, lineterminator="\n")
        issued = any(visit.issue_s is not None for _, visit in self.visits)
        writer.writerow((*_COLUMNS, _ISSUE) if issued else _COLUMNS)
        for number, visit in self.visits:
            writer.writerows(_rows(number, visit))
        write_atomically(path, text.getvalue())


def read_records(path: Path) -> Records:
    """Read back what was written.

    Raises
    ------
    InputError
        If the file is not one of these.
    """
    try:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        facts = json.loads(first.removeprefix("# "))
        return Records(facts=facts, visits=list(_visits(csv.DictReader(io.StringIO(rest)))))
    except (OSError, ValueError, KeyError) as error:
        reason = f"no column {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path}: expected measurements of a calibration: {reason}") from None


def _rows(number: int, visit: Visit) -> Iterable[tuple[object, ...]]:
    for kernel, (seconds, spread) in enumerate(zip(visit.seconds, visit.spread, strict=True)):
        if seconds:
            measured = [f"{seconds:.5g}", f"{spread:.3g}", f"{visit.l3_lifetime_s:.3g}"]
            if visit.issue_s is not None:
                measured.append(f"{visit.issue_s[kernel]:.5g}")
            yield visit.seed, number, visit.batch_size, kernel, *measured


def _visits(rows: Iterable[dict[str, str]]) -> Iterator[tuple[int, Visit]]:
    """Rows of one visit follow each other; kernels without a row took no time of their own."""
    gathered: dict[tuple[int, int, int, float], dict[int, tuple[float, float, float]]] = {}
    issued = False
    for row in rows:
        key = (int(row["seed"]), int(row["round"]), int(row["batch_size"]), float(row["l3_lifetime_s"]))
        issued = _ISSUE in row
        times = float(row["seconds"]), float(row["spread"]), float(row.get(_ISSUE, 0.0))
        gathered.setdefault(key, {})[int(row["kernel"])] = times
    for (seed, number, batch_size, lifetime_s), kernels in gathered.items():
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
            ),
        )
