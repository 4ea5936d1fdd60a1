"""Do statements of probability p hold p of the time? Of stated errors, over published and measured cases.

`perfplan dev reliability` prints the tables, `--json FILE` keeps them. Every case is a
time or a ratio that was predicted by a fit that had not seen its model, or, on the machine calibrated, any
model; z is the error of its logarithm over the spread stated for it. Were errors normal with those spreads,
68 % of all z would lie within 1 and 95 % within 2, and "it takes at most x" would be true p of the time
where x is the prediction times exp(z_p spread): the probability behind verdicts.

Of published figures the spread is the root mean square over the *other* models left out of the same stack,
so that no case has a say in its own; profiles state that over all of them. What fits predict of models left
out is kept by `perfplan dev fit --write`, in docs/reports/left-out-models.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from calibration.measure.unseen import unseen_models
from calibration.published.left_out import REPORTS, LeftOutPoint, read_left_out
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import CalibrationWarning
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.written import write_atomically
from perfmodel.planning.prepare import find_model
from perfmodel.planning.sensitivity import ANCHORED_SPREAD
from perfmodel.planning.time_errors import device_error

PROFILE = "amd-epyc-turin-2c"
ACCURACIES = {
    "accuracy-amd-epyc-turin-2c.json": "whole models, an hour after calibrating",
    "accuracy-unseen-amd-epyc-turin-2c.json": "random models, an hour after calibrating",
    "accuracy-fresh-calibration-1.json": "whole models, minutes after another calibration",
    "accuracy-fresh-calibration-2.json": "whole models, minutes after a third calibration",
}
SERVED = "validate-amd-epyc-turin-2c.json"
MOST_UTILISATION = 0.7
"""Beyond it the measured service times themselves depend on the load by more than the errors studied. [1]"""
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Probabilities of the statements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A case that nothing was fitted to.

    Attributes
    ----------
    group, case : str
        Which figure or report, and what was measured.
    log_error : float
        Predicted over measured. [ln]
    spread : float
        What the profile states for it. [ln]
    """

    group: str
    case: str
    log_error: float
    spread: float

    @property
    def z(self) -> float:
        """Error over its spread. [1]"""
        return self.log_error / self.spread


def published_claims() -> list[Claim]:
    """Figures of models that were left out of the fit, one at a time."""
    by_stack: dict[str, list[LeftOutPoint]] = {}
    # A ratio stands there under the names of both devices, and counts once.
    for point in {(point.stack, point.case): point for point in read_left_out()}.values():
        by_stack.setdefault(point.stack, []).append(point)
    claims = []
    for stack, points in by_stack.items():
        for point in points:
            others = [other.log_error for other in points if other.model != point.model]
            claims.append(
                Claim(
                    group=f"{stack}, models left out",
                    case=point.case,
                    log_error=point.log_error,
                    spread=float(np.sqrt(np.mean(np.square(others)))),
                )
            )
    return claims


def measured_claims() -> list[Claim]:
    """Whole models on the calibrated machine: nothing was fitted to any of them."""
    profile = read_profile(find_file("profile", PROFILE))
    device = profile.device()
    claims = []
    for file, group in ACCURACIES.items():
        for entry in json.loads((REPORTS / file).read_text(encoding="utf-8"))["models"]:
            rows = entry["rows"]
            spreads = _spreads(device, _model(entry["model"]), [row["batch_size"] for row in rows])
            claims += [
                Claim(
                    group=group,
                    case=f"{entry['model']}, batch {row['batch_size']}",
                    log_error=float(np.log(row["predicted_ms"] / row["measured_ms"])),
                    spread=spread,
                )
                for row, spread in zip(rows, spreads, strict=True)
            ]
    return claims


def served_claims() -> list[Claim]:
    """Mean service times of served models up to a utilisation of 0.7, without an anchor and with one."""
    device = read_profile(find_file("profile", PROFILE)).device()
    points = json.loads((REPORTS / SERVED).read_text(encoding="utf-8"))["points"]
    claims, known = [], dict[str, float]()
    for case, point in points.items():
        name, _, utilisation = case.rpartition(" ")
        if float(utilisation) > MOST_UTILISATION:
            continue
        if name not in known:
            (known[name],) = _spreads(device, _model(name), [_TYPICAL_BATCH])
        own = known[name]
        for group, key, spread in (
            ("served models", "error_percent_without_anchor", own),
            ("served models, anchored", "error_percent", ANCHORED_SPREAD),
        ):
            error = float(np.log1p(point[key]["service_time"] / 100.0))
            claims.append(Claim(group=group, case=case, log_error=error, spread=spread))
    return claims


_TYPICAL_BATCH = 100
"""Of the served models' requests. [items]"""


def _spreads(device: Device, model: RecModel, batch_sizes: Sequence[int]) -> list[float]:
    """Of each batch alone. [ln]"""
    time = batch_time(model, device, np.array(batch_sizes, float))
    return [device_error(device, model.name, time, alone) for alone in np.eye(len(batch_sizes))]


def _model(name: str) -> RecModel:
    if not name.startswith("unseen-"):
        return find_model(name)
    _, seed, index = name.split("-")
    return unseen_models(int(index) + 1, int(seed))[int(index)]


def scores(claims: Sequence[Claim]) -> dict[str, float]:
    """Number of cases, root mean square of z and of the error, and shares within 1 and 2 spreads."""
    z = np.array([claim.z for claim in claims])
    return {
        "cases": len(claims),
        "rms_error": float(np.sqrt(np.mean([claim.log_error**2 for claim in claims]))),
        "rms_z": float(np.sqrt(np.mean(z**2))),
        "within_1": float(np.mean(np.abs(z) <= 1.0)),
        "within_2": float(np.mean(np.abs(z) <= 2.0)),
    }


def reliability(claims: Sequence[Claim]) -> dict[str, float]:
    """By probability of the statements, the share that is true.

    The truth is the prediction times exp(-error): at most x where -z is at most z_p.
    """
    z = np.array([claim.z for claim in claims])
    return {f"{level:g}": float(np.mean(-z <= NormalDist().inv_cdf(level))) for level in LEVELS}


def tables(groups: Mapping[str, Sequence[Claim]]) -> str:
    """Both tables as Markdown: z by group, and statements by their probability."""
    lines = ["| cases | number | rms error | rms z | within 1 | within 2 |", "|---|---|---|---|---|---|"]
    for name, claims in groups.items():
        found = scores(claims)
        lines.append(
            f"| {name} | {len(claims)} | {100 * found['rms_error']:.1f} % | {found['rms_z']:.2f} "
            f"| {100 * found['within_1']:.0f} % | {100 * found['within_2']:.0f} % |"
        )
    lines += ["", "Of statements with this probability, so many were true:", ""]
    lines += ["| cases | " + " | ".join(f"{100 * level:g} %" for level in LEVELS) + " |"]
    lines += ["|---|" + "---|" * len(LEVELS)]
    for name, claims in groups.items():
        true = " | ".join(f"{100 * share:.0f} %" for share in reliability(claims).values())
        lines.append(f"| {name} | {true} |")
    return "\n".join(lines)


def grouped(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Each group of cases, then all that are published, all that were measured here, and all."""
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.group, []).append(claim)
    published = [claim for claim in claims if "left out" in claim.group]
    measured = [claim for claim in claims if "left out" not in claim.group]
    return groups | {"all published": published, "all measured": measured, "all": list(claims)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; keep them as JSON where asked."""
    parser = argparse.ArgumentParser(
        prog="perfplan dev reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="file to write the tables and every case to")
    given = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # the machine calibrated is the one measured
        claims = [*published_claims(), *measured_claims(), *served_claims()]
    groups = grouped(claims)
    print(tables(groups))
    if given.json:
        document = {
            "scores": {name: scores(own) for name, own in groups.items()},
            "true_by_probability": {name: reliability(own) for name, own in groups.items()},
            "cases": [asdict(claim) | {"z": claim.z} for claim in claims],
        }
        write_atomically(given.json, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
