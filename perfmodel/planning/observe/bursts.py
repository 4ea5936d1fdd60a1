"""A two-state process fitted to arrivals: calm and burst, by the likelihood of counts in short bins.

Each bin lies in one state and has a Poisson count; states follow each other as a Markov chain. The
likelihood is the product of one 2 x 2 matrix a bin, multiplied in pairs: numpy does half of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
import numpy.typing as npt

from perfmodel.domain.workload import BurstyArrivals
from perfmodel.planning.observe.dispersion import counts_by_window
from perfmodel.planning.observe.estimated import Z95, Estimated

FloatArray = npt.NDArray[np.float64]

MOST_BINS = 100_000
"""A likelihood of so many takes some 5 ms; of a longer recording the first ones are taken."""
BINS_A_SCALE = 36.0
"""Bins in the time over which counts grow half as variable as they will: a bin in which the state changes is
taken for one of either, and with 12 the rates came out 2.4 % too near to each other."""
LEAST_BURSTS = 30
"""Bursts from which a law of them is told, as `perfmodel.sim.run` asks for as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Parameters of a two-state process, as a scenario's `mmpp` has them, each with its 95 % interval.

    Attributes
    ----------
    rate_qps : Estimated
        Mean rate, bursts and calm together. [queries/s]
    factor, fraction, mean_s : Estimated
        Rate in a burst over that in calm [1]; share of time in bursts [1]; mean length of a burst [s].
    num_bursts : float
        How many the recording holds, in the mean.
    """

    rate_qps: Estimated
    factor: Estimated
    fraction: Estimated
    mean_s: Estimated
    num_bursts: float

    def arrivals(self, rate_qps: float) -> BurstyArrivals:
        """The process with its central values, at a rate."""
        return BurstyArrivals(
            rate_qps=rate_qps,
            burst_factor=self.factor.value,
            burst_fraction=self.fraction.value,
            mean_burst_s=self.mean_s.value,
        )

    def index(self, rate_qps: float, window_s: float) -> float:
        """Index of dispersion of counts over a window: of a two-state Markov-modulated Poisson process. [1]

        1 + 2 A (1 - (1 - exp(-r t)) / (r t)) with A = (l1 - l2)^2 p (1 - p) / (l r), l1 and l2 the rates of
        the states, l their mean, p the share of one, r the sum of the rates at which states end [1]_.

        References
        ----------
        .. [1] H. Heffes, D. M. Lucantoni, "A Markov modulated characterization of packetized voice and data
           traffic", IEEE JSAC 4 (1986), Eq. 7.
        """
        factor, share, mean_s = self.factor.value, self.fraction.value, self.mean_s.value
        calm = rate_qps / (1.0 - share + share * factor)
        ends = 1.0 / mean_s / (1.0 - share)
        grown = (factor - 1.0) ** 2 * calm**2 * share * (1.0 - share) / (rate_qps * ends)
        done = ends * window_s
        return 1.0 + 2.0 * grown * (1.0 - (1.0 - exp(-done)) / done)


def fit_bursts(arrival_s: FloatArray) -> Bursts | None:
    """Fit calm and burst to arrivals; None where no two rates stand out, or too few bursts are there.

    Parameters
    ----------
    arrival_s : (num_queries,) float
        Ascending. [s]
    """
    from scipy.optimize import minimize  # as in `dispersion`

    span_s = float(arrival_s[-1] - arrival_s[0])
    rate_qps = (len(arrival_s) - 1) / span_s
    scale_s, grown = _scale(arrival_s, rate_qps, span_s)
    if scale_s is None:
        return None
    bin_s = max(scale_s / BINS_A_SCALE, 0.5 / rate_qps, span_s / MOST_BINS if _fits(scale_s, span_s) else 0.0)
    counts = counts_by_window(arrival_s, bin_s)[:MOST_BINS]
    mean = float(counts.mean())

    def lost(at: FloatArray) -> float:
        if max(abs(at)) > 25.0:
            return inf
        share = 1.0 / (1.0 + exp(-at[1]))
        return -_log_likelihood(counts, mean * exp(at[3]), 1.0 + exp(at[0]), share, exp(at[2]))

    best = None
    for share in (0.08, 0.35):
        # With A of the docstring of `Bursts.index` as it was seen, and r = 2 over the scale.
        ratio = sqrt(max(1e-3, grown) / (rate_qps * scale_s * share * (1.0 - share)))
        least = 1.0 - share * ratio
        factor = max(1.2, (1.0 + (1.0 - share) * ratio) / max(0.05, least))
        start = [
            log(factor - 1.0),
            log(share / (1.0 - share)),
            log(scale_s / 2.0 / (1.0 - share) / bin_s),
            0.0,
        ]
        tried = minimize(
            lost, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-2, "maxfev": 400}
        )
        if best is None or tried.fun < best.fun:
            best = tried
    assert best is not None
    single = float((counts * log(mean) - mean).sum())
    if -best.fun < single + 10.0:  # of three parameters more; 6 is what chance gives once in a hundred
        return None
    found = _intervals(lost, np.asarray(best.x), bin_s, mean / bin_s, span_s)
    return None if found is None or found.num_bursts < LEAST_BURSTS else found


def _fits(scale_s: float, span_s: float) -> bool:
    """Whether the whole recording can be cut into bins that are short beside the scale."""
    return span_s / MOST_BINS <= scale_s / (BINS_A_SCALE / 9.0)


def _scale(arrival_s: FloatArray, rate_qps: float, span_s: float) -> tuple[float | None, float]:
    """Length of windows over which counts are half as much more variable as over long ones, and how much."""
    windows = np.geomspace(2.0 / rate_qps, span_s / 40.0, 24)
    if not windows[-1] > windows[0]:
        return None, 0.0
    excess = []
    for window_s in windows:
        counts = counts_by_window(arrival_s, float(window_s))
        excess.append(float(counts.var(ddof=1) / max(counts.mean(), 1e-12)) - 1.0)
    # The longest windows are few: their largest excess is half chance.
    plateau = float(np.median(excess[-6:]))
    if plateau <= 0.05:
        return None, 0.0
    above = np.flatnonzero(np.array(excess) >= plateau / 2.0)
    return float(windows[above[0]]), plateau


def _log_likelihood(
    counts: npt.NDArray[np.int64], mean: float, factor: float, share: float, stay: float
) -> float:
    """Of counts by bin, without the factorials; `stay` is the mean length of a burst in bins."""
    if not (0.0 < share < 1.0 and stay > 0.3 and factor < 1e6):
        return -inf
    calm = mean / (1.0 - share + share * factor)
    rates = np.array([calm, calm * factor])
    out, into = 1.0 / stay, share / (1.0 - share) / stay
    decay = exp(-(out + into))
    change = np.array(
        [
            [1.0 - share + share * decay, share - share * decay],
            [(1.0 - share) * (1.0 - decay), share + (1.0 - share) * decay],
        ]
    )
    logs = counts[:, None] * np.log(rates) - rates
    largest = logs.max(axis=1)
    weights = np.exp(logs - largest[:, None])
    total = float(largest.sum())
    # The four elements of each bin's matrix apart: numpy multiplies long rows faster than small matrices.
    a, b = change[0, 0] * weights[:, 0], change[0, 1] * weights[:, 1]
    c, d = change[1, 0] * weights[:, 0], change[1, 1] * weights[:, 1]
    while len(a) > 1:
        last = tuple(each[-1:] for each in (a, b, c, d)) if len(a) % 2 else None
        (a, e), (b, f), (c, g), (d, h) = (_pairs(each) for each in (a, b, c, d))
        a, b, c, d = a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h
        if last is not None:
            a, b, c, d = (np.concatenate(both) for both in zip((a, b, c, d), last, strict=True))
        peak = np.maximum(np.maximum(a, b), np.maximum(c, d))
        if not peak.all():  # no way through a bin
            return -inf
        total += float(np.log(peak).sum())
        a, b, c, d = a / peak, b / peak, c / peak, d / peak
    ended = float((1.0 - share) * (a[0] + b[0]) + share * (c[0] + d[0]))
    return total + log(ended) if ended > 0.0 else -inf


def _pairs(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The first and the second of each pair."""
    even = len(values) // 2 * 2
    return values[0:even:2], values[1:even:2]


def _intervals(
    lost: Callable[[FloatArray], float], at: FloatArray, bin_s: float, rate_qps: float, span_s: float
) -> Bursts | None:
    """Central values, and 95 % intervals by the curvature of the likelihood around them."""
    free, step = len(at), 0.05
    moves = step * np.eye(free)
    here = lost(at)
    curvature = np.empty((free, free))
    for i in range(free):
        for j in range(i, free):
            if i == j:
                bent = lost(at + moves[i]) - 2.0 * here + lost(at - moves[i])
            else:
                same = lost(at + moves[i] + moves[j]) + lost(at - moves[i] - moves[j])
                bent = (same - lost(at + moves[i] - moves[j]) - lost(at - moves[i] + moves[j])) / 4.0
            curvature[i, j] = curvature[j, i] = bent / step**2
    if not np.isfinite(curvature).all():
        return None
    try:
        variance = np.diag(np.linalg.inv(curvature))
    except np.linalg.LinAlgError:
        return None
    if not (variance > 0).all():
        return None
    ends = at, at - Z95 * np.sqrt(variance), at + Z95 * np.sqrt(variance)
    factor = Estimated(*(1.0 + exp(min(end[0], 20.0)) for end in ends))
    fraction = Estimated(*(1.0 / (1.0 + exp(-end[1])) for end in ends))
    mean_s = Estimated(*(exp(end[2]) * bin_s for end in ends))
    return Bursts(
        rate_qps=Estimated(*(rate_qps * exp(end[3]) for end in ends)),
        factor=factor,
        fraction=fraction,
        mean_s=mean_s,
        num_bursts=span_s * fraction.value / mean_s.value,
    )
