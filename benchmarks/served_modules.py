"""Three modules as people write them, which no calibration saw, to be served as they are.

    perfplan validate rm3_amd_epyc_turin_2c --profile amd-epyc-turin-2c-modules --anchor --no-capacity \\
        --module benchmarks/served_modules.py:dlrm --utilisation 0.5

What it found: docs/validation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
Example = tuple[nn.Module, Inputs]
"""A module and what it is called with once."""

_EXAMPLE_ITEMS = 8
_ROWS = 400_000
_HISTORY = 50


def layers(*widths: int) -> nn.Sequential:
    """Fully connected layers with ReLUs between them."""
    parts: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        parts += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class Dlrm(nn.Module):
    """Sums of rows of 12 tables, their products with each other, and layers over them."""

    def __init__(self, tables: int = 12, dim: int = 48, pooled: int = 20) -> None:
        super().__init__()
        self.bottom = layers(13, 256, dim)
        self.tables = nn.ModuleList(nn.EmbeddingBag(_ROWS, dim, mode="sum") for _ in range(tables))
        self.pooled = pooled
        vectors = tables + 1
        self.register_buffer("pairs", torch.tril_indices(vectors, vectors, offset=-1))
        self.top = layers(dim + vectors * (vectors - 1) // 2, 384, 128, 1)

    def forward(self, dense: Tensor, ids: Tensor) -> Tensor:
        """Score items: their dense features, and ids of shape (items, tables, pooled)."""
        x = self.bottom(dense)
        rows = [table(ids[:, index]) for index, table in enumerate(self.tables)]
        vectors = torch.stack([x, *rows], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        joined = torch.cat([x, products[:, self.pairs[0], self.pairs[1]]], dim=1)
        return torch.sigmoid(self.top(joined))

    def example_inputs(self, batch_size: int) -> Inputs:
        """Inputs of so many items."""
        shape = (batch_size, len(self.tables), self.pooled)
        return torch.rand(batch_size, 13), torch.randint(0, _ROWS, shape)


class Wide(nn.Module):
    """Twenty rows side by side under layers whose weights do not fit an L2."""

    def __init__(self, fields: int = 20, dim: int = 32) -> None:
        super().__init__()
        self.rows = nn.Embedding(_ROWS, dim)
        self.fields = fields
        self.deep = layers(fields * dim, 1024, 512, 256, 1)
        self.first = nn.Embedding(_ROWS, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Score items by their fields' ids, of shape (items, fields)."""
        deep = self.deep(self.rows(ids).flatten(1))
        return torch.sigmoid(deep + self.first(ids).sum(dim=1))

    def example_inputs(self, batch_size: int) -> Inputs:
        """Inputs of so many items."""
        return (torch.randint(0, _ROWS, (batch_size, self.fields)),)


class Attentive(nn.Module):
    """50 behaviours attend to each other by two heads; layers score the last one beside the candidate."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.items = nn.Embedding(_ROWS, dim)
        self.candidates = nn.Embedding(_ROWS, dim)
        self.attention = nn.MultiheadAttention(dim, 2, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.top = layers(2 * dim, 200, 80, 1)

    def forward(self, candidate: Tensor, history: Tensor) -> Tensor:
        """Score items: a candidate each, and ids of shape (items, behaviours)."""
        seen = self.items(history)
        found, _ = self.attention(seen, seen, seen, need_weights=False)
        last = self.norm(found + seen)[:, -1]
        return torch.sigmoid(self.top(torch.cat([last, self.candidates(candidate)], dim=1)))

    def example_inputs(self, batch_size: int) -> Inputs:
        """Inputs of so many items."""
        history = torch.randint(0, _ROWS, (batch_size, _HISTORY))
        return torch.randint(0, _ROWS, (batch_size,)), history


def _example(kind: Callable[[], Dlrm | Wide | Attentive]) -> Example:
    torch.manual_seed(0)
    module = kind().eval()
    return module, module.example_inputs(_EXAMPLE_ITEMS)


def dlrm() -> Example:
    """Many sums of rows."""
    return _example(Dlrm)


def wide() -> Example:
    """Large layers."""
    return _example(Wide)


def attentive() -> Example:
    """Heads."""
    return _example(Attentive)
