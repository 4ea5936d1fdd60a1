"""`perfplan show`: a file that comes with perfplan, as it is written."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from perfmodel.cli.completion import complete_shipped
from perfmodel.errors import InputError
from perfmodel.loading.file_kinds import Kind
from perfmodel.loading.shipped import shipped_directory, shipped_names
from perfmodel.loading.text_file import read_text
from perfmodel.loading.words import near, quoted


class ShippedKind(StrEnum):
    """What files are shipped."""

    SCENARIO = "scenario"
    MODEL = "model"
    PROFILE = "profile"
    FLEET = "fleet"


def show_file(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What to print.", autocompletion=complete_shipped)
    ],
    kind: Annotated[
        ShippedKind | None, typer.Option(help="Where a model and a profile, say, have one name.")
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Print where the file is instead.")] = False,
) -> None:
    """Print a file that comes with perfplan: a scenario, a model, a profile or a fleet."""
    kinds: tuple[Kind, ...] = ("scenario", "model", "profile", "fleet") if kind is None else (kind.value,)
    stem = name.partition("@")[0].removesuffix(".yaml").removesuffix(".yml")
    found = [each for each in kinds if stem in shipped_names(each)]
    if not found:
        known = [shipped for each in kinds for shipped in shipped_names(each)]
        raise InputError(f"nothing is shipped as {quoted(name)}{near(stem, known)} (perfplan list shows all)")
    if len(found) > 1:
        raise InputError(f"{quoted(name)} is a {' and a '.join(found)}: expected --kind {' or '.join(found)}")
    file = shipped_directory(found[0]) / f"{stem}.yaml"
    print(file if path else read_text(file).removesuffix("\n"))
