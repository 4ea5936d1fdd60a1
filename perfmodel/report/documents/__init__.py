"""The JSON documents of the commands: times in ms, null for what does not exist; types that are schemas."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # typing's own says too little to pydantic before Python 3.12

from perfmodel.loading.inputs import InputFile

document = with_config(ConfigDict(extra="forbid", strict=True))
"""Marks a type of documents, which schemas are derived from: these keys, and no others."""


@document
class SchemaKey(TypedDict):
    """Which schema a document follows; the version rises where a key goes, or changes its meaning."""

    name: str
    version: int


@document
class InputDocument(TypedDict):
    """A file that was read, and the SHA-256 of its bytes."""

    name: str
    sha256: str


@document
class Saved(TypedDict):
    """What every document says of itself: its schema, what made it and when (a day, in UTC), and of what."""

    schema: SchemaKey
    perfplan: str
    date: str
    inputs: list[InputDocument]


def saved(name: str, version_: int, inputs: Iterable[InputFile] = ()) -> Saved:
    """What a document begins with.

    The date is a day, so that the same question gives the same bytes; a build that sets SOURCE_DATE_EPOCH
    gets that day.

    Examples
    --------
    >>> saved("predict", 1)["schema"]
    {'name': 'predict', 'version': 1}
    """
    return {
        "schema": {"name": name, "version": version_},
        "perfplan": perfplan_version(),
        "date": _today(),
        "inputs": [{"name": each.name, "sha256": each.sha256} for each in dict.fromkeys(inputs)],
    }


MOST_NAMED = 8
"""Files in a page's line of facts; the document names all."""


def made_of(document: Saved) -> list[str]:
    """What made a document, when, and of what: a page's facts, the fingerprint one of all its inputs."""
    facts = [f"perfplan {document['perfplan']}", document["date"]]
    if document["inputs"]:
        whole = sha256("".join(each["sha256"] for each in document["inputs"]).encode()).hexdigest()[:12]
        names = [each["name"].rpartition("/")[2] for each in document["inputs"]]
        if len(names) > MOST_NAMED:
            names[MOST_NAMED - 1 :] = [f"{len(names) - MOST_NAMED + 1} more files"]
        facts.append(f"of {', '.join(names)} (fingerprint {whole})")
    return facts


def perfplan_version() -> str:
    """Of the installed package; says so where there is none."""
    try:
        return version("perfplan")
    except PackageNotFoundError:
        return "(not installed: running from a checkout)"


def _today() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    return now.date().isoformat()


class Kind(NamedTuple):
    """A kind of documents: their type, the version of their schema, and the command that prints them."""

    type: Any
    version: int
    command: str
