"""One short run of the whole model corrects what its operators, measured apart, do not add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibration.serving.served import Served
from calibration.validation.stops import Stops, stops_of
from calibration.validation.unsteadiness import LEAST_COMPARED, PAUSED_S
from perfmodel.errors import InputError
from perfmodel.sim.arrays import FloatArray, IntArray
from perfmodel.sim.scatter import ScatterTable, even_scatter, log_normal_factors
from perfmodel.sim.service import ServiceTimes

SHAPE_SPREAD = 0.15
"""Prior: how far the factor of one batch size may lie from that of a quite different one, as a logarithm."""

SHAPE_REACH = 0.8
"""Prior: sizes nearer than this share their factor, as a logarithm of their ratio (a factor of 2.2)."""

LEVEL_SPREAD = 2.0
CONTENTION_SPREAD = 0.2
BIN_ERROR = 0.01
BINS_PER_OCTAVE = 4
MIN_REQUESTS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Requests on the cores: their sizes and varieties, who else was busy, how long they took."""

    num_items: IntArray
    num_busy: IntArray
    service_s: FloatArray
    variety: IntArray

    @classmethod
    def of(cls, runs: Sequence[Served]) -> Samples:
        """Put the requests of several runs together."""
        return cls(
            num_items=np.concatenate([run.requests.num_items[run.on_cores] for run in runs]),
            num_busy=np.concatenate([run.num_busy[run.on_cores] for run in runs]),
            service_s=np.concatenate([run.service_s[run.on_cores] for run in runs]),
            variety=np.concatenate([run.requests.variety[run.on_cores] for run in runs]),
        )

    def predicted_s(self, service: ServiceTimes) -> FloatArray:
        """Service times of these very requests by a table, or by those of their varieties. [s]"""
        busy = np.clip(self.num_busy, 1, service.num_executors)
        if service.by_query is None:
            return service.cpu_s[self.num_items - 1, busy - 1]
        times, place = service.by_query.cpu, (self.variety // 2, self.num_items - 1, busy - 1)
        return np.where(self.variety % 2 == 0, times.with_s[place], times.without_s[place])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anchor:
    """What the whole model takes over what its operators predict.

    t'(b, n) = t(b, n) x shape(b) x exp(contention (n - 1) / (k - 1)), with n of k executors busy: a
    smooth factor of the batch size, which holds the level, and one number for co-located work. Where
    histories are of several lengths, each has a further factor, smooth in what its requests take.

    Attributes
    ----------
    shape : (max_batch,) float
        Factor for requests of 1, 2, ... items when nothing else runs. [1]
    contention : float
        Logarithm of the further factor with all executors busy. [1]
    level : float
        Measured over predicted time of all requests together, before the correction. [1]
    num_requests : int
        How many requests it rests on.
    drift : float
        Standard deviation of the level between the pieces of the run, relative. [1]
    accelerator_level : float
        Measured over predicted time of all offloaded requests; 1 where too few were. [1]
    relative_std, accelerator_relative_std : float or None
        How far times lie about those corrected, on the cores and on the accelerator, stops of the node and
        pauses of a core taken off; None where too few were. [1]
    stops : Stops
        Of the whole node in the anchor's own runs; the factors' means have what they added.
    by_length : (kinds,) float, or None
        Further factor of each length of histories; None: all are of one. [1]
    """

    shape: FloatArray
    contention: float
    level: float
    num_requests: int
    drift: float
    accelerator_level: float = 1.0
    relative_std: float | None = None
    accelerator_relative_std: float | None = None
    stops: Stops = field(default_factory=Stops, repr=False)
    by_length: FloatArray | None = None

    def refine(self, service: ServiceTimes) -> ServiceTimes:
        """Apply the correction to the table that it was fitted to; times scatter as they did in the runs."""
        executors = service.num_executors
        share = np.arange(executors) / max(1, executors - 1)
        factors = self.shape[: service.max_batch_items, None] * np.exp(self.contention * share)[None, :]
        own = replace(service, cpu_s=service.cpu_s * factors)
        if (by_query := service.by_query) is not None:
            times, own_factors = by_query.cpu, factors[None]
            if self.by_length is not None:
                own_factors = self.by_length[:, None, None] * own_factors
            cpu = replace(times, with_s=times.with_s * own_factors, without_s=times.without_s * own_factors)
            by_query = replace(by_query, cpu=cpu)
            own = replace(own, cpu_s=by_query.mean_cpu_s, by_query=by_query)
        level = own.scaled(1.0, self.accelerator_level)
        return replace(
            level,
            cpu_scatter=_law(self.relative_std) or service.cpu_scatter,
            accelerator_scatter=_law(self.accelerator_relative_std) or service.accelerator_scatter,
        )

    def to_dict(self) -> dict[str, object]:
        """The correction as JSON."""
        sizes = [size for size in (2**power for power in range(20)) if size <= len(self.shape)]
        return {
            "level": self.level,
            "shape": {str(size): float(self.shape[size - 1]) for size in sizes},
            "by_length": None if self.by_length is None else self.by_length.tolist(),
            "contention": float(np.exp(self.contention)),
            "requests": self.num_requests,
            "drift_percent": 100.0 * self.drift,
            "accelerator_level": self.accelerator_level,
            "relative_std": self.relative_std,
            "accelerator_relative_std": self.accelerator_relative_std,
            "stops": self.stops.to_dict(),
        }


def _law(relative_std: float | None) -> ScatterTable | None:
    """Log-normal factors of mean 1 that deviate by so much; None where nothing is known or nothing does."""
    return (
        even_scatter(log_normal_factors(float(np.sqrt(np.log1p(relative_std**2))))) if relative_std else None
    )


def fit_anchor(runs: Sequence[Served], service: ServiceTimes) -> Anchor:
    """Fit the correction to paced runs of mixed sizes.

    The logarithms of measured over predicted time, in bins of a quarter octave, are smoothed by a Gaussian
    process: a level, plus deviations that neighbouring sizes share. A bin of few requests follows its
    neighbours; one of many stands for itself. Bins weigh the time in them, as a queue does. What is left of
    each length of histories is smoothed in the same way, over the time that its requests take.

    Raises
    ------
    InputError
        If there are too few requests to say anything.
    """
    samples = Samples.of(runs)
    if len(samples.service_s) < MIN_REQUESTS:
        got = len(samples.service_s)
        raise InputError(
            f"--anchor: {got} requests are too few, expected {MIN_REQUESTS}; a longer --duration"
        )
    predicted_s = samples.predicted_s(service)
    level = float(samples.service_s.sum() / predicted_s.sum())
    by_length = _by_length(samples, predicted_s, service)
    if (
        by_length is not None
    ):  # first, as long histories are more crowded: what they are off by is no contention
        predicted_s = predicted_s * by_length[samples.variety // 2]
    contention = _contention(samples, predicted_s, service.num_executors)
    share = (samples.num_busy - 1) / max(1, service.num_executors - 1)
    predicted_s = predicted_s * np.exp(contention * share)
    shape = _shape(samples, predicted_s, service.max_batch_items)
    remaining = float(samples.service_s.sum() / (predicted_s * shape[samples.num_items - 1]).sum())
    anchor = Anchor(
        shape=shape * remaining,
        contention=contention,
        level=level,
        num_requests=len(samples.service_s),
        drift=level_drift(runs, service),
        accelerator_level=_accelerator_level(runs, service),
        by_length=by_length,
    )
    stops = stops_of(runs)
    steady = [run.only(~slow) for run, slow in zip(runs, stops.struck, strict=True)]
    cores, accelerator = _relative_stds(steady, anchor.refine(service))
    return replace(anchor, relative_std=cores, accelerator_relative_std=accelerator, stops=stops)


def _relative_stds(steady: Sequence[Served], refined: ServiceTimes) -> tuple[float | None, float | None]:
    """How far times lie about those corrected, on the cores and on the accelerator. [1]"""
    cores = Samples.of(steady)
    without_s = np.concatenate([(run.service_s - run.cpu_s)[run.on_cores] for run in steady])
    ran_s = cores.service_s - np.where(without_s >= PAUSED_S, without_s, 0.0)
    found = _std(ran_s / cores.predicted_s(refined))
    if refined.accelerator_s is None:
        return found, None
    offloaded = [run.only(~run.on_cores) for run in steady]
    num_items = np.concatenate([run.requests.num_items for run in offloaded])
    measured_s = np.concatenate([run.service_s for run in offloaded])
    return found, _std(measured_s / refined.accelerator_by_streams_s[num_items - 1, 0])


def _std(ratios: FloatArray) -> float | None:
    return float(ratios.std(ddof=1) / ratios.mean()) if len(ratios) >= LEAST_COMPARED else None


def _accelerator_level(runs: Sequence[Served], service: ServiceTimes) -> float:
    """Measured over predicted time of offloaded requests, each alone on the accelerator. [1]"""
    if service.accelerator_s is None:
        return 1.0
    num_items = np.concatenate([run.requests.num_items[~run.on_cores] for run in runs])
    if len(num_items) < MIN_REQUESTS:
        return 1.0
    measured_s = sum(float(run.service_s[~run.on_cores].sum()) for run in runs)
    return measured_s / float(service.accelerator_by_streams_s[num_items - 1, 0].sum())


def levels(runs: Sequence[Served], service: ServiceTimes) -> list[float]:
    """Measured over predicted time of each run. [1]"""
    every = [Samples.of([run]) for run in runs]
    return [
        float(one.service_s.sum() / one.predicted_s(service).sum()) for one in every if len(one.service_s)
    ]


def level_drift(runs: Sequence[Served], service: ServiceTimes) -> float:
    """Relative standard deviation of the level between runs; 0 for a single one. [1]"""
    each = np.array(levels(runs, service))
    return float(each.std(ddof=1) / each.mean()) if len(each) > 1 else 0.0


def _contention(samples: Samples, predicted_s: FloatArray, executors: int) -> float:
    """Slope of the logarithm of measured over predicted time against the share of other busy executors."""
    if executors == 1:
        return 0.0
    # Sizes are told apart first: queries of several requests are both larger and more crowded.
    shape = _shape(samples, predicted_s, int(samples.num_items.max()))
    expected_s = predicted_s * shape[samples.num_items - 1]
    share = np.clip(samples.num_busy - 1, 0, executors - 1) / (executors - 1)
    ratio = np.log(samples.service_s / expected_s)
    weight = expected_s / expected_s.sum()
    mean_share, mean_ratio = float(weight @ share), float(weight @ ratio)
    variance = float(weight @ (share - mean_share) ** 2)
    scatter = float(weight @ (ratio - mean_ratio) ** 2)
    prior = scatter / (len(ratio) * CONTENTION_SPREAD**2)
    return float(weight @ ((share - mean_share) * (ratio - mean_ratio))) / max(variance + prior, 1e-12)


def _shape(samples: Samples, predicted_s: FloatArray, largest: int) -> FloatArray:
    """Smooth factor by size, as `fit_anchor` describes. [1]"""
    bins = np.floor(BINS_PER_OCTAVE * np.log2(samples.num_items)).astype(np.int64)
    sizes = np.log(np.arange(1, largest + 1))
    return _smoothed(samples.service_s, predicted_s, bins, np.log(samples.num_items), sizes)


def _by_length(samples: Samples, predicted_s: FloatArray, service: ServiceTimes) -> FloatArray | None:
    """Further factor of each length of histories, whatever the size; None where all are of one. [1]"""
    if service.by_query is None or len(service.by_query.shares) == 1:
        return None
    shape = _shape(samples, predicted_s, service.max_batch_items)
    predicted_s = predicted_s * shape[samples.num_items - 1]
    kind = samples.variety // 2
    takes = np.log(service.by_query.cpu.with_s.mean(axis=(1, 2)))
    return _smoothed(samples.service_s, predicted_s, kind, takes[kind], takes)


def _smoothed(
    service_s: FloatArray, predicted_s: FloatArray, bins: IntArray, along: FloatArray, at: FloatArray
) -> FloatArray:
    """Measured over predicted time by bins, smooth along a logarithm, at some values of it. [1]"""
    _, place = np.unique(bins, return_inverse=True)
    counts = np.bincount(place).astype(float)
    measured, expected = np.bincount(place, service_s), np.bincount(place, predicted_s)
    centre = np.bincount(place, along) / counts
    value = np.log(measured / expected)
    scatter = np.log(service_s / predicted_s) - value[place]
    error = float(np.mean(np.minimum(scatter**2, 1.0))) / counts + BIN_ERROR**2
    prior = float(np.average(value, weights=expected))
    weights = np.linalg.solve(_covariance(centre, centre) + np.diag(error), value - prior)
    return np.asarray(np.exp(prior + _covariance(at, centre) @ weights))


def _covariance(left: FloatArray, right: FloatArray) -> FloatArray:
    apart = (left[:, None] - right[None, :]) / SHAPE_REACH
    return np.asarray(LEVEL_SPREAD**2 + SHAPE_SPREAD**2 * np.exp(-0.5 * apart**2))
