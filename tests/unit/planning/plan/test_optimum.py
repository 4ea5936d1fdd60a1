"""What is said of a provision beside its nodes."""

from __future__ import annotations

import numpy as np

from perfmodel.domain.provision import Provision
from perfmodel.planning.plan.optimum import best
from perfmodel.planning.plan.question import PairCapacity, PlanQuestion, Service, StockedType


def test_a_bound_that_is_low_by_the_rows_tolerance_is_the_optimum() -> None:
    """2 nodes of 150 W serve 1,890 queries/s with one of them lost; fewer cannot, and others draw more."""
    types = {"t0": (3, 225.0, 2070.0), "t1": (5, 150.0, 3449.0), "t2": (3, 400.0, 680.0)}
    question = PlanQuestion(
        name="small",
        services=(Service("s", (1890.0,)),),
        node_types=tuple(
            StockedType(name=name, owned=count, available=count, tdp_w=tdp_w)
            for name, (count, tdp_w, _) in types.items()
        ),
        hours=(0,),
        capacities={("s", name): PairCapacity(qps, qps) for name, (_, _, qps) in types.items()},
        refused={},
        provision=Provision.model_validate(
            {"objective": "power", "headroom": 0.25, "failures": {"nodes": 1}}
        ),
    )
    found = best(question, np.array([1890.0]))
    assert found is not None
    assert (found.objective_value, found.lower_bound, found.gap) == (300.0, 300.0, 0.0)
    assert found.is_optimal
