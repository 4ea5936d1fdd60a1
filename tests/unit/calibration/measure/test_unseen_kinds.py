"""Random models of several kinds: reproducible, valid, and runnable."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure.unseen_kinds import models_of_kinds
from calibration.runtime.memory import shrunk
from calibration.runtime.programme import build_programme
from perfmodel.costmodel.kernels import surface_key
from perfmodel.costmodel.lowering import lower


def test_a_seed_names_its_models_however_many_are_asked_for() -> None:
    assert models_of_kinds(7, 3)[:5] == models_of_kinds(5, 3)
    assert models_of_kinds(5, 3) != models_of_kinds(5, 4)


def test_each_kind_has_what_it_is_named_after() -> None:
    heads, wide, many, recurrent, experts = (lower(model) for model in models_of_kinds(5, 3))
    kinds = [{surface_key(kernel) for kernel in kernels} for kernels in (heads, recurrent, experts)]
    assert {"batch_matmul.scores", "elementwise.vector_norm"} <= kinds[0]
    assert {"recurrent.lstm", "recurrent.gru"} & kinds[1]
    assert "fc.grouped" in kinds[2]
    assert max(kernel.product.outer for kernel in wide if kernel.product) > 1000
    assert sum(kernel.calls for kernel in many if kernel.family == "embedding_bag") >= 80


@pytest.mark.parametrize("index", range(5))
def test_they_run(index: int) -> None:
    programme = build_programme(shrunk(models_of_kinds(5, 1)[index], 1e-3))
    assert programme.run(programme.inputs(3, np.random.default_rng(0))).shape == (3, 1)
