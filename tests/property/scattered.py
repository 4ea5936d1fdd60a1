"""Scatter on a grid: factors that keep service times on quarters of a second, so that ties remain ties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from perfmodel.sim.scatter import NUM_FACTORS, ScatterTable


@st.composite
def scatters(draw: st.DrawFn) -> ScatterTable | None:
    """No scatter, or some of one or of several classes of size."""
    if draw(st.booleans()):
        return None
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes, sizes = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    return ScatterTable(
        rng.choice([1.0, 2.0, 3.0], size=(classes, NUM_FACTORS)), rng.integers(0, classes, size=sizes)
    )
