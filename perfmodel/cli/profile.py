"""`perfplan profile new`: a profile of a machine that nobody measured, begun from its own dump."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from perfmodel.cli.completion import complete_profiles
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.machine_dump import derived_text, read_lscpu, read_nvidia_smi
from perfmodel.loading.profile_file import require_name
from perfmodel.loading.shipped import find_file
from perfmodel.loading.written import require_writable, write_atomically


def profile(
    action: Annotated[Literal["new"], typer.Argument(metavar="new", help="Begin a derived profile.")],
    base: Annotated[
        str,
        typer.Option(
            "--base",
            "-b",
            metavar="NAME|FILE",
            help="The measured profile nearest to it.",
            autocompletion=complete_profiles,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The profile to write.")],
    lscpu: Annotated[
        Path | None, typer.Option("--from-lscpu", metavar="FILE", help="What `lscpu -J` prints there.")
    ] = None,
    nvidia_smi: Annotated[
        Path | None,
        typer.Option("--from-nvidia-smi", metavar="FILE", help="What `nvidia-smi -q -x` prints there."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the profile; by default the file's.")] = None,
) -> None:
    """Begin a profile of a machine that nobody measured, as changes to one that somebody did."""
    assert action == "new", "there is no other"
    if lscpu is not None and nvidia_smi is not None:
        raise InputError("--from-nvidia-smi: expected no --from-lscpu beside it: a profile is of one device")
    wanted = name if name is not None else out.stem
    require_name(wanted, "--name" if name is not None else f"--out {out}")
    require_writable(out)
    if out.exists():  # it is there to be edited by hand, and what was edited is not to be lost
        raise InputError(f"--out {out}: exists already, and nothing was written; expected a new file")
    path = find_file("profile", base)
    kind, dump = read_profile(path).kind, None
    for given, read, expected in (
        ("--from-lscpu", read_lscpu, "cpu"),
        ("--from-nvidia-smi", read_nvidia_smi, "gpu"),
    ):
        source = lscpu if expected == "cpu" else nvidia_smi
        if source is None:
            continue
        if kind != expected:
            raise InputError(f"{given}: expected a base of kind {expected}, and {base} is a {kind}")
        dump = read(source)
    named = (
        base if path.stem == base.removesuffix(".yaml") and not Path(base).is_file() else str(path.resolve())
    )
    text = derived_text(wanted, named, dump)
    write_atomically(out, text)
    read_profile(out)  # what was written is a profile; fails with its place where the dump is odd
    missing = ", ".join(dump.rest) if dump is not None else "all hardware"
    print(f"{out}: derived from {base}; as the base's until you say otherwise: {missing}", file=sys.stderr)
