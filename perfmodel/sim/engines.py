"""The choice of an engine: the compiled one where it applies, SimPy for every other policy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from perfmodel.domain.base import ValueErrorAt
from perfmodel.errors import InputError
from perfmodel.sim.policies import Policy, SplitAndOffload, check_covers, is_fifo
from perfmodel.sim.records import RunRecord, broken_rules
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

EngineName = Literal["auto", "compiled", "simpy"]


def simulate(
    queries: Queries,
    service: ServiceTimes,
    policy: Policy,
    *,
    engine: EngineName = "auto",
    log_requests: bool = False,
) -> RunRecord:
    """Serve every query and return what happened; the engines agree to the last bit.

    Parameters
    ----------
    queries : Queries
        What arrives.
    service : ServiceTimes
        How long requests hold an executor.
    policy : Policy
        Where queries go.
    engine : {"auto", "compiled", "simpy"}, default "auto"
        "auto" is "compiled" where that can run the policy, and "simpy" otherwise.
    log_requests : bool, default False
        Whether to record every request; only SimPy can.

    Raises
    ------
    InputError
        If a service time is missing, or "compiled" cannot do what is asked.

    Examples
    --------
    Two cores, 10 ms a request: the third request of a query of three waits for the first to end.

    >>> import numpy as np
    >>> queries = Queries(np.array([0.0]), np.array([300]))
    >>> service = ServiceTimes(cpu_s=np.full((128, 2), 0.010))
    >>> simulate(queries, service, SplitAndOffload(batch_size=128), engine="simpy").latency_s
    array([0.02])
    """
    if service.pipeline is not None:
        from perfmodel.sim.pipeline import simulate_stages  # few nodes are the first of several

        if log_requests:
            raise InputError(
                "engine simpy: logs the requests of one stage; expected a scenario without pipeline"
            )
        whole = simulate_stages(queries, service, policy, partial(simulate, engine=engine))
        return whole if queries.outside_s is None else replace(whole, outside_s=queries.outside_s)
    if len(queries):
        check_covers(service, policy, int(queries.num_items.max()))
    record = _on_node(queries, service, policy, engine, log_requests)
    return record if queries.outside_s is None else replace(record, outside_s=queries.outside_s)


def _on_node(
    queries: Queries, service: ServiceTimes, policy: Policy, engine: EngineName, log_requests: bool
) -> RunRecord:
    """What the node does: nothing outside of it delays it."""
    if queries.users is not None and service.is_paused:
        raise ValueErrorAt(
            "pauses are not simulated with closed users; expected an open process, such as poisson",
            ("traffic", "arrivals", "process"),
        )
    if service.is_paused:
        require_pausable(service, policy)
    if service.node_pauses:
        from perfmodel.sim.running_clock import RunningClock  # few nodes are said to pause

        clock = RunningClock.of(service.node_pauses, queries.luck)
        running = Queries(clock.running_s(queries.arrival_s), queries.num_items, queries.luck)
        steady = replace(service, node_pauses=())
        record = simulate(running, steady, policy, engine=engine, log_requests=log_requests)
        return clock.on_the_wall(record, queries)
    why_not = why_interpreted(service, policy, is_closed=queries.users is not None)
    if engine != "simpy" and not log_requests and why_not is None:
        return _simulate_compiled(queries, service, policy)
    if engine == "compiled":
        what = "logs no requests" if log_requests else f"policy {policy.name}: {why_not}"
        raise InputError(f"engine compiled: {what}; use simpy, or auto")
    from perfmodel.sim.simpy_engine import simulate_simpy

    record = simulate_simpy(queries, service, policy, log_requests=log_requests)
    if broken := broken_rules(record):
        raise InputError(f"policy {policy.name}: broke the rule that {broken[0]}")
    return record


def why_interpreted(service: ServiceTimes, policy: Policy, *, is_closed: bool) -> str | None:
    """Why SimPy alone can serve this, some hundred times slower; None where an engine is compiled for it.

    Parameters
    ----------
    is_closed : bool
        Whether the traffic is that of closed users.
    """
    if policy.why_not_compiled is None and is_closed and not is_fifo(service, policy):
        return "closed users are compiled for split without shedding, with times by size alone"
    return policy.why_not_compiled


def require_pausable(service: ServiceTimes, policy: Policy) -> None:
    """Refuse a policy that nothing here can simulate with the node's pauses.

    Raises
    ------
    ValueErrorAt
        At `node.pauses`.
    """
    if service.core_pauses and not is_fifo(service, policy):
        raise ValueErrorAt(
            f"pauses of single executors are simulated under split without shedding, on one accelerator at "
            f"most, got policy {policy.name}; expected scope: node",
            ("node", "pauses"),
        )
    if service.node_pauses and policy.shedding is not None and policy.shedding.deadline_s is not None:
        raise ValueErrorAt(
            "deadlines go on while a paused node stands still, which is not simulated; expected "
            "policy.shedding without deadline_ms",
            ("node", "pauses"),
        )


def _simulate_compiled(queries: Queries, service: ServiceTimes, policy: Policy) -> RunRecord:
    """Serve with the recursion where the policy is FIFO split and offload, else with the event loop."""
    # Imported on use: numba takes half a second, which most commands never need.
    if queries.users is not None:
        assert isinstance(policy, SplitAndOffload), "what is_fifo accepts"
        from perfmodel.sim.compiled_users import serve_users  # closed users are few loads

        return serve_users(queries, service, policy)
    if isinstance(policy, SplitAndOffload):
        if service.core_pauses:
            from perfmodel.sim.compiled_pauses import simulate_with_pauses

            return simulate_with_pauses(queries, service, policy)
        from perfmodel.sim.compiled_engine import simulate_compiled

        if is_fifo(service, policy):
            return simulate_compiled(queries, service, policy)
    from perfmodel.sim.compiled_events import simulate_events

    return simulate_events(queries, service, policy, policy.compiled_decision)
