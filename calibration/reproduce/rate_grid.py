"""What a search on a grid of rates reports: its ends bound every rate, and so every gain, that was published.

The published controller moves along a list of mean gaps, one step longer while the p95 is above its target
and one shorter while it is well below, and stays where the list ends; what it reports is the median of its
last gaps (`scheduler.py`). A node that meets the target at the shortest gap is reported with that one, and a
node that misses it at the longest with the longest, although it misses it there.
"""

from __future__ import annotations

from dataclasses import dataclass

from calibration.published.observations import read_rows
from perfmodel.planning.deeprecsys.settings import PUBLISHED
from perfmodel.planning.tune.answer import Optimum

RATE_FILES = (
    "qps_vs_batch_isca2020_fig8.csv",
    "qps_vs_offload_threshold_isca2020_fig11.csv",
    "qps_vs_sla_isca2020_fig15.csv",
)
"""Where rates that the search reported were published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEnds:
    """The ends of a search's grid of rates.

    Attributes
    ----------
    least_qps, greatest_qps : float
        No search reports less, or more. [queries/s]
    """

    least_qps: float
    greatest_qps: float

    def reported_qps(self, qps: float | None) -> float:
        """What the search reports of a node that carries so much; None: no load meets the target. [queries/s]

        Examples
        --------
        >>> ends = RateEnds(least_qps=25.0, greatest_qps=1250.0)
        >>> [ends.reported_qps(qps) for qps in (None, 16.0, 500.0, 12_000.0)]
        [25.0, 25.0, 500.0, 1250.0]
        """
        return min(max(self.least_qps, qps or 0.0), self.greatest_qps)

    def gain(self, optimum: Optimum) -> float:
        """Throughput of the optimum over the static baseline's, both as the search reports them. [1]"""
        best, static = optimum.exhaustive, optimum.static
        return self.reported_qps(best.latency_bounded_qps) / self.reported_qps(static.latency_bounded_qps)

    def gain_per_w(self, optimum: Optimum) -> float | None:
        """The same per watt of static TDP; None where that is not known. [1]"""
        best_w, static_w = optimum.exhaustive.power_w, optimum.static.power_w
        return None if best_w is None or static_w is None else self.gain(optimum) * static_w / best_w


def script_ends() -> RateEnds:
    """Of the public scripts' grid, 1 to 20 ms a query: narrower than what the paper shows."""
    gaps_s = PUBLISHED.gaps_s
    return RateEnds(least_qps=1.0 / max(gaps_s), greatest_qps=1.0 / min(gaps_s))


def published_ends() -> RateEnds:
    """Of the narrowest grid that holds every published rate of a loaded node; the paper prints no grid.

    25 queries/s are RMC1's at batch 16 (Fig. 8), 1250 RMC3's with a GPU (Fig. 11).
    """
    rates = [float(row["qps"]) for name in RATE_FILES for row in read_rows(name)]
    return RateEnds(least_qps=min(rates), greatest_qps=max(rates))
