"""Inputs of any size for a user's module: after its example, indices among all rows of their tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from calibration.importing.factory import Example, load_example
from calibration.importing.importer import import_example
from calibration.importing.inputs import InputMaker, servable_of
from perfmodel.errors import InputError


class Columns(nn.Module):
    """Ids of two tables side by side in one matrix, dense features, and a scalar that is no item's."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Embedding(10, 4), nn.Embedding(100_000, 4)
        self.top = nn.Linear(10, 1)

    def forward(self, ids: torch.Tensor, dense: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.small(ids[:, 0]), self.large(ids[:, 1]), dense], 1)
        result: torch.Tensor = self.top(joined) * scale
        return result


def example(module: nn.Module, *inputs: torch.Tensor) -> Example:
    return Example(target="mine:factory", module=module.eval(), inputs=inputs, batch_size=6)


def columns() -> Example:
    ids, dense = torch.zeros(6, 3, dtype=torch.long) + torch.tensor([1, 2, 3]), torch.rand(6, 2)
    return example(Columns(), ids, dense, torch.tensor(2.0))


def test_each_column_is_drawn_among_the_rows_of_its_table() -> None:
    maker = InputMaker(columns())
    ids, dense, scale = maker.inputs(5000, np.random.default_rng(0))
    assert ids.shape == (5000, 3)
    assert dense.shape == (5000, 2)
    assert float(scale) == 2.0
    assert int(ids[:, 0].max()) == 9
    assert int(ids[:, 0].min()) == 0
    assert int(ids[:, 1].max()) > 90_000
    assert set(ids[:, 2].tolist()) == {3}  # no table reads it
    assert "1 of 1" in maker.words


def test_inputs_differ_from_turn_to_turn_and_follow_from_the_seed() -> None:
    maker = InputMaker(columns())
    first, second, again = (maker.inputs(50, np.random.default_rng(seed))[0] for seed in (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_module_makes_its_own_inputs_where_it_can() -> None:
    class Own(nn.Linear):
        def example_inputs(self, batch_size: int) -> tuple[torch.Tensor]:
            return (torch.rand(batch_size, 7),)

    servable = servable_of(example(Own(7, 1), torch.rand(6, 7)))
    (drawn,) = servable.inputs(9, np.random.default_rng(0))
    assert drawn.shape == (9, 7)
    assert servable.run((drawn,)).shape == (9, 1)
    assert "own example_inputs" in servable.maker.words


def test_a_module_for_one_size_only_is_one_line() -> None:
    class Fixed(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.reshape(6, -1))

    with pytest.raises(InputError, match=r"does not run on 1 items .* example_inputs"):
        servable_of(example(Fixed(7, 1), torch.rand(6, 7)))


def half_compiled() -> nn.Module:
    module = Columns()
    module.top = torch.compile(module.top, backend="eager")
    return module


def whole_compiled() -> nn.Module:
    return torch.compile(Columns(), backend="eager")


def compiled_in_place() -> nn.Module:
    module = Columns()
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize("make", [half_compiled, whole_compiled, compiled_in_place])
def test_a_compiled_module_is_imported_as_it_is_without_and_served_as_it_is(
    make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, dense = torch.zeros(6, 3, dtype=torch.long) + torch.tensor([1, 2, 3]), torch.rand(6, 2)
    module = make()
    made = (module, (ids, dense, torch.tensor(2.0)))
    monkeypatch.setattr("calibration.importing.factory._call_factory", lambda _: made)
    found = load_example("mine:factory")
    assert found.compiled is module
    model = import_example(found, "compiled").model
    assert model == import_example(columns(), "compiled").model.model_copy(update={"compiled": True})
    assert "served through torch.compile, of which nothing is measured" in model.notes_on("fp32")[0]
    assert servable_of(found).run(made[1]).shape == (6, 1)
