"""`perfplan init`: files to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from perfmodel.errors import InputError
from perfmodel.loading.shipped import STARTER
from perfmodel.loading.text_file import read_text
from perfmodel.loading.written import require_writable, write_atomically


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; it is made.")] = Path(),
) -> None:
    """Copy an annotated scenario, model and fleet to start from."""
    files = {folder / each.name: read_text(each) for each in sorted(STARTER.glob("*.yaml"))}
    for file in files:
        if file.exists():
            raise InputError(
                f"{file} exists already: nothing was written; perfplan init FOLDER writes elsewhere"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror or error}") from None
    for file in files:
        require_writable(file)
    for file, text in files.items():
        write_atomically(file, text)
    scenario, model = (shlex.quote(str(folder / name)) for name in ("scenario.yaml", "model.yaml"))
    print(f"written: {', '.join(map(str, files))}")
    print(f"try: perfplan predict {scenario}")
    print(f"     perfplan latency --model {model} --on skylake")
