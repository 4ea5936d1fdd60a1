"""The JSON document of `perfplan list`."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from perfmodel.report.documents import Saved, document

VERSION = 1


@document
class StackDocument(TypedDict):
    """A software stack of a profile: what is in its times, what they were fitted to, their error. [1]"""

    name: str
    default: bool
    describes: str
    batch_range: list[int]
    fitted_models: list[str]
    measured_calls: int
    relative_error: float
    relative_error_of_fitted_models: float | None


@document
class WorkDocument(TypedDict):
    """What a model does on a CPU, an item and a query, and what it holds. FLOP, bytes, elements."""

    flop_per_item: float
    flop_per_query: float
    bytes_per_item: float
    bytes_per_query: float
    lookups_per_item: float
    lookups_per_query: float
    parameters: int
    table_bytes: float


@document
class ListedDocument(TypedDict):
    """What a scenario may name; `stacks` of profiles, `work` of models only."""

    name: str
    description: str
    work: NotRequired[WorkDocument]
    stacks: NotRequired[list[StackDocument]]


@document
class ListDocument(Saved):
    """What there is of each topic that was asked for."""

    models: NotRequired[list[ListedDocument]]
    profiles: NotRequired[list[ListedDocument]]
    scenarios: NotRequired[list[ListedDocument]]
    fleets: NotRequired[list[ListedDocument]]
    policies: NotRequired[list[ListedDocument]]
    arrivals: NotRequired[list[ListedDocument]]
    distributions: NotRequired[list[ListedDocument]]
