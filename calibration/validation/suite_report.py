"""What a suite has measured so far: its loads by name, its summary, and its way to disk and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_json

UTILISATIONS = (0.3, 0.5, 0.7, 0.85)
MODERATE = 0.7
"""Up to here the accuracy that the project aims at is claimed."""

Entry = dict[str, Any]
"""Plain values of one load, one capacity, or what was left out."""


class Found(NamedTuple):
    """One entry, the part of the report that it belongs to, and its name there."""

    part: Literal["points", "capacity", "left_out"]
    name: str
    entry: Entry


def point_name(model: str, utilisation: float) -> str:
    """Name of a load among the points."""
    return f"{model} {utilisation:g}"


@dataclass(slots=True, kw_only=True)
class SuiteReport:
    """Grows by an entry at a time, in `run_suite` only.

    Attributes
    ----------
    measured_as : dict
        What two parts of one report must have in common.
    settings : str
        Of the processes that serve.
    fingerprint : dict
        The machine and its software.
    points, capacity, left_out : dict
        Loads by model and utilisation; by model the largest load, and why nothing was measured.
    """

    measured_as: Entry
    settings: str
    fingerprint: Entry
    points: dict[str, Entry] = field(default_factory=dict)
    capacity: dict[str, Entry] = field(default_factory=dict)
    left_out: dict[str, Entry] = field(default_factory=dict)

    def add(self, found: Found) -> None:
        """Take an entry in."""
        parts = {"points": self.points, "capacity": self.capacity, "left_out": self.left_out}
        parts[found.part][found.name] = found.entry

    @property
    def summary(self) -> Entry:
        """Mean absolute errors over the models, at each utilisation and at all up to the moderate one. [%]"""
        points = list(self.points.values())
        by_utilisation = {
            f"{u:g}": _means([point for point in points if point["aimed_utilisation"] == u])
            for u in UTILISATIONS
            if any(point["aimed_utilisation"] == u for point in points)
        }
        errors = [entry["error_percent"] for entry in self.capacity.values()]
        known = [abs(error) for error in errors if error is not None]
        return {
            "by_utilisation": by_utilisation,
            "up_to_moderate": _means([point for point in points if point["aimed_utilisation"] <= MODERATE]),
            "capacity_percent": float(np.mean(known)) if known else None,
        }

    def to_dict(self) -> Entry:
        """Plain values, with the summary of what there is."""
        return {
            "measured_as": self.measured_as,
            "settings": self.settings,
            "fingerprint": self.fingerprint,
            "points": self.points,
            "capacity": self.capacity,
            "left_out": self.left_out,
            "summary": self.summary,
        }


def resumed(
    path: Path, *, measured_as: Mapping[str, Any], page_of: Callable[[SuiteReport], str]
) -> SuiteReport:
    """Read the report of an earlier suite; `page_of` makes the page that it has to have all values of.

    Raises
    ------
    InputError
        If it is none, or was measured with other options.
    """
    read = read_json(path)
    try:
        sections = ("measured_as", "fingerprint", "points", "capacity", "left_out")
        parts = {key: dict(read[key]) for key in sections}
        report = SuiteReport(settings=str(read["settings"]), **parts)
        page_of(report)  # reads what later steps read
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        raise InputError(
            f"{path}:1:1: expected the report of an earlier suite; measure anew without --resume"
        ) from None
    for key, value in measured_as.items():
        before = report.measured_as.get(key)
        if before != value:
            raise InputError(f"{path}: was measured with {key} {before!r}, not {value!r}")
    return report


def _means(points: Sequence[Mapping[str, Any]]) -> Entry:
    """Mean absolute errors of some loads. [%]"""
    ways = {
        "fixed_qps": [point["error_percent"] for point in points],
        "equal_utilisation": [point["equal_utilisation"]["error_percent"] for point in points],
        "own_service_times": [point["own_service_times"]["error_percent"] for point in points],
        "without_anchor": [
            error for point in points if (error := point["error_percent_without_anchor"]) is not None
        ],
        "without_anchor_at_this_lifetime": [
            error
            for point in points
            if (error := point["error_percent_without_anchor_at_this_lifetime"]) is not None
        ],
    }
    return {
        way: {
            key: float(np.mean([abs(error[key]) for error in errors]))
            for key in ("p50", "p95", "p99", "throughput", "service_time")
        }
        for way, errors in ways.items()
        if errors
    }
