"""`perfplan schema`: JSON Schemas of the YAML files and of the commands' answers, for other tools."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from perfmodel.cli.entry_points import entry_point
from perfmodel.domain.base import Frozen
from perfmodel.domain.model import RecModel
from perfmodel.domain.provision import FleetFile
from perfmodel.domain.scenario import Scenario
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.report.documents.schemas import DIALECT, KINDS, document_schema, schema_of


class FileKind(StrEnum):
    """The kinds of YAML files."""

    SCENARIO = "scenario"
    MODEL = "model"
    PROFILE = "profile"
    FLEET = "fleet"


_TYPES: dict[FileKind, type[Frozen]] = {
    FileKind.SCENARIO: Scenario,
    FileKind.MODEL: RecModel,
    FileKind.PROFILE: ProfileFile,
    FileKind.FLEET: FleetFile,
}


MEASURING = ("calibrate", "doctor", "import", "validate", "reproduce")
"""Commands of `calibration` whose answers have a schema there."""

Answer = StrEnum("Answer", {name.upper(): name for name in (*KINDS, *MEASURING)})  # type: ignore[misc]  # no literal


def schema(
    kind: Annotated[FileKind | None, typer.Argument(help="Which kind of file [scenario].")] = None,
    of: Annotated[
        Answer | None,
        typer.Option(
            metavar="COMMAND", help=f"Whose answer, as `--json` prints it: {', '.join(map(str, Answer))}."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of YAML file, or of a command's answer.

    Editors complete and check with that of a file. Save it, `perfplan schema > scenario.schema.json`,
    and begin the YAML file with `# yaml-language-server: $schema=scenario.schema.json` (VS Code,
    Neovim, JetBrains, Helix). An answer names its schema and the version under `schema`; keys may be
    added to a version, the next one begins where a key goes or changes its meaning.
    """
    if of is not None and kind is not None:
        raise InputError("schema: expected a kind of file, or --of an answer, got both")
    described = _json_schema(kind or FileKind.SCENARIO) if of is None else _answer_schema(of.value)
    print(json.dumps(described, indent=2, ensure_ascii=False))


def _answer_schema(of: str) -> dict[str, Any]:
    """Derive it; that of a command which measures is loaded as the command is, by name."""
    if of in KINDS:
        return document_schema(of)
    return schema_of(entry_point("documents")[of])


def _json_schema(kind: FileKind) -> dict[str, Any]:
    """Describe what the file may hold; what a validator checks across keys is not part of it."""
    described: dict[str, Any] = _untitled(_TYPES[kind].model_json_schema(mode="validation"))
    title = {"title": f"perfplan {kind.value}"}
    return {"$schema": DIALECT} | described | title


def _untitled(schema: Any) -> Any:
    """The schema without the titles of its parts: editors offer those as if they were values."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _untitled(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }
