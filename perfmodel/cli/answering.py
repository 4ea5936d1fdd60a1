"""What every command does with its answer: it prints it, as JSON or as a page; and what exit codes mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfmodel.errors import EXIT_CODES, SLA_MISSED, InputError, InterruptionError, UndecidedError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["CANNOT_TELL", "EXIT_CODES", "SLA_MISSED", "printed_first", "show"]

CANNOT_TELL = UndecidedError.exit_code


def page_path(out: Path | None, option: str = "--out") -> Path:
    """Where a page goes, refused before anything is computed if it cannot be written there.

    Raises
    ------
    InputError
        If the name is not that of a page, or nothing can be written there.
    """
    if out is None or out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{option}: expected the name of a page, FILE.html, got {str(out)!r}")
    from perfmodel.loading.written import require_writable  # few answers go to a file

    require_writable(out, option)
    return out


def write_page(path: Path, html: str) -> None:
    """Write a page, and say where."""
    from perfmodel.loading.written import write_atomically  # as above

    before = _which(path)
    try:
        write_atomically(path, html)
    except KeyboardInterrupt:
        if _which(path) == before:
            raise
        raise _written_only(path) from None
    print(f"written: {path}", file=sys.stderr)


def show(
    document: Callable[[], Any],
    page: Callable[[], RenderableType],
    *,
    as_json: bool,
    out: Path | None = None,
    html: Callable[[], str] | None = None,
) -> None:
    """Print an answer's document, or its page; where `out` is given, write its HTML page too.

    `html` makes that page where it is drawn from more than the document.

    Raises
    ------
    InputError
        If the HTML page cannot be written; the answer has been printed then.
    """
    written: Path | None = None

    def print_answer() -> None:
        try:
            _print(document, page, as_json=as_json)
        except KeyboardInterrupt:
            if written is None:
                raise
            raise _written_only(written) from None

    with printed_first(print_answer):
        if out is not None:
            from perfmodel.report.pages.made import document_html  # few answers become a page of HTML

            write_page(out, document_html(document()) if html is None else html())
            written = out


def _written_only(path: Path) -> InterruptionError:
    return InterruptionError(f"interrupted: {path} is written and whole, the answer was not printed")


def _which(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that takes its place; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def printed_first(print_answer: Callable[[], None]) -> Iterator[None]:
    """Print an answer when the files of it are written, and also where one of them cannot be: it is computed.

    Raises
    ------
    InputError
        What the body raised.
    """
    try:
        yield
    except InputError:
        print_answer()
        raise
    print_answer()


def _print(document: Callable[[], Any], page: Callable[[], RenderableType], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document(), indent=2))
        return
    from perfmodel.cli.terminal import print_page  # rich takes a while to load, and JSON needs no tables

    print_page(page())
