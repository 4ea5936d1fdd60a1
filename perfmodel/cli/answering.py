"""What every command does with its answer: it prints it, as JSON or as a page; and what exit codes mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from perfmodel.errors import EXIT_CODES, SLA_MISSED, UndecidedError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["CANNOT_TELL", "EXIT_CODES", "SLA_MISSED", "show"]

CANNOT_TELL = UndecidedError.exit_code


def show(document: Callable[[], object], page: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Print an answer's document, or its page."""
    if as_json:
        print(json.dumps(document(), indent=2))
        return
    from perfmodel.cli.terminal import print_page  # rich takes a while to load, and JSON needs no tables

    print_page(page())
