"""A pass follows the length of its query's history, and its halves give what the whole gives."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from calibration.runtime.lengths import of_length
from calibration.runtime.modules import SERVED
from calibration.runtime.programme import Inputs, Programme, build_programme
from calibration.runtime.shared import Receiving, Sending, cut
from calibration.serving.inputs import Bytes
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError

TABLE = {"num_rows": 50, "dim": 8}


def model_of(*, of_query: bool) -> RecModel:
    """Ten behaviours that attend to each other, their sum, and a target that attends to them."""
    history: dict[str, Any] = {
        "name": "history",
        "kind": "embedding_bag",
        "pooling": "none",
        "varies": True,
        "tables": [{**TABLE, "pooling_factor": 10}],
    }
    encoder = {"name": "encoder", "kind": "attention", "query": "history", "key": "history", "num_heads": 2}
    own = {"scope": "query"} if of_query else {}
    return RecModel.model_validate_json(
        json.dumps(
            {
                "name": "user-and-items",
                "operators": [
                    {**history, **own},
                    {**encoder, **own},
                    {"name": "user", "kind": "sum", "inputs": ["encoder"], **own},
                    {"name": "item", "kind": "embedding_bag", "tables": [TABLE]},
                    {
                        "name": "target",
                        "kind": "attention",
                        "query": "item",
                        "key": "history",
                        "num_heads": 1,
                    },
                    {"name": "joined", "kind": "concat", "inputs": ["user", "item", "target"]},
                    {"name": "top", "kind": "mlp", "input": "joined", "widths": [24, 1]},
                ],
            }
        )
    )


def flop(run: Any, *given: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        run(*given)
    return int(counter.get_total_flops())


def rows(programme: Programme, inputs: Inputs) -> int:
    """Rows that the pass looks up, behaviours and items together."""
    indices = {lookup.indices for lookup in programme.lookups}
    return sum(tensor.numel() for slot, tensor in inputs.tensors if slot in indices)


@pytest.mark.parametrize("of_query", [True, False])
def test_a_pass_does_the_work_of_its_length(of_query: bool) -> None:  # both
    # Eager calls count no fused products, and both programmes have the same weights in the same order.
    base = build_programme(model_of(of_query=of_query), seed=3, mode=torch.no_grad)
    for length in (1, 4, 17):
        longer = of_length(base, length)
        anew = build_programme(base.model.with_length(length), seed=3, mode=torch.no_grad)
        inputs = longer.inputs(5, np.random.default_rng(length))
        torch.testing.assert_close(longer.run(inputs), anew.run(inputs))
        histories = 1 if of_query else 5
        assert rows(longer, inputs) == histories * length + 5
        # By hand, all 8 wide: four projections of each behaviour, their scores and sums, once a history;
        # keys and values of the target's attention again; then the target's own, and 24 to 1, an item.
        a_history = 4 * 2 * 64 * length + 2 * 2 * 8 * length**2 + 2 * 2 * 64 * length
        an_item = 2 * 2 * 64 + 2 * 2 * 8 * length + 2 * 24
        assert flop(longer.run, inputs) == histories * a_history + 5 * an_item


def test_lengths_share_the_weights() -> None:
    base = build_programme(model_of(of_query=True), seed=3)
    longer = of_length(base, 20)
    held = {weight.data_ptr() for weight in base.weights}
    assert {weight.data_ptr() for weight in longer.weights} == held
    before, after = (next(step for step in one.assembly.steps if step.reads) for one in (base, longer))
    assert before.function is after.function  # the history's lookup, with its table


def test_a_model_with_weights_for_each_place_of_a_list_cannot_follow_others() -> None:
    each = RecModel.model_validate_json(
        json.dumps(
            {
                "name": "places",
                "operators": [
                    {
                        "name": "history",
                        "kind": "embedding_bag",
                        "pooling": "none",
                        "varies": True,
                        "tables": [{**TABLE, "pooling_factor": 4}],
                    },
                    {"name": "item", "kind": "embedding_bag", "tables": [TABLE]},
                    {
                        "name": "units",
                        "kind": "activation_units",
                        "behaviours": "history",
                        "candidate": "item",
                        "hidden_widths": [4],
                    },
                ],
            }
        )
    )
    with pytest.raises(InputError, match="cannot follow lists of 8"):
        of_length(build_programme(each), 8)


@pytest.mark.parametrize("stack", ["", "eager", "eager-bf16"])
def test_the_halves_of_a_pass_give_what_the_whole_gives(stack: str) -> None:
    served = SERVED.get(stack)
    options: dict[str, Any] = (
        {"mode": torch.no_grad}
        if served is None
        else {"dtype": served.dtype, "library": served.library, "mode": served.mode}
    )
    programme = of_length(build_programme(model_of(of_query=True), seed=3, **options), 7)
    half = cut(programme)
    first, other = Sending(half), Receiving(half)
    left: list[Bytes] = []
    inputs = first.inputs(5, np.random.default_rng(1))
    whole = programme.run(inputs)
    torch.testing.assert_close(first.run(inputs, left.append), whole)
    (sent,) = left
    assert len(sent) == half.num_bytes
    of_items = Inputs(5, tuple(pair for pair in inputs.tensors if pair[0] not in programme.query_slots))
    torch.testing.assert_close(other.run(of_items, sent.copy()), whole)
    assert rows(programme, of_items) == 5
    assert rows(programme, other.inputs(5, np.random.default_rng(1))) == 5
    if stack == "":
        an_item = 2 * 2 * 64 + 2 * 2 * 8 * 7 + 2 * 24  # as above, without anything of the history
        assert flop(other.run, of_items, sent.copy()) == 5 * an_item
        # What items read of the query: its sum, and keys and values of 7 behaviours; each begins a line.
        assert sum(each.end - each.start for each in half.sent) == 4 * (8 + 2 * 7 * 8)
