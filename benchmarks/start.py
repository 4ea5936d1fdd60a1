"""From the prompt to the answer: `predict` against the start of the libraries that it stands on.

    python -m benchmarks.start [REPETITIONS]

Every round starts each process once, one after the other, so that what else the machine does weighs on all
alike; medians, and ratios of them. The first run after an install finds no machine code: its folder is new.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.cases import once_s
from benchmarks.speed import Row

REPOSITORY = Path(__file__).parents[1]
PREDICT = ("-m", "perfmodel.cli.main", "predict", "--scenario", "rm3_skylake")
PROCESSES: Mapping[str, tuple[str, ...]] = {
    "Python": ("-c", ""),
    "numba, numpy and simpy": ("-c", "import numba, numpy, simpy"),
    "perfplan --help": ("-m", "perfmodel.cli.main", "--help"),
    "imports of predict": ("-c", "import perfmodel.cli.main, perfmodel.cli.predict"),
    "imports of predict and its engine": (
        "-c",
        "import perfmodel.cli.main, perfmodel.cli.predict, perfmodel.sim.probes",
    ),
    "predict": PREDICT,
}
LIBRARIES = "numba, numpy and simpy"
TABLES = 10_000
TABLES_ON = ("skylake", "amd-epyc-turin-2c", "amd-epyc-turin-2c-modules")
"""Formulas of a server; measured calls; measured calls as modules make them."""


def start_rows(repetitions: int = 7) -> Iterator[Row]:
    """Medians of process starts, first run included, and their ratios to the libraries' start."""
    with TemporaryDirectory() as folder:
        model = Path(folder) / "tables.yaml"
        model.write_text(many_tables(TABLES), encoding="utf-8")
        warm = os.environ | {"NUMBA_CACHE_DIR": str(Path(folder) / "warm")}
        processes = dict(PROCESSES)
        for profile in TABLES_ON:
            of_tables = ("latency", "--model", str(model), "--on", profile, "--batch", "64", "--extrapolate")
            processes[f"latency of {TABLES:,} tables on {profile}"] = ("-m", "perfmodel.cli.main", *of_tables)

        def starts(name: str) -> Callable[[], object]:
            return lambda: _run(processes[name], warm)

        starts("predict")()  # compiles, and writes the bytecode of all modules
        times_s: dict[str, list[float]] = {name: [] for name in processes}
        first_s = []
        for repetition in range(repetitions):
            cold = os.environ | {"NUMBA_CACHE_DIR": str(Path(folder) / str(repetition))}
            first_s.append(once_s(lambda cold=cold: _run(PREDICT, cold)))  # type: ignore[misc]  # bound now
            for name in processes:
                times_s[name].append(once_s(starts(name)))
    libraries_s = median(times_s[LIBRARIES])
    for name, found_s in times_s.items():
        target_s = 1.0 if name.startswith("latency") else None
        yield Row(name, median(found_s), target_s, "s", at_most=True)
    yield Row("predict, first run after an install", median(first_s), 3.0, "s", at_most=True)
    ratios = {"predict over the libraries": 2.8, "imports of predict and its engine over the libraries": None}
    for name, target in ratios.items():
        ratio = median(times_s[name.removesuffix(" over the libraries")]) / libraries_s
        yield Row(name, ratio, target, "x", at_most=True)


def many_tables(count: int) -> str:
    """Return a model file of so many different tables between two small MLPs."""
    tables = "\n".join(
        f"      - {{num_rows: {1000 + 3 * index}, dim: 32, pooling_factor: {1 + index % 50}}}"
        for index in range(count)
    )
    return f"""name: tables
dense_features: 13
operators:
  - {{name: bottom, kind: mlp, input: dense, widths: [13, 64, 32]}}
  - name: embeddings
    kind: embedding_bag
    tables:
{tables}
  - {{name: joined, kind: concat, inputs: [bottom, embeddings]}}
  - {{name: top, kind: mlp, input: joined, widths: [{32 * (count + 1)}, 64, 1]}}
"""


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    # Bytecode of modules is kept, as an install does: without it every start compiles Python.
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, env=kept, stdout=subprocess.DEVNULL, check=True
    )


def main() -> int:
    """Print the rows; 1 where a target is missed."""
    missed = False
    for row in start_rows(*(int(argument) for argument in sys.argv[1:2])):
        target = "" if row.target is None else f"  (at most {row.target:g} {row.unit})"
        print(f"{row.name:55s} {row.measured:6.2f} {row.unit}{target}{'' if row.meets else '  MISSED'}")
        missed = missed or not row.meets
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
