"""Sequences of general operators: drawn beside the others, runnable, and of every kind of call."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.measure.sequences import (
    ATTENTION_SEEDS,
    GENERAL_SEEDS,
    LATER_SEEDS,
    random_sequence,
    sequence_of_seed,
)
from calibration.runtime.programme import build_programme
from perfmodel.costmodel.kernels import surface_key
from perfmodel.costmodel.lowering import lower

ROOM_BYTES = 1e8


def test_other_seeds_draw_what_they_always_drew() -> None:
    for seed in (0, 7, 299_999, 400_000):
        before = random_sequence(np.random.default_rng(seed), most_table_bytes=ROOM_BYTES)
        assert sequence_of_seed(seed, most_table_bytes=ROOM_BYTES) == before


def test_general_sequences_hold_each_kind_of_call() -> None:
    models = [sequence_of_seed(seed, most_table_bytes=ROOM_BYTES) for seed in GENERAL_SEEDS[:60]]
    kinds = {surface_key(kernel) for model in models for kernel in lower(model)}
    assert {"batch_matmul.products", "elementwise.vector_norm", "elementwise.exp"} <= kinds
    assert {"elementwise.pointwise", "activation.gelu", "activation.silu"} <= kinds


def test_layers_side_by_side_convolutions_and_lstms_are_drawn_too() -> None:
    models = [sequence_of_seed(seed, most_table_bytes=ROOM_BYTES) for seed in LATER_SEEDS[:30]]
    kinds = {surface_key(kernel) for model in models for kernel in lower(model)}
    assert {"fc.grouped", "fc.conv1d", "recurrent.lstm"} <= kinds


def test_attention_in_one_call_and_products_of_one_row_are_drawn_too() -> None:
    models = [sequence_of_seed(seed, most_table_bytes=ROOM_BYTES) for seed in ATTENTION_SEEDS[:30]]
    kernels = [kernel for model in models for kernel in lower(model) if kernel.family == "batch_matmul"]
    assert {surface_key(kernel) for kernel in kernels} == {"batch_matmul.fused", "batch_matmul.products"}
    one_row = [kernel.variant for kernel in kernels if kernel.shape[0] == 1]
    assert {one_row.count(variant) >= 4 for variant in ("fused", "products")} == {True}


@pytest.mark.parametrize("seed", [*GENERAL_SEEDS[:12], *LATER_SEEDS[:12], *ATTENTION_SEEDS[:12]])
def test_they_run(seed: int) -> None:
    model = sequence_of_seed(seed, most_table_bytes=ROOM_BYTES)
    programme = build_programme(model)
    result = programme.run(programme.inputs(2, np.random.default_rng(0)))
    assert result.shape[0] == 2
