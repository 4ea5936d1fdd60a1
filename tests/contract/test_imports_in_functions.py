"""An import inside a function is there for speed of start, or for what need not be installed, and says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import calibration
import perfmodel

PACKAGES = tuple(Path(package.__file__ or "").parent for package in (perfmodel, calibration))
ROOT = PACKAGES[0].parent
IMPORTS = (ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
INDENTED = re.compile(r"^ +(import|from) ", flags=re.MULTILINE)
SAID_ONCE = re.compile(r"^#.*\b[Ii]mport|^if TYPE_CHECKING:  #", flags=re.MULTILINE)
"""A comment of the whole module."""


def without_a_reason(source: str) -> Iterator[int]:
    """Lines of functions that import, where neither the function nor the module says why."""
    if not INDENTED.search(source) or SAID_ONCE.search(source):
        return
    tree, lines = ast.parse(source), source.splitlines()
    if re.search(r"\bimported\b", ast.get_docstring(tree) or ""):
        return
    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
        imports = [node for node in ast.walk(function) if isinstance(node, IMPORTS)]
        if imports and not any("#" in line for line in _around(imports, lines)):
            yield min(node.lineno for node in imports)


def _around(imports: list[ast.Import | ast.ImportFrom], lines: list[str]) -> list[str]:
    """The imports of a function, what is between them, and the two lines above."""
    first = min(node.lineno for node in imports)
    last = max(node.end_lineno or node.lineno for node in imports)
    return lines[first - 3 : last]


@pytest.mark.thorough
@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_imports_of_functions_have_a_reason(package: Path) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(package.rglob("*.py"))
        for line in without_a_reason(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_one_without_a_reason_is_found() -> None:
    plain = 'def f():\n    """Do."""\n    import json\n\n    return json\n'
    assert list(without_a_reason(plain)) == [3]
    assert list(without_a_reason(plain.replace("import json\n", "import json  # few ask\n"))) == []
    assert list(without_a_reason("# Imports wait for who asks.\n" + plain)) == []
    assert list(without_a_reason('"""Each imported on its first use."""\n' + plain)) == []
    assert list(without_a_reason("import json\n")) == []
