"""`perfplan list`: what comes with perfplan and what a scenario may name."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from perfmodel.cli.choices import settings_choices
from perfmodel.cli.options import JsonOption
from perfmodel.loading.shipped import Kind, shipped_directory, shipped_names
from perfmodel.loading.yaml_source import read_yaml


class Topic(StrEnum):
    """What can be listed."""

    MODELS = "models"
    PROFILES = "profiles"
    SCENARIOS = "scenarios"
    POLICIES = "policies"
    ARRIVALS = "arrivals"
    DISTRIBUTIONS = "distributions"


_FILES: dict[Topic, Kind] = {
    Topic.MODELS: "model",
    Topic.PROFILES: "profile",
    Topic.SCENARIOS: "scenario",
}


def list_topics(
    topic: Annotated[Topic | None, typer.Argument(help="One of these; all of them by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what comes with perfplan and what scenarios may name."""
    topics = [topic] if topic else list(Topic)
    found = {topic: _described(topic) for topic in topics}
    if as_json:
        rows = {
            topic.value: [{"name": name, "description": text} for name, text in names.items()]
            for topic, names in found.items()
        }
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for index, (topic, names) in enumerate(found.items()):
        if len(found) > 1:
            print(f"{topic}:" if index == 0 else f"\n{topic}:")
        width = max(map(len, names), default=0)
        for name, text in names.items():
            print(f"{name:{width}}  {text}".rstrip())


def _described(topic: Topic) -> dict[str, str]:
    """Names of one topic with a line about each."""
    if topic in _FILES:
        kind = _FILES[topic]
        return {name: _description(kind, name) for name in shipped_names(kind)}
    return settings_choices()[topic.value]


def _description(kind: Kind, name: str) -> str:
    """First line of a file's `description`."""
    source = read_yaml(shipped_directory(kind) / f"{name}.yaml")
    text = source.data()
    assert isinstance(text, dict), "the top level of a YAML source is a section"
    return str(text.get("description", "")).strip().partition("\n")[0]
