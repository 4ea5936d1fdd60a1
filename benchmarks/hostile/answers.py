"""Saved answers with values in them that perfplan did not write, given to what reads them."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from math import inf, nan
from typing import Any

from benchmarks.hostile.text_files import QUICK
from perfmodel.cli.main import main

_QUICK = ("--set", QUICK)
_ASKED: tuple[tuple[str, ...], ...] = (
    ("predict", "ncf_skylake", *_QUICK),
    ("capacity", "ncf_skylake", *_QUICK),
    ("tune", "ncf_skylake", "--batch-sizes", "64,128", *_QUICK),
    ("latency", "-m", "ncf", "--on", "skylake", "-b", "1,64"),
    ("fleet", "ncf_skylake", "-n", "2", *_QUICK),
    ("sweep", "ncf_skylake", "--over", "policy.batch_size=64,128", "--jobs", "1", *_QUICK),
    ("plan", "two_services"),
    ("explain", "ncf_skylake", *_QUICK),
    ("map", "-m", "ncf", "--on", "skylake,broadwell"),
    ("mlperf", "mlperf_dlrm_v2_skylake", *_QUICK),
    ("diff", "ncf_skylake", "ncf_broadwell", *_QUICK),
)
"""What is asked for the answers, each another kind of page."""

MISSING = object()
_VALUES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "text": "<script>",
    "list": [1],
    "empty list": [],
    "section": {"a": 1},
    "-1": -1,
    "nan": nan,
    "inf": inf,
    "400 digits": 10**399,
}

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTarget:
    """One key of one answer, with one value: `label` says which."""

    label: str
    command: str
    path: _Path
    value: Any

    def written(self) -> str:
        """The answer with it."""
        return json.dumps(_replaced(_answers()[self.command], self.path, self.value))


def answer_targets() -> Iterator[AnswerTarget]:
    """Every key of every answer, those of a list's entries once, with every value."""
    for command, answer in _answers().items():
        for label, path in dict(_paths(answer)).items():
            for name, value in _VALUES.items():
                yield AnswerTarget(label=f"{command}{label}: {name}", command=command, path=path, value=value)


def ordinary_answer(command: str) -> str:
    """An answer as perfplan printed it."""
    return json.dumps(_answers()[command])


@cache
def _answers() -> dict[str, Any]:
    answers = {}
    for arguments in _ASKED:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            main([*arguments, "--json"])
        answers[arguments[0]] = json.loads(out.getvalue())
    return answers


def _paths(value: Any, label: str = "", path: _Path = ()) -> Iterator[tuple[str, _Path]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{label}.{key}", (*path, key)
            yield from _paths(inner, f"{label}.{key}", (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, f"{label}[]", (*path, index))


def _replaced(answer: Any, path: _Path, value: Any) -> Any:
    changed = copy.deepcopy(answer)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed
