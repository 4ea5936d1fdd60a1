"""Arguments of the library's functions, checked as strictly as files are, and refused in a line."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.bounds import Count, Rate
from perfmodel.domain.fleet import Routing
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_tree import source_of
from perfmodel.planning.fleet.question import MOST_NODES, MOST_WINDOWS
from perfmodel.planning.tune.question import Objective
from perfmodel.sim.engines import EngineName

T = TypeVar("T", bound=Frozen)


def checked(call: str, kind: type[T], **arguments: Any) -> T:
    """Check the arguments of a call.

    Raises
    ------
    InputError
        One line that begins with the call.

    Examples
    --------
    >>> checked("latency", LatencyArguments, on=["skylake"], batch_sizes=[16, 0])
    Traceback (most recent call last):
        ...
    perfmodel.errors.InputError: latency: batch_sizes.1: expected a whole number >= 1, got 0
    """
    return validate(source_of(arguments, call), kind)


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueErrorAt(f"expected ascending numbers, got {', '.join(map(str, values))}", ())
    return values


Ascending = Annotated[tuple[Count, ...], AfterValidator(_ascending)]
Nodes = Annotated[int, Field(ge=1, le=MOST_NODES)]


class PredictArguments(Frozen):
    """Of `predict`, beside the scenario."""

    engine: EngineName


class TuneArguments(Frozen):
    """Of `tune`, beside the scenario."""

    objective: Objective
    static_batch: Count | None
    batch_sizes: Ascending
    thresholds: Ascending


class TuneStagesArguments(Frozen):
    """Of `tune_stages`, beside the scenario."""

    objective: Objective
    sub_batches: Ascending


class FleetArguments(Frozen):
    """Of `fleet`, beside the scenarios; `also` has the numbers of further nodes."""

    nodes: Nodes
    also: tuple[Nodes, ...]
    routing: Routing
    rate_qps: Rate | None
    windows: Annotated[int, Field(ge=1, le=MOST_WINDOWS)]


class SweepArguments(Frozen):
    """Of `sweep`, beside the scenario and what is swept."""

    question: Literal["predict", "capacity", "tune", "plan"] | None
    pareto: tuple[str, ...]
    jobs: Count | None


class MlperfArguments(Frozen):
    """Of `mlperf`, beside the scenario and LoadGen's files."""

    target_qps: Rate | None
    loadgen_scenario: Literal["Server", "Offline"]
    benchmark: Annotated[str, Field(min_length=1)] | None


class MapArguments(Frozen):
    """Of `map_devices`."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    on: Annotated[tuple[str, ...], Field(min_length=2)]
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    by: Literal["latency", "efficiency"]


class LatencyArguments(Frozen):
    """Of `latency`, beside the model."""

    on: Annotated[tuple[str, ...], Field(min_length=1)]
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    co_located: Count = 1
    without: tuple[str, ...] = ()
