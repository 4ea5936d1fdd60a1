"""Commands and options that are strict about how they are called, and say so in one line."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from perfmodel.errors import InputError
from perfmodel.loading.words import cut

# Typer carries a Click of its own, or uses the installed one: its public classes lead to either.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


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
    said = " ".join(error.format_message().replace("Value error, ", "").split()).removesuffix(".")
    return f"Error: {cut(said, most=400)} ({ctx.command_path} --help)"
