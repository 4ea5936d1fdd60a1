"""The PyTorch calls in which items share a result of the query, whose batch dimension is 1.

Where PyTorch repeats an operand of one row by itself, the calls of `operators` do; these are the others. A
product of small products with one shared side is a product of all items' rows with that side, as a layer is.
"""

from __future__ import annotations

import torch

from calibration.runtime.operators import Function, concat_features, concat_length

Tensor = torch.Tensor


def repeat(x: Tensor, items: Tensor) -> Tensor:
    """The query's result once for each item, without copying it."""
    return x.expand(items.shape[0], *x.shape[1:])


def concat(*, along_length: bool) -> Function:
    """Join results of items and of the query."""
    join = concat_length if along_length else concat_features

    def call(*pieces: Tensor) -> Tensor:
        number = max(piece.shape[0] for piece in pieces)
        return join(*[piece.expand(number, *piece.shape[1:]) for piece in pieces])

    return call


def products(products: int, inner: int, *, left: bool) -> Function:
    """`products` products an item, the left or the right side of which is the query's."""

    def call(own: Tensor, shared: Tensor) -> Tensor:
        items = own.shape[0]
        if left:  # (A b)^T = b^T A^T: the items' columns are the rows that the shared matrix multiplies
            columns = own.reshape(items, products, inner, -1).transpose(2, 3)
            matrices = shared.reshape(products, -1, inner).transpose(1, 2)
        else:
            columns = own.reshape(items, products, -1, inner)
            matrices = shared.reshape(products, inner, -1)
        rows = columns.shape[2]
        parts = [
            torch.mm(columns[:, index].reshape(items * rows, inner), matrices[index])
            for index in range(products)
        ]
        result = (
            torch.stack([part.view(items, rows, -1) for part in parts], 1)
            if products > 1
            else (parts[0].view(items, 1, rows, -1))
        )
        result = result.transpose(2, 3) if left else result
        return result.flatten(1, 2)

    return call


def weigh(weights: Tensor, vectors: Tensor) -> Tensor:
    """Weighted sum of the query's vectors for each item; weights as (batch, length, 1)."""
    return torch.mm(weights.squeeze(2), _rows(vectors))


def state_scores(candidate: Tensor, states: Tensor) -> Tensor:
    """Dot product of each of the query's states with each candidate, (batch, length)."""
    return torch.mm(candidate, _rows(states).t())


def attention_scores(num_heads: int) -> Function:
    """Products of the items' queries and the query's keys by head, (heads, batch x queries, keys)."""

    def call(query: Tensor, key: Tensor) -> Tensor:
        rows, keys = query.reshape(-1, query.shape[-1]), _rows(key)
        head = rows.shape[1] // num_heads
        scores = query.new_empty(num_heads, rows.shape[0], keys.shape[0])
        for index in range(num_heads):
            part = slice(index * head, (index + 1) * head)
            torch.mm(rows[:, part], keys[:, part].t(), out=scores[index])
        return scores

    return call


def attention_values(num_heads: int, length: int) -> Function:
    """Weighted sums of the query's values by head, heads side by side: (batch, queries, width)."""

    def call(weights: Tensor, value: Tensor) -> Tensor:
        values = _rows(value)
        head = values.shape[1] // num_heads
        heads = value.new_empty(weights.shape[1], values.shape[1])
        for index in range(num_heads):
            part = slice(index * head, (index + 1) * head)
            torch.mm(weights[index], values[:, part], out=heads[:, part])
        return heads.view(-1, length, values.shape[1])

    return call


def _rows(shared: Tensor) -> Tensor:
    """The query's vectors as rows of a matrix; a sequence of one is that vector alone."""
    return shared.reshape(-1, shared.shape[-1])
