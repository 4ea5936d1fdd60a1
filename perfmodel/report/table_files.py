"""Tables as files: CSV, Parquet or JSON, by the file's name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.words import cut_path
from perfmodel.whole_file import replace_whole

Rows = Sequence[Mapping[str, Any]]

KINDS = (".csv", ".parquet", ".json")


def require_writable(path: Path, kinds: Sequence[str] = KINDS, option: str = "--out") -> None:
    """Refuse a file that could not be written, before hours of work rather than after them.

    Raises
    ------
    InputError
        If its name ends in none of these, its folder does not take it, or a library is missing.
    """
    if path.suffix.lower() not in kinds:
        raise InputError(
            f"{option} {cut_path(path)}: expected a name that ends in {', '.join(kinds[:-1])} or {kinds[-1]}"
        )
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f"{option} {cut_path(path)} needs pyarrow: pip install 'perfplan[parquet]'")
    if path.is_dir():
        raise InputError(f"{option} {cut_path(path)}: is a folder")
    try:
        replace_whole(path, b"", keep=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{option} {cut_path(path)}: cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from None


def write_file(path: Path, content: bytes, option: str = "--out") -> None:
    """Write a file whole or not at all."""
    try:
        replace_whole(path, content)
    except OSError as error:
        raise InputError(f"{option} {cut_path(path)}: cannot be written: {error.strerror or error}") from None


def table_bytes(path: Path, rows: Rows, document: Callable[[], Any]) -> bytes:
    """What the file is to hold: the rows, or the whole document where it is JSON."""
    match path.suffix.lower():
        case ".json":
            return (json.dumps(document(), indent=2) + "\n").encode()
        case ".csv":
            return csv_bytes(rows)
        case _:
            return _parquet(rows)


def csv_bytes(rows: Rows) -> bytes:
    """A table as text: what does not exist is empty, and truth is `true` or `false` as in JSON."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def _parquet(rows: Rows) -> bytes:
    """Columns have one type: text, where numbers and text are mixed in one."""
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    columns = {name: _of_one_type([row[name] for row in rows]) for name in rows[0]}
    content = BytesIO()
    parquet.write_table(arrow.table(columns), content)
    return content.getvalue()


def _of_one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and len(kinds) == 2:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else str(_cell(value)) for value in values]
    return values
