"""A plan asked for again takes its solutions from what was kept; changed in anything, it is solved anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfmodel.loading.fleet_file import load_fleet
from perfmodel.planning.plan import decomposition, programme
from perfmodel.planning.plan.answer import PlanAnswer
from perfmodel.planning.plan.computation import plan
from perfmodel.planning.plan.kept import Kept
from perfmodel.planning.plan.kept_solutions import KeptSolutions
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.plan.programme import Group, Programme, Solution
from perfmodel.report.documents.plan import plan_document

FLEET = """\
services:
  feed: {scenario: rm1_broadwell, demand: {peak_qps: 9000, trough: 0.4}}
  ads: {scenario: rm3_broadwell, demand: {qps: 1000}}
node_types:
  old: {node: {cpu: broadwell@hpca2020}, owned: 4, available: 30, price_usd_per_h: 1.0}
  new: {node: {cpu: skylake@hpca2020}, available: 20, price_usd_per_h: 1.5}
capacities: {feed: {old: 1900, new: 2000}, ads: {old: 500, new: 900}}
provision: {objective: price, failures: {nodes: 1}, sharing: false}
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET, encoding="utf-8")
    return path


def planned(fleet: Path, *changes: str) -> PlanAnswer:
    return plan(plan_question(load_fleet(str(fleet), changes)))


@pytest.mark.thorough
@pytest.mark.parametrize("changes", [(), ("provision.sharing=true",)], ids=["apart", "shared"])
def test_the_second_time_nothing_is_solved_and_the_answer_is_the_same(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...]
) -> None:
    first = planned(fleet, *changes)

    def solved(*_: object) -> Solution:
        raise AssertionError("solved again")

    monkeypatch.setattr(programme, "_solved", solved)
    monkeypatch.setattr(decomposition, "solve_large", solved)
    assert plan_document(planned(fleet, *changes)) == plan_document(first)
    with pytest.raises(AssertionError, match="solved again"):
        planned(fleet, *changes, "node_types.new.price_usd_per_h=1.1")
    with pytest.raises(AssertionError, match="solved again"):
        planned(fleet, *changes, "provision.headroom=0.1")


def small(**changes: object) -> Programme:
    ones = np.ones(1)
    given: dict[str, object] = {
        "demand_qps": 10.0 * ones,
        "capacity_qps": np.array([[4.0]]),
        "stock": np.array([5]),
        "owned": np.array([5]),
        "cost": ones,
        "bought_cost": ones,
        "tie": 0.0 * ones,
        "tdp_w": ones,
        "power_cap_w": float("inf"),
        "conditions": (programme.Condition(free=0.0),),
        "maintenance": 0.0,
        "groups": (Group(0, (0,)),),
        **changes,
    }
    return Programme(**given)  # type: ignore[arg-type]


def test_what_the_clock_ended_is_not_kept_and_all_of_a_programme_counts(tmp_path: Path) -> None:
    known = KeptSolutions("a plan", Kept(tmp_path))
    best = programme.solve(small())
    known.keep(small(), "asked", best)
    known.keep(
        small(maintenance=0.5), "asked", Solution(status="stopped", units=None, loads_qps=(), bound=0.0)
    )
    known.write()
    again = KeptSolutions("a plan", Kept(tmp_path))
    found = again.get(small(), "asked")
    assert found is not None
    assert found.units is not None
    assert (found.status, found.units.tolist(), found.bound) == (best.status, [3], best.bound)
    assert again.get(small(maintenance=0.5), "asked") is None
    assert again.get(small(), "asked otherwise") is None
    assert again.get(small(power_cap_w=9.0), "asked") is None
    assert again.get(small(stock=np.array([6])), "asked") is None
    assert KeptSolutions("another plan", Kept(tmp_path)).get(small(), "asked") is None
