"""What kind of file a document is, told by its keys: for refusals of a file that another command takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from perfmodel.loading.words import cut

Kind = Literal["model", "profile", "scenario", "fleet"]

_TOLD_BY: Mapping[str, frozenset[str]] = {
    "fleet": frozenset({"services", "node_types"}),
    "scenario": frozenset({"traffic", "policy"}),
    "model": frozenset({"operators"}),
    "profile": frozenset({"hardware", "stacks", "changes"}),
}
"""Keys at the top that no other kind of file has."""

_ANSWER = frozenset({"schema", "perfplan"})
"""Keys that every answer has which --json printed, beside others that files have too."""

_TAKEN_BY: Mapping[str, str] = {
    "fleet": "perfplan plan {}",
    "scenario": "perfplan predict {}",
    "model": "perfplan latency --model {} --on PROFILE --batch 1,64",
    "profile": "perfplan latency --model MODEL --on {} --batch 1,64",
    "saved answer": "perfplan report {} --out FILE.html",
}
"""A command that takes one."""


def told_by(keys: Iterable[str]) -> str | None:
    """The kind of file that has keys like these at its top; None where they tell none, or several.

    Examples
    --------
    >>> told_by(["name", "services", "node_types"]), told_by(["name"])
    ('fleet', None)
    """
    keys = set(keys)
    if keys >= _ANSWER:
        return "saved answer"
    found = [kind for kind, telling in _TOLD_BY.items() if not telling.isdisjoint(keys)]
    return found[0] if len(found) == 1 else None


def taken_by(kind: str, name: str) -> str:
    """Say what a file is, and which command takes it.

    Examples
    --------
    >>> taken_by("fleet", "two_services")
    'a fleet, which perfplan plan two_services takes'
    """
    return f"a {kind}, which {_TAKEN_BY[kind].format(cut(name))} takes"
