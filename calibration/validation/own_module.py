"""A user's own module as what is validated: imported for its prediction, served as it is."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from calibration.importing.factory import load_example
from calibration.importing.importer import import_example
from calibration.importing.inputs import ModuleServable, servable_of
from perfmodel.loading.model_file import model_text
from perfmodel.sim.service import ServiceTimes
from perfmodel.units import MS

_ALONE_BATCHES = (1, 4, 16, 64, 256, 1024)
_WARM_S, _TIMED_S, _FEWEST, _MOST = 0.1, 0.4, 5, 200
_INPUTS = 24
"""Different inputs of one size: more than a pass leaves in the caches, for all but tiny tables."""


@dataclass(frozen=True, slots=True)
class OwnModule:
    """The module with inputs of any size, and the model file that its prediction is made of."""

    target: str
    servable: ModuleServable
    model_path: Path

    @property
    def words(self) -> str:
        """What is served, in words."""
        return f"{self.target} as it is, no_grad; {self.servable.maker.words}"


@contextmanager
def own_module(target: str) -> Iterator[OwnModule]:
    """Load and import a module; its model file is there as long as the body runs.

    Raises
    ------
    InputError
        If it cannot be loaded, imported, or run on other numbers of items.
    """
    with redirect_stdout(sys.stderr):  # whatever the user's code prints is no part of the answer
        example = load_example(target)
        name = re.sub(r"[^a-z0-9.-]+", "-", target.rpartition(":")[2].lower()).strip("-.") or "module"
        imported = import_example(example, name)
        servable = servable_of(example)
    with TemporaryDirectory() as directory:
        path = Path(directory) / f"{name}.yaml"
        path.write_text(model_text(imported.model), encoding="utf-8")
        yield OwnModule(target, servable, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class AloneRow:
    """One batch size, with nothing beside it: medians. [s]"""

    batch_size: int
    measured_s: float
    predicted_s: float

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return {
            "batch_size": self.batch_size,
            "measured_ms": self.measured_s / MS,
            "predicted_ms": self.predicted_s / MS,
            "error_percent": 100.0 * (self.predicted_s / self.measured_s - 1.0),
        }


def measured_alone(servable: ModuleServable, service: ServiceTimes) -> tuple[AloneRow, ...]:
    """Run the module in this process at batch sizes up to the largest request, nothing beside it."""
    largest = service.cpu_s.shape[0]
    sizes = [size for size in _ALONE_BATCHES if size <= largest]
    rows = []
    for size in sizes:
        rng = np.random.default_rng(size)
        inputs = [servable.inputs(size, rng) for _ in range(_INPUTS)]
        once_s = _passes_s(servable, inputs, 2)[-1]
        _passes_s(servable, inputs, int(np.clip(_WARM_S / once_s, 1, _MOST)))
        timed = _passes_s(servable, inputs, int(np.clip(_TIMED_S / once_s, _FEWEST, _MOST)))
        predicted_s = float(service.cpu_s[size - 1, 0])
        rows.append(AloneRow(batch_size=size, measured_s=float(np.median(timed)), predicted_s=predicted_s))
    return tuple(rows)


def _passes_s(servable: ModuleServable, inputs: list[tuple[object, ...]], repeats: int) -> list[float]:
    """Thread-CPU time of passes, going round the inputs. [s]"""
    seconds = []
    for index in range(repeats):
        start = time.thread_time()
        servable.run(inputs[index % len(inputs)])
        seconds.append(time.thread_time() - start)
    return seconds
