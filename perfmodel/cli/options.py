"""Options that several commands share, so that they read and behave alike everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.cli.answering import page_path
from perfmodel.cli.completion import complete_fleet_settings, complete_scenarios, complete_settings
from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_COUNT, MOST_RATE_QPS
from perfmodel.errors import InputError
from perfmodel.loading.words import cut, quoted


class SettingsFormat(StrEnum):
    """Whose configuration the settings are written as."""

    TRITON = "triton"
    TORCHSERVE = "torchserve"


FormatOption = Annotated[
    SettingsFormat | None,
    typer.Option("--format", help="Print what to set in another tool's form, in place of the page."),
]

ScenarioArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCENARIO]",
        help="A shipped scenario by its name (see: perfplan list scenarios), or the path of a YAML file.",
        show_default=False,
        autocompletion=complete_scenarios,
    ),
]

ScenarioOption = Annotated[
    str | None,
    typer.Option(
        "--scenario",
        "-s",
        metavar="NAME|FILE",
        help="The same, as an option.",
        show_default=False,
        autocompletion=complete_scenarios,
    ),
]


def each_key_once(param: typer.CallbackParam, overrides: list[str] | None) -> list[str] | None:
    """Refuse a key that is set twice, rather than take its last value in silence."""
    seen = set[str]()
    for override in overrides or ():
        key = ".".join(part.strip() for part in override.partition("=")[0].split("."))
        if key in seen:
            raise InputError(
                f"{param.opts[0]} {cut(key)}: given twice; expected one value (sweep --over asks for several)"
            )
        seen.add(key)
    return overrides


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        callback=each_key_once,
        help="Change one value of the scenario, such as traffic.arrivals.rate_qps=500. Repeatable.",
        autocompletion=complete_settings,
    ),
]

FleetSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        callback=each_key_once,
        help="Change one value of the fleet, such as provision.headroom=0.2. Repeatable.",
        autocompletion=complete_fleet_settings,
    ),
]


def _page(out: Path | None) -> Path | None:
    """Refuse what no page can be written to before anything is computed."""
    return None if out is None else page_path(out)


PageOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE.html",
        help="Write one self-contained HTML page, too.",
        show_default=False,
        callback=_page,
    ),
]

ScaleLoadOption = Annotated[
    float | None,
    typer.Option(
        "--scale-load",
        metavar="FACTOR",
        help="Ask of so many times the scenario's arrival rate: 1.4 for 40 % more traffic.",
        show_default=False,
    ),
]

JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout, and nothing else."),
]

MixedStacksOption = Annotated[
    bool,
    typer.Option(
        "--mixed-stacks",
        help="Put devices side by side whose times are of different software; then software is compared too.",
    ),
]

ExtrapolateOption = Annotated[
    bool,
    typer.Option("--extrapolate", help="Answer outside the calibrated range too, marked as extrapolated."),
]

AcceptUncertainOption = Annotated[
    bool,
    typer.Option(
        "--accept-uncertain",
        help="Let the central estimate decide, however uncertain: exit 0, 3 or 4 and never 6.",
    ),
]

_EXPONENT = re.compile(r"([0-9]{1,9})[eE]\+?([0-9])")
"""A whole number such as 1e6."""
TimeUnitOption = Annotated[
    str | None,
    typer.Option(
        "--time-unit",
        metavar="s|ms|us|ns",
        help="Unit of the stamps, where neither names nor values tell.",
    ),
]

SortOption = Annotated[bool, typer.Option("--sort", help="Sort the rows by arrival first.")]

MOST_NUMBERS = 1000
"""In a list of one option."""


def the_scenario(names: Sequence[str] | None, option: str | None, *, otherwise: str | None = None) -> str:
    """The one scenario of a command, wherever it was written.

    Raises
    ------
    InputError
        If there is none, or more than one.

    Examples
    --------
    >>> the_scenario(["rm3_skylake"], None)
    'rm3_skylake'
    """
    given = [*(names or ()), *([] if option is None else [option])]
    if len(given) > 1:
        listed = ", ".join(map(quoted, given[:4]))
        raise InputError(f"expected one scenario, got {len(given)}: {listed}")
    if not given and otherwise is None:
        raise InputError("expected a scenario, such as rm3_skylake (perfplan list scenarios shows all)")
    return given[0] if given else str(otherwise)


def names_of(option: str, given: Sequence[str]) -> list[str]:
    """Names of an option that takes several, separated by commas or by repeating it.

    Raises
    ------
    InputError
        If one is empty.

    Examples
    --------
    >>> names_of("--on", ["skylake, broadwell", "haswell"])
    ['skylake', 'broadwell', 'haswell']
    """
    names = [name.strip() for text in given for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option}: expected names separated by commas, got {quoted(','.join(given))}")
    if len(names) > MOST_NUMBERS:
        raise InputError(f"{option}: expected at most {MOST_NUMBERS} names, got {len(names)}")
    return names


def whole_numbers(option: str, text: str, *, ascending: bool = False) -> tuple[int, ...]:
    """Read whole numbers from 1 up, separated by commas.

    Raises
    ------
    InputError
        One line that begins with the option.

    Examples
    --------
    >>> whole_numbers("--batch", "1, 16,64")
    (1, 16, 64)
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_NUMBERS:
        raise InputError(f"{option}: expected at most {MOST_NUMBERS} numbers, got {len(parts)}")
    values = tuple(_whole_number(part) for part in parts)
    if 0 in values or (ascending and list(values) != sorted(set(values))):
        kind = "ascending whole numbers" if ascending else "whole numbers"
        got = quoted(text if ascending else parts[values.index(0)])
        raise InputError(f"{option}: expected {kind} from 1 up, such as 16,32,64, got {got}")
    if max(values) > MOST_COUNT:
        raise InputError(f"{option}: expected at most {MOST_COUNT:_}, got {quoted(parts[-1])}")
    return values


def _whole_number(text: str) -> int:
    """The number; 0 where there is none from 1 up, and of too many digits one that is too large."""
    if (written := _EXPONENT.fullmatch(text)) is not None:
        return int(f"{written[1]}{int(written[2]) * '0'}")
    if not (text.isascii() and text.isdecimal()):
        return 0
    return int(text) if len(text) <= len(str(MOST_COUNT)) else int(text[:20] or 0) and MOST_COUNT + 1


def checked_rate(option: str, rate_qps: float | None) -> float | None:
    """Refuse a rate that is no rate, as files do."""
    if rate_qps is None or LEAST_RATE_QPS <= rate_qps <= MOST_RATE_QPS:
        return rate_qps
    expected = "a rate > 0" if not rate_qps > 0 else f"a rate from {LEAST_RATE_QPS:g} to {MOST_RATE_QPS:g}"
    raise InputError(f"{option}: expected {expected}, got {rate_qps:g}")
