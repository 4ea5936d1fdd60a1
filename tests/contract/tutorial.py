"""The commands of the tutorial, and what it shows of their answers.

`python -m tests.contract.tutorial` runs every command anew and rewrites the numbers that the page shows.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import perfmodel
from perfmodel.cli.main import main

PAGE = Path(perfmodel.__file__).parent.parent / "docs" / "tutorial.md"
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]\d+)?")
"""One that stands for itself: not that of p99."""
_BAR = re.compile("[\u2588-\u258f]+")
WIDTH = "100"
"""Columns of the terminal in which the page's answers were printed."""


class Shown(NamedTuple):
    """A command of the page, its exit code, and the lines that are shown of its answer."""

    command: str
    exit_code: int
    lines: tuple[str, ...]


def blocks(language: str) -> Iterator[str]:
    """The page's code blocks in a language."""
    for found, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if found == language:
            yield text


def shown() -> list[Shown]:
    """What the page runs, in order."""
    found = []
    for text in blocks("console"):
        first, *lines = text.splitlines()
        command, _, code = first.removeprefix("$ ").partition("  # exit code ")
        found.append(Shown(command, int(code or 0), tuple(lines)))
    return found


def write_files(folder: Path) -> None:
    """Write the files of the page, each named in its first line."""
    for text in blocks("yaml"):
        first, rest = text.split("\n", maxsplit=1)
        (folder / first.removeprefix("# ")).write_text(rest, encoding="utf-8")


def answered(command: str, folder: Path) -> tuple[int, list[str]]:
    """Run a command in a folder: its exit code, and the lines of its answer without trailing blanks."""
    before, columns = Path.cwd(), os.environ.get("COLUMNS")
    os.chdir(folder)
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            code = main(command.split()[1:])
    finally:
        os.chdir(before)
        os.environ.pop("COLUMNS")
        os.environ |= {} if columns is None else {"COLUMNS": columns}
    return code, [line.rstrip() for line in out.getvalue().splitlines()]


def skeleton(line: str) -> str:
    """A line without its numbers, bars and blanks: what it says, whatever it is worth."""
    return " ".join(_NUMBER.sub("#", _BAR.sub("", line)).split())


def numbers(line: str) -> list[float]:
    """The numbers of a line."""
    return [float(text.replace(",", "")) for text in _NUMBER.findall(line)]


def matched(lines: tuple[str, ...], answer: list[str]) -> list[str | None]:
    """For each line that is shown, the next one of the answer that says the same; None: there is none."""
    found: list[str | None] = []
    start = 0
    for line in lines:
        at = next((i for i in range(start, len(answer)) if skeleton(answer[i]) == skeleton(line)), None)
        found.append(None if at is None else answer[at])
        start = start if at is None else at + 1
    return found


def rewritten() -> str:
    """The page with the numbers that its commands print now."""
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name))
        for command, _, lines in shown():
            answer = answered(command, Path(name))[1]
            anew = [
                line if new is None else new for line, new in zip(lines, matched(lines, answer), strict=True)
            ]
            if lines:
                page = page.replace("\n".join(lines), "\n".join(anew))
    return page


if __name__ == "__main__":
    PAGE.write_text(rewritten(), encoding="utf-8")
