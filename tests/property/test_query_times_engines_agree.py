"""Times that depend on the query: the compiled engine against the reference, whatever the policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.sim.query_times import LaunchTimes, QueryTimes
from tests.examples import examples
from tests.property.test_policies_engines_agree import (
    LARGEST,
    SETTINGS,
    TICK_S,
    Case,
    assert_engines_agree,
    cases,
)


@st.composite
def by_query(draw: st.DrawFn, name: str) -> Case:
    """The cases of all policies, with a few kinds of queries whose times have no particular shape."""
    queries, service, policy = draw(cases(name))
    kinds = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def launches(busy: int) -> LaunchTimes:
        shape = (kinds, LARGEST, busy)
        more_s = np.cumsum(rng.integers(0, 3, size=shape), axis=1) * TICK_S
        return LaunchTimes(
            with_s=rng.integers(1, 9, size=shape) * TICK_S,
            without_s=rng.integers(1, 5, size=shape) * TICK_S,
            more_s=more_s - more_s[:, :1],
        )

    times = QueryTimes(
        shares=np.full(kinds, 1.0 / kinds),
        cpu=launches(service.num_executors),
        accelerator=launches(service.streams_per_accelerator),
        shares_work=draw(st.booleans()),
    )
    return queries, replace(service, by_query=times), policy


@pytest.mark.parametrize("name", SETTINGS)
@examples(60)
@given(data=st.data())
def test_the_compiled_engine_equals_the_reference(name: str, data: st.DataObject) -> None:
    assert_engines_agree(data.draw(by_query(name)))
