"""Fleet files: units of several node types."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.fleet_file import load_fleet

MIXED = """services:
  ranking:
    scenario: ranking_two_stages
    demand: {qps: 900}
    units: {filter then rank: [wide, plain]}
node_types:
  plain: {node: {cpu: broadwell@hpca2020}, available: 40}
  wide: {node: {cpu: skylake@hpca2020}, available: 40}
"""


def test_a_unit_puts_each_stage_on_the_type_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(MIXED, encoding="utf-8")
    scenario = load_fleet(path).on_unit("ranking", "filter then rank").scenario
    assert scenario.node.cpu == "skylake@hpca2020"
    assert scenario.pipeline is not None
    assert scenario.pipeline.stages[0].node is not None
    assert scenario.pipeline.stages[0].node.cpu == "broadwell@hpca2020"


def read_with_units(path: Path, change: str) -> None:
    loaded = load_fleet(path, [f"services.ranking.{change}"])
    for unit in loaded.fleet.services["ranking"].units:
        loaded.on_unit("ranking", unit)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("units={x: [plain]}", "x: expected a list of at least 2 entries"),
        ("units={x: [plain, none]}", r"x\.1: expected a node type \(plain, wide\), got none"),
        ("units={plain: [plain, wide]}", "plain: expected a name that no node type and no other unit has"),
        (
            "units={x: [plain, plain]}",
            "x: expected several node types; of plain alone there is a unit anyhow",
        ),
        ("units={x: [plain, wide, wide]}", "x: expected 2 of node types, one for each machine .* got 3"),
        ("scenario=rm1_broadwell", "filter then rank: expected 1 of node types, .* got 2"),
    ],
)
def test_a_unit_that_makes_no_sense_is_refused_at_its_place(change: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(MIXED, encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        read_with_units(path, change)
    assert "\n" not in str(caught.value)
