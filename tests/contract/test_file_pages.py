"""Pages and schemas say what every key of a file means, and the examples of the pages are answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.main import main
from perfmodel.cli.schema import FileKind
from tests.contract.file_pages import DOCS, PAGES, whole

_YAML = re.compile(r"```yaml\n# (\S+\.yaml)\n(.*?)```", flags=re.DOTALL)


def printed(kind: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["schema", kind]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", list(FileKind))
def test_every_property_of_a_file_is_described(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema = printed(kind, capsys)
    silent = [
        f"{name}.{key}"
        for name, each in {kind: schema, **schema["$defs"]}.items()
        for key, value in each.get("properties", {}).items()
        if not value.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize("kind", list(FileKind))
def test_no_part_has_a_title_that_editors_offer_as_a_value(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = printed(kind, capsys)
    assert schema.pop("title") == f"perfplan {kind}"
    assert '"title": "' not in json.dumps(schema)


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_of_the_schema(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == whole(page)


@pytest.mark.thorough_cases("scenarios.md", "profiles.md")
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_are_answered(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = _YAML.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(examples) >= (1 if page == "profiles.md" else 2)
    for name, text in examples:
        (tmp_path / name).write_text(text, encoding="utf-8")
        asked = ["predict", name] if "traffic:" in text else ["latency", "-m", name, "--on", "skylake"]
        if page == "profiles.md":
            asked = ["latency", "--model", "dlrm-rmc1", "--on", name]
        assert main([*asked, "--json"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("kind", list(FileKind))
def test_numbers_with_a_unit_in_their_name_have_it_in_their_words(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = printed(kind, capsys)
    without = [
        f"{name}.{key}"
        for name, each in {kind: schema, **schema["$defs"]}.items()
        for key, value in each.get("properties", {}).items()
        if _UNIT.search(key) and "[" not in value["description"]
    ]
    assert without == []


_UNIT = re.compile(r"_(ms|s|us|ns|qps|gib|mib|kib|bytes|items|w|gb_per_s|gflop_per_s)$")
