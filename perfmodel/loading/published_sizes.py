"""Query sizes: how often each occurs, and the published lists, which a scenario asks for by name."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perfmodel.errors import InputError

_DATA = Path(__file__).resolve().parent.parent / "traffic_data"


@dataclass(frozen=True, slots=True, eq=False)
class SizeFrequencies:
    """How often each query size occurs.

    Attributes
    ----------
    num_items : (m,) int
        Distinct sizes, ascending. [items]
    probabilities : (m,) float
        Of sum 1. [1]
    """

    num_items: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


def named_sizes(distribution: str) -> SizeFrequencies:
    """Load one of the published lists of query sizes, by its name in a scenario.

    Examples
    --------
    >>> named_sizes("mlperf-dlrm").num_items.tolist()
    [100, 200, 300, 400, 500, 600, 700]
    """
    match distribution:
        case "deeprecsys-production":
            return _read_list(_DATA / "deeprecsys_production.txt")
        case "mlperf-dlrm":
            return _read_list(_DATA / "mlperf_dlrm.txt")
        case "hercules-service":
            return _read_histogram(_DATA / "hercules_service.csv")
        case _:
            raise InputError(f"unknown list of query sizes {distribution!r}")


def _read_list(path: Path) -> SizeFrequencies:
    """Read equiprobable sizes, one a line; comments begin with `#`."""
    sizes = np.loadtxt(path, dtype=np.int64)
    values, counts = np.unique(sizes, return_counts=True)
    return SizeFrequencies(values, counts / len(sizes))


def _read_histogram(path: Path) -> SizeFrequencies:
    """Read bin centres and percents; centres are rounded to whole items, percents normalised."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    centres = np.array([float(row["size_bin_centre_items"]) for row in rows])
    percents = np.array([float(row["percent_of_queries"]) for row in rows])
    values, group = np.unique(np.rint(centres).astype(np.int64), return_inverse=True)
    return SizeFrequencies(values, np.bincount(group, weights=percents) / percents.sum())
