"""A user's decision, compiled by numba to a function that the compiled engine calls by pointer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from perfmodel.sim.compiled_loop import DECISION
from perfmodel.sim.machine_code import NumbaWarning, compiled_uncached, types
from perfmodel.sim.user_policy import NodeState, QueryView, shown

Decision = Callable[[QueryView, NodeState], int]

_types: Any = types
_QUERY = _types.NamedTuple([types.int64, types.int64, types.float64], QueryView)
_NODE = _types.NamedUniTuple(types.int64, len(NodeState._fields), NodeState)


def compile_decision(decide: Decision) -> tuple[Callable[..., int] | None, str]:
    """Return a function of the signature `DECISION`, or None and why numba cannot make one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumbaWarning)
            return _compiled(compiled_uncached(decide))
    except Exception as error:  # numba raises nearly anything for code that it cannot compile
        return None, f"numba cannot compile decide: {_telling_line(error)}"


def _compiled(decide: Any) -> tuple[Callable[..., int] | None, str]:
    """Put the plain numbers that the engine passes into the views that a decision sees."""
    decide.compile((_QUERY, _NODE))
    result = decide.overloads[_QUERY, _NODE].signature.return_type
    if not isinstance(result, types.Integer):
        return None, f"decide returns {result}, not a whole number"

    def placed(  # type: ignore[no-untyped-def]
        query, num_items, now_s, cores, cores_busy, requests, items, streams, busy, offloaded, off_items
    ):
        return decide(
            QueryView(query, num_items, now_s),
            NodeState(cores, cores_busy, requests, items, streams, busy, offloaded, off_items),
        )

    compiled: Callable[..., int] = compiled_uncached(placed, DECISION)
    return compiled, ""


def _telling_line(error: Exception) -> str:
    """The line of numba's pages of explanation that says what it is about."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Failed in", "- Resolution", "During:"))]
    return told[0] if told else shown(error)
