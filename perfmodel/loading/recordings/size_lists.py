"""Lists of query sizes without a header: one a line, or many on a line.

- DeepRecSys reads a size a line, as numbers: `loadGenerator.py` of its repository, `--batch_dist_file`; and
  batch sizes to try as `1024-512-256`, `--batch_configs`.
- MLPerf's DLRM reads the first line of `dist_quantile.txt`, sizes separated by commas and blanks:
  `recommendation/dlrm/pytorch/python` of its repository, `--samples-to-aggregate-quantile-file`.
"""

from __future__ import annotations

import itertools
import re
import warnings

import numpy as np

from perfmodel.domain.bounds import MOST_ITEMS
from perfmodel.loading.recordings.cells import Cell
from perfmodel.loading.recordings.recording import IntArray, Recording
from perfmodel.loading.recordings.source import Source
from perfmodel.loading.recordings.tables import frequencies_of

ONE_A_LINE = "a list of query sizes, one a line"
DASHES = "a list of batch sizes, as DeepRecSys's --batch_configs takes them"
QUANTILES = "a list of query sizes, many on a line, as MLPerf's dist_quantile.txt"

_DASHED = re.compile(r"\s*\d+(-\d+)+\s*")
_SEPARATED = re.compile(r"[^\s,;|\-][^\s,;|]*|-[^\s,;|]*")


def read_size_list(source: Source) -> Recording:
    """Read equiprobable sizes; a size listed twice is twice as likely, what follows a `#` is left out.

    Raises
    ------
    InputError
        At the first bad size, or if there is none.
    """
    sizes, kind = _column(source), ONE_A_LINE
    if sizes is None:
        found = list(_cells(source))
        several = len(found) > 1 and any(
            after.line.number == cell.line.number for cell, after in itertools.pairwise(found)
        )
        first = next((line.text for line in source.content()), "")
        if several:
            kind = DASHES if _DASHED.fullmatch(first) else QUANTILES
        if found and not found[0].text.removesuffix(".0").isdecimal():
            raise found[0].unexpected(
                f"a whole number from 1 to {MOST_ITEMS} (a table needs a header, such as arrival_s,num_items)"
            )
        sizes = np.array([cell.whole_items() for cell in found], np.int64)
    frequencies = frequencies_of(sizes)
    if frequencies is None:
        raise source.error("expected query sizes, one whole number a line, found none")
    return Recording(path=source.path, format=kind, sizes=frequencies)


def _column(source: Source) -> IntArray | None:
    """One size a line, as numpy reads them; None where it cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # whole numbers written as floats, an empty file
            with source.open_text() as file:
                sizes: IntArray = np.loadtxt(file, dtype=np.int64, delimiter=",", ndmin=1)
    except (ValueError, Warning, OSError, EOFError):
        return None
    one_a_line = sizes.ndim == 1 and "," not in source.head.partition("\n")[0]
    if not one_a_line or not len(sizes) or sizes.min() < 1 or sizes.max() > MOST_ITEMS:
        return None
    return sizes


def _cells(source: Source) -> list[Cell]:
    """All values, with their places."""
    cells: list[Cell] = []
    for line in source.content():
        dashed = _DASHED.fullmatch(line.text) is not None
        pattern = re.compile(r"\d+") if dashed else _SEPARATED
        cells += [Cell(found.group(), line, found.start()) for found in pattern.finditer(line.text)]
    return cells


def is_dashed(first: str) -> bool:
    """Whether a line is one of whole numbers joined by dashes, and no date."""
    return _DASHED.fullmatch(first) is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", first) is None


def looks_like_sizes(first: str) -> bool:
    """Whether a line without a header may be one of sizes: it begins with a number."""
    return re.match(r"\s*-?[\d.]", first) is not None
