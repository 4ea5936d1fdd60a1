"""What the page of a plan says first, and what it must not keep to itself."""

from __future__ import annotations

from typing import Any

import pytest

import perfmodel
from perfmodel.report.drawing import COLOURS
from perfmodel.report.pages.plan import answer, plan_html
from perfmodel.report.pages.plan_failure import again_words
from perfmodel.report.pages.plan_nodes import few


def planned(*overrides: str, growth: tuple[float, ...] = ()) -> dict[str, Any]:
    return dict(perfmodel.plan("two_services", overrides=overrides, growth=growth, simulate=False).to_dict())


def test_an_infeasible_plan_says_first_what_binds_and_the_least_that_would_do() -> None:
    few = [
        f"node_types.{name}={{node: {{cpu: {name}@hpca2020}}, available: 40}}"
        for name in ("broadwell", "skylake")
    ]
    plan = planned(*few)
    # the least of nodes, and the factor on all demand, of those that binding lists
    nodes = [each for each in plan["binding"]["frees"] if each["unit"] == "nodes"]
    least = min(nodes, key=lambda each: each["amount"])
    factor = next(
        each["note"] for each in plan["binding"]["frees"] if each["change"].endswith("every service")
    )
    assert answer(plan) == (
        "Infeasible: no provision covers the largest demand of every service at once. What binds is "
        f"{plan['binding']['constraint']}; {least['amount']:.0f} {least['change']}, or {factor} would do."
    )


def test_a_plan_says_first_how_many_nodes_have_to_be_bought() -> None:
    plan = planned()
    assert ", 76 of them still to be bought;" in answer(plan)  # 86 skylake are needed, 10 are owned
    assert "still to be bought: 76 skylake" in plan_html(plan)


@pytest.mark.parametrize(
    ("simulated", "said"),
    [
        ({"num_nodes": 86, "raised_by": {"feed": 0, "ads": 0}, "holds": True, "lacks": []}, ""),
        (
            {"num_nodes": 89, "raised_by": {"feed": 3, "ads": 0}, "holds": True, "lacks": []},
            " Simulated, it takes 89 nodes: raised feed by 3.",
        ),
        (
            {
                "num_nodes": 86,
                "raised_by": {},
                "holds": False,
                "lacks": ["skylake: 124 nodes of 120 available"],
            },
            " Simulated, an SLA does not hold within stock and caps: skylake: 124 nodes of 120 available.",
        ),
    ],
)
def test_a_plan_says_first_what_its_simulation_makes_of_it(simulated: dict[str, Any], said: str) -> None:
    plan = planned()
    assert answer({**plan, "simulated": simulated}) == answer(plan) + said


def test_growth_says_what_gives_out_and_what_is_bought() -> None:
    plan = planned(growth=(1.0, 3.0))
    page = plan_html(plan)
    assert f"beyond it {plan['growth']['gives_out']} gives out" in page
    assert "to be bought" in page
    assert "owned, not needed" in page


def test_clients_ask_again_so_often() -> None:
    said = [again_words(retries) for retries in range(4)]
    assert said == ["gives up", "asks again once", "asks again, twice at most", "asks again, 3 times at most"]


def test_a_plan_of_many_services_has_no_two_in_one_colour() -> None:
    many = {f"s{number}": [float(number), 1.0] for number in range(40)}
    shown = few(many)
    assert list(shown) == ["s35", "s36", "s37", "s38", "s39", "35 others"]
    assert [sum(each[0] for each in shown.values()), len(shown)] == [sum(range(40)), COLOURS]
