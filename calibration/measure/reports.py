"""Reports of accuracy commands, read back: what was measured once is compared again without measuring."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from math import isfinite
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.text_file import read_text
from perfmodel.loading.words import quoted


def kept_models(path: Path, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Models of a report by name, each with its `rows`.

    Parameters
    ----------
    path : Path
        What `--json` wrote.
    keys : collection of str
        Of each row: a number above 0, or a list of some.

    Raises
    ------
    InputError
        If the file is no such report: one line.
    """
    expected = f"{path}: expected a report that --json wrote, its rows with {', '.join(keys)}"
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(expected) from None
    models = document.get("models") if isinstance(document, dict) else document
    if not isinstance(models, list) or not models:
        raise InputError(expected)
    for model in models:
        rows = model.get("rows") if isinstance(model, dict) else None
        if not isinstance(rows, list) or not rows or not isinstance(model.get("model"), str):
            raise InputError(expected)
        for row in rows:
            if not isinstance(row, dict) or not all(_is_measured(row.get(key)) for key in keys):
                raise InputError(f"{expected}; got another of {quoted(model['model'])}")
    return {model["model"]: model for model in models}


def _is_measured(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_measured(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0


def guarded(run: Callable[[], None]) -> None:
    """Run a command of this package; what is wrong with its input is one line on stderr."""
    try:
        run()
    except PerfplanError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
