"""The error budget of an answer: what the service times' error, and each 1 % of service time, do to it.

Service times are scaled and the same queries served again, so that what differs is due to the times alone. A
figure at other times is its ratio to the figure at the given times, both from the same queries, times the
answer's own figure, which may come from a longer run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, inf, isfinite, log
from typing import NamedTuple

import numpy as np

from perfmodel.planning.rate.interval import (
    FURTHER_RATES,
    GreatestRate,
    LateCurve,
    batch_means_apply,
    queries_at,
)
from perfmodel.planning.rate.late import RUNS_AT_A_TIME, DrawnTraffic, at_peak
from perfmodel.planning.rate.search import RateSearch
from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.backlog import SATURATED_FROM, overloaded_pool
from perfmodel.sim.engines import simulate, why_interpreted
from perfmodel.sim.policies import Policy
from perfmodel.sim.records import RunRecord
from perfmodel.sim.run_result import RunResult
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.statistics import NORMAL_QUANTILE, Interval, order_statistic, warm_up_queries
from perfmodel.sim.traffic import Queries, TrafficSource
from perfmodel.sim.utilisation import PoolLoads
from perfmodel.threads import side_by_side

STEP = 0.01
"""Change of all service times behind a sensitivity. [1]"""

BAND_QUERIES = 200_000
RATE_QUERIES = 200_000
MOST_RATE_QUERIES = 700_000
INTERPRETED_QUERIES = 20_000
"""Queries served again: for latencies, for the greatest rate, at most where few episodes decide on that, and
where only SimPy can serve them."""

ANCHORED_SPREAD = 0.025
"""Measured: mean service times of twelve models that had been run as a whole in the same hour, up to a
utilisation of 0.7, are off by 2.2 % (docs/reports/validate-amd-epyc-turin-2c.json). [ln]"""

SHARDED_SPREAD = log(1.25)
"""Assumed of a node whose tables are on others: nobody measured one here, and a quarter is what waiting
without overlap, rows spread evenly and cores found free may be off by, either way. [ln]"""

NEAR_MEMORY_SPREAD = log(1.25)
"""Assumed of a node whose memory does the lookups: nobody measured one; what is published of a simulated one
comes out within a tenth, whole models within a quarter (`perfplan reproduce recnmp`). [ln]"""

ANOTHER_RUN = 0.006
"""By how much longer times the rate to plan for allows, beyond what the confidence asks: a run of `predict`
puts its verdict elsewhere, by 0.2 to 0.7 % of the rate from seed to seed (standard deviation,
`python -m benchmarks.planned_rates`, where it then says meets_sla in 30 cases of 32). [ln]"""

FARTHEST = 5.0
"""Errors to either side within which the service times lie for all purposes."""

Band = tuple[float | None, float | None]
"""Ends of a band; None: there the figure does not exist, since the load is unstable or no load is met."""


class Scale(NamedTuple):
    """Service times on the cores and on the accelerators over the given ones. [1]"""

    cpu: float
    accelerator: float


class Errors(NamedTuple):
    """Root mean square error of the logarithm of service times; None where a device serves nothing. [ln]

    `known`: whether anybody knows it; 0 of a table of service times whose error nobody stated, and then no
    band can be given.
    """

    cpu: float
    accelerator: float | None
    known: bool = True

    @property
    def spread(self) -> float:
        """The larger of the two. [ln]"""
        return max(self.cpu, self.accelerator or 0.0)

    def at(self, ln_scale: float) -> Scale:
        """Times longer by so much on the device known worst, and on the other in proportion to its error.

        Both are wrong in the same direction: nobody knows how their errors depend on each other, and this is
        the worse of the cases.
        """
        if self.spread == 0.0:
            return Scale(exp(ln_scale), exp(ln_scale))
        parts = (self.cpu / self.spread, (self.accelerator or 0.0) / self.spread)
        return Scale(*(exp(ln_scale * part) for part in parts))

    @property
    def shorter(self) -> Scale:
        """Times too long by the error."""
        return self.at(-self.spread)

    @property
    def longer(self) -> Scale:
        """Times too short by the error."""
        return self.at(self.spread)


class Latencies(NamedTuple):
    """By percentile, of the queries that were served, and of all that came: of these it may be inf. [s]"""

    served: Mapping[float, float]
    of_asked: Mapping[float, float]


GIVEN = Scale(1.0, 1.0)
SCALES_OF_STEP = (Scale(1.0 - STEP, 1.0 - STEP), Scale(1.0 + STEP, 1.0 + STEP))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyBudget:
    """What the service times' error leaves open about the latencies of a load.

    Attributes
    ----------
    bands_s : mapping of float to Band
        Latency by percentile with service times shorter and longer by their error; none where that is not
        known. [s]
    sla_band_s : Band or None
        The same of the SLA's percentile, of all queries that came: inf where that is one turned away. [s]
    sure_s : Band or None
        Likewise, with them shorter and longer by as much as the SLA's confidence asks: each end is passed
        with the rest of that only, and the verdict turns where one is the limit. [s]
    responses : mapping of float to (float or None)
        By percentile, per cent of latency for each per cent of service time; None where unstable. [1]
    to_saturation : float
        By how much all service times may grow until the executors cannot keep up, all of them busy;
        negative where they already could not. [1]
    """

    bands_s: Mapping[float, Band]
    sla_band_s: Band | None
    sure_s: Band | None
    responses: Mapping[float, float | None]
    to_saturation: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateBudget:
    """What the service times' error leaves open about the greatest rate.

    Attributes
    ----------
    band_qps : Band or None
        The rate with service times longer, and shorter, by their error; ends ascend; None where only SimPy
        could search, or the error is not known. [queries/s]
    response : float or None
        Per cent of the rate for each per cent of service time: negative. [1]
    plan_qps : float or None
        The greatest rate that meets the SLA with the SLA's confidence; None: no rate does. [queries/s]
    plan_ci95_qps : (float, float) or None
        How well the simulation knows that rate: as well as the greatest, of which it is a share. [queries/s]
    """

    band_qps: Band | None
    response: float | None
    plan_qps: float | None
    plan_ci95_qps: tuple[float, float] | None = None


class OtherTimes:
    """The first queries of a run, served again with service times of another length.

    Parameters
    ----------
    traffic, service, policy
        What the run was made of.
    run : RunResult
        Its percentiles are scaled.
    percentiles : iterable of float
        Those of the run, of which there are none where it is unstable.
    seed : int
        The run's.
    """

    def __init__(
        self,
        traffic: TrafficSource,
        service: ServiceTimes,
        policy: Policy,
        run: RunResult,
        percentiles: Iterable[float],
        *,
        seed: int,
    ) -> None:
        # Of a day, what arrives at its peak, as if that lasted.
        steady, peak = at_peak(traffic)
        self._traffic = steady.at_rate(peak * traffic.rate_qps) if peak > 1.0 else traffic
        self._service, self._policy, self._run = service, policy, run
        self._wanted, self._seed = sorted(percentiles), seed
        self.is_compiled = why_interpreted(service, policy, is_closed=traffic.is_closed) is None
        most = BAND_QUERIES if self.is_compiled else INTERPRETED_QUERIES
        # Where the given times are an overload, others may be none: the run tells no number of queries then.
        self._num_queries = most if run.record is None else min(run.record.num_queries, most)
        recorded = traffic.num_recorded
        if recorded is not None:
            self._num_queries = min(recorded, self._num_queries)
        self._warm_up = 0 if recorded is not None else warm_up_queries(self._num_queries)
        self._alone, self._contended = (
            PoolLoads(load.cpu * peak, load.accelerator * peak) for load in (run.alone, run.contended)
        )
        self._queries: Queries | None = None
        self._found: dict[Scale, Latencies | None] = {}
        self._own: Latencies | None = None

    def latencies_s(self, scale: Scale) -> Latencies | None:
        """The run's percentiles at these times; None where they are an overload. [s]"""
        if scale not in self._found:
            self._found[scale] = self._scaled_to_the_run(scale)
        return self._found[scale]

    def all_latencies_s(self, scales: Sequence[Scale]) -> list[Latencies | None]:
        """Likewise, several side by side. [s]"""
        self._draw()
        return side_by_side(self.latencies_s, scales, most=RUNS_AT_A_TIME)

    @property
    def intervals(self) -> Mapping[float, Interval]:
        """The run's percentiles, of a day those of its worst five minutes; none of an overload. [s]"""
        return self._run.percentiles if self._run.worst is None else self._run.worst.percentiles

    @property
    def rounding_s(self) -> float:
        """How far rounding of the run's time stamps may move a latency. [s]"""
        return self._run.rounding_s

    @property
    def interval_of_asked(self) -> Interval | None:
        """Of the SLA's percentile of all queries that came; None where none is turned away. [s]"""
        return self._run.of_asked if self._run.worst is None else self._run.worst.of_asked

    def of_asked_s(self, scale: Scale, percentile: float) -> float | None:
        """The SLA's percentile of all queries, inf where it is one turned away; None in an overload. [s]"""
        found = self.latencies_s(scale)
        given = self.interval_of_asked
        if found is None or given is None:
            return None if found is None else found.served[percentile]
        own = self._own_s()
        assert own is not None, "what sheds is not overloaded"
        again_s, own_s = found.of_asked[percentile], own.of_asked[percentile]
        if scale == GIVEN:
            return given.value_s
        # Where one is inf there is no ratio: what is turned away decides, and these queries tell how much is.
        return given.value_s * again_s / own_s if isfinite(given.value_s + own_s) else again_s

    def band_of_asked_s(self, shorter: Scale, longer: Scale, percentile: float) -> Band:
        """The same with shorter and with longer times. [s]"""
        self.all_latencies_s((shorter, longer))
        return self.of_asked_s(shorter, percentile), self.of_asked_s(longer, percentile)

    def _scaled_to_the_run(self, scale: Scale) -> Latencies | None:
        """Ratios to the same queries at the given times, times the percentiles of the whole run. [s]"""
        given = {percentile: interval.value_s for percentile, interval in self.intervals.items()}
        if scale == GIVEN and given and self.interval_of_asked is None:
            return Latencies(given, given)
        again = self._served_again(scale)
        own = self._own_s() if again is not None else None
        if again is None or own is None:
            return again
        served = {p: given[p] * again.served[p] / own.served[p] for p in self._wanted}
        return Latencies(served, again.of_asked)

    def _own_s(self) -> Latencies | None:
        """The queries' percentiles at the given times; None where those are an overload. [s]"""
        if not self._run.is_stable:
            return None
        if self._own is None:
            self._own = self._served_again(GIVEN)
        return self._own

    def _served_again(self, scale: Scale) -> Latencies | None:
        sheds = self._policy.shedding is not None or self._traffic.is_closed  # neither is overloaded
        if not sheds and _most_loaded(self._alone, scale) >= 1.0:
            return None
        queries = self._draw()
        record = simulate(queries, self._service.scaled(*scale), self._policy)
        if not sheds and _is_overloaded(record, _most_loaded(self._contended, scale)):
            return None
        latency_s = record.latency_s[self._warm_up :]
        of_asked = self._percentiles_s(latency_s)
        if record.shed is None:
            return Latencies(of_asked, of_asked)
        return Latencies(self._percentiles_s(latency_s[record.served[self._warm_up :]]), of_asked)

    def _draw(self) -> Queries:
        if self._queries is None:
            self._queries = self._traffic.draw(self._num_queries, seed=self._seed)
        return self._queries

    def _percentiles_s(self, latency_s: FloatArray) -> Mapping[float, float]:
        """Percentiles; inf of no queries. [s]"""
        if len(latency_s) == 0:
            return dict.fromkeys(self._wanted, inf)
        ordered_s = np.sort(latency_s)
        return {percentile: order_statistic(ordered_s, percentile) for percentile in self._wanted}


def latency_budget(
    times: OtherTimes, run: RunResult, errors: Errors, *, percentile: float, quantile: float = 1.0
) -> LatencyBudget | None:
    """Say what a run's percentiles are with other service times; None where the run is unstable.

    Parameters
    ----------
    percentile : float
        The SLA's, as a fraction.
    quantile : float
        Of the standard normal law at the confidence that is asked for.
    """
    if run.record is None or not run.is_stable:
        return None
    surely = (errors.at(-quantile * errors.spread), errors.at(quantile * errors.spread))
    shorter, longer, _, _, *steps = times.all_latencies_s(
        (errors.shorter, errors.longer, *surely, *SCALES_OF_STEP)
    )
    bands: dict[float, Band] = {}
    responses: dict[float, float | None] = {}
    for each, value in times.intervals.items():
        low, high = (None if ends is None else ends.served[each] for ends in (shorter, longer))
        if errors.known:
            bands[each] = (low, high)
        at_steps = (None if ends is None else ends.served[each] for ends in steps)
        responses[each] = _response(value.value_s, *at_steps)
    return LatencyBudget(
        bands_s=bands,
        sla_band_s=times.band_of_asked_s(errors.shorter, errors.longer, percentile) if errors.known else None,
        sure_s=times.band_of_asked_s(*surely, percentile) if errors.known else None,
        responses=responses,
        to_saturation=1.0 / max(run.contended) - 1.0,
    )


def rate_budget(
    search: RateSearch, found: GreatestRate | None, errors: Errors, *, quantile: float
) -> RateBudget | None:
    """Search again with other service times; None where no rate was found.

    Where only SimPy can search, it does so once more: for the rate to plan for.

    Parameters
    ----------
    quantile : float
        Of the standard normal law at the confidence that is asked for.
    """
    if found is None:
        return None
    again = _SearchAgain(search)
    planned = _planned(found, errors, quantile)
    if search.policy.why_not_compiled is not None:
        return RateBudget(band_qps=None, response=None, plan_qps=again.rate_qps(planned, found.rate_qps))
    own = again.rate_qps(GIVEN, found.rate_qps)
    if own is None:
        return None
    scales = (*SCALES_OF_STEP, errors.longer, errors.shorter, planned)
    *steps, low, high, plan = _rates_qps(again, own, scales)
    ends = found.ci95_qps
    return RateBudget(
        band_qps=(
            None if low is None else found.rate_qps * low / own,
            None if high is None else found.rate_qps * high / own,
        )
        if errors.known
        else None,
        response=_response(own, *steps),
        plan_qps=None if plan is None else found.rate_qps * plan / own,
        plan_ci95_qps=None if plan is None or ends is None else (ends[0] * plan / own, ends[1] * plan / own),
    )


def rate_to_plan_for(
    search: RateSearch, found: GreatestRate, errors: Errors, *, quantile: float
) -> float | None:
    """`RateBudget.plan_qps` by itself, of a policy that compiles; None: no rate does. [queries/s]"""
    if search.policy.why_not_compiled is not None:
        budget = rate_budget(search, found, errors, quantile=quantile)
        return None if budget is None else budget.plan_qps
    again, planned = _SearchAgain(search), _planned(found, errors, quantile)
    own = again.rate_qps(GIVEN, found.rate_qps)
    if own is None:
        return None
    plan = again.rate_qps(planned, found.rate_qps / max(planned.cpu, planned.accelerator))
    return None if plan is None else found.rate_qps * plan / own


def _planned(found: GreatestRate, errors: Errors, quantile: float) -> Scale:
    """Times at which the rate to plan for is the greatest."""
    return errors.at(planned_ln_scale(errors, found.relative_half_width, quantile=quantile))


def planned_ln_scale(errors: Errors, half_width: float, *, quantile: float) -> float:
    """How much longer times are at which the rate to plan for is the greatest. [ln]

    As much as the confidence asks, the simulation's own error beside that of the service times; and as much
    as simulations differ: who asks `predict` about that rate is to get the same answer, and not that it is
    as likely just below the confidence as just above.

    Parameters
    ----------
    half_width : float
        Of the interval of the greatest rate, over that rate. [1]

    Examples
    --------
    >>> round(planned_ln_scale(Errors(0.1, None), 0.0, quantile=1.2816), 4)
    0.1342
    """
    return quantile * hypot(errors.spread, half_width / NORMAL_QUANTILE) + ANOTHER_RUN


def _rates_qps(again: _SearchAgain, own_qps: float, scales: Sequence[Scale]) -> list[float | None]:
    """The rates at some scales; where to look for the third and later is the power law of the first two."""
    pair = side_by_side(lambda scale: again.rate_qps(scale, own_qps / max(scale)), scales[:2])
    first, second = pair
    power = -1.0
    if first is not None and second is not None:
        power = log(second / first) / log(max(scales[1]) / max(scales[0]))
    others = side_by_side(lambda scale: again.rate_qps(scale, own_qps * max(scale) ** power), scales[2:])
    return [*pair, *others]


class _SearchAgain:
    """The greatest rate at other service times, all from the same queries."""

    def __init__(self, search: RateSearch) -> None:
        self._search = replace(search, engine="auto", probe_queries=RATE_QUERIES)
        self._drawn: DrawnTraffic | None = None
        if batch_means_apply(search):
            num_queries = search.affordable(queries_at(search.sla, RATE_QUERIES))
            self._drawn = DrawnTraffic(search.traffic, num_queries, seed=search.seed)

    def rate_qps(self, scale: Scale, near_qps: float) -> float | None:
        """Return it, looked for near a rate; None where no rate meets the SLA. [queries/s]"""
        search = replace(self._search, service=self._search.service.scaled(*scale))
        if self._drawn is None:
            return search.greatest_rate_qps()
        if not search.load_may_shorten_latencies and not search.idle_node_meets():
            return None
        num_queries = self._drawn.num_queries
        late = search.late(self._drawn)
        return LateCurve(search, late, num_queries, rates=FURTHER_RATES).crossing_qps(near_qps)


def _most_loaded(loads: PoolLoads, scale: Scale) -> float:
    """Utilisation of the busier pool at other service times, to which it is proportional. [1]"""
    return max(loads.cpu * scale.cpu, loads.accelerator * scale.accelerator)


def _is_overloaded(record: RunRecord, contended: float) -> bool:
    """Whether a backlog grew, or would have in a longer run: busy throughout, at a load beyond the cliff."""
    if overloaded_pool(record) is not None:
        return True
    return contended >= 1.0 and any(busy >= SATURATED_FROM for _, _, busy in record.shares)


def _response(own: float, shorter: float | None, longer: float | None) -> float | None:
    """Per cent for each per cent: from both sides, or from the one that exists."""
    if shorter is None and longer is None:
        return None
    if longer is None:
        assert shorter is not None
        return (own - shorter) / own / STEP
    if shorter is None:
        return (longer - own) / own / STEP
    return (longer - shorter) / own / (2.0 * STEP)
