"""Saved answers: read from their files; what is not as its command printed it is refused at its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.text_file import read_json
from perfmodel.loading.validated import parse_file
from perfmodel.loading.words import cut, cut_path
from perfmodel.report.documents.schemas import KINDS
from perfmodel.report.pages.made import document_html

MOST_BYTES = 200_000_000
"""Of a saved answer. [bytes]"""

_OF_WHAT_DOES_NOT_FIT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""Of values that are each as the schema says and do not go together, such as rows without a key of others."""


def read_saved(path: Path) -> dict[str, Any]:
    """Read an answer that `--json` printed.

    Raises
    ------
    InputError
        If it is none.
    """
    document = read_json(path, most_bytes=MOST_BYTES)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        expected = "expected an answer that perfplan printed with --json: it has no schema"
        raise InputError(f"{cut_path(path)}:1:1: {expected}")
    return dict(document)


def saved_html(path: Path) -> str:
    """Make the page of a saved answer, with its own numbers.

    An older version's answer that lacks what no page needs has a page all the same: what its schema says is
    asked only where no page can be made.

    Raises
    ------
    InputError
        At the first place in the file where it is not as the command printed it.
    """
    document = {"perfplan": "of an older version", "date": "no date", "inputs": [], **read_saved(path)}
    with as_printed(path):
        return document_html(document)


@contextmanager
def as_printed(*paths: Path) -> Iterator[None]:
    """Refuse saved answers where what is made of them fails since they are not as their command printed them.

    Raises
    ------
    InputError
        At the first place in one of the files where its schema says otherwise; at a file's beginning where
        its keys do not go together.
    """
    try:
        yield
    except Exception as error:
        for path in paths:
            document = read_saved(path)
            if (kind := KINDS.get(document["schema"]["name"])) is not None:
                parse_file(path, _nearest(kind.type, document))
        if not isinstance(error, _OF_WHAT_DOES_NOT_FIT) or isinstance(error, PerfplanError):
            raise
        expected = "expected an answer as its command printed it"
        told = cut(f"{type(error).__name__}: {error}")
        raise InputError(f"{cut_path(paths[0])}:1:1: {expected}: {told}") from None


def _nearest(kind: Any, document: Mapping[str, Any]) -> type:
    """Of the types that a command's answers may have, the one with most of these keys."""
    types: tuple[type, ...] = get_args(kind) or (kind,)
    return max(types, key=lambda each: len(each.__annotations__.keys() & document.keys()))
