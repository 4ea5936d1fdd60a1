"""No module needs another that needs it, even where only a function imports it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


@pytest.mark.thorough
def test_no_modules_import_each_other() -> None:
    graph = grimp.build_graph("perfmodel", "calibration", exclude_type_checking_imports=True, cache_dir=None)
    assert len(graph.modules) > 400
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")
