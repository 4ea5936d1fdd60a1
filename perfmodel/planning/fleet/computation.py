"""A fleet over a day: tail latency, utilisation and power, window by window and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf, isinf, log

from perfmodel.domain.fleet import Window
from perfmodel.domain.workload import PoissonArrivals
from perfmodel.planning.fleet.answer import FleetPrediction, FleetWindow, queries_needed, shed_rate
from perfmodel.planning.fleet.question import FleetMember, FleetQuestion
from perfmodel.planning.sensitivity import FARTHEST
from perfmodel.planning.service_times import AnyTimes
from perfmodel.planning.stages import StageTimes
from perfmodel.planning.verdict import NORMAL, Deciding, Judgement, Verdict, margin_of, narrowing, quantile
from perfmodel.sim.fleet import Fleet, NodeKind
from perfmodel.sim.fleet_latency import LatencyMixture, LatencySample
from perfmodel.sim.fleet_window import FleetTraffic, Stretch, no_traffic, simulate_stretch
from perfmodel.sim.run_result import REPORTED_PERCENTILES
from perfmodel.sim.statistics import Interval, level_among_served
from perfmodel.sim.traffic import TrafficSource
from perfmodel.sim.utilisation import PoolLoads, offered_utilisation
from perfmodel.threads import Tell, part_of, side_by_side, untold

RUNS_SHARE = 0.5
"""Of a prediction's time that the windows take, about; the rest judges them. Told, no more. [1]"""


def predict_fleet(
    question: FleetQuestion,
    *,
    extrapolate: bool = False,
    accept_uncertain: bool = False,
    tell: Tell = untold,
) -> FleetPrediction:
    """Predict how a fleet serves a load, or a day of it.

    Parameters
    ----------
    extrapolate : bool
        Answer outside the calibrated range too, marked.
    accept_uncertain : bool
        Let the central estimate decide whether the SLA is met.
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    InputError
        If a trace is too short for a confidence interval.
    """
    law = question.scenario.traffic.size_pmf
    times = [member.question.times_under(law) for member in question.members]
    if not extrapolate:
        for each in times:
            each.require_calibrated()
    run = FleetRun(question, times)
    windows = question.windows()
    # A sine passes through every rate twice: windows of one rate share one simulation.
    rates_qps = sorted({_rounded(window.rate_qps) for window in windows})
    found = side_by_side(
        lambda index: run.at(rates_qps[index], index), range(len(rates_qps)), part_of(tell, 0.0, RUNS_SHARE)
    )
    stretches = dict(zip(rates_qps, found, strict=True))
    judgements = judge_windows(
        run, stretches, accept_uncertain=accept_uncertain, tell=part_of(tell, RUNS_SHARE, 1.0)
    )
    deciding = _deciding(run, stretches, judgements)
    period_s = windows[-1].end_s - windows[0].start_s
    answers = tuple(
        _window(run, window, stretches[rate], judgements[rate], period_s)
        for window in windows
        for rate in [_rounded(window.rate_qps)]
    )
    return FleetPrediction(
        question=question,
        windows=answers,
        percentiles=_whole_day(run, answers, lambda stretch: stretch.samples),
        node_percentiles=_whole_day(run, answers, lambda stretch: stretch.node_samples),
        of_asked=_of_asked(run, answers),
        basis=max(each.basis for each in times),
        errors=tuple(each.errors for each in times),
        deciding=deciding,
    )


def _rounded(rate_qps: float) -> float:
    return float(f"{rate_qps:.9g}")


def _window(
    run: FleetRun, window: Window, stretch: Stretch, judgement: Judgement, period_s: float
) -> FleetWindow:
    members = run.question.members
    # What an overload keeps busy says nothing of how much is missing; what it asks for does.
    used = stretch.utilisation if stretch.is_stable else run.offered(window.rate_qps, stretch)
    by_member = list(zip(members, used, strict=True))
    cores = sum(member.num_nodes * member.question.num_cores for member in members)
    cards = sum(member.num_nodes * member.question.num_accelerators for member in members)
    return FleetWindow(
        window=window,
        share_of_time=(window.end_s - window.start_s) / period_s,
        judgement=judgement,
        percentiles=run.percentiles(stretch.samples) if stretch.samples else {},
        node_percentiles=run.percentiles(stretch.node_samples) if stretch.node_samples else {},
        stretch=stretch,
        cpu_utilisation=sum(m.num_nodes * m.question.num_cores * load.cpu for m, load in by_member) / cores,
        accelerator_utilisation=sum(
            m.num_nodes * m.question.num_accelerators * load.accelerator for m, load in by_member
        )
        / cards
        if cards
        else None,
        load_power_w=_load_power_w(by_member) if stretch.is_stable else None,
    )


def _load_power_w(by_member: Sequence[tuple[FleetMember, PoolLoads]]) -> float | None:
    """Power of all nodes at their loads; None where that of one kind is not known. [W]"""
    powers_w = [(member.num_nodes, member.question.power_w(*load)) for member, load in by_member]
    known = [number * power_w for number, power_w in powers_w if power_w is not None]
    return sum(known) if len(known) == len(powers_w) else None


def _whole_day(
    run: FleetRun,
    windows: tuple[FleetWindow, ...],
    samples_of: Callable[[Stretch], Sequence[LatencySample]],
) -> dict[float, Interval]:
    """Percentiles over all queries: the windows' latencies in proportion to their queries."""
    if not all(window.stretch.is_stable for window in windows):
        return {}
    return run.percentiles(_day_samples(windows, samples_of))


def _of_asked(run: FleetRun, windows: tuple[FleetWindow, ...]) -> Interval | None:
    """The SLA's percentile of all queries of all windows, inf where it is one that was turned away. [s]"""
    if not all(window.stretch.is_stable for window in windows) or not run.sheds:
        return None
    served = level_among_served(run.question.scenario.sla.percentile, shed_rate(windows))
    if served is None:
        return Interval(inf, inf, inf)
    return LatencyMixture(_day_samples(windows, lambda stretch: stretch.samples)).interval(served)


def _day_samples(
    windows: tuple[FleetWindow, ...], samples_of: Callable[[Stretch], Sequence[LatencySample]]
) -> list[LatencySample]:
    """The windows' latencies in proportion to their queries."""
    queries: dict[int, float] = {}
    for window in windows:
        of = window.window.rate_qps * window.share_of_time * len(windows)
        queries[id(window.stretch)] = queries.get(id(window.stretch), 0.0) + of
    stretches = {id(window.stretch): window.stretch for window in windows}
    return [
        sample.reweighted(queries[key])
        for key, stretch in stretches.items()
        for sample in samples_of(stretch)
    ]


class FleetRun:
    """The fleet, the service times of each kind of node as given or longer, and what it does at a rate."""

    def __init__(self, question: FleetQuestion, times: Sequence[AnyTimes | StageTimes]) -> None:
        self.question = question
        self._law = question.scenario.traffic.size_pmf
        self._kinds = [
            NodeKind(service=each.table, policy=member.policy)
            for member, each in zip(question.members, times, strict=True)
        ]
        self.errors = [each.errors for each in times]

    @property
    def spread(self) -> float:
        """Error of the service times of the kind of node known worst. [ln]"""
        return max(errors.spread for errors in self.errors)

    @property
    def sheds(self) -> bool:
        """Whether a node may turn queries away."""
        return any(kind.policy.shedding is not None for kind in self._kinds)

    def at(self, rate_qps: float, replication: int, *, errors_longer: float = 0.0) -> Stretch:
        """Simulate a stretch, every service time longer by so many of its errors."""
        kinds = tuple(
            replace(kind, service=kind.service.scaled(*errors.at(errors_longer * errors.spread)))
            for kind, errors in zip(self._kinds, self.errors, strict=True)
        )
        scenario = self.question.scenario
        fleet = Fleet(kinds, tuple(member.num_nodes for member in self.question.members))
        if rate_qps == 0.0:
            return no_traffic(fleet)
        traffic = scenario.traffic
        return simulate_stretch(
            fleet,
            FleetTraffic(
                rate_qps=rate_qps,
                sizes=self._law,
                routing=self.question.routing,
                outside=traffic.outside,
                arrivals=None if self.question.is_cut else self.question.arrivals,
                trace_s=traffic.trace_s,
                trace_num_items=traffic.trace_num_items if traffic.sizes is None else None,
            ),
            scenario.simulation,
            percentile=scenario.sla.percentile,
            replication=replication,
        )

    def offered(self, rate_qps: float, stretch: Stretch) -> tuple[PoolLoads, ...]:
        """Utilisation that the load asks of each kind of node with all executors busy. [1]"""
        loads = []
        for kind, member, share in zip(self._kinds, self.question.members, stretch.shares, strict=True):
            each = PoissonArrivals(rate_qps=max(1e-9, share * rate_qps / member.num_nodes))
            traffic = TrafficSource(arrivals=each, sizes=self._law)
            loads.append(offered_utilisation(traffic, kind.service, kind.policy, contended=True))
        return tuple(loads)

    def of_asked_s(self, stretch: Stretch, percentile: float) -> float:
        """A percentile of all queries that came; inf where it is one that was turned away. [s]"""
        served = level_among_served(percentile, stretch.shed_rate)
        return inf if served is None else LatencyMixture(stretch.samples).percentile_s(served)

    def percentiles(self, samples: Sequence[LatencySample]) -> dict[float, Interval]:
        """Percentiles of latencies in proportion to their weights. [s]"""
        mixture = LatencyMixture(samples)
        wanted = sorted({self.question.scenario.sla.percentile, *REPORTED_PERCENTILES})
        return {percentile: mixture.interval(percentile) for percentile in wanted}


def judge_windows(
    run: FleetRun, stretches: Mapping[float, Stretch], *, accept_uncertain: bool, tell: Tell = untold
) -> dict[float, Judgement]:
    """Judge the windows of each rate, the busiest first.

    Once one meets the SLA as certainly as is asked, so do all that are less busy, and are not judged one by
    one: their probability is left open.
    """
    sla = run.question.scenario.sla
    judgements: dict[float, Judgement] = {}
    met = False
    for index, rate_qps in reversed(list(enumerate(sorted(stretches)))):
        if met:
            judgements[rate_qps] = Judgement("meets_sla", None, sla.confidence)
            continue
        judgement = _judge_stretch(run, rate_qps, index, stretches[rate_qps], accept_uncertain)
        met = judgement.verdict == "meets_sla" and not accept_uncertain
        judgements[rate_qps] = judgement
        tell(len(judgements) / len(stretches))
    return judgements


def _deciding(
    run: FleetRun, stretches: Mapping[float, Stretch], judgements: Mapping[float, Judgement]
) -> Deciding | None:
    """What would decide on the worst window, where neither "meets" nor "misses" can be said of it."""
    verdicts = {judgement.verdict for judgement in judgements.values()}
    if "within_error" not in verdicts or verdicts & {"unstable", "misses_sla"}:
        return None
    if few := [stretch for stretch in stretches.values() if stretch.holds_too_few]:
        most = run.question.scenario.simulation.max_queries
        command = f"--set simulation.max_queries={queries_needed(few, most)}"
        return Deciding(error="simulation", size=None, expected=None, command=command, band_s=None)
    rates_qps = sorted(stretches)
    rate_qps = min(
        (each for each in rates_qps if judgements[each].verdict == "within_error"),
        key=lambda each: judgements[each].sla_probability or 0.0,
    )
    index = rates_qps.index(rate_qps)
    worst = max(run.errors, key=lambda errors: errors.spread)
    node = run.question.members[run.errors.index(worst)].question.node
    narrowed = narrowing(node, worst)
    expected = min(narrowed.expected, worst.spread)
    percentile = run.question.scenario.sla.percentile

    def end(errors_longer: float) -> float | None:
        other = run.at(rate_qps, index, errors_longer=errors_longer)
        return run.of_asked_s(other, percentile) if other.is_stable else None

    share = expected / worst.spread
    return Deciding(
        error="service times",
        size=worst.spread,
        expected=expected,
        command=narrowed.command,
        band_s=(end(-share), end(share)),
    )


def _judge_stretch(
    run: FleetRun, rate_qps: float, replication: int, stretch: Stretch, accept_uncertain: bool
) -> Judgement:
    """Serve a stretch again with longer, or shorter, times: how probable is it that the SLA is met?"""
    sla = run.question.scenario.sla

    if rate_qps == 0.0:
        return Judgement("meets_sla", None, sla.confidence)
    if stretch.holds_too_few:  # as of one node: nobody knows what is usual
        return Judgement("within_error", None, sla.confidence)

    def excess(errors_longer: float) -> float:
        other = stretch
        if errors_longer != 0.0:
            other = run.at(rate_qps, replication, errors_longer=errors_longer)
        if not other.is_stable:
            return inf
        return log(run.of_asked_s(other, sla.percentile) / sla.latency_s)

    judgement = judged(
        excess,
        spread=run.spread,
        confidence=sla.confidence,
        overload=lambda: max(max(loads) for loads in run.offered(rate_qps, stretch)),
        accept_uncertain=accept_uncertain,
    )
    if judgement.verdict == "unstable" and stretch.is_stable:  # what is too much is turned away
        return replace(judgement, verdict="misses_sla")
    return judgement


def judged(
    excess: Callable[[float], float],
    *,
    spread: float,
    confidence: float,
    overload: Callable[[], float],
    accept_uncertain: bool = False,
) -> Judgement:
    """How probable is it that an SLA is met, and what follows from that?

    Parameters
    ----------
    excess : callable
        Logarithm of the percentile over its limit where service times are longer by so many of their errors;
        infinite where the load is too much.
    spread : float
        Of those errors. [ln]
    confidence : float
        That is asked for. [1]
    overload : callable
        Utilisation that the load needs of the fullest executors, all of them busy. [1]
    accept_uncertain : bool
        Let the central estimate decide.
    """
    certain = quantile(confidence)
    central = excess(0.0)
    if spread == 0.0:
        away = FARTHEST if central <= 0.0 else -FARTHEST
    else:
        away = margin_of(lambda longer: central if longer == 0.0 else excess(longer), 1.0).ln_scale
    probability = NORMAL.cdf(away)
    verdict: Verdict = "within_error"
    if accept_uncertain or spread == 0.0:
        verdict = "unstable" if isinf(central) else "meets_sla" if central <= 0.0 else "misses_sla"
    elif probability >= confidence:
        verdict = "meets_sla"
    elif probability <= 1.0 - confidence:
        certainly = log(max(1.0, overload())) >= certain * spread
        verdict = "unstable" if isinf(central) and certainly else "misses_sla"
    return Judgement(verdict, probability, confidence)
