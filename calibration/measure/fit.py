"""Fitting a surface: a law with non-negative coefficients, and a residual interpolated between points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky
from scipy.optimize import lsq_linear, minimize, nnls

from perfmodel.costmodel.places import Place
from perfmodel.costmodel.surfaces import matern, residual
from perfmodel.domain.surface import Surface
from perfmodel.loading.profile_surfaces import COORDINATE_DECIMALS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST_CENTRES = 900
"""Points that a residual is interpolated from: more cost time at prediction and change little."""
_MOST_TUNED = 700
_JITTER = 1e-6
_CONSTANT = 1e-3
"""Standard deviation of a coordinate that was the same in all sequences, but for rounding."""
_FOLDS = 5
_MOST_EXCHANGES = 30
"""For each coefficient, in the search for the best ones."""
_REWEIGHTED = 3
_FAR_OFF = 0.5
"""Logarithm of a ratio to the law beyond which a point counts less and less. [1]"""
_FARTHEST = 3.0
"""Standard deviations from the residual beyond which a point counts less and less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Measured calls of one surface: `(n, terms)` amounts, `(n, dims)` coordinates, seconds of one call.

    `terms` name the columns of the amounts, `most` the largest coefficient that some may have. [s]
    `groups` are the sequences that they were measured in: a cross-validation holds out whole ones.
    `passes` number the visits, `counts` say how many equal calls a pass makes.
    """

    terms: tuple[str, ...]
    amounts: Floats
    coordinates: Floats
    seconds: Floats
    groups: Integers
    passes: Integers
    counts: Integers
    most: Mapping[str, float] = field(default_factory=dict)

    def subset(self, chosen: npt.NDArray[np.bool_]) -> Points:
        """The chosen points."""
        return replace(
            self,
            amounts=self.amounts[chosen],
            coordinates=self.coordinates[chosen],
            seconds=self.seconds[chosen],
            groups=self.groups[chosen],
            passes=self.passes[chosen],
            counts=self.counts[chosen],
        )

    def charged_seconds(self, law: Mapping[str, float]) -> Floats:
        """What a law charges for each call. [s]"""
        return np.asarray(self.amounts @ np.array([law[term] for term in self.terms]))


class Seen(NamedTuple):
    """One kernel of one visit: where it lies, the time of a call [s], its sequence, visit and calls."""

    at: Place
    seconds: float
    group: int
    visit: int
    calls: int


def gather_points(seen: Sequence[Seen]) -> Points:
    """Points of one kind of call."""
    return Points(
        terms=seen[0].at.terms,
        amounts=np.array([one.at.amounts[:, 0] for one in seen]),
        coordinates=np.array([one.at.coordinates[:, 0] for one in seen]),
        seconds=np.array([one.seconds for one in seen]),
        groups=np.array([one.group for one in seen]),
        passes=np.array([one.visit for one in seen]),
        counts=np.array([one.calls for one in seen]),
    )


def fit_law(points: Points) -> dict[str, float]:
    """Coefficients 0 <= c <= most by name that minimise the relative error of sum_j c_j f_j. [s]

    Reweighted a few times towards the error of the logarithm, which the residual then continues.
    """
    most = np.array([points.most.get(term, np.inf) for term in points.terms])
    weights = 1.0 / points.seconds
    for _ in range(4):
        law = _least_squares(points.amounts * weights[:, None], points.seconds * weights, most)
        predicted = np.maximum(points.amounts @ law, 1e-3 * points.seconds)
        ratio = points.seconds / predicted
        weights = np.sqrt(np.abs(np.log(ratio)) / np.maximum(np.abs(ratio - 1.0), 1e-9)) / predicted
        weights = np.where(np.abs(ratio - 1.0) < 1e-6, 1.0 / predicted, weights)
        weights /= np.sqrt(1.0 + (np.log(ratio) / _FAR_OFF) ** 2)  # a few calls were disturbed, by far
    return dict(zip(points.terms, law.tolist(), strict=True))


def least_squares_from_zero(amounts: Floats, wanted: Floats) -> Floats:
    """Coefficients that are not negative; where the exact search goes in circles, nearly the best ones."""
    try:
        found, _ = nnls(amounts, wanted, maxiter=_MOST_EXCHANGES * amounts.shape[1])
    except RuntimeError:  # calls that are almost alike: what was measured is worth more than the last digit
        size = np.linalg.norm(amounts, axis=0)
        size = np.where(size > 0.0, size, 1.0)
        found = np.maximum(lsq_linear(amounts / size, wanted, bounds=(0.0, np.inf)).x, 0.0) / size
    return np.asarray(found)


def _least_squares(amounts: Floats, wanted: Floats, most: Floats) -> Floats:
    """Coefficients from 0 to the most that each may be; again with bounds only where one is exceeded."""
    free = least_squares_from_zero(amounts, wanted)
    if np.all(free <= most):
        return free
    size = np.linalg.norm(amounts, axis=0)
    size = np.where(size > 0.0, size, 1.0)
    bounded = lsq_linear(amounts / size, wanted, bounds=(0.0, most * size), method="bvls")
    return np.asarray(np.clip(bounded.x / size, 0.0, most))


def fit_surface(points: Points, *, seed: int = 0) -> Surface:
    """Law, then residual; its length scales by maximum likelihood. The error is left for cross-validation."""
    law = fit_law(points)
    logs = np.log(points.seconds / points.charged_seconds(law))
    spread = np.std(points.coordinates, axis=0)
    spread = np.where(spread < _CONSTANT, 1.0, spread)  # nothing is known of it: neighbours are alike
    rng = np.random.default_rng(seed)
    tuned = _whole_sequences(points.groups, rng)
    sizes = _hyperparameters(
        points.coordinates[tuned], logs[tuned], points.groups[tuned], points.seconds[tuned], spread
    )
    chosen = rng.permutation(len(logs))[:_MOST_CENTRES]
    centres = np.unique(points.coordinates[chosen].round(COORDINATE_DECIMALS), axis=0)
    return Surface(
        law=law,
        scales=sizes.scales,
        amplitude=sizes.amplitude,
        noise=sizes.noise,
        noise_s=sizes.noise_s,
        points=centres,
        weights=_weights(points, logs, centres, sizes),
        low=points.coordinates.min(axis=0),
        high=points.coordinates.max(axis=0),
        relative_error=0.0,
    )


def _whole_sequences(groups: Integers, rng: np.random.Generator) -> Integers:
    """Points of sequences drawn at random, as many as a tuning can take."""
    order = rng.permutation(int(groups.max()) + 1)[groups]
    return np.argsort(order, kind="stable")[:_MOST_TUNED]


def held_out_seconds(surface: Surface, points: Points, *, seed: int = 0) -> Floats:
    """Each point's time by a law and residual that have not seen its sequence; length scales stay. [s]"""
    shuffled = np.random.default_rng(seed).permutation(int(points.groups.max()) + 1)
    fold = shuffled[points.groups] % _FOLDS
    seconds = np.empty_like(points.seconds)
    for number in np.unique(fold):
        seen, held_out = points.subset(fold != number), fold == number
        if not len(seen.seconds):
            return np.full_like(points.seconds, np.nan)
        law = fit_law(seen)
        logs = np.log(seen.seconds / seen.charged_seconds(law))
        sizes = _Sizes(surface.scales, surface.amplitude, surface.noise, surface.noise_s)
        partial = replace(surface, law=law, weights=_weights(seen, logs, surface.points, sizes))
        seconds[held_out] = predicted_seconds(partial, points.subset(held_out))
    return seconds


class _Sizes(NamedTuple):
    """Length scales and amplitude of a residual, and what it leaves: of large calls, and of small ones."""

    scales: Floats
    amplitude: float
    noise: float
    noise_s: float

    def variance(self, seconds: Floats) -> Floats:
        """What a call's logarithm is off by: a fraction, and a time that large calls do not feel. [1]"""
        return np.asarray(self.noise**2 + (self.noise_s / seconds) ** 2)


def _weights(points: Points, logs: Floats, centres: Floats, sizes: _Sizes) -> Floats:
    """Weights of the centres by the subset of regressors: all points count, not only the centres.

    w = (K_cc / a^2 + K_cx D^-1 K_xc)^-1 K_cx D^-1 y / a^2, with correlations K and variances D; then again
    with greater variances for points that lie far off.
    """
    expected = sizes.variance(points.seconds)
    variance = expected + np.maximum(np.abs(logs) - _FAR_OFF, 0.0) ** 2
    k_cc = matern(centres, centres, sizes.scales) + _JITTER * np.eye(len(centres))
    k_xc = matern(points.coordinates, centres, sizes.scales)
    for _ in range(_REWEIGHTED):
        inner = k_cc / sizes.amplitude**2 + k_xc.T @ (k_xc / variance[:, None])
        weights = _solved(inner, k_xc.T @ (logs / variance))
        variance = expected * (1.0 + ((logs - k_xc @ weights) / _FARTHEST) ** 2 / expected)
    return np.asarray(weights / sizes.amplitude**2)


def _solved(matrix: Floats, right: Floats) -> Floats:
    """Solution for a matrix that is positive definite but for rounding: its diagonal grows until it is."""
    diagonal = np.diag_indices_from(matrix)
    for power in range(6):
        raised = matrix.copy()
        raised[diagonal] *= 1.0 + _JITTER * 10.0**power
        try:
            return np.asarray(cho_solve(cho_factor(raised), right))
        except LinAlgError:
            continue
    raise AssertionError("a matrix of correlations is far from positive definite")


def _hyperparameters(x: Floats, y: Floats, groups: Integers, seconds: Floats, spread: Floats) -> _Sizes:
    """Sizes of greatest likelihood, with weak expectations of each.

    The calls of a sequence may all be off alike, for reasons that no coordinate tells, such as where its
    memory lies. Without a variance for that (its size is fitted too, and not used afterwards) its batch
    sizes, off alike, would pass for a detail of the surface, and length scales would come out too short.
    """
    dims = len(spread)
    expected = np.concatenate([np.log(1.5 * spread), np.log([0.2, 0.05, 0.03, 5e-7])])
    trust = np.concatenate([np.full(dims, 1.0), [1.0, 1.0, 0.7, 1.0]])
    same = (groups[:, None] == groups[None, :]).astype(float)
    squares = [(x[:, dim, None] - x[None, :, dim]) ** 2 for dim in range(dims)]

    def loss(logs: Floats) -> tuple[float, Floats]:
        """Minus the logarithm of likelihood and expectations, and its gradient."""
        scales, (a2, g2, n2, s2) = np.exp(logs[:dims]), np.exp(2.0 * logs[dims:])
        distance = np.sqrt(
            5.0 * sum(square / scale**2 for square, scale in zip(squares, scales, strict=True))
        )
        decay = np.exp(-distance)
        smooth = a2 * (1.0 + distance + distance**2 / 3.0) * decay
        k = smooth + g2 * same
        k[np.diag_indices_from(k)] += n2 + s2 / seconds**2 + _JITTER
        factor = cholesky(k, lower=True)
        inverse = cho_solve((factor, True), np.eye(len(y)))
        z = inverse @ y
        pull = inverse - np.outer(z, z)  # gradient of the loss by k, times two
        slope = a2 * (5.0 / 3.0) * (1.0 + distance) * decay * pull
        by_scale = [
            0.5 * np.sum(slope * square) / scale**2 for square, scale in zip(squares, scales, strict=True)
        ]
        on_diagonal = np.diag(pull)
        by_size = [np.sum(pull * smooth), g2 * np.sum(pull * same), n2 * np.sum(on_diagonal)]
        by_size.append(s2 * np.sum(on_diagonal / seconds**2))
        off = (logs - expected) / trust
        value = 0.5 * y @ z + np.sum(np.log(np.diag(factor))) + 0.5 * np.sum(off**2)
        return float(value), np.concatenate([by_scale, by_size]) + off / trust

    bounds = [(centre - 3.0, centre + 3.0) for centre in expected]
    best = minimize(loss, expected, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40})
    amplitude, _, noise, noise_s = np.exp(best.x[dims:]).tolist()
    return _Sizes(np.exp(best.x[:dims]), amplitude, noise, noise_s)


def predicted_seconds(surface: Surface, points: Points) -> Floats:
    """Times that a surface gives for points. [s]"""
    return np.asarray(points.charged_seconds(surface.law) * np.exp(residual(surface, points.coordinates.T)))
