"""No module needs another that needs it, even where only a function imports it, or by name."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

import calibration
import perfmodel
from perfmodel.cli.entry_points import ENTRY_POINTS

PACKAGE = Path(perfmodel.__file__).parent
BY_NAME = "perfmodel.cli.entry_points"


@pytest.mark.thorough
def test_no_modules_import_each_other() -> None:
    graph = grimp.build_graph("perfmodel", "calibration", exclude_type_checking_imports=True, cache_dir=None)
    assert len(graph.modules) > 400
    for target in ENTRY_POINTS.values():
        graph.add_import(importer=BY_NAME, imported=target.partition(":")[0])
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_entry_point_is_there(name: str) -> None:
    module, _, found = ENTRY_POINTS[name].partition(":")
    source = Path(calibration.__file__).parents[1] / f"{module.replace('.', '/')}.py"
    defined = set[str]()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:  # not imported: some need PyTorch
        match node:
            case ast.FunctionDef(name=defines) | ast.AnnAssign(target=ast.Name(id=defines)):
                defined.add(defines)
    assert found in defined


@pytest.mark.thorough
def test_nothing_else_of_the_library_names_a_module_that_measures() -> None:
    naming = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "calibration." in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and str(node.value).startswith("calibration.")
    }
    assert naming == {"cli/entry_points.py"}
