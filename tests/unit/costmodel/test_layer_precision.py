"""Layers in bf16 and int8: amounts by hand, whose layers they are, and what stacks make of a pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.kernels import GROUPED, Kernel, Product
from perfmodel.costmodel.layer_precision import is_layer, layer_amounts, layer_seconds
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.module_costs import module_amounts, served_seconds
from perfmodel.costmodel.residency import far_entries
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import LAYER_TERMS, MODULE_TERMS, Device, ModuleLaw
from perfmodel.domain.model import RecModel
from perfmodel.domain.shapes import Precision
from perfmodel.planning.prepare import find_device, find_model

NOTHING = dict.fromkeys(MODULE_TERMS, 0.0)
LAYERS = dict(zip(LAYER_TERMS, (2e-5, 3e-8, 5e-10, 7e-10, 1e-10, 4e-12, 5e-6, 6e-10), strict=True))
LAYER = Kernel(
    operator="top", family="fc", calls=2, product=Product(rows_per_item=3, inner=40, outer=20), shape=(1,)
)


def amounts(batch_size: float, precision: Precision) -> dict[str, float]:
    found = layer_amounts(LAYER, np.array(batch_size), precision)
    return {term: float(amount) for term, amount in found.items() if float(amount)}


def test_amounts_of_a_layer_by_hand() -> None:
    # 30 rows of 40 by 20, twice: 64 by 32 in whole blocks.
    assert amounts(10.0, "bf16") == {
        "call": 2.0,
        "row": 60.0,
        "input": 2400.0,
        "result": 1200.0,
        "weight": 1600.0,
        "multiply_add": 2 * 30 * 64 * 32,
    }


def test_small_products_are_apart_in_bf16_alone() -> None:
    # 3 rows of 800 multiply-adds are 2,400, below 4,096; 6 rows are above.
    assert amounts(1.0, "bf16") == {"small_call": 2.0, "small_multiply_add": 4800.0}
    assert "small_call" not in amounts(2.0, "bf16")
    assert amounts(1.0, "int8")["call"] == 2.0


def test_seconds_are_amounts_times_costs() -> None:
    law = ModuleLaw(costs=NOTHING, precision="int8", layers=LAYERS)
    expected = sum(LAYERS[term] * amount for term, amount in amounts(10.0, "int8").items())
    assert float(layer_seconds(LAYER, law, np.array(10.0))) == pytest.approx(expected)


def test_layers_side_by_side_have_no_such_law() -> None:
    beside = replace(LAYER, variant=GROUPED)
    assert is_layer(LAYER)
    assert not is_layer(beside)
    assert not is_layer(Kernel(operator="sum", family="sum"))
    kept = ModuleLaw(costs=NOTHING, precision="int8", layers=LAYERS)
    assert float(served_seconds(beside, np.array(1e-3), kept, np.array(1.0))) == 1e-3


def device_with(law: ModuleLaw) -> Device:
    plain = find_device("amd-epyc-turin-2c", find_model("dlrm-rmc3"))
    return replace(plain, modules=law, precision=law.precision)


def test_a_stack_in_bf16_times_layers_by_their_law_and_the_rest_by_its_factor() -> None:
    model, batch = find_model("dlrm-rmc3"), np.array([64.0])
    law = ModuleLaw(costs=NOTHING, precision="bf16", layers=LAYERS, factors={"bag": 0.5, "concat": 0.25})
    flat = batch_time(model, device_with(ModuleLaw(costs=NOTHING)), batch)
    half = batch_time(model, device_with(law), batch)
    for before, after in zip(flat.kernels, half.kernels, strict=True):
        if before.kernel.family == "fc":
            assert float(after.seconds[0]) == pytest.approx(
                float(layer_seconds(before.kernel, law, batch)[0])
            )
        else:
            factor = {"embedding_bag": 0.5, "concat": 0.25}.get(before.kernel.family, 1.0)
            assert float(after.seconds[0]) == pytest.approx(factor * float(before.seconds[0]))


def test_tables_in_bf16_are_timed_as_what_was_measured_beside_fp32() -> None:
    model, batch = find_model("dlrm-rmc2"), np.array([16.0])
    operators = tuple(
        op.model_copy(update={"tables": tuple(t.model_copy(update={"element_bytes": 2}) for t in op.tables)})
        if op.kind == "embedding_bag"
        else op
        for op in model.operators
    )
    narrow = model.model_copy(update={"operators": operators})
    law = ModuleLaw(costs=NOTHING, precision="bf16", layers=LAYERS)
    wide_s = batch_time(model, device_with(law), batch).seconds
    assert batch_time(narrow, device_with(law), batch).seconds == pytest.approx(wide_s)
    in_fp32 = device_with(ModuleLaw(costs=NOTHING))
    assert batch_time(narrow, in_fp32, batch).seconds < batch_time(model, in_fp32, batch).seconds


def test_rows_of_large_tables_wait_for_their_pages_where_pages_are_small() -> None:
    # 8 tables of 500,000 rows of 256 bytes: 1,024 MB, whose entries take 2 MB, twice an L2.
    model = RecModel.model_validate(
        {
            "name": "own",
            "operators": (
                {
                    "name": "rows",
                    "kind": "embedding_bag",
                    "tables": ({"num_rows": 500_000, "dim": 64, "count": 8, "pooling_factor": 40},),
                },
            ),
        }
    )
    kernels, batch = lower(model), np.array([3.0, 300.0])
    (kernel,) = (each for each in kernels if each.family == "embedding_bag")
    assert kernel.gather is not None
    far = far_entries(kernels, batch, 2.0**20)
    share = far[kernel.gather]
    assert 1.0 > share[0] > 0.8 > share[1] > 0.2  # a large pass comes back to the same entries
    assert (far_entries(kernels, batch, 2.0**20, part=0.5)[kernel.gather] < share).all()
    assert far_entries(kernels, batch, 2.0**30)[kernel.gather] == pytest.approx(0.0, abs=1e-6)
    amounts = module_amounts(kernel, batch, far)
    assert amounts["far_bag"] == pytest.approx(share * 8 * batch)
    slow = ModuleLaw(costs={**NOTHING, "far_bag": 2e-8})
    more_s = served_seconds(kernel, np.zeros(2), slow, batch, far)
    assert more_s == pytest.approx(2e-8 * share * 8 * batch)
