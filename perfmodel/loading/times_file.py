"""Lists of times: a text file, one number of milliseconds a line."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_lines
from perfmodel.loading.words import quoted
from perfmodel.units import MS

FloatArray = npt.NDArray[np.float64]

MOST_TIMES = 10_000_000
MOST_MS = 1e9
"""Eleven days, for which nobody waits. [ms]"""


def read_times(path: Path) -> FloatArray:
    """Read equiprobable times; blank lines and what follows a `#` are left out. [ms] -> [s]

    Raises
    ------
    InputError
        At the first bad line, `file:line:column: …`; or if there is no time at all.
    """
    times_ms: list[float] = []
    for number, line in enumerate(read_lines(path), start=1):
        text = line.partition("#")[0]
        if not text.strip():
            continue
        try:
            time_ms = float(text)
        except ValueError:
            time_ms = -1.0
        if not (isfinite(time_ms) and 0.0 <= time_ms <= MOST_MS):
            column = len(text) - len(text.lstrip()) + 1
            expected = f"expected a time from 0 ms on, got {quoted(text.strip())}"
            raise InputError(f"{path}:{number}:{column}: {expected}")
        if len(times_ms) == MOST_TIMES:
            raise InputError(f"{path}:{number}:1: expected at most {MOST_TIMES} times")
        times_ms.append(time_ms)
    if not times_ms:
        raise InputError(f"{path}:1:1: expected times in milliseconds, one a line, found none")
    return MS * np.array(times_ms)
