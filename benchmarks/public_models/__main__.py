"""Import public models of several libraries, each in an environment of its own; a table in Markdown.

    python -m benchmarks.public_models [LIBRARY ...] --environments DIR

An environment that DIR lacks is made there: a virtual environment that sees this one's packages (PyTorch),
with the library at a pinned version. Not among the default tests: it needs a package index, and minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path
from tempfile import gettempdir
from typing import Any

PINNED: dict[str, str] = {
    "deepctr": "deepctr-torch==0.3.0 scikit-learn tqdm requests",
    "rechub": "torch-rechub==0.9.0 scikit-learn tqdm pandas",
    "recbole": "recbole==1.2.1 pandas tqdm colorlog==4.7.2 colorama scikit-learn tabulate texttable psutil "
    "tensorboard thop plotly ray",
    "torchrec": "tensordict torchmetrics==1.0.3 tqdm pyre-extensions",
    "xtransformers": "x-transformers==2.31.10 einops einx loguru torch-einops-utils",
}
"""What a library needs beside PyTorch (torchrec's is of PyTorch 2.13); FuxiCTR's wheel holds no models."""
ALONE: dict[str, str] = {"torchrec": "torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0"}
"""What is installed without what it asks for: torchrec asks for the kernels of cards."""
COLUMNS = {
    "FLOP an item": ("flop", "counted_flop"),
    "rows an item": ("rows", "counted_rows"),
    "table bytes an item": ("row_bytes", "counted_row_bytes"),
    "parameter bytes": ("parameter_bytes", "counted_parameter_bytes"),
}
"""What the file has, and what was counted on the module."""


def environment(library: str, where: Path) -> Path:
    """The interpreter of a library's environment, made where it is missing."""
    home = where / library
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
        ours = distribution("torch")
        (packages / "ours.pth").write_text(f"{ours.locate_file('')}\n", encoding="utf-8")
        kept = home / "kept.txt"  # were PyTorch not seen there, pip would fetch another one
        kept.write_text(f"torch=={ours.version}\n", encoding="utf-8")
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", kept]
        subprocess.run([*install, *PINNED[library].split()], check=True)
        if library in ALONE:
            subprocess.run([*install, "--no-deps", *ALONE[library].split()], check=True)
    return python


def rows(library: str, python: Path, files: Path | None) -> list[dict[str, Any]]:
    """What became of each of its models; their files are kept in a folder, where one is given."""
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    command = [python, "-W", "ignore", "-m", "benchmarks.public_models.one", library]
    command.append("" if files is None else str(files))
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(found: list[dict[str, Any]]) -> str:
    """Every model's counts, the file's first, and how many are within 1 %."""
    headings = ["model", *(heading for column in COLUMNS for heading in (column, "module"))]
    lines = ["| " + " | ".join(headings) + " |", "|---|" + "---:|" * (len(headings) - 1)]
    for row in found:
        name = f"{row['library']} {row['model']}"
        if "flop" not in row:
            why = row.get("refused") or row.get("not_run") or row["traceback"]
            lines.append(f"| {name} | {why} |" + " |" * (len(headings) - 2))
            continue
        cells = [f"{row[key]:,.6g}" for pair in COLUMNS.values() for key in pair]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    right = sum(is_right(row) for row in found)
    silent = sum("flop" in row and not is_right(row) for row in found)
    refused, traces = (sum(key in row for row in found) for key in ("refused", "traceback"))
    head = f"{len(found)} models: {right} within 1 %, {refused} refused in one line"
    return "\n".join([f"{head}, {silent} wrong without a word, {traces} tracebacks", "", *lines])


def is_right(row: dict[str, Any]) -> bool:
    """Whether all that is counted is within 1 % of what was counted on the module."""
    return "flop" in row and all(
        abs(row[ours] - row[theirs]) <= 0.01 * max(row[theirs], 1e-9) for ours, theirs in COLUMNS.values()
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Import public models, and count.")
    parser.add_argument("libraries", nargs="*", choices=[[], *PINNED], default=[])
    parser.add_argument("--environments", type=Path, default=Path(gettempdir()) / "perfplan-public-models")
    parser.add_argument("--files", type=Path, help="A folder that the models' files are kept in.")
    options = parser.parse_args()
    if options.files is not None:
        options.files.mkdir(parents=True, exist_ok=True)
    found = []
    for library in options.libraries or PINNED:
        print(library, file=sys.stderr)
        found += rows(library, environment(library, options.environments), options.files)
    print(table(found))


if __name__ == "__main__":
    main()
