"""`perfplan import`: a PyTorch module becomes a model file."""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from calibration.commands.torch_needed import require_torch
from perfmodel.cli.options import JsonOption
from perfmodel.cli.terminal import print_page
from perfmodel.errors import InputError
from perfmodel.loading.model_file import model_text
from perfmodel.loading.words import quoted
from perfmodel.loading.written import require_writable, write_atomically

_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")


def import_model(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FACTORY",
            help="A function without arguments that returns a torch.nn.Module, or (module, example inputs); "
            "MODULE may be a .py file. It runs: import only code that you trust.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The model file to write.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; by default that of the factory.")
    ] = None,
    batch_example: Annotated[
        int | None,
        typer.Option(
            "--batch-example",
            min=1,
            metavar="N",
            help="Items in the example inputs; by default read off the output, or 4 where inputs are made.",
        ),
    ] = None,
    allow_unmodelled: Annotated[
        float,
        typer.Option(
            "--allow-unmodelled",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Write a file that leaves out up to this share of the module's FLOP and bytes (0.05: 5 %); "
            "every answer from it says so. By default nothing may be left out.",
        ),
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Turn a PyTorch module into a model file, and say what was not recognised."""
    require_torch()
    from calibration.importing.factory import (
        load_example,
        source_of,
    )  # on use, torch is: nothing else of a command line needs it
    from calibration.importing.importer import import_example
    from calibration.importing.page import import_page

    require_writable(out)
    model_name = _model_name(name, target)
    with redirect_stdout(sys.stderr):  # whatever the user's code prints is no part of the answer
        example = load_example(target, batch_size=batch_example)
        result = import_example(example, model_name, allow_unmodelled=allow_unmodelled)
    source = source_of(target)
    try:
        write_atomically(out, model_text(result.model))
    except InputError:
        print(json.dumps(result.to_dict(source), indent=2) if as_json else model_text(result.model))
        raise
    print(f"written: {out}", file=sys.stderr)
    print(f"try: perfplan latency --model {shlex.quote(str(out))} --on skylake", file=sys.stderr)
    if as_json:
        print(json.dumps({"out": str(out)} | result.to_dict(source), indent=2))
    else:
        print_page(import_page(result, str(out)))


def _model_name(name: str | None, target: str) -> str:
    """The name asked for, else the factory's, in the letters that names have."""
    wanted = name if name is not None else target.rpartition(":")[2].rpartition(".")[2]
    clean = _NOT_IN_NAMES.sub("-", wanted.lower()).strip("-.")
    if not clean or (name is not None and clean != name):
        raise InputError(
            f"--name: expected lower-case letters, digits, dots and dashes, got {quoted(name or target)}"
        )
    return clean
