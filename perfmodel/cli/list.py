"""`perfplan list`: what comes with perfplan and what a scenario may name."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import hypot
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perfmodel.cli.choices import settings_choices
from perfmodel.cli.options import JsonOption
from perfmodel.loading.file_kinds import Kind
from perfmodel.loading.shipped import shipped_directory, shipped_names
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.report.documents import saved
from perfmodel.report.documents.listing import VERSION
from perfmodel.units import GIB

if TYPE_CHECKING:
    from perfmodel.costmodel.model_counts import ModelCounts


class Topic(StrEnum):
    """What can be listed."""

    MODELS = "models"
    PROFILES = "profiles"
    SCENARIOS = "scenarios"
    FLEETS = "fleets"
    POLICIES = "policies"
    ARRIVALS = "arrivals"
    DISTRIBUTIONS = "distributions"


_FILES: dict[Topic, Kind] = {
    Topic.MODELS: "model",
    Topic.PROFILES: "profile",
    Topic.SCENARIOS: "scenario",
    Topic.FLEETS: "fleet",
}


def list_topics(
    topic: Annotated[
        Topic | None,
        typer.Argument(metavar="[TOPIC]", help=f"One of {', '.join(Topic)}; all of them by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what comes with perfplan and what scenarios may name."""
    topics = [topic] if topic else list(Topic)
    found = {topic: _described(topic) for topic in topics}
    if as_json:
        rows = {
            topic.value: [
                {"name": name, "description": text, **_details(topic, name)} for name, text in names.items()
            ]
            for topic, names in found.items()
        }
        print(json.dumps(saved("list", VERSION) | rows, indent=2, ensure_ascii=False))
        return
    width = _known_width()
    for index, (topic, names) in enumerate(found.items()):
        if len(found) > 1:
            print(f"{topic}:" if index == 0 else f"\n{topic}:")
        longest = max(map(len, names), default=0)
        for name, text in names.items():
            for line in _entry(name, [text, *_more(topic, name)], longest, width):
                print(line)


LEAST_WIDTH = 40
"""Narrower terminals are written for as if they had it, as with pages. [characters]"""

LEAST_WORDS = 36
"""Beside the names, a column of words is at least so wide; on a narrower page they go below. [characters]"""


def _known_width() -> int | None:
    """What a terminal or COLUMNS says; None: a pipe, where each text stays a line for `grep` and `cut`."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdecimal():
        return None
    return max(LEAST_WIDTH, shutil.get_terminal_size().columns)


def _entry(name: str, texts: Iterable[str], longest: int, width: int | None) -> list[str]:
    """A name and what is said of it, wrapped at `width` [characters]; None: a text is a line, for pipes."""
    head = f"{name:{longest}}  "
    if width is None:
        return [
            f"{head if index == 0 else ' ' * len(head)}{text}".rstrip() for index, text in enumerate(texts)
        ]
    is_beside = width - len(head) >= LEAST_WORDS
    left = " " * (len(head) if is_beside else 4)
    lines = [] if is_beside else [name]
    for text in texts:
        first = head if is_beside and not lines else left
        # A name of a file or a stack stays whole: it is there to be copied.
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=first,
            subsequent_indent=left,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [first.rstrip()]
    return lines


def _more(topic: Topic, name: str) -> list[str]:
    """What is said of an entry below its first line."""
    if topic is Topic.MODELS:
        return [_counts_line(_counts(name))]
    return [_stack_line(stack) for stack in _details(topic, name).get("stacks", ())]


def _described(topic: Topic) -> dict[str, str]:
    """Names of one topic with a line about each."""
    if topic in _FILES:
        kind = _FILES[topic]
        return {name: _description(kind, name) for name in shipped_names(kind)}
    return settings_choices()[topic.value]


def _description(kind: Kind, name: str) -> str:
    """First line of a file's `description`; of a fleet, its name in words."""
    source = read_yaml(shipped_directory(kind) / f"{name}.yaml")
    text = source.data()
    assert isinstance(text, dict), "the top level of a YAML source is a section"
    key = "name" if kind == "fleet" else "description"
    return str(text.get(key, "")).strip().partition("\n")[0]


def _details(topic: Topic, name: str) -> dict[str, Any]:
    """Of a profile its stacks, what each was fitted to and how far off it is; of a model its work."""
    if topic is Topic.MODELS:
        return {"work": _counts(name)._asdict()}
    if topic is not Topic.PROFILES:
        return {}
    from perfmodel.loading.derived_profile import measured_document, read_profile  # numpy: others do without

    path = shipped_directory("profile") / f"{name}.yaml"
    source = read_yaml(path)
    profile: Any = source.data()
    profile = (
        read_profile(path).model_dump(mode="json") if "base" in profile else measured_document(source).data()
    )
    stacks = []
    for stack, section in profile["stacks"].items():
        stacks.append(_stack(stack, section, profile))
        ways = section.get("served") or {}
        stacks += [stacks[-1] | _served(way, served, section) for way, served in ways.items()]
    return {"stacks": stacks}


def _counts(name: str) -> ModelCounts:
    from perfmodel.costmodel.model_counts import model_counts  # numpy takes a tenth of a second
    from perfmodel.planning.prepare import find_model

    return model_counts(find_model(name))


def _counts_line(counts: ModelCounts) -> str:
    """What a model does for an item and, where there is any, for the query; what it holds."""
    item = f"{counts.flop_per_item:,.0f} FLOP and {counts.bytes_per_item:,.0f} bytes an item"
    query = f"{counts.flop_per_query:,.0f} FLOP and {counts.bytes_per_query:,.0f} bytes a query"
    held = f"{counts.parameters:,} parameters, {counts.table_bytes / GIB:.3g} GiB of tables"
    return "; ".join([item, *([query] if counts.bytes_per_query else []), held])


def _stack(name: str, section: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    of_fitted = section.get("relative_error_of_fitted_models")
    return {
        "name": name,
        "default": name == profile["default_stack"],
        "describes": section.get("describes") or section["description"],
        "batch_range": section["batch_range"],
        "fitted_models": section.get("fitted_models", []),
        "measured_calls": sum(surface["calls"] for surface in section.get("surfaces", ())),
        "relative_error": section["relative_error"]["value"],
        "relative_error_of_fitted_models": of_fitted and of_fitted["value"],
    }


def _served(name: str, served: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """What a way to serve a stack's calls in says in place of the stack: both errors are in its times."""
    both = hypot(section["relative_error"]["value"], served["relative_error"]["value"])
    return {"name": name, "default": False, "describes": served["describes"], "relative_error": both}


def _stack_line(stack: Mapping[str, Any]) -> str:
    """One stack in words: `@name`, what is in its times, what it was fitted to, its error elsewhere."""
    fitted = ", ".join(stack["fitted_models"]) or f"{stack['measured_calls']:,} calls of random sequences"
    percent = float(f"{100 * stack['relative_error']:.2g}")  # without an exponent from a hundred up
    error = f"{percent:g} % off on what it had not seen"
    default = " (default)" if stack["default"] else ""
    return f"@{stack['name']}{default}: {stack['describes']}; fitted to {fitted}; {error}"
