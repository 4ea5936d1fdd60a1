"""The JSON documents of the commands: times in ms, null for what does not exist; types that are schemas."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # typing's own says too little to pydantic before Python 3.12

document = with_config(ConfigDict(extra="forbid", strict=True))
"""Marks a type of documents, which schemas are derived from: these keys, and no others."""


@document
class SchemaKey(TypedDict):
    """Which schema a document follows; the version rises where a key goes, or changes its meaning."""

    name: str
    version: int


class Kind(NamedTuple):
    """A kind of documents: their type, the version of their schema, and the command that prints them."""

    type: Any
    version: int
    command: str
