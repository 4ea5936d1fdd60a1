"""What every command does with its answer: it prints it, as JSON or as a page; and what exit codes mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from perfmodel.errors import UndecidedError, UnstableError

if TYPE_CHECKING:
    from rich.console import RenderableType

SLA_MISSED = 3
CANNOT_TELL = UndecidedError.exit_code
EXIT_CODES: Mapping[str, int] = {
    "meets_sla": 0,
    "misses_sla": SLA_MISSED,
    "unstable": UnstableError.exit_code,
    "within_error": CANNOT_TELL,
}
"""By verdict."""


def show(document: Callable[[], object], page: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Print an answer's document, or its page."""
    if as_json:
        print(json.dumps(document(), indent=2))
        return
    from perfmodel.cli.terminal import print_page  # rich takes a while to load, and JSON needs no tables

    print_page(page())
