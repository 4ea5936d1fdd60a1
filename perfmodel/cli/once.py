"""Commands and options that are strict about how they are called, and say so in one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from perfmodel.errors import InputError
from perfmodel.loading.words import cut, nearest

# Typer carries a Click of its own, or uses the installed one: its public classes lead to either.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


NARROW, NAMES = 70, 18
"""Columns of a terminal below which names of options have only so many beside what they mean."""

_TYPE = re.compile(r"(?<=\]) <(?:list\[str\]|[^>]{50,})>$")
"""Of an argument: Python's name of its type, or choices that what it means lists too."""

_CHOICE = re.compile(r"'([^']*)' is not one of ('.*')$")
"""A value that no choice is, and the choices."""

_WORDS = {
    "Value error, ": "",
    "Input should be a valid number, unable to parse string as a number": "expected a number",
    "Input should be a valid integer, unable to parse string as an integer": "expected a whole number",
    "Input should be greater than or equal to": "expected at least",
    "Input should be less than or equal to": "expected at most",
    "Input should be greater than": "expected more than",
}
"""What a library says, as it is said here."""

_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")


def folded(command: str, width: int) -> list[str]:
    """A command in lines that a shell joins again.

    Examples
    --------
    >>> folded("perfplan plan two_services --set 'a b=1'", 30)
    ['perfplan plan two_services \\\\', "  --set 'a b=1'"]
    """
    parts: list[str] = []
    for word in _WORD.findall(command):
        if parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-"):
            parts[-1] += f" {word}"  # an option and its value
        else:
            parts.append(word)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"  {part}")
        else:
            lines[-1] += f" {part}"
    return lines


class StrictCommand(TyperCommand):
    """A command that refuses an option given twice where it takes one value, rather than drop the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what follows the command's name.

        Raises
        ------
        InputError
            One line for every mistake.
        """
        try:
            if not ctx.resilient_parsing:  # a shell asks for completions: a line need not be right yet
                _refuse_repeats(self, ctx, list(args))
            return super().parse_args(ctx, args)
        except UsageError as error:
            raise InputError(_in_a_line(error, ctx)) from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments and options; on a narrow terminal a long name stands above what it means."""
        layout = {"col_max": NAMES} if formatter.width < NARROW else {}
        write = formatter.write_dl

        def named(rows: Iterable[tuple[str, str]]) -> None:
            write([(_TYPE.sub("", name), meaning) for name, meaning in rows], **layout)

        formatter.write_dl = named
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Show the examples, each as it can be copied: what is too long goes on in a line of its own."""
        if self.epilog is None:
            return super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        for line in self.epilog.splitlines()[1:]:
            indent = len(line) - len(line.lstrip())
            for part in folded(line.strip(), formatter.width - indent - 2):
                formatter.write(f"{'':{indent + 2}}{part}\n")


class StrictGroup(TyperGroup):
    """The program itself: a command that does not exist is one line too."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with the whole of their summaries, which wrap rather than end in dots."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help or "") for name, command in commands if command])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what precedes the command's name."""
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            raise InputError(_in_a_line(error, ctx)) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            raise InputError(_in_a_line(error, ctx)) from None


def _refuse_repeats(command: Any, ctx: Any, args: list[str]) -> None:
    """Refuse a single-valued option that is given more than once; a flag says no more the second time."""
    _, _, order = command.make_parser(ctx).parse_args(args)
    for parameter, times in Counter(order).items():
        is_single = isinstance(parameter, TyperOption) and not parameter.multiple and not parameter.is_flag
        if is_single and times > 1:
            name = max(parameter.opts, key=len)
            raise InputError(f"{name}: given {times} times; expected one value")


def _in_a_line(error: Any, ctx: Any) -> str:
    """What is wrong and where help is."""
    said = " ".join(error.format_message().split()).removesuffix(".")
    for theirs, ours in _WORDS.items():
        said = said.replace(theirs, ours)
    if (choice := _CHOICE.search(said)) is not None:
        said += nearest(choice[1], re.findall("'([^']*)'", choice[2]))
    return f"Error: {cut(said, most=400)} ({ctx.command_path} --help)"
