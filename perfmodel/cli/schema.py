"""`perfplan schema`: JSON Schemas of the YAML files, for editors and other tools."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from perfmodel.domain.base import Frozen
from perfmodel.domain.model import RecModel
from perfmodel.domain.scenario import Scenario
from perfmodel.loading.profile_file import ProfileFile


class FileKind(StrEnum):
    """The kinds of YAML files."""

    SCENARIO = "scenario"
    MODEL = "model"
    PROFILE = "profile"


_TYPES: dict[FileKind, type[Frozen]] = {
    FileKind.SCENARIO: Scenario,
    FileKind.MODEL: RecModel,
    FileKind.PROFILE: ProfileFile,
}


def schema(
    kind: Annotated[FileKind, typer.Argument(help="Which kind of file.")] = FileKind.SCENARIO,
) -> None:
    """Print the JSON Schema of a kind of YAML file.

    Editors complete and check with it. Save it, `perfplan schema scenario > scenario.schema.json`,
    and begin the YAML file with `# yaml-language-server: $schema=scenario.schema.json` (VS Code,
    Neovim, JetBrains, Helix).
    """
    print(json.dumps(_json_schema(kind), indent=2, ensure_ascii=False))


def _json_schema(kind: FileKind) -> dict[str, Any]:
    """Describe what the file may hold; what a validator checks across keys is not part of it."""
    described = _TYPES[kind].model_json_schema(mode="validation")
    title = {"title": f"perfplan {kind.value}"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | described | title
