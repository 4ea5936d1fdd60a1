"""What an answer will cost, from the sizes of queries and requests alone; too much is refused beforehand.

A simulation takes as long as it has requests, and a table of service times as much memory as it has cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.serving import SimulationSettings
from perfmodel.domain.workload import Arrivals, ClosedArrivals
from perfmodel.loading.words import duration
from perfmodel.sim.builtin_policies import DynamicBatching, Fusion, SeparateQueues, SizePriority
from perfmodel.sim.pipeline import mean_parts, stage_laws, stages_of
from perfmodel.sim.policies import (
    Policy,
    Pool,
    SizedPolicy,
    SplitAndOffload,
    largest_cpu_launch_items,
    requests_by_size,
    sizes_by_lane,
)
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.run_length import LEAST_ROUNDS, MOST_RECORDED
from perfmodel.sim.service import ServiceTimes

MOST_REQUESTS_A_QUERY = 400
"""Of a policy that the recursion serves: DeepRecSys's queries, one item a request, are 223."""

MOST_REQUESTS_A_QUERY_OF_EVENTS = 60
"""Of the others, each of whose requests takes some six times as long."""

SECONDS_A_REQUEST = 0.15
"""How much longer an answer takes for each request that a query is made of: two cores of an AMD EPYC 9005
simulate 300,000 queries and search for the largest load, and its bands, in some million queries more. [s]"""

GB_A_QUERY = 60e-9
"""Of a run that keeps everything that happened; the recursion keeps latencies alone. [GB]"""

RUN_QUERIES = 10_000_000
"""Of a run by default, at most: with the requests above, what an answer may cost."""

MOST_TABLE_CELLS = 8_000_000
"""Of service times, by size and number of busy workers; with what is needed to fill them, a gigabyte."""

_BATCH_KEYS: dict[type[Policy], str] = {
    SplitAndOffload: "batch_size",
    SizePriority: "batch_size",
    SeparateQueues: "large_batch_size",
    DynamicBatching: "max_batch_items",
    Fusion: "batch_size",
}
_LAUNCH_KEYS: dict[type[Policy], str] = {DynamicBatching: "max_batch_items", Fusion: "max_fused_items"}


def requests_a_query(policy: Policy, law: SizePmf) -> float:
    """Mean number of requests that a query is split into. [requests/query]

    Of a policy that looks at more than the size, 1: nobody knows before it has run.

    Examples
    --------
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> requests_a_query(SplitAndOffload(batch_size=128), pmf_of_list([300, 100]))
    2.0
    """
    if not isinstance(policy, SizedPolicy):
        return 1.0
    mean = 0.0
    for lane, served in sizes_by_lane(policy.lanes, law.values):
        for _, times in requests_by_size(law.values[served], lane.request_items):
            mean += float(law.probabilities[served] @ times)
    return mean


def requests_in_all_stages(service: ServiceTimes, policy: Policy, law: SizePmf) -> float:
    """The same in all stages of a pipeline together, of all parts of a query. [requests/query]"""
    pipeline = service.pipeline
    if pipeline is None:
        return requests_a_query(policy, law)
    laws = stage_laws(law, pipeline.most_items, pipeline.sub_batches)
    stages = zip(laws, stages_of(service, policy), strict=True)
    return mean_parts(law, pipeline.sub_batches) * sum(
        requests_a_query(whose, own) for own, (_, whose) in stages
    )


def most_requests_a_query(policy: Policy) -> int:
    """How many requests a query may have on average."""
    return MOST_REQUESTS_A_QUERY if isinstance(policy, SplitAndOffload) else MOST_REQUESTS_A_QUERY_OF_EVENTS


def affordable_queries(wanted: int, requests: float, *, fewest: int, most_requests: float) -> int:
    """How many queries a run may have: as many as wanted, as long as they are not too many requests.

    Parameters
    ----------
    wanted, fewest : int
        How many the precision asks for, and below which nothing can be said.
    requests : float
        Of a query, as `requests_a_query` counts them.
    most_requests : float
        Of the run.

    Examples
    --------
    >>> affordable_queries(300_000, 3.0, fewest=11_112, most_requests=2e7)
    300000
    >>> affordable_queries(300_000, 400.0, fewest=11_112, most_requests=2e7)
    50000
    """
    return max(min(wanted, fewest), min(wanted, int(most_requests / max(1.0, requests))))


def most_queries(policy: Policy, law: SizePmf) -> int:
    """Queries of the longest run that ends in minutes and within some gigabytes."""
    by_requests = int(RUN_QUERIES * most_requests_a_query(policy) / max(1.0, requests_a_query(policy, law)))
    return by_requests if isinstance(policy, SplitAndOffload) else min(by_requests, MOST_RECORDED)


def affordable_settings(simulation: SimulationSettings, policy: Policy, law: SizePmf) -> SimulationSettings:
    """Return the settings of a simulation with no more queries than a run can have.

    Raises
    ------
    ValueErrorAt
        At `simulation.min_queries`, where even the fewest are more.
    """
    most = most_queries(policy, law)
    if simulation.min_queries > (fewer := min(most, MOST_RECORDED)):
        raise ValueErrorAt(
            f"runs of {simulation.min_queries:_} queries take minutes, and "
            f"{simulation.min_queries * GB_A_QUERY:.0f} GB where all of it is kept, under {policy.name}, "
            f"{requests_a_query(policy, law):.3g} requests each; expected at most {fewer:_} "
            "(max_queries may be more)",
            ("simulation", "min_queries"),
        )
    return simulation.model_copy(update={"max_queries": min(simulation.max_queries, most)})


def require_few_users(arrivals: Arrivals) -> None:
    """Refuse more users than a run that keeps everything has rounds for.

    Raises
    ------
    ValueErrorAt
        At `traffic.arrivals.users`.
    """
    if not isinstance(arrivals, ClosedArrivals) or LEAST_ROUNDS * arrivals.users <= MOST_RECORDED:
        return
    queries = LEAST_ROUNDS * arrivals.users
    raise ValueErrorAt(
        f"{LEAST_ROUNDS} rounds of {arrivals.users:_} users are {queries:_} queries, which take minutes and "
        f"about {queries * GB_A_QUERY:.1f} GB; expected at most {MOST_RECORDED // LEAST_ROUNDS:_}",
        ("traffic", "arrivals", "users"),
    )


def least_batch_size(law: SizePmf) -> int:
    """The smallest batch size at which queries are not too many requests to simulate. [items]

    Examples
    --------
    >>> from perfmodel.sim.query_sizes import pmf_of_list
    >>> least_batch_size(pmf_of_list([100])), least_batch_size(pmf_of_list([100_000]))
    (1, 251)
    """
    return ceil(law.mean_items / (MOST_REQUESTS_A_QUERY - 1))


def affordable_batch_sizes(batch_sizes: Sequence[int], law: SizePmf) -> tuple[int, ...]:
    """Those of some batch sizes that can be tried in minutes; the largest in any case."""
    least = least_batch_size(law)
    return tuple(size for size in batch_sizes if size >= least) or tuple(batch_sizes[-1:])


def require_affordable(policy: Policy, law: SizePmf, *, workers: int) -> None:
    """Refuse what would take minutes or gigabytes, and say what to set.

    Parameters
    ----------
    policy : Policy
        What splits queries.
    law : SizePmf
        Their sizes.
    workers : int
        Of the node.

    Raises
    ------
    ValueErrorAt
        At the key of the policy that makes the requests so many, or so large.
    """
    requests, most = requests_a_query(policy, law), most_requests_a_query(policy)
    if requests > most:
        takes_s = SECONDS_A_REQUEST * requests * MOST_REQUESTS_A_QUERY / most
        least = ceil(law.mean_items / (most - 1))
        raise ValueErrorAt(
            f"a query of {law.mean_items:.0f} items is {requests:,.0f} requests, and an answer would take "
            f"about {duration(takes_s)}; expected at most {most}: set at least {least}",
            ("policy", _BATCH_KEYS.get(type(policy), "name")),
        )
    largest = largest_cpu_launch_items(policy, law.max_items)
    if largest * workers > MOST_TABLE_CELLS:
        raise ValueErrorAt(
            f"requests of up to {largest:_} items on {workers} workers need a table of "
            f"{largest * workers * 8e-9:.1f} GB, and a multiple to fill it; expected at most "
            f"{MOST_TABLE_CELLS // workers:_} items",
            ("policy", _BATCH_KEYS.get(type(policy), "name")),
        )
    launched = policy.largest_launch_items(Pool.ACCELERATOR, law.max_items)
    if launched * policy.streams > MOST_TABLE_CELLS:
        raise ValueErrorAt(
            f"launches of up to {launched:_} items need a table of {launched * policy.streams * 8e-9:.1f} "
            f"GB, and a multiple to fill it; expected at most {MOST_TABLE_CELLS // policy.streams:_} items",
            ("policy", _LAUNCH_KEYS.get(type(policy), "name")),
        )
