"""The names that a scenario may use for its policy, arrivals and query sizes, read off the types."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import getdoc
from typing import get_args

from perfmodel.domain.base import Frozen
from perfmodel.domain.scenario import Policy
from perfmodel.domain.workload import Arrivals, QuerySizes
from perfmodel.loading.policy_class import installed_policies


def settings_choices() -> dict[str, dict[str, str]]:
    """Map each topic to its names, and each name to a line about it.

    Examples
    --------
    >>> settings_choices()["arrivals"]["constant"]
    'Equal gaps.'
    """
    return {
        "policies": _named(_members(Policy), "name") | _installed(),
        "arrivals": _named(_members(Arrivals), "process"),
        "distributions": _named(_members(QuerySizes), "distribution"),
    }


def _installed() -> dict[str, str]:
    """Policies of other packages, which `--policy` chooses; described without running their code."""
    return {
        name: f"Installed: {point.value}; chosen with --policy {name}."
        for name, point in installed_policies().items()
    }


def _members(union: object) -> tuple[type[Frozen], ...]:
    """Types of an annotated union."""
    return get_args(get_args(union)[0])


def _named(kinds: Iterable[type[Frozen]], discriminator: str) -> dict[str, str]:
    return {
        name: (getdoc(kind) or "").partition("\n")[0]
        for kind in kinds
        for name in get_args(kind.model_fields[discriminator].annotation)
    }
