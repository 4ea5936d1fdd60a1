"""The minutes after nodes are lost, as a fluid: arrivals go on, clients time out and ask again.

Queries are a flow; each part of a service's nodes (those that stay, those that are lost) is a queue in order
of arrival, served at most at the rate of its nodes. The router draws by capacity. What it sends to lost nodes
before it finds out is never answered. A client that has no answer after the time-out asks again, a stated
number of times; servers do not learn of it and answer the old query all the same, which is why a queue longer
than the time-out can feed itself: every answer comes too late, and each query is asked several times [1]_.

Leaves out what a fluid has not: the ordinary waiting of single queries, and the luck of each node.

References
----------
.. [1] N. Bronson et al., "Metastable Failures in Distributed Systems", HotOS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

STEPS_A_TIMEOUT = 10
"""Steps of the fluid in a time-out: a backlog is right to a tenth of what arrives in one. [1]"""

STEPS_TO_DETECTION = 50
"""Steps until the router finds out: what is asked again later comes in as long. [1]"""

LEAST_STEPS = 1_000
"""Of one run to its horizon."""

MOST_STEPS = 200_000
"""Of one run: beyond, steps grow longer, up to a whole time-out."""

EMPTY = 1e-9
"""A flow or a backlog below this part of what arrives in a second is none. [1]"""

MOST_MOMENTS = 60
"""Of a run, for a picture of it."""

Ending = Literal["recovers", "overloaded", "retry_storm", "draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostNodes:
    """What happens.

    Attributes
    ----------
    rate_qps : float
        That clients ask for, retries aside. [queries/s]
    kept_qps, lost_qps : float
        What the nodes that stay serve at most, and what those that are lost did. [queries/s]
    detection_s : float
        From the loss until the router sends them nothing more. [s]
    timeout_s : float
        After which a client gives up waiting. [s]
    retries : int
        How often it asks again then.
    restart_s : float
        From the detection until the lost nodes serve again; infinite: they do not. [s]
    cold_speed : float
        What such a node serves at first, over what it serves warm. [1]
    warm_up_s : float
        Over which its speed grows, in a straight line, to all of it. [s]
    limit_s : float
        A query that waits longer in a backlog is late. [s]
    horizon_s : float
        How long is looked. [s]
    """

    rate_qps: float
    kept_qps: float
    lost_qps: float
    detection_s: float
    timeout_s: float
    retries: int
    restart_s: float
    cold_speed: float
    warm_up_s: float
    limit_s: float
    horizon_s: float

    @property
    def lost_share(self) -> float:
        """Of the capacity, and so of what the router sends. [1]"""
        return self.lost_qps / (self.kept_qps + self.lost_qps)

    def restarted_speed(self, at_s: float) -> float:
        """Of the lost nodes over what they serve warm; 0: they do not serve. [1]"""
        since_s = at_s - self.detection_s - self.restart_s
        if since_s < 0.0:
            return 0.0
        if since_s >= self.warm_up_s:
            return 1.0
        return self.cold_speed + (1.0 - self.cold_speed) * since_s / self.warm_up_s


class Moment(NamedTuple):
    """What is so at a time after the loss.

    Attributes
    ----------
    at_s : float
        Since the loss. [s]
    asked_qps : float
        What clients ask for, for the first time and again. [queries/s]
    backlog : float
        Queries that wait on nodes that serve. [queries]
    """

    at_s: float
    asked_qps: float
    backlog: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What comes of it.

    Attributes
    ----------
    ending : {"recovers", "overloaded", "retry_storm", "draining"}
        Whether there is a moment from which on nothing waits in a backlog and nobody asks again; if not by
        the horizon: the nodes that serve then are too few for what clients ask for; or they would do, and do
        not for all that is asked again; or the backlog still shrinks.
    recovers_after_s : float or None
        That moment, from the loss on. [s]
    most_backlog : float
        Queries that wait on nodes that serve, at the worst; those asked again count as often. [queries]
    most_wait_s : float
        Of a query in that backlog, were capacity as at that moment. [s]
    retried : float
        Asked again. [queries]
    failed : float
        Not answered in time at any try. [queries]
    late : float
        Answered, but after the first try or after a wait beyond the limit. [queries]
    asked : float
        First asked until it recovers, or until the horizon. [queries]
    moments : tuple of Moment
        From the loss until it has recovered, or to the horizon: evenly spaced, at most 60.
    """

    ending: Ending
    recovers_after_s: float | None
    most_backlog: float
    most_wait_s: float
    retried: float
    failed: float
    late: float
    asked: float
    moments: tuple[Moment, ...] = ()


class _Part:
    """Nodes that share a queue: cumulative arrivals and services by step; in order of arrival."""

    def __init__(self) -> None:
        self.arrived, self.served = [0.0], [0.0]
        self.gone_before = 0  # steps whose queries are never answered

    def step(self, flow: float, most: float) -> None:
        """Let so many queries arrive, and so many at most be served."""
        self.arrived.append(self.arrived[-1] + flow)
        self.served.append(min(self.arrived[-1], self.served[-1] + most))

    def forget(self) -> None:
        """Nodes that start anew know of no query."""
        self.served[-1] = self.arrived[-1]
        self.gone_before = len(self.arrived)

    @property
    def backlog(self) -> float:
        return self.arrived[-1] - self.served[-1]

    def share_served(self, step: int, by: int) -> float:
        """Of the queries that arrived in a step: how many are served by the end of another. [1]"""
        if step < self.gone_before:
            return 0.0
        first, last = self.arrived[step - 1], self.arrived[step]
        if last <= first:
            return 1.0
        return min(1.0, max(0.0, (self.served[by] - first) / (last - first)))


def after_loss(of: LostNodes) -> Aftermath:
    """Follow the minutes after nodes are lost.

    Returns
    -------
    Aftermath
        Whether and when it recovers, and what it costs until then.

    Examples
    --------
    One of ten nodes is lost at 80 % load and found out after 2 s; clients ask again after 1 s. Till 3 s the
    others are asked for at most 888 queries/s while they serve 900: nothing waits, and the last ask at 3 s.

    >>> lost = LostNodes(
    ...     rate_qps=800.0, kept_qps=900.0, lost_qps=100.0, detection_s=2.0, timeout_s=1.0, retries=2,
    ...     restart_s=inf, cold_speed=1.0, warm_up_s=0.0, limit_s=0.1, horizon_s=60.0,
    ... )
    >>> found = after_loss(lost)
    >>> found.ending, round(found.recovers_after_s, 1), round(found.most_backlog)
    ('recovers', 3.0, 0)
    """
    return _Run(of).result()


def _thinned(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """The first, the last, and some between, evenly spaced in time."""
    length_s = moments[-1].at_s
    kept = [moments[0]]
    for each in moments:
        if each.at_s >= len(kept) * length_s / MOST_MOMENTS and each is not kept[-1]:
            kept.append(each)
    return tuple(kept)


class _Run:
    """The state of one run; `flows[k]` is what is asked for the k-th time again, by step."""

    def __init__(self, of: LostNodes) -> None:
        self.of = of
        fine_s = min(of.timeout_s / STEPS_A_TIMEOUT, of.horizon_s / LEAST_STEPS)
        if of.detection_s > 0.0:
            fine_s = min(fine_s, of.detection_s / STEPS_TO_DETECTION)
        step_s = max(fine_s, of.horizon_s / MOST_STEPS)
        self.steps_a_timeout = max(1, round(of.timeout_s / step_s))
        self.step_s = of.timeout_s / self.steps_a_timeout
        self.kept, self.lost = _Part(), _Part()
        self.lost.gone_before = 1 << 60
        self.flows: list[list[float]] = [[0.0] for _ in range(of.retries + 1)]
        self.lost_shares, self.at_s = [0.0], 0.0
        self.restarted = False
        self.unsettled_s = self.waited_for_s = self.again = 0.0
        self.most_backlog = self.most_wait_s = self.retried = self.failed = self.late = 0.0
        self.moments = [Moment(0.0, of.rate_qps, 0.0)]

    def result(self) -> Aftermath:
        of = self.of
        none = EMPTY * max(of.rate_qps, 1e-300)
        while self.at_s < of.horizon_s:
            self._step()
            unsettled = self.again > none or self.kept.backlog > none or self._lost_waits(none)
            if unsettled:
                self.unsettled_s = self.at_s
            elif self.at_s > self.waited_for_s:
                event_s = self._next_event_s()
                if event_s is None:
                    break
                self.at_s = max(self.at_s, event_s - self.step_s)
        ending = self._ending(none)
        if ending == "recovers":
            self._count_last()
        ended_s = self.unsettled_s if ending == "recovers" else of.horizon_s
        return Aftermath(
            ending=ending,
            recovers_after_s=self.unsettled_s if ending == "recovers" else None,
            most_backlog=self.most_backlog,
            most_wait_s=self.most_wait_s,
            retried=self.retried,
            failed=self.failed,
            late=self.late,
            asked=of.rate_qps * ended_s,
            moments=_thinned([each for each in self.moments if each.at_s <= ended_s + self.step_s]),
        )

    def _step(self) -> None:
        of, step_s = self.of, self.step_s
        middle_s = self.at_s + 0.5 * step_s
        speed = of.restarted_speed(middle_s)
        if speed > 0.0 and not self.restarted:
            self.restarted = True
            self.lost.forget()
        unnoticed = min(1.0, max(0.0, (of.detection_s - self.at_s) / step_s))
        to_lost = of.lost_share * (1.0 if speed > 0.0 else unnoticed)
        fresh = of.rate_qps * step_s
        asked = [fresh, *self._asked_again()]
        for flow, each in zip(self.flows, asked, strict=True):
            flow.append(each)
        self.again = sum(asked[1:])
        self.retried += self.again
        self.lost_shares.append(to_lost)
        total = fresh + self.again
        self.kept.step(total * (1.0 - to_lost), of.kept_qps * step_s)
        self.lost.step(total * to_lost, of.lost_qps * speed * step_s)
        if to_lost and not self.restarted:
            self.waited_for_s = self.at_s + of.timeout_s + 2.0 * step_s
        self.at_s += step_s
        self._count_worst(speed)

    def _asked_again(self) -> list[float]:
        """What times out now: what is not answered of the step a time-out ago, by try; the last fails."""
        now = len(self.kept.arrived) - 1
        then = now + 1 - self.steps_a_timeout
        if then < 1:
            return [0.0] * self.of.retries
        share = self.lost_shares[then]
        kept = (1.0 - share) * (1.0 - self.kept.share_served(then, now))
        lost = share * (1.0 - self.lost.share_served(then, now)) if share else 0.0
        unanswered = kept + lost
        self.failed += unanswered * self.flows[-1][then]
        self._count_late(then, now, answered=1.0 - unanswered)
        return [unanswered * flow[then] for flow in self.flows[:-1]]

    def _count_late(self, then: int, now: int, *, answered: float) -> None:
        self.late += answered * sum(flow[then] for flow in self.flows[1:])
        self.late += self.flows[0][then] * self._late_share(then, now)

    def _count_last(self) -> None:
        """What has been answered of the last steps, which no client has given up."""
        now = len(self.kept.arrived) - 1
        for then in range(max(1, now + 1 - self.steps_a_timeout), now + 1):
            self._count_late(then, now, answered=1.0)

    def _late_share(self, then: int, now: int) -> float:
        """Of the queries of a step: those answered within the time-out, but beyond the limit. [1]"""
        share = self.lost_shares[then]
        in_time = min(now, then + round(self.of.limit_s / self.step_s))
        kept = self.kept.share_served(then, now) - self.kept.share_served(then, in_time)
        lost = self.lost.share_served(then, now) - self.lost.share_served(then, in_time) if share else 0.0
        return (1.0 - share) * kept + share * lost

    def _lost_waits(self, none: float) -> bool:
        """Whether queries wait on lost nodes: those that serve again, or that the router still sends to."""
        return self.lost.backlog > none if self.restarted else self.lost_shares[-1] > 0.0

    def _count_worst(self, speed: float) -> None:
        parts = [(self.kept.backlog, self.of.kept_qps)]
        if self.restarted:
            parts.append((self.lost.backlog, self.of.lost_qps * speed))
        backlog = sum(backlog for backlog, _ in parts)
        self.most_backlog = max(self.most_backlog, backlog)
        self.moments.append(Moment(self.at_s, self.of.rate_qps + self.again / self.step_s, backlog))
        waits_s = [backlog / rate if rate else inf for backlog, rate in parts if backlog > 0.0]
        self.most_wait_s = max(self.most_wait_s, *waits_s, 0.0)

    def _next_event_s(self) -> float | None:
        """Until when nothing changes: the lost nodes' return, or now while they are slow; None: for ever."""
        of = self.of
        back_s = of.detection_s + of.restart_s
        if not self.restarted:
            return back_s if back_s < of.horizon_s else None
        return self.at_s if self.at_s < back_s + of.warm_up_s else None

    def _ending(self, none: float) -> Ending:
        of = self.of
        if self.at_s > max(self.waited_for_s, self.unsettled_s):
            return "recovers"
        serves_qps = of.kept_qps + of.lost_qps * of.restarted_speed(of.horizon_s)
        if serves_qps < of.rate_qps * (1.0 - 1e-9):
            return "overloaded"
        return "retry_storm" if self.again > none else "draining"
