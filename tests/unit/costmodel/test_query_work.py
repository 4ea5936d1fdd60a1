"""Work of the query, counted by hand: paid once a pass, its results read once and shared by the items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.kernels import Kernel
from perfmodel.costmodel.lowering import gemm_flop_per_item, gemm_flop_per_query, lower
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from tests.unit.costmodel.conftest import MakeModel

LENGTH, WIDTH = 5, 8
HISTORY = {
    "name": "history",
    "kind": "embedding_bag",
    "scope": "query",
    "pooling": "none",
    "tables": [{"num_rows": 100, "dim": WIDTH, "pooling_factor": LENGTH}],
}
ITEM = {"name": "item", "kind": "embedding_bag", "tables": [{"num_rows": 100, "dim": WIDTH}]}
BATCH = 10


def op(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "out", "kind": kind, **fields}


def of_out(model: RecModel) -> list[Kernel]:
    return [kernel for kernel in lower(model) if kernel.operator.split(".")[0] == "out"]


def counts(kernel: Kernel) -> tuple[float, float, float]:
    work = kernel.work(np.array(float(BATCH)))
    return float(work.flop), float(work.bytes_read), float(work.bytes_written)


def test_a_query_s_layer_is_one_row_whatever_the_batch(model_of: MakeModel) -> None:
    pooled = {"name": "pooled", "kind": "sum", "inputs": ["history"], "scope": "query"}
    tower = {"name": "tower", "kind": "mlp", "input": "pooled", "widths": [8, 4], "scope": "query"}
    model = model_of(HISTORY, ITEM, pooled, tower, op("concat", inputs=["tower", "item"]))
    layer = next(kernel for kernel in lower(model) if kernel.operator == "tower" and kernel.product)
    assert counts(layer) == (2 * 8 * 4, 4 * (8 + 8 * 4), 4 * 4)
    assert (gemm_flop_per_item(model), gemm_flop_per_query(model)) == (0, 2 * 8 * 4)


def test_a_query_s_lookups_and_their_inputs_are_paid_once(model_of: MakeModel) -> None:
    model = model_of(HISTORY, ITEM, op("attention", query="item", key="history", projected=False))
    history = [kernel for kernel in lower(model) if kernel.gather is not None and kernel.scope == "query"]
    assert [kernel.family for kernel in history] == ["input", "embedding_bag"]
    assert counts(history[1]) == (LENGTH * WIDTH, LENGTH * (4 * WIDTH + 8), LENGTH * 4 * WIDTH)
    assert float(history[1].work(np.array(64.0)).random_rows) == LENGTH


def test_a_concat_reads_the_query_once_and_writes_it_for_each_item(model_of: MakeModel) -> None:
    (joined,) = of_out(model_of(HISTORY, ITEM, op("concat", inputs=["history", "item"])))
    assert counts(joined) == (0, 4 * WIDTH * (LENGTH + BATCH), 4 * WIDTH * (LENGTH + 1) * BATCH)


def test_an_elementwise_call_reads_the_query_once(model_of: MakeModel) -> None:
    (product,) = of_out(model_of(HISTORY, ITEM, op("elementwise", inputs=["history", "item"])))
    elements = LENGTH * WIDTH
    assert counts(product) == (BATCH * elements, 4 * (elements + BATCH * WIDTH), 4 * BATCH * elements)


def test_products_with_a_result_of_the_query_share_its_matrix(model_of: MakeModel) -> None:
    model = model_of(HISTORY, ITEM, op("batch_matmul", left="item", right="history", inner=WIDTH))
    (product,) = of_out(model)
    assert product.family == "fc"
    assert counts(product) == (
        BATCH * 2 * WIDTH * LENGTH,
        4 * (BATCH * WIDTH + WIDTH * LENGTH),
        4 * BATCH * LENGTH,
    )
    assert gemm_flop_per_item(model) == 0  # no weights


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_over_the_query_s_history_projects_it_once(model_of: MakeModel, heads: int) -> None:
    model = model_of(HISTORY, ITEM, op("attention", query="item", key="history", num_heads=heads))
    query, key, value, scores, softmax, values, output = of_out(model)
    assert [kernel.scope for kernel in (query, key, value, output)] == ["item", "query", "query", "item"]
    projection = 2 * WIDTH * WIDTH
    assert counts(query)[0] == BATCH * projection
    assert counts(key)[0] == counts(value)[0] == LENGTH * projection
    head = WIDTH // heads
    assert (scores.family, scores.calls, values.calls) == ("fc", heads, heads)
    assert counts(scores)[0] == counts(values)[0] == BATCH * 2 * LENGTH * WIDTH
    assert counts(scores)[1] == heads * 4 * (BATCH * head + head * LENGTH)
    assert counts(softmax)[1] == 4 * BATCH * heads * LENGTH


def test_din_s_unit_reads_the_query_s_behaviours_once(model_of: MakeModel) -> None:
    unit = op("local_activation", behaviours="history", candidate="item", hidden_widths=[4])
    match, join, *_, weigh = of_out(model_of(HISTORY, ITEM, unit))
    elements = LENGTH * WIDTH
    assert counts(match)[1] == 4 * (elements + BATCH * elements)
    assert counts(join)[1] == 4 * (elements + BATCH * 2 * elements)
    assert counts(weigh) == (BATCH * 2 * elements, 4 * (BATCH * LENGTH + elements), 4 * BATCH * WIDTH)


def test_dien_s_scores_share_the_query_s_states(model_of: MakeModel) -> None:
    scores = op("attention_scores", states="history", candidate="item")
    mapped, match, _ = of_out(model_of(HISTORY, ITEM, scores))
    assert mapped.scope == "item"
    assert (match.family, counts(match)[0]) == ("fc", BATCH * 2 * LENGTH * WIDTH)


def test_what_reads_the_query_alone_works_for_each_item_all_the_same(model_of: MakeModel) -> None:
    layer = op("mlp", input="history", widths=[WIDTH, 3], final_activation="none")
    (product,) = of_out(
        model_of(HISTORY, ITEM, layer, {**op("concat", inputs=["out", "item"]), "name": "end"})
    )
    assert counts(product)[0] == BATCH * LENGTH * 2 * WIDTH * 3


def test_a_pass_pays_the_query_once_and_its_items_each(cpu: Device) -> None:
    tower = {"name": "tower", "kind": "mlp", "input": "query_dense", "widths": [64, 64], "scope": "query"}
    top = op("mlp", input="joined", widths=[64 + WIDTH, 1])
    joined = {"name": "joined", "kind": "concat", "inputs": ["tower", "item"]}
    document = {"name": "m", "query_dense_features": 64, "operators": [tower, ITEM, joined, top]}
    model = RecModel.model_validate(document, strict=False)
    time = batch_time(model, cpu, np.array([1.0, 100.0]))
    of_query = [timed.seconds for timed in time.kernels if timed.kernel.scope == "query"]
    of_items = [timed.seconds for timed in time.kernels if timed.kernel.scope == "item"]
    assert len(of_query) == 3  # input, layer, activation
    assert all(seconds[0] == pytest.approx(seconds[1]) for seconds in of_query)
    assert all(seconds[0] < seconds[1] for seconds in of_items)
