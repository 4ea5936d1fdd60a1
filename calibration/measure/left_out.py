"""How far off a calibration is on sequences that its fit has not seen: by kind of call, and as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.measure.fit import Points
from perfmodel.costmodel.kernels import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutErrors:
    """Errors of passes that were left out, as logarithms of predicted over measured time.

    Attributes
    ----------
    by_kind : mapping of str to float
        Root mean square over passes of the error of all calls of a kind, each pass weighted by the kind's
        share of its time: where a call is a hundredth of the pass, what disturbs it says little. [ln]
    whole : float
        Root mean square of whole passes. [ln]
    correlation : float
        Of the errors of two kinds in a pass: with it the errors of the kinds add up to those of the
        whole passes, see `combined`. [1]
    """

    by_kind: Mapping[str, float]
    whole: float
    correlation: float


def left_out_errors(points: Mapping[str, Points], predicted_s: Mapping[str, Floats]) -> LeftOutErrors:
    """Compare what was measured with predictions by fits to other sequences.

    Parameters
    ----------
    points : mapping
        Measured calls by kind.
    predicted_s : mapping
        Time of each by a law and residual that have not seen its sequence. [s]
    """
    kinds = list(points)
    passes = 1 + max(int(found.passes.max()) for found in points.values())
    expected, measured = np.zeros((2, len(kinds), passes))
    for row, kind in enumerate(kinds):
        found = points[kind]
        np.add.at(expected[row], found.passes, found.counts * predicted_s[kind])
        np.add.at(measured[row], found.passes, found.counts * found.seconds)
    visited = measured.sum(axis=0) > 0.0
    expected, measured = expected[:, visited], measured[:, visited]
    there = measured > 0.0
    errors = np.log(np.where(there, expected, 1.0) / np.where(there, measured, 1.0))
    shares = expected / expected.sum(axis=0)
    by_kind = np.sqrt((shares * errors**2).sum(axis=1) / shares.sum(axis=1))
    whole = np.log(expected.sum(axis=0) / measured.sum(axis=0))
    parts = shares * by_kind[:, None]
    return LeftOutErrors(
        by_kind=dict(zip(kinds, by_kind.tolist(), strict=True)),
        whole=float(np.sqrt(np.mean(whole**2))),
        correlation=_correlation(np.mean(whole**2), np.mean((parts**2).sum(0)), np.mean(parts.sum(0) ** 2)),
    )


def _correlation(whole: float, independent: float, together: float) -> float:
    """Where the mean square of the whole lies between its parts added up as independent and together. [1]"""
    if together <= independent:  # one kind a pass: there is nothing to combine
        return 0.0
    return float(np.clip((whole - independent) / (together - independent), 0.0, 1.0))
