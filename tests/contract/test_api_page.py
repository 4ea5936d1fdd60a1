"""The page about what Python users call says what the docstrings say, and its example runs."""

from __future__ import annotations

import doctest
import re

import pytest

import perfmodel
from perfmodel.report.documents.schemas import KINDS
from tests.contract.api import EXAMPLE, PAGE, markdown, page


@pytest.mark.thorough
def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.contract.api"


def test_every_public_name_and_document_stands_on_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (\w+)$", text, flags=re.MULTILINE))
    listed = set(re.findall(r"^- `(\w+)` ?\(?", text, flags=re.MULTILINE))
    assert set(perfmodel.__all__) <= headings | listed
    assert all(f"### Document {name}\n" in text for name in KINDS)


def test_the_readme_shows_its_example() -> None:
    readme = (PAGE.parent.parent / "README.md").read_text(encoding="utf-8")
    assert f"## From Python\n\n```python\n{EXAMPLE}\n```\n" in readme


@pytest.mark.thorough
def test_its_example_answers_what_it_shows() -> None:
    test = doctest.DocTestParser().get_doctest(EXAMPLE + "\n", {}, "example", None, None)
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(test, out=said.append)
    assert tried == 6
    assert failed == 0, "".join(said)


def test_a_docstring_becomes_markdown() -> None:
    text = "Do it.\n\nParameters\n----------\na, b : int\n    How\n    many.\n\nRaises\n------\nE\n    If.\n"
    parameters, errors = "**Parameters**\n\n- `a, b` (int): How many.", "**Raises**\n\n- `E`: If."
    assert markdown(text) == f"Do it.\n\n{parameters}\n\n{errors}\n"
