"""Random models of several kinds: reproducible, valid, and runnable."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure.unseen_kinds import KINDS, models_of_kinds
from calibration.runtime.memory import shrunk
from calibration.runtime.programme import build_programme
from perfmodel.costmodel.kernels import surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.errors import InputError


def test_a_seed_names_its_models_however_many_are_asked_for() -> None:
    assert models_of_kinds(7, 3, KINDS)[:5] == models_of_kinds(5, 3, KINDS)
    assert models_of_kinds(5, 3, KINDS) != models_of_kinds(5, 4, KINDS)


def test_each_kind_has_what_it_is_named_after() -> None:
    heads, wide, many, recurrent, experts = (lower(model) for model in models_of_kinds(5, 3, KINDS))
    kinds = [{surface_key(kernel) for kernel in kernels} for kernels in (heads, recurrent, experts)]
    assert {"batch_matmul.scores", "elementwise.vector_norm"} <= kinds[0]
    assert {"recurrent.lstm", "recurrent.gru"} & kinds[1]
    assert "fc.grouped" in kinds[2]
    assert max(kernel.product.outer for kernel in wide if kernel.product) > 1000
    assert sum(kernel.calls for kernel in many if kernel.family == "embedding_bag") >= 80


def test_named_kinds_attend_in_one_call_to_a_history_or_from_a_candidate() -> None:
    transformer, target = (lower(model) for model in models_of_kinds(2, 3, ("transformer", "target")))
    shapes = [
        {kernel.shape for kernel in kernels if surface_key(kernel) == "batch_matmul.fused"}
        for kernels in (transformer, target)
    ]
    assert all(rows == keys > 1 for rows, _, keys in shapes[0])
    assert {rows for rows, _, keys in shapes[1] if keys > 1} == {1}


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"--kinds: expected some of heads, .*target, got 'tail'"):
        models_of_kinds(2, 3, ("heads", "tail"))


@pytest.mark.parametrize("index", range(7))
def test_they_run(index: int) -> None:
    kinds = (*KINDS, "transformer", "target")
    programme = build_programme(shrunk(models_of_kinds(7, 1, kinds)[index], 1e-3))
    assert programme.run(programme.inputs(3, np.random.default_rng(0))).shape == (3, 1)
