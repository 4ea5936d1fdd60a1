"""Given models are measured beside the random sequences, kept with them, and fitted together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.commands.calibrate import _given_models
from calibration.measure.given import GIVEN_SEEDS, given_visits
from calibration.measure.points import points_by_call, require_kernels
from calibration.measure.records import Records, read_records
from calibration.measure.visits import Visit
from perfmodel.costmodel.kernels import surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.hardware import Caches
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError

MODEL = RecModel.model_validate(
    {
        "name": "small",
        "dense_features": 8,
        "operators": (
            {"name": "layer", "kind": "mlp", "input": "dense", "widths": (8, 16), "final_activation": "gelu"},
        ),
    }
)


def measured() -> Records:
    records = Records(facts={"drawn_by": 3, "most_table_bytes": 1e9})
    records.visits = [(0, visit) for visit in given_visits([MODEL], records.models, lambda: True)]
    return records


def test_each_batch_size_has_a_number_of_its_own_and_the_model() -> None:
    records = measured()
    seeds = [visit.seed for _, visit in records.visits]
    assert seeds == list(GIVEN_SEEDS[: len(seeds)])
    assert {visit.batch_size for _, visit in records.visits} >= {1, 1280}
    assert set(records.models.values()) == {MODEL}
    again = list(given_visits([MODEL], records.models, lambda: True))
    assert again[0].seed == seeds[-1] + 1


def test_nothing_is_timed_without_time() -> None:
    assert list(given_visits([MODEL], {}, lambda: False)) == []


def test_given_models_are_read_back_and_become_points(tmp_path: Path) -> None:
    records = measured()
    records.write(tmp_path / "here.measured.csv")
    again = read_records(tmp_path / "here.measured.csv")
    assert again.models == records.models
    require_kernels(again.visits, 1e9, "here", again.models)
    caches = Caches(l2_bytes=1e6, l3_bytes=32e6, exclusive=True)
    visits = [visit for _, visit in again.visits]
    points = points_by_call(visits, caches, most_table_bytes=1e9, models=again.models)
    kinds = {surface_key(kernel) for kernel in lower(MODEL) if kernel.family != "input"}
    assert set(points) == kinds
    for found in points.values():
        assert len(found.seconds) == len(np.unique(found.groups)) == len(visits)


def test_the_sum_of_one_vector_is_no_call_and_no_point() -> None:
    def model(rows: int) -> RecModel:
        table = {"num_rows": 50, "dim": 8, "pooling_factor": rows}
        operators = (
            {"name": "rows", "kind": "embedding_bag", "pooling": "none", "tables": (table,)},
            {"name": "pooled", "kind": "sum", "inputs": ("rows",)},
        )
        return RecModel.model_validate({"name": "sum", "operators": operators})

    def kinds(rows: int) -> set[str]:
        models = {400_000: model(rows)}
        seconds = np.full(len(lower(models[400_000])), 1e-6)
        visit = Visit(seed=400_000, batch_size=4, seconds=seconds, spread=0.0 * seconds)
        caches = Caches(l2_bytes=1e6, l3_bytes=32e6, exclusive=True)
        return set(points_by_call([visit], caches, most_table_bytes=1e9, models=models))

    assert kinds(2) - kinds(1) == {"sum.vectors"}


def test_a_model_that_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "here.measured.csv"
    measured().write(file)
    lines = file.read_text().split("\n")
    lines[1] = "# model 400000 {}"
    file.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"here.measured.csv:2:1: expected a number and a model"):
        read_records(file)


def test_there_have_to_be_measurements_to_add_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--for: expected the measurements of a calibration to add to"):
        _given_models(["ncf"], "cpu", tmp_path / "none.measured.csv")
