"""Modules whose work is easily lost or mistaken at import: one for each kind seen in public libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.ao.quantization as quantization
from torch import Tensor, nn
from torch.nn.utils import prune

Made = tuple[nn.Module, tuple[Any, ...]]


class Serving(nn.Module):
    """One user, N candidates: the user's tower runs once a request, and its result is broadcast."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.user = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, 8))
        self.item = nn.Embedding(1000, 8)

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        return (self.user(user) * self.item(items)).sum(1)


class Expanded(Serving):
    """The same with the user's vector expanded, and a layer over both."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(16, 1)

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        item = self.item(items)
        return self.top(torch.cat([self.user(user).expand(items.shape[0], -1), item], 1))  # type: ignore[no-any-return]


class History(nn.Module):
    """The history of one user beside N candidates, from one table."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(500, 8)
        self.top = nn.Linear(16, 1)

    def forward(self, history: Tensor, items: Tensor) -> Tensor:
        user, item = self.items(history).mean(1), self.items(items)
        return self.top(torch.cat([user.repeat(len(items), 1), item], 1))  # type: ignore[no-any-return]


class FloatIds(nn.Module):
    """Ids in one matrix of floats, beside dense values."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1000, 16)
        self.quotient = nn.Embedding(250, 4)
        self.layer = nn.Linear(16 + 4 + 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.table(x[:, 0].long()), self.quotient((x[:, 1] / 4).long())
        return self.layer(torch.cat([first, second, x[:, 2:]], 1))  # type: ignore[no-any-return]


class Packed(nn.Module):
    """Query, key and value as slices of one projection, with several heads."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = nn.Linear(16, 48)
        self.out = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (part.view(b, n, 4, 4).transpose(1, 2) for part in self.packed(x).chunk(3, -1))
        weights = torch.softmax(q @ k.transpose(-2, -1), -1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, n, 16)[:, -1])  # type: ignore[no-any-return]


class Jagged(nn.Module):
    """One list of ids for two tables, cut by lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            nn.EmbeddingBag(100, 8, mode="sum", include_last_offset=True) for _ in range(2)
        )
        self.top = nn.Linear(16, 1)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        parts = torch.split(values, lengths.sum(1).tolist())
        zero = torch.zeros(1, dtype=torch.long)
        bags = [
            table(part, torch.cat([zero, length.cumsum(0)]))
            for table, part, length in zip(self.tables, parts, lengths, strict=True)
        ]
        return self.top(torch.cat(bags, 1))  # type: ignore[no-any-return]


class Chosen(nn.Module):
    """Only the ids that are not 0."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, values: Tensor) -> Tensor:
        return self.top(self.table(values[values.nonzero().flatten()]))  # type: ignore[no-any-return]


class Experts(nn.Module):
    """Eight experts in one weight of three dimensions, by the product that `form` names."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.weights = nn.Parameter(torch.rand(8, 16, 4))
        self.top = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "matmul":
            outputs = (x[:, None, None, :] @ self.weights).squeeze(2)
        elif self.form == "einsum":
            outputs = torch.einsum("bi,eio->beo", x, self.weights)
        elif self.form == "tensordot":
            outputs = torch.tensordot(x, self.weights, dims=([1], [1]))
        else:
            outputs = torch.bmm(x.expand(8, -1, -1), self.weights).transpose(0, 1)
        return self.top(outputs.sum(1))  # type: ignore[no-any-return]


class Fields(nn.Module):
    """A layer of its own for each of six fields: one batched product with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(6, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x.transpose(0, 1), self.weights).transpose(0, 1).flatten(1)


class Masked(nn.Module):
    """A causal mask made from the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x, length = self.table(ids), ids.shape[1]
        seen = torch.tril((ids != 0).unsqueeze(1).expand(-1, length, -1)).float()
        weights = torch.softmax(x @ x.transpose(1, 2) + (1 - seen) * -1e4, -1)
        return self.top((weights @ x)[:, -1])  # type: ignore[no-any-return]


class Shared(nn.Module):
    """One table for the history and the candidate; wide and deep parts read the same ids."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(500, 8)
        self.wide = nn.Embedding(500, 1)
        self.top = nn.Linear(16, 1)

    def forward(self, history: Tensor, item: Tensor) -> Tensor:
        joined = torch.cat([self.items(history).mean(1), self.items(item)], 1)
        return self.top(joined) + self.wide(item)  # type: ignore[no-any-return]


class Tied(nn.Module):
    """Scores over all items with the table's own weights."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(300, 8)

    def forward(self, history: Tensor) -> Tensor:
        return self.items(history).mean(1) @ self.items.weight.t()


class Unread(nn.Module):
    """A layer whose result nothing reads, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = nn.Linear(8, 32)
        self.first, self.second = nn.Linear(8, 1), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.dropped(x)
        return self.first(x), self.second(x)


class Bag(nn.Module):
    """Bags pooled by `mode`, or weighted."""

    def __init__(self, mode: str, *, weighted: bool = False) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(100, 8, mode=mode)
        self.weighted = weighted
        self.top = nn.Linear(8, 1)

    def forward(self, ids: Tensor, weights: Tensor) -> Tensor:
        pooled = self.table(ids, per_sample_weights=weights) if self.weighted else self.table(ids)
        return self.top(torch.cat([pooled[:, :7], weights[:, :1]], 1))  # type: ignore[no-any-return]


class Lstm(nn.Module):
    """An LSTM over a sequence, its last state to a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 6, batch_first=True)
        self.top = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.layer(x)[0][:, -1])  # type: ignore[no-any-return]


class Filled(nn.Module):
    """A result written into a tensor of zeros, column by column."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 3) for _ in range(2))
        self.top = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        filled = torch.zeros(x.shape[0], 6)
        for index, layer in enumerate(self.layers):
            filled[:, 3 * index : 3 * index + 3] = layer(x)
        return self.top(filled)  # type: ignore[no-any-return]


class Normalised(nn.Module):
    """Rows of a table that is computed of a table: the request's ids look them up all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(500, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, item: Tensor) -> Tensor:
        rows = nn.functional.normalize(self.items.weight, dim=1)
        return self.top(rows[item])  # type: ignore[no-any-return]


class Sliced(nn.Module):
    """Whole rows of a table, and the first half of others."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(500, 8)
        self.top = nn.Linear(12, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        half = nn.functional.embedding(second, self.items.weight[:, :4])
        return self.top(torch.cat([self.items(first), half], 1))  # type: ignore[no-any-return]


class Graph(nn.Module):
    """Rows that are spread along the edges of a graph first, a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(500, 8)
        edges = torch.stack([torch.arange(500), (torch.arange(500) * 7) % 500])
        self.register_buffer("edges", torch.sparse_coo_tensor(edges, torch.ones(500), check_invariants=True))

    def forward(self, item: Tensor) -> Tensor:
        return torch.sparse.mm(self.edges, self.items.weight)[item].sum(1)


def ids(high: int, *shape: int) -> Tensor:
    return torch.randint(1, high, shape)


def serving() -> Made:
    return Serving(), (torch.rand(1, 32), ids(1000, 10))


def serving_by_chance() -> Made:
    """As many candidates as the user has features."""
    return Serving(), (torch.rand(1, 32), ids(1000, 32))


def expanded() -> Made:
    return Expanded(), (torch.rand(1, 32), ids(1000, 10))


def history() -> Made:
    return History(), (ids(500, 1, 50), ids(500, 20))


def history_by_chance() -> Made:
    return History(), (ids(500, 1, 50), ids(500, 50))


def float_ids() -> Made:
    x = torch.rand(8, 7)
    x[:, 0], x[:, 1] = torch.arange(8.0), torch.arange(8.0)
    return FloatIds(), (x,)


def packed() -> Made:
    return Packed(), (torch.rand(8, 10, 16),)


def jagged() -> Made:
    return Jagged(), (ids(100, 48), torch.full((2, 8), 3))


def chosen() -> Made:
    return Chosen(), (ids(100, 8),)


def convolution() -> Made:
    return nn.Sequential(nn.Conv1d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8, 1)), (
        torch.rand(8, 6, 10),
    )


def by_matmul() -> Made:
    return Experts("matmul"), (torch.rand(8, 16),)


def by_einsum() -> Made:
    return Experts("einsum"), (torch.rand(8, 16),)


def by_tensordot() -> Made:
    return Experts("tensordot"), (torch.rand(8, 16),)


def by_bmm() -> Made:
    return Experts("bmm"), (torch.rand(9, 16),)


def fields() -> Made:
    return Fields(), (torch.rand(10, 6, 8),)


def masked() -> Made:
    return Masked(), (ids(100, 8, 20),)


def shared() -> Made:
    return Shared(), (ids(500, 8, 20), ids(500, 8))


def tied() -> Made:
    return Tied(), (ids(300, 8, 20),)


def unread() -> Made:
    return Unread(), (torch.rand(6, 8),)


def mean_bag() -> Made:
    return Bag("mean"), (ids(100, 6, 5), torch.rand(6, 5))


def weighted_bag() -> Made:
    return Bag("sum", weighted=True), (ids(100, 6, 5), torch.rand(6, 5))


def lstm() -> Made:
    return Lstm(), (torch.rand(8, 5, 8),)


def filled() -> Made:
    return Filled(), (torch.rand(6, 4),)


def normalised() -> Made:
    return Normalised(), (ids(500, 6),)


def sliced() -> Made:
    return Sliced(), (ids(500, 6), ids(500, 6))


def graph() -> Made:
    return Graph(), (ids(500, 6),)


def half() -> Made:
    """Everything in bf16, its table too."""
    return Half().to(torch.bfloat16), (torch.rand(8, 4, dtype=torch.bfloat16), ids(100, 8))


class Autocast(nn.Module):
    """Layers kept in fp32 that each pass makes in bf16, and one that asks for it itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 8, bias=False))
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.layers(x)
        return nn.functional.linear(y, self.last.weight.to(y.dtype), self.last.bias.to(y.dtype))


def autocast() -> Made:
    return Autocast(), (torch.rand(6, 4),)


class CastStates(nn.Module):
    """A recurrent layer under autocast, whose weights each pass casts."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(16, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.cells(x)[0]  # type: ignore[no-any-return]


def cast_states() -> Made:
    return CastStates(), (torch.rand(6, 20, 16),)


def pruned_layer() -> Made:
    """A pruned layer, whose weights each pass multiplies by their mask."""
    layer = nn.Linear(64, 80)
    prune.l1_unstructured(layer, "weight", 0.5)
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(80, 1)), (torch.rand(6, 64),)


class Half(nn.Module):
    """A layer over a row and dense values."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, 8)
        self.top = nn.Linear(12, 1)

    def forward(self, dense: Tensor, item: Tensor) -> Tensor:
        return self.top(torch.cat([self.table(item), dense], 1))  # type: ignore[no-any-return]


def some_biases() -> Made:
    """Layers without a bias between two that have one."""
    layers = [nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 16, bias=False), nn.ReLU()]
    last = [nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 1)]
    return nn.Sequential(*layers, *last), (torch.rand(6, 12),)


class Called(nn.Module):
    """A function of the module, whose weights are `given` by name, and its inputs."""

    def __init__(self, function: Callable[..., Tensor], **given: Tensor | nn.Module) -> None:
        super().__init__()
        for name, each in given.items():
            if isinstance(each, nn.Module):
                self.add_module(name, each)
            elif each.is_floating_point():
                self.register_parameter(name, nn.Parameter(each))
            else:
                self.register_buffer(name, each)
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


def three_operands() -> Made:
    """An einsum of three: PyTorch makes two products of it."""
    module = Called(lambda m, x, y: torch.einsum("bi,oij,bj->bo", x, m.w, y), w=torch.rand(6, 4, 5))
    return module, (torch.rand(7, 4), torch.rand(7, 5))


def inner_product() -> Made:
    return Called(lambda m, x: torch.inner(x, m.w), w=torch.rand(32, 16)), (torch.rand(7, 16),)


def summed_products() -> Made:
    """`addbmm`: a layer over channels and inputs at once."""
    module = Called(
        lambda m, x: torch.addbmm(m.b, x.transpose(0, 1), m.w), w=torch.rand(4, 16, 32), b=torch.rand(1, 32)
    )
    return module, (torch.rand(7, 4, 16),)


def distances() -> Made:
    """Distances of each item from 40 centres: few enough for one kernel, and too many for it."""
    module = Called(
        lambda m, x: torch.cdist(x, m.few).sum(1, keepdim=True) + torch.cdist(x, m.many),
        few=torch.rand(20, 16),
        many=torch.rand(40, 16),
    )
    return module, (torch.rand(7, 16),)


def rows_by_number() -> Made:
    """Rows of a table that Python picks one by one: a trace has them as if they were always these."""
    return Called(
        lambda m, ids: m.top(torch.stack([m.table.weight[row] for row in ids.tolist()])),
        table=nn.Embedding(50, 8),
        top=nn.Linear(8, 1),
    ), (ids(50, 7).flatten(),)


def a_matrix_by_number() -> Made:
    """A matrix of a stack that the first id names, as models of several domains take theirs."""
    return Called(
        lambda m, x, domain: m.top(x @ m.domains[domain[0]]),
        domains=nn.Parameter(torch.rand(3, 16, 8)),
        top=nn.Linear(8, 1),
    ), (torch.rand(7, 16), ids(3, 1).flatten())


def items_by_number() -> Made:
    """The same by `int` of each id, which another call looks up as well."""
    return Called(
        lambda m, ids: m.top(torch.stack([m.rows[int(row)] for row in ids]) + m.table(ids)),
        rows=nn.Parameter(torch.rand(50, 8)),
        table=nn.Embedding(50, 8),
        top=nn.Linear(8, 1),
    ), (ids(50, 7).flatten(),)


def gru_without_bias() -> Made:
    """Its gates add nothing, and hold nothing to add."""
    gru = nn.GRU(8, 6, bias=False, batch_first=True)
    return Called(lambda m, x: m.top(m.gru(x)[0][:, -1]), gru=gru, top=nn.Linear(6, 1)), (
        torch.rand(7, 5, 8),
    )


def projected_lstm() -> Made:
    module = Called(
        lambda m, x: m.top(m.layer(x)[0][:, -1]),
        layer=nn.LSTM(8, 6, proj_size=3, batch_first=True),
        top=nn.Linear(3, 1),
    )
    return module, (torch.rand(7, 5, 8),)


def vmapped() -> Made:
    """A layer of its own for each field, written for one field."""
    module = Called(
        lambda m, x: torch.func.vmap(lambda a, w: a @ w, in_dims=(1, 0), out_dims=1)(x, m.w),
        w=torch.rand(6, 8, 5),
    )
    return module, (torch.rand(7, 6, 8),)


def pairs_read_twice() -> Made:
    """Products of all pairs, from an einsum, that two calls read."""

    def scores(_: Called, x: Tensor) -> Tensor:
        pairs = torch.einsum("bid,bjd->bij", x, x)
        return torch.softmax(pairs, -1) + pairs

    return Called(scores), (torch.rand(7, 10, 8),)


def whole_numbers() -> Made:
    """A product of int8 with int8 weights."""
    module = Called(
        lambda m, x: m.top(torch._int_mm((x * 127).to(torch.int8), m.w).float()),
        w=torch.randint(-5, 5, (16, 32), dtype=torch.int8),
        top=nn.Linear(32, 1),
    )
    return module, (torch.rand(24, 16),)


def renormed() -> Made:
    module = Called(
        lambda m, ids: m.top(m.table(ids).mean(1)),
        table=nn.Embedding(100, 16, max_norm=1.0),
        top=nn.Linear(16, 1),
    )
    return module, (ids(100, 7, 5),)


def segments() -> Made:
    """One list of ids, and to which item each belongs: neither has as many rows as there are items."""
    module = Called(
        lambda m, values, items: m.top(torch.zeros(6, 16).index_add(0, items, m.table(values))),
        table=nn.Embedding(100, 16),
        top=nn.Linear(16, 1),
    )
    return module, (ids(100, 30), torch.arange(6).repeat_interleave(5))


def quantised_rows() -> Made:
    """A table of bytes with a scale for each row, packed where no operator looks."""
    packed = torch.ao.nn.quantized.Embedding(100, 16)
    return Called(lambda m, ids: m.top(m.table(ids)), table=packed, top=nn.Linear(16, 1)), (ids(100, 7),)


def rows_of_halves() -> Made:
    """A table of halves, whose rows are converted after each lookup: one call, as it was measured."""
    return Called(
        lambda m, ids: m.top(m.table(ids).float()), table=nn.Embedding(100, 16).half(), top=nn.Linear(16, 1)
    ), (ids(100, 7),)


def quantised() -> Made:
    """Layers whose weights are packed whole numbers, converted as PyTorch does it for serving."""
    layers = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
    return torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}), (torch.rand(7, 16),)


def quantised_beside() -> Made:
    """A quantised layer over what two floats are joined to."""
    module = Called(
        lambda m, x, y: m.top(torch.cat([x, torch.relu(y)], 1)), top=nn.Sequential(nn.Linear(12, 1))
    )
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear}), (torch.rand(7, 8), torch.rand(7, 4))


def quantised_halves() -> Made:
    layers = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
    return torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}, dtype=torch.float16), (
        torch.rand(7, 16),
    )


def quantised_lstm() -> Made:
    module = Called(
        lambda m, x: m.top(m.layer(x)[0][:, -1]),
        layer=nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True),
        top=nn.Linear(12, 1),
    )
    return torch.ao.quantization.quantize_dynamic(module, {nn.LSTM}), (torch.rand(7, 5, 8),)


class Unregistered(nn.Module):
    """A table that is an attribute like any other, which `parameters()` does not list."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = torch.rand(100, 8)
        self.top = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.top(self.rows[ids])  # type: ignore[no-any-return]


def unregistered() -> Made:
    return Unregistered(), (ids(100, 7),)


def product_table() -> Made:
    """Rows of a table of low rank, which is multiplied out in every pass."""
    module = Called(
        lambda m, ids: m.top(nn.functional.embedding(ids, m.left @ m.right)),
        left=torch.rand(100, 3),
        right=torch.rand(3, 8),
        top=nn.Linear(8, 1),
    )
    return module, (ids(100, 7),)


def through_numpy() -> Made:
    """Ids that NumPy sorts, so that no call leads to them; then other ids choose among the rows."""

    def scores(m: Called, ids: Tensor) -> Tensor:
        rows = m.table(torch.from_numpy(np.sort(ids.numpy())))
        return m.top(rows[torch.arange(len(ids))[:, None], ids % 5].mean(1))  # type: ignore[no-any-return]

    return Called(scores, table=nn.Embedding(100, 8), top=nn.Linear(8, 1)), (ids(100, 7, 5),)


def _nearest(codes: Any, vector: Tensor) -> Tensor:
    """Of each book of codes the one that is nearest to what the others leave: all added up."""
    total = torch.zeros_like(vector)
    for book in codes:
        total = total + book[((vector - total) @ book.t()).argmax(-1)]
    return total


def codes_in_turn(books: Callable[[Any], Any] = lambda m: m.codes) -> Made:
    """Three books of codes in one parameter, each scored whole and then read by rows."""
    module = Called(
        lambda m, ids: m.top(_nearest(books(m), m.table(ids))),
        codes=torch.rand(3, 20, 8),
        table=nn.Embedding(100, 8),
        top=nn.Linear(8, 1),
    )
    return module, (ids(100, 7),)


def codes_by_place() -> Made:
    """The same, each book by its place."""
    return codes_in_turn(lambda m: [m.codes[place] for place in range(3)])


def weights_of_lists() -> Made:
    """Lists of ids, one after the other, and a weight for each id, beside a feature of each item."""

    def scores(m: Called, ids: Tensor, starts: Tensor, weights: Tensor, age: Tensor) -> Tensor:
        return m.top(torch.cat([m.bag(ids, starts, per_sample_weights=weights), age], 1))  # type: ignore[no-any-return]

    module = Called(scores, bag=nn.EmbeddingBag(100, 8, mode="sum"), top=nn.Linear(9, 1))
    return module, (ids(100, 21), torch.arange(0, 21, 3), torch.rand(21), torch.rand(7, 1))


@dataclass
class Batch:
    """What some libraries hand to a module, and take from it."""

    x: Tensor
    y: Tensor | None = None


def in_dataclass() -> Made:
    return Called(lambda m, batch: Batch(m.top(batch.x)), top=nn.Linear(16, 1)), (Batch(torch.rand(7, 16)),)


class ByName(nn.Module):
    """Arguments that can only be given by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(16, 1)

    def forward(self, *, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.top(x) * scale  # type: ignore[no-any-return]


def by_name() -> tuple[nn.Module, dict[str, Tensor]]:
    return ByName(), {"x": torch.rand(7, 16)}


def over_candidates() -> Made:
    """Shares of all candidates of the request."""
    return Called(lambda m, x: m.top(x).softmax(0), top=nn.Linear(16, 1)), (torch.rand(7, 16),)


def branching() -> Made:
    """What the module computes decides what it gives."""

    def scores(m: Called, x: Tensor) -> Tensor:
        y = m.top(x)
        return y if y.mean().item() > 0 else -y

    return Called(scores, top=nn.Linear(16, 1)), (torch.rand(7, 16),)


def positions() -> Made:
    """Learned positions and a norm without a bias: parameters that no layer holds."""
    module = Called(
        lambda m, ids: m.top(m.norm(m.table(ids) + m.positions).mean(1)),
        table=nn.Embedding(100, 8),
        positions=torch.rand(1, 5, 8),
        norm=nn.LayerNorm(8, bias=False),
        top=nn.Linear(8, 1),
    )
    return module, (ids(100, 7, 5),)


def gated() -> Made:
    """Each item through the one of two experts that a gate chooses."""

    def chosen(m: Called, x: Tensor) -> Tensor:
        first = m.gate(x).squeeze(1) > 0
        out = torch.zeros_like(x)
        out[first], out[~first] = m.one(x[first]), m.two(x[~first])
        return m.top(out)  # type: ignore[no-any-return]

    module = Called(
        chosen, gate=nn.Linear(8, 1), one=nn.Linear(8, 8), two=nn.Linear(8, 8), top=nn.Linear(8, 1)
    )
    with torch.no_grad():
        module.gate.weight.copy_(torch.tensor([[1.0] * 4 + [-1.0] * 4]))  # type: ignore[union-attr, operator]
    x = torch.zeros(8, 8)
    x[:3, :4], x[3:, 4:] = 9.0, 9.0
    return module, (x,)


def exported() -> Made:
    example = torch.rand(7, 16)
    return torch.export.export(nn.Linear(16, 1), (example,)).module(), (example,)  # type: ignore[return-value]


def flexible() -> Made:
    """Attention as a function of a function, which nobody looks into."""
    from torch.nn.attention.flex_attention import flex_attention

    module = Called(lambda _, x: flex_attention(x, x, x)[:, 0, 0])
    return module, (torch.rand(6, 2, 10, 8),)


def element_by_element() -> Made:
    """Functions of each element that PyTorch does not mark as such: by name, or as they work in place."""

    def changed(m: Called, x: Tensor) -> Tensor:
        x = nn.functional.hardswish(x) + nn.functional.logsigmoid(torch.floor_divide(x, 2))
        x = nn.functional.mish(x.abs_(), inplace=True)
        return m.top(nn.functional.threshold_(x, 0.1, 0.0))  # type: ignore[no-any-return, operator]

    return Called(changed, top=nn.Linear(8, 1)), (torch.rand(7, 8),)


def spreads() -> Made:
    """A norm written out: one call gives the variance and the mean; ends, and running sums of logarithms."""

    def changed(m: Called, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, 1, keepdim=True)
        least, most = torch.aminmax(x, dim=1, keepdim=True)
        x = (x - mean) / variance.sqrt() / (most - least)
        return m.top(torch.logcumsumexp(x, 1))  # type: ignore[no-any-return, operator]

    return Called(changed, top=nn.Linear(8, 1)), (torch.rand(7, 8),)


def learned_queries() -> Made:
    """Learned queries attend to a sequence: a parameter that is expanded for each item."""

    def forward(self: Any, x: Tensor) -> Tensor:
        queries = self.queries.expand(x.shape[0], -1, -1)
        return self.out(self.attend(queries, x, x, need_weights=False)[0].flatten(1))

    queries, attend = nn.Parameter(torch.rand(1, 2, 8)), nn.MultiheadAttention(8, 2, batch_first=True)
    return Called(forward, queries=queries, attend=attend, out=nn.Linear(16, 1)), (torch.rand(4, 5, 8),)


def windows() -> Made:
    """What attention gives is seen in another shape, as the encoder's one opaque call lets it be seen."""

    def forward(self: Any, x: Tensor) -> Tensor:
        parts = x.view(-1, 2, 8)
        return self.out(self.attend(parts, parts, parts, need_weights=False)[0].view(-1, 6 * 8))

    attend = nn.MultiheadAttention(8, 2, batch_first=True)
    return Called(forward, attend=attend, out=nn.Linear(48, 1)), (torch.rand(4, 6, 8),)


def best_of_all() -> Made:
    """The places of the best scores are what the module gives."""
    return Called(lambda self, x: self.scores(x).topk(3).indices, scores=nn.Linear(8, 100)), (
        torch.rand(4, 8),
    )


def scaled_by_letters() -> Made:
    """An einsum that sums over nothing: each element times its weight."""
    weight = nn.Parameter(torch.rand(8))
    return Called(lambda self, x: torch.einsum("bi,i->bi", x, self.weight), weight=weight), (
        torch.rand(4, 8),
    )


def bilinear() -> Made:
    """A bilinear form has a bias for each output, and not for each of its products."""
    return Called(lambda self, x, y: self.form(x, y), form=nn.Bilinear(8, 6, 4)), (
        torch.rand(5, 8),
        torch.rand(5, 6),
    )


def spread_out() -> Made:
    """A transposed convolution in two groups, with a bias for each channel of its result."""
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)
    return Called(lambda self, x: self.layer(x).flatten(1), layer=layer), (torch.rand(5, 4, 3, 3),)


def filled_in_place() -> Made:
    """One element of each vector is overwritten."""

    def forward(self: Any, x: Tensor) -> Tensor:
        h = self.layer(x)
        h[:, 0] = 0
        return self.out(h)

    return Called(forward, layer=nn.Linear(8, 4), out=nn.Linear(4, 1)), (torch.rand(5, 8),)


def one_step() -> Made:
    """A recurrent layer over sequences of one vector."""
    layer = nn.GRU(8, 6, batch_first=True)
    return Called(lambda self, x: self.layer(x[:, None])[0][:, -1], layer=layer), (torch.rand(5, 8),)


def in_doubles() -> Made:
    return nn.Linear(8, 1).double(), (torch.rand(5, 8).double(),)


def in_a_helper() -> Made:
    """A call that no operator stands for, in a method of the module that is not its forward."""

    class Helped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 1)

        def transformed(self, x: Tensor) -> Tensor:
            return torch.fft.fft(x).abs()  # the line that the error names

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.transformed(x))

    return Helped(), (torch.rand(5, 8),)


class Mixture(nn.Module):
    """A gate gives each item to two of four experts, which get their items' rows only."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4, bias=False)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(4)]
        )
        self.out = nn.Linear(8, 1)

    def chosen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights, places = self.gate(x).softmax(1).topk(2, -1)
        return weights / weights.sum(-1, keepdim=True), places


class Added(Mixture):
    """As Mixtral's block: where a mask is true, then `index_add_`."""

    def forward(self, x: Tensor) -> Tensor:
        weights, places = self.chosen(x)
        result, mask = torch.zeros_like(x), nn.functional.one_hot(places, 4).permute(2, 1, 0)
        for expert, layers in enumerate(self.experts):
            which, row = torch.where(mask[expert])
            result.index_add_(0, row, layers(x[None, row].reshape(-1, 8)) * weights[row, which, None])
        return self.out(result)


class ByMasks(Mixture):
    """By masks of truth values."""

    def forward(self, x: Tensor) -> Tensor:
        weights, places = self.chosen(x)
        result = torch.zeros_like(x)
        for expert, layers in enumerate(self.experts):
            mask = (places == expert).any(-1)
            result[mask] += layers(x[mask]) * (weights * (places == expert)).sum(-1)[mask][:, None]
        return self.out(result)


class Sorted(Mixture):
    """Rows sorted by expert, cut by their counts, joined and put back."""

    def forward(self, x: Tensor) -> Tensor:
        weights, places = self.chosen(x)
        order = places.view(-1).argsort()
        counts = places.view(-1).bincount(minlength=4).tolist()
        rows = x[order // 2].split(counts)
        done = torch.cat([layers(part) for layers, part in zip(self.experts, rows, strict=True)])
        back = torch.empty_like(done)
        back[order] = done
        return self.out((back.view(-1, 2, 8) * weights[..., None]).sum(1))


class OfSequences(Added):
    """Experts over each vector of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, 8)).view(x.shape[0], -1).mean(1)


class ByKind(nn.Module):
    """Each item goes through the layer of its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.out = nn.ModuleList([nn.Linear(8, 16) for _ in range(3)]), nn.Linear(16, 1)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        result = torch.zeros(x.shape[0], 16)
        for which, layer in enumerate(self.layers):
            result[kind == which] = layer(x[kind == which])
        return self.out(result)


def experts_added() -> Made:
    torch.manual_seed(1)
    return Added(), (torch.randn(16, 8),)


def experts_masked() -> Made:
    torch.manual_seed(1)
    return ByMasks(), (torch.randn(16, 8),)


def experts_sorted() -> Made:
    torch.manual_seed(1)
    return Sorted(), (torch.randn(16, 8),)


def experts_of_sequences() -> Made:
    torch.manual_seed(1)
    return OfSequences(), (torch.randn(16, 5, 8),)


def layers_by_kind() -> Made:
    return ByKind(), (torch.rand(16, 8), torch.arange(16) % 3)


def unequal_experts() -> Made:
    """Of which one is wider: no whole number of an item's rows goes to either."""
    module = ByKind()
    module.layers[1] = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 16))
    return module, (torch.rand(16, 8), torch.arange(16) % 3)


def centred() -> Made:
    """Each item less the mean of all of them, which is next to nothing an item."""
    return Called(lambda self, x: self.layer(x - x.mean(0)), layer=nn.Linear(16, 1)), (torch.rand(6, 16),)


def each_with_each() -> Made:
    """Scores of each item with all items of the batch."""
    return Called(lambda self, x: self.layer(x) @ x.t(), layer=nn.Linear(8, 8)), (torch.rand(6, 8),)


def weight_norm() -> Made:
    """A weight whose norm each pass makes anew, in one call of PyTorch's own."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(64, 64))
    return nn.Sequential(layer, nn.Linear(64, 1)), (torch.rand(4, 64),)


def positive_convolution() -> Made:
    """Weights that each pass makes positive."""

    def forward(self: Any, x: Tensor) -> Tensor:
        made = nn.functional.softplus(self.weight)
        return nn.functional.conv1d(x, made, self.shift).flatten(1)

    weight, shift = nn.Parameter(torch.rand(32, 64, 3)), nn.Parameter(torch.rand(32))
    return Called(forward, weight=weight, shift=shift), (torch.rand(4, 64, 10),)


def turned() -> Made:
    """Rotary positions, by complex numbers."""

    def forward(self: Any, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(self.layer(x).view(x.shape[0], 5, 4, 2)) * self.turns
        return self.out(torch.view_as_real(pairs).flatten(1))

    module = Called(forward, layer=nn.Linear(6, 8), out=nn.Linear(40, 1))
    module.register_buffer("turns", torch.polar(torch.ones(5, 4), torch.rand(5, 4)))
    return module, (torch.rand(7, 5, 6),)


def once_each() -> Made:
    """Rows of the different ids alone, then spread to all."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        different, places = torch.unique(ids, return_inverse=True)
        return self.out(self.table(different)[places])

    ids = torch.tensor([1, 1, 2, 2, 3, 3, 4, 5])
    return Called(forward, table=nn.Embedding(100, 8), out=nn.Linear(8, 1)), (ids,)


def statically_quantised() -> Made:
    """Whole numbers between the layers too."""
    module = nn.Sequential(quantization.QuantStub(), nn.Linear(8, 4), quantization.DeQuantStub()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch will drop one day
        module.qconfig = quantization.get_default_qconfig("fbgemm")  # type: ignore[assignment]
        prepared = quantization.prepare(module)
        prepared(torch.rand(4, 8))
        return quantization.convert(prepared), (torch.rand(4, 8),)


def one_by_one() -> Made:
    """One layer for each item in turn."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return torch.cat([self.layer(x[item : item + 1]) for item in range(x.shape[0])])

    return Called(forward, layer=nn.Linear(16, 1)), (torch.rand(6, 16),)


def in_two_halves() -> Made:
    """One layer for half of the items, then for the others."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return torch.cat([self.layer(half) for half in x.chunk(2)])

    return Called(forward, layer=nn.Linear(16, 1)), (torch.rand(6, 16),)


def _folded() -> nn.Module:
    """A table, a layer whose norm freezing folds into it, and one number for each id."""

    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(100, 8), nn.Linear(12, 16)
            self.norm, self.out = nn.BatchNorm1d(16), nn.Linear(16, 1)
            self.shift, self.wide = nn.Parameter(torch.rand(16)), nn.Parameter(torch.rand(100))

        def forward(self, ids: Tensor, x: Tensor) -> Tensor:
            hidden = torch.relu(self.norm(self.layer(torch.cat([self.table(ids), x], 1))))
            return self.out(hidden + self.shift) + self.wide[ids].unsqueeze(1)  # type: ignore[no-any-return]

    return Folded().eval()


def _scripted(then: Callable[[Any], Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch will drop one day
        return then(torch.jit.script(_folded()))  # type: ignore[no-any-return]


def _ids_and_numbers() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 100, (8,)), torch.rand(8, 4)


def frozen() -> Made:
    """Weights that freezing made constants of the graph: no parameter is left."""
    return _scripted(torch.jit.freeze), _ids_and_numbers()


def frozen_by_product() -> Made:
    """The same with layers as products, and their biases added by calls of their own."""
    return _scripted(torch.jit.optimize_for_inference), _ids_and_numbers()


GLOBAL_TABLE = torch.rand(50)


def unregistered_lists() -> Made:
    """Tables in a plain list, of which one is read twice, and one that is no module's."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        rows = self.tables[0][ids] + self.tables[1][ids] + self.tables[1][ids + 1]
        return self.out(rows) + GLOBAL_TABLE[ids][:, None]

    module = Called(forward, out=nn.Linear(8, 1))
    module.tables = [torch.rand(50, 8), torch.rand(60, 8)]  # type: ignore[assignment]
    return module, (torch.randint(0, 50, (6,)),)


def sums_by_ones() -> Made:
    """Means of positions by a product with a matrix that sizes make: no weight of the model."""

    def forward(self: Any, x: Tensor) -> Tensor:
        means = torch.ones(20, 20).tril() / torch.arange(1, 21)[:, None]
        return self.out((means @ x)[:, -1])

    return Called(forward, out=nn.Linear(8, 1)), (torch.rand(6, 20, 8),)


def large_by_ones() -> Made:
    """A matrix so large that making it takes time: each pass fills it, and cuts a triangle of it."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.layer(x) @ x.new_ones(128, 128).tril()

    return Called(forward, layer=nn.Linear(8, 128)), (torch.rand(6, 8),)


def rows_of_ones() -> Made:
    """Ones at the places of ids, cut out of a matrix that sizes make, times weights."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        return torch.eye(20)[ids] @ self.weight

    return Called(forward, weight=nn.Parameter(torch.rand(20, 8))), (torch.randint(0, 20, (6,)),)


def _in_bytes(rows: int, width: int, forward: Callable[..., Tensor], **parts: Any) -> nn.Module:
    """A module whose weights are bytes, with a scale for each row."""
    module = Called(forward, **parts)
    module.register_buffer("bytes", torch.randint(0, 127, (rows, width), dtype=torch.uint8))
    module.register_buffer("scales", torch.rand(rows, 1))
    return module


def weights_in_bytes() -> Made:
    """Weights in 8 bits, made fractions and scaled in each pass."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.bytes.float() * self.scales)

    return _in_bytes(80, 64, forward), (torch.rand(6, 64),)


def weights_in_half_bytes() -> Made:
    """Weights in 4 bits, two in a byte, taken apart in each pass."""

    def forward(self: Any, x: Tensor) -> Tensor:
        low, high = (self.bytes & 15).float(), (self.bytes >> 4).float()
        return nn.functional.linear(x, torch.stack([low, high], -1).view(80, 128) * self.scales)

    return _in_bytes(80, 64, forward), (torch.rand(6, 128),)


def causal() -> Made:
    """A mask that the module holds, looked at in each pass."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        x = self.table(ids)
        scores = (x @ x.transpose(1, 2)).masked_fill(self.seen[:70, :70] == 0, -1e9)
        return self.out((scores.softmax(-1) @ x)[:, -1])

    module = Called(forward, table=nn.Embedding(100, 8), out=nn.Linear(8, 1))
    module.register_buffer("seen", torch.ones(128, 128).tril())
    return module, (torch.randint(0, 100, (6, 70)),)


def keeps_results() -> Made:
    """The user's tower runs in the first pass alone."""

    def forward(self: Any, user: Tensor, items: Tensor) -> Tensor:
        if not hasattr(self, "kept"):
            self.kept = self.user(user)
        return (self.kept * self.items(items)).sum(1)

    parts = {"user": nn.Linear(32, 8), "items": nn.Embedding(100, 8)}
    return Called(forward, **parts), (torch.rand(1, 32), torch.randint(0, 100, (6,)))


def grows() -> Made:
    """All that came before is read again."""

    def forward(self: Any, x: Tensor) -> Tensor:
        self.before = torch.cat([getattr(self, "before", x[:0]), x])
        return self.out(x @ self.before.T @ self.before)

    return Called(forward, out=nn.Linear(8, 1)), (torch.rand(6, 8),)


def sparse_bags() -> Made:
    """Sums of rows, by a product with a sparse matrix that the ids make."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        places = torch.stack([torch.arange(ids.numel()) // ids.shape[1], ids.view(-1)])
        sizes = (ids.shape[0], 100)
        chosen = torch.sparse_coo_tensor(places, torch.ones(ids.numel()), sizes, check_invariants=False)
        return self.out(torch.sparse.mm(chosen, self.table))

    module = Called(forward, table=nn.Parameter(torch.rand(100, 8)), out=nn.Linear(8, 1))
    return module, (torch.randint(0, 100, (6, 5)),)


def through_numpy_and_back() -> Made:
    """A product that NumPy makes."""

    def forward(self: Any, x: Tensor) -> Tensor:
        made = torch.from_numpy(x.numpy() @ self.weight.detach().numpy())
        return self.out(made)

    return Called(forward, weight=nn.Parameter(torch.rand(16, 8)), out=nn.Linear(8, 1)), (torch.rand(6, 16),)


ROWS = {key: torch.rand(8) for key in range(100)}


def rows_from_a_dictionary() -> Made:
    """Rows that Python takes out of a dictionary by numbers of ids."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        return self.out(torch.stack([ROWS[int(key)] for key in ids]))

    return Called(forward, out=nn.Linear(8, 1)), (torch.randint(0, 100, (6,)),)


def edges_by_numpy() -> Made:
    """Which ids of an item are alike, as NumPy finds it: fractions for each item that no call makes."""

    def forward(self: Any, ids: Tensor) -> Tensor:
        alike = np.stack([row[:, None] == row[None] for row in ids.numpy()])
        return self.out((torch.from_numpy(alike.astype("float32")) @ self.table(ids)).mean(1))

    parts = {"table": nn.Embedding(100, 8), "out": nn.Linear(8, 1)}
    return Called(forward, **parts), (torch.randint(0, 100, (6, 5)),)


def cosines() -> Made:
    """Scores over all items by their normalised vectors: one table, looked up and read as a whole."""

    def forward(self: Any, history: Tensor) -> Tensor:
        user = nn.functional.normalize(self.items(history).mean(1))
        return user @ nn.functional.normalize(self.items.weight, dim=1).T

    return Called(forward, items=nn.Embedding(600, 8)), (torch.randint(0, 600, (6, 5)),)


def read_twice() -> Made:
    """One matrix as a layer's weights, and as what each pass makes others of."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return x @ self.weight.abs() @ self.weight

    return Called(forward, weight=nn.Parameter(torch.rand(64, 64))), (torch.rand(6, 64),)


def made_of_few() -> Made:
    """A large matrix that each pass makes of two small ones."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return nn.functional.linear(x, torch.kron(self.left, self.right))

    parts = {"left": nn.Parameter(torch.rand(10, 8)), "right": nn.Parameter(torch.rand(8, 8))}
    return Called(forward, **parts), (torch.rand(6, 64),)


def stacked() -> Made:
    """Weights of four experts that each pass copies into one matrix."""

    def forward(self: Any, x: Tensor) -> Tensor:
        weights = torch.stack([layer.weight for layer in self.layers])
        return torch.einsum("bi,eoi->beo", x, weights).sum(1)

    layers = nn.ModuleList(nn.Linear(64, 32, bias=False) for _ in range(4))
    return Called(forward, layers=layers), (torch.rand(6, 64),)


def joined_tables() -> Made:
    """Two tables that each pass copies into one, which is looked up twice."""

    def forward(self: Any, users: Tensor, items: Tensor) -> Tensor:
        rows = torch.cat([self.users.weight, self.items.weight])
        return (rows[users] * rows[items + 600]).sum(1)

    parts = {"users": nn.Embedding(600, 8), "items": nn.Embedding(500, 8)}
    return Called(forward, **parts), (torch.randint(0, 600, (6,)), torch.randint(0, 500, (6,)))


def complex_vectors() -> Made:
    """Products of complex vectors, one of them conjugate."""

    def forward(self: Any, one: Tensor, other: Tensor) -> Tensor:
        left, right = (torch.view_as_complex(self.table(ids).view(-1, 4, 2)) for ids in (one, other))
        return (left * right.conj()).real.sum(1)

    ids = torch.randint(0, 100, (2, 6))
    return Called(forward, table=nn.Embedding(100, 8)), (ids[0], ids[1])


def product_of_bytes() -> Made:
    """A product of whole numbers in bytes, scaled."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return torch._int_mm((x * 127).to(torch.int8), self.bytes).float() * 0.01

    module = Called(forward)
    module.register_buffer("bytes", torch.randint(-127, 127, (64, 80), dtype=torch.int8))
    return module, (torch.rand(32, 64),)


def trained_for_bytes() -> Made:
    """Weights and inputs rounded as they will be once they are bytes."""

    def forward(self: Any, x: Tensor) -> Tensor:
        rounded = (
            torch.fake_quantize_per_tensor_affine(each, 0.1, 0, -128, 127) for each in (x, self.weight)
        )
        return nn.functional.linear(*rounded)

    return Called(forward, weight=nn.Parameter(torch.rand(80, 64))), (torch.rand(6, 64),)


def user_first() -> Made:
    """The user's vector is the first output, the items' scores the second."""

    def forward(self: Any, user: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        of_user = self.user(user)
        return of_user, (self.items(items) * of_user).sum(1)

    parts = {"user": nn.Linear(32, 8), "items": nn.Embedding(100, 8)}
    return Called(forward, **parts), (torch.rand(1, 32), torch.randint(0, 100, (6,)))


def _twice(layer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> Made:
    """Two histories go through one layer."""

    def forward(self: Any, one: Tensor, other: Tensor) -> Tensor:
        return torch.cat([call(self.layer, one), call(self.layer, other)], dim=1)

    return Called(forward, layer=layer), (torch.rand(6, 5, 8), torch.rand(6, 5, 8))


def gru_twice() -> Made:
    return _twice(nn.GRU(8, 12, batch_first=True), lambda layer, x: layer(x)[0][:, -1])


def lstm_twice() -> Made:
    return _twice(nn.LSTM(8, 12, batch_first=True), lambda layer, x: layer(x)[0][:, -1])


def convolution_twice() -> Made:
    return _twice(nn.Conv1d(8, 12, 3), lambda layer, x: layer(x.transpose(1, 2)).amax(2))


def positions_by_layer() -> Made:
    """Each layer adds positions of its own, which are slices of one parameter."""

    def forward(self: Any, x: Tensor) -> Tensor:
        for layer in range(3):
            x = self.layer(x + self.positions[layer]).relu()
        return x.sum(1)

    positions = nn.Parameter(torch.rand(3, 5, 8))
    return Called(forward, layer=nn.Linear(8, 8), positions=positions), (torch.rand(6, 5, 8),)


def positions_unbound() -> Made:
    def forward(self: Any, x: Tensor) -> Tensor:
        first, second = self.positions.unbind(0)
        return ((x + first) * second).sum(1)

    return Called(forward, positions=nn.Parameter(torch.rand(2, 5, 8))), (torch.rand(6, 5, 8),)


def weight_in_part() -> Made:
    """A layer's weight, whole and its first rows alone."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return torch.cat([self.layer(x), x @ self.layer.weight[:4].t()], dim=1)

    return Called(forward, layer=nn.Linear(8, 8)), (torch.rand(6, 8),)


def packed_in_bytes() -> Made:
    def forward(self: Any, x: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(x, self.bytes, self.scales)

    module = Called(forward)
    module.register_buffer("bytes", torch.randint(-127, 127, (80, 64), dtype=torch.int8))
    module.register_buffer("scales", torch.rand(80))
    return module, (torch.rand(6, 64),)


def packed_in_half_bytes() -> Made:
    def forward(self: Any, x: Tensor) -> Tensor:
        wide = torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16(), self.halves, 32, self.scales)
        return self.head(wide.float())

    module = Called(forward, head=nn.Linear(64, 1))
    whole = torch.randint(0, 15, (64, 64), dtype=torch.int32)
    module.register_buffer("halves", torch._convert_weight_to_int4pack_for_cpu(whole, 1))
    module.register_buffer("scales", torch.rand(2, 64, 2).bfloat16())
    return module, (torch.rand(6, 64),)
