"""RecPipe's designs as scenarios: engines, items and places as its repository has them."""

from __future__ import annotations

import pytest

from calibration.reproduce import recpipe
from calibration.reproduce.recpipe import DESIGNS, ENGINES, scenario_of
from perfmodel.domain.model import RecModel
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import shipped_directory
from perfmodel.loading.validated import parse_file
from perfmodel.planning.prepare import prepare


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_a_scenario_with_its_engines_and_items(name: str) -> None:
    question = prepare(load_scenario(scenario_of(DESIGNS[name])), stages=True)
    stages = question.stages
    assert [stage.most_items or 4096 for stage in stages] == [items for _, items, _ in DESIGNS[name]]
    on_cores = [
        stage.node.cores
        for stage, (_, _, where) in zip(stages, DESIGNS[name], strict=True)
        if where == "cores"
    ]
    assert not on_cores or ENGINES - len(stages) < sum(on_cores) <= ENGINES
    for stage, (size, _, where) in zip(stages, DESIGNS[name], strict=True):
        assert stage.node.model_name == f"recpipe-{size}"
        assert bool(stage.node.num_accelerators) == (where == "card")


def test_models_have_the_widths_of_the_repository() -> None:
    """Bottoms of 13-64-4, 13-64-16 and 13-512-256-128-64-32; 26 tables, 351 pairs and the bottom on top."""
    for size, dim, top in (("small", 4, 64), ("medium", 16, 64), ("large", 32, 96)):
        model = parse_file(shipped_directory("scenario") / "models" / f"recpipe-{size}.yaml", RecModel)
        tables = [table for op in model.embedding_operators for table in op.tables]
        assert len(tables) == 26
        assert {table.dim for table in tables} == {dim}
        assert sum(table.num_rows for table in tables) == 33_762_577  # of Criteo Kaggle
        assert model.operators[-1].widths == (351 + dim, top, 1)


@pytest.mark.thorough
def test_stages_that_filter_answer_sooner_than_the_large_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small model of 4096 items and the large one of 512, beside the large one of 4096."""
    kept = {name: DESIGNS[name] for name in ("large", "small, then large of 512")}
    monkeypatch.setattr(recpipe, "DESIGNS", kept)
    (section,) = recpipe.reproduce_recpipe().sections
    found = {(row.case, row.quantity): row.predicted for row in section.rows}
    assert found["small, then large of 512", "p99 [ms]"] < found["large", "p99 [ms]"]
    assert all(row.published is None for row in section.rows)
