"""A user's class as a policy: checked, compiled where that works, and asked by a new instance in each run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getattr_static, signature
from typing import Any

from perfmodel.errors import InputError
from perfmodel.sim.policies import (
    WHOLE,
    Lane,
    NodeView,
    Placement,
    Policy,
    Pool,
    Shedding,
    split_query,
)
from perfmodel.sim.user_policy import OFFLOAD, NodeState, QueryView, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPolicy(Policy):
    """A policy class that somebody else wrote, ready to run; each run starts with an instance of its own.

    Attributes
    ----------
    kind : type
        The class, which needs no arguments; see `Decider`.
    has_accelerator : bool
        Whether the node has one to offload to.
    max_batch_items : int
        The largest request that the class may ask for. [items]
    why_not_compiled, compiled_decision
        Why its decisions are Python code, or else the compiled ones.
    """

    kind: type[Any]
    name: str
    has_accelerator: bool
    max_batch_items: int
    shedding: Shedding | None = None
    why_not_compiled: str | None = None
    compiled_decision: Callable[..., int] | None = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The cores, and the accelerator where there is one; `decide` chooses."""
        cores = Lane(pool=Pool.CPU, request_items=self.max_batch_items)
        return (cores, Lane(pool=Pool.ACCELERATOR, from_items=WHOLE)) if self.has_accelerator else (cores,)

    def largest_launch_items(self, pool: Pool, max_items: int) -> int:
        """Return what the class may ask for."""
        if pool is Pool.ACCELERATOR:
            return max_items if self.has_accelerator else 0
        return min(max_items, self.max_batch_items) if pool is Pool.CPU else 0

    def place(self, num_items: int, node: NodeView) -> Placement:
        """Ask an instance that has learnt nothing."""
        return self.for_run().place_query(0, num_items, 0.0, node)

    def for_run(self) -> Policy:
        """Return the same policy with an instance of the class for one run."""
        return _LivePolicy(self)


class _LivePolicy(Policy):
    """A user's policy during one run."""

    def __init__(self, policy: UserPolicy) -> None:
        self.name = policy.name
        self.shedding = policy.shedding
        self._policy = policy
        self._decider = new_instance(policy.kind, policy.name)
        self._learns = learns(policy.kind)
        self._open: dict[int, QueryView] = {}

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Those of the policy."""
        return self._policy.lanes

    def place_query(self, query: int, num_items: int, now_s: float, node: NodeView) -> Placement:
        """Ask the instance, and check its answer."""
        view = QueryView(query, num_items, now_s)
        try:
            decision = self._decider.decide(view, NodeState(*node[Pool.CPU], *node[Pool.ACCELERATOR]))
        except (Exception, SystemExit) as error:
            raise InputError(f"policy {self.name}: query {query}: decide: {shown(error)}") from error
        if self._learns:
            self._open[query] = view
        if type(decision) is not bool and hasattr(decision, "__index__"):
            if decision == OFFLOAD and self._policy.has_accelerator:
                return Placement(Pool.ACCELERATOR, [num_items])
            if decision >= 1 and min(decision, num_items) <= self._policy.max_batch_items:
                return Placement(Pool.CPU, split_query(num_items, int(decision)))
        raise bad_decision(self._policy, query, num_items, decision)

    def served(self, query: int, latency_s: float) -> None:
        """Tell the instance how long a query took."""
        if self._learns:
            try:
                self._decider.served(self._open.pop(query), latency_s)
            except (Exception, SystemExit) as error:
                raise InputError(f"policy {self.name}: query {query}: served: {shown(error)}") from error


def user_policy(
    kind: type[Any],
    *,
    has_accelerator: bool,
    max_items: int,
    shedding: Shedding | None = None,
    compiles: bool = True,
) -> UserPolicy:
    """Check a policy class and compile its decision where that works.

    Parameters
    ----------
    kind : type
        The class; see `Decider`.
    has_accelerator : bool
        Whether there is one to offload to.
    max_items : int
        Largest query that can arrive. [items]
    shedding : Shedding or None
        When queries are shed, whatever the class decides.
    compiles : bool
        Whether to try to compile it at all.

    Raises
    ------
    InputError
        If the class cannot be used, saying what it lacks.
    """
    name = getattr(kind, "name", kind.__name__)
    if not isinstance(name, str):
        raise InputError(f"policy {kind.__name__}: name: expected text, got {name!r}")
    max_batch_items = getattr(kind, "max_batch_items", max_items)
    if type(max_batch_items) is not int or max_batch_items < 1:
        raise InputError(
            f"policy {name}: max_batch_items: expected a whole number >= 1, got {max_batch_items!r}"
        )
    decide = getattr(new_instance(kind, name), "decide", None)
    if not callable(decide):
        raise InputError(f"policy {name}: expected a method decide(query, node), found none")
    try:
        signature(decide).bind(None, None)
    except TypeError as error:
        raise InputError(f"policy {name}: decide: expected to take query and node: {error}") from None
    compiled, why_not = None, "the SimPy engine was asked for"
    if compiles:
        compiled, why_not = _compiled_or_why_not(kind)
    return UserPolicy(
        kind=kind,
        name=name,
        has_accelerator=has_accelerator,
        max_batch_items=min(max_batch_items, max_items),
        shedding=shedding,
        why_not_compiled=None if compiled else why_not,
        compiled_decision=compiled,
    )


def new_instance(kind: type[Any], name: str) -> Any:
    """Return a new instance of a policy class."""
    try:
        return kind()
    except (Exception, SystemExit) as error:
        raise InputError(f"policy {name}: {kind.__name__}(): {shown(error)}") from error


def learns(kind: type[Any]) -> bool:
    """Say whether a policy class wants to be told of queries that were served."""
    return callable(getattr(kind, "served", None))


def bad_decision(policy: UserPolicy, query: int, num_items: int, decision: object) -> InputError:
    """Build the error about a decision that cannot be followed."""
    offload = f", or OFFLOAD ({OFFLOAD})" if policy.has_accelerator else "; there is no accelerator"
    return InputError(
        f"policy {policy.name}: query {query}, of {num_items} items: decided {decision!r}; expected "
        f"the items of a request on a core, from 1 to max_batch_items, {policy.max_batch_items}{offload}"
    )


def _compiled_or_why_not(kind: type[Any]) -> tuple[Callable[..., int] | None, str]:
    """Compile the decision of a class, or say why not."""
    if learns(kind):
        return None, "it learns, in Python"
    if not isinstance(getattr_static(kind, "decide"), staticmethod):
        return None, "decide is not a static method, so it may keep state"
    # Imported on use: numba takes half a second.
    from perfmodel.sim.compiled_decision import compile_decision

    return compile_decision(kind.decide)
