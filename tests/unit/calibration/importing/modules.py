"""Modules in the style of published models, as their authors write them, and factories of examples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BATCH = 6


class Dlrm(nn.Module):
    """DLRM as its authors wrote it: bags with offsets, stacked vectors, one triangle of all dot products."""

    def __init__(self, rows: tuple[int, ...] = (100, 100, 50), dim: int = 8) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(n, dim, mode="sum") for n in rows)
        self.bottom = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, dim), nn.ReLU())
        pairs = (len(rows) + 1) * len(rows) // 2
        self.top = nn.Sequential(nn.Linear(dim + pairs, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

    def forward(self, dense: Tensor, indices: list[Tensor], offsets: list[Tensor]) -> Tensor:
        x = self.bottom(dense)
        bags = zip(self.tables, indices, offsets, strict=True)
        vectors = torch.cat([x, *(table(i, o) for table, i, o in bags)], dim=1).view(
            x.shape[0], -1, x.shape[1]
        )
        products = torch.bmm(vectors, torch.transpose(vectors, 1, 2))
        n = vectors.shape[1]
        rows = torch.tensor([i for i in range(n) for j in range(i)])
        columns = torch.tensor([j for i in range(n) for j in range(i)])
        return self.top(torch.cat([x, products[:, rows, columns]], dim=1))  # type: ignore[no-any-return]


class Dcn(nn.Module):
    """DCN v2: one index a feature, low-rank cross layers beside a deep part."""

    def __init__(self, rank: int | None = 4) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, 4) for n in (30, 20))
        self.cross = nn.ModuleList(
            nn.Linear(12, 12)
            if rank is None
            else nn.Sequential(nn.Linear(12, rank, bias=False), nn.Linear(rank, 12))
            for _ in range(3)
        )
        self.deep = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.head = nn.Linear(20, 1)

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        columns = [table(sparse[:, i]) for i, table in enumerate(self.embeddings)]
        first = x = torch.cat([dense, *columns], dim=-1)
        for layer in self.cross:
            x = first * layer(x) + x
        return torch.sigmoid(self.head(torch.cat([x, self.deep(first)], dim=1)))


class CrossV1(nn.Module):
    """DCN v1: a cross layer whose weight is one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ModuleList(nn.Linear(10, 1, bias=False) for _ in range(2))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(10)) for _ in range(2))

    def forward(self, first: Tensor) -> Tensor:
        x = first
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = first * weight(x) + bias + x
        return x


class Transformer(nn.Module):
    """A behaviour sequence through encoder layers, as in BST: PyTorch's own layer."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.items = nn.Embedding(50, 16)
        self.positions = nn.Parameter(torch.zeros(7, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.top = nn.Sequential(nn.Linear(7 * 16, 8), nn.LeakyReLU(), nn.Linear(8, 1))

    def forward(self, sequence: Tensor) -> Tensor:
        x = self.items(sequence) + self.positions
        x = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.top(x.flatten(1))  # type: ignore[no-any-return]


class ExplicitAttention(nn.Module):
    """Attention written out by hand, with a causal mask and separate projections."""

    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        mask = torch.ones(x.shape[1], x.shape[1]).tril() == 0
        weights = scores.masked_fill(mask, -1e9).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class SharedAttention(ExplicitAttention):
    """The same by PyTorch's one call."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        weighed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(weighed.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class Din(nn.Module):
    """DIN's unit written out: each behaviour against the candidate, a weight each, a weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(80, 8)
        self.unit = nn.Sequential(nn.Linear(24, 6), nn.PReLU(), nn.Linear(6, 1))
        self.top = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())

    def forward(self, history: Tensor, candidate: Tensor) -> Tensor:
        behaviours, item = self.items(history), self.items(candidate)
        repeated = item.unsqueeze(1).expand_as(behaviours)
        weights = self.unit(torch.cat([behaviours, behaviours * repeated, repeated], dim=-1))
        interest = torch.bmm(weights.transpose(1, 2), behaviours).squeeze(1)
        return self.top(torch.cat([interest, item], dim=1))  # type: ignore[no-any-return]


class Gru(nn.Module):
    """A GRU over a sequence, its last state to a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(80, 8)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.top = nn.Linear(6, 1)

    def forward(self, history: Tensor) -> Tensor:
        states, _ = self.gru(self.items(history))
        return self.top(states[:, -1])  # type: ignore[no-any-return]


class FactorizationMachine(nn.Module):
    """DeepFM's second order: half of (the sum squared less the sum of squares)."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(80, 8)
        self.deep = nn.Sequential(
            nn.Linear(40, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 1)
        )

    def forward(self, sparse: Tensor) -> Tensor:
        x = self.items(sparse)
        second = 0.5 * (x.sum(1).square() - x.square().sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(second + self.deep(x.flatten(1)))


class Convolution(nn.Module):
    """A layer over windows, between two over whole vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(10, 12)
        self.convolution = nn.Conv1d(3, 5, kernel_size=3)
        self.after = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.convolution(self.before(x).view(-1, 3, 4)).flatten(1))  # type: ignore[no-any-return]


class Spectral(nn.Module):
    """A filter in the frequency domain, as FMLP-Rec has it: no operator of a model file stands for it."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(10, 12)
        self.after = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(self.before(x))
        return self.after(torch.fft.irfft(spectrum, n=12))  # type: ignore[no-any-return]


class Branching(nn.Module):
    """Control flow that depends on a value: there is no one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else x


def integers(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape)


def dlrm() -> tuple[nn.Module, tuple[Any, ...]]:
    """Pooling factors 1, 4 and 2."""
    indices = [integers(50, BATCH * count) for count in (1, 4, 2)]
    offsets = [torch.arange(BATCH) * count for count in (1, 4, 2)]
    return Dlrm(), (torch.rand(BATCH, 13), indices, offsets)


def dcn() -> tuple[nn.Module, tuple[Any, ...]]:
    return Dcn(), (torch.rand(BATCH, 4), integers(20, BATCH, 2))


def dcn_full() -> tuple[nn.Module, tuple[Any, ...]]:
    return Dcn(rank=None), (torch.rand(BATCH, 4), integers(20, BATCH, 2))


def cross_v1() -> tuple[nn.Module, Tensor]:
    return CrossV1(), torch.rand(BATCH, 10)


def transformer() -> tuple[nn.Module, tuple[Any, ...]]:
    return Transformer(), (integers(50, BATCH, 7),)


def transformer_length_first() -> tuple[nn.Module, tuple[Any, ...]]:
    return Transformer(batch_first=False), (integers(50, BATCH, 7),)


def explicit_attention() -> tuple[nn.Module, Tensor]:
    return ExplicitAttention(), torch.rand(BATCH, 5, 12)


def shared_attention() -> tuple[nn.Module, Tensor]:
    return SharedAttention(), torch.rand(BATCH, 5, 12)


def din() -> tuple[nn.Module, tuple[Any, ...]]:
    return Din(), (integers(80, BATCH, 9), integers(80, BATCH))


def gru() -> tuple[nn.Module, tuple[Any, ...]]:
    return Gru(), (integers(80, BATCH, 9),)


def factorization_machine() -> tuple[nn.Module, tuple[Any, ...]]:
    return FactorizationMachine(), (integers(80, BATCH, 5),)


def convolution() -> tuple[nn.Module, Tensor]:
    return Convolution(), torch.rand(BATCH, 10)


def spectral() -> tuple[nn.Module, Tensor]:
    return Spectral(), torch.rand(BATCH, 10)


def branching() -> tuple[nn.Module, Tensor]:
    return Branching(), torch.rand(BATCH, 4)


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def without_inputs() -> nn.Module:
    return Dcn()


def failing() -> nn.Module:
    raise RuntimeError("the checkpoint is missing\nin /models")


def wrong_inputs() -> tuple[nn.Module, Tensor]:
    return nn.Linear(4, 2), torch.rand(BATCH, 5)


def not_a_module() -> int:
    return 3
