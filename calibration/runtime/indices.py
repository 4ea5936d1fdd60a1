"""Lookup indices of a batch: as many as each table's pooling factor says, uniform or Zipf-distributed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perfmodel.domain.operators import EmbeddingTable

Indices = npt.NDArray[np.int64]

_SCATTER = 2_654_435_761
"""A prime (Knuth's multiplicative hash): popular rows lie apart, as in a table sorted by key."""


def lookup_indices(table: EmbeddingTable, count: int, rng: np.random.Generator) -> Indices:
    """Rows that `count` lookups touch: row of rank r with weight r**-s, ranks scattered over the table.

    Ranks are those of the rows in use.
    """
    used = min(table.num_rows, table.rows_in_use or table.num_rows)
    if table.zipf_exponent == 0.0:
        ranks = rng.integers(0, used, count)
        return ranks if used == table.num_rows else (ranks * _SCATTER) % table.num_rows
    ranks = _zipf_ranks(used, table.zipf_exponent, count, rng)
    return (ranks * _SCATTER) % table.num_rows


def bag_offsets(table: EmbeddingTable, batch_size: int, rng: np.random.Generator) -> tuple[Indices, int]:
    """Where each item's lookups start, and how many there are: whole counts that average the factor."""
    whole = int(table.pooling_factor)
    share = table.pooling_factor - whole
    if share == 0.0:
        return np.arange(batch_size, dtype=np.int64) * whole, batch_size * whole
    counts = whole + (rng.random(batch_size) < share)
    ends = np.cumsum(counts, dtype=np.int64)
    return ends - counts, int(ends[-1])


def _zipf_ranks(num_rows: int, exponent: float, count: int, rng: np.random.Generator) -> Indices:
    """Ranks from 0, by inverting the continuous distribution with density x**-s on [1, n + 1]."""
    u = rng.random(count)
    if abs(exponent - 1.0) < 1e-6:
        x = np.exp(u * np.log(num_rows + 1.0))
    else:
        power = 1.0 - exponent
        x = (1.0 + u * ((num_rows + 1.0) ** power - 1.0)) ** (1.0 / power)
    ranks: Indices = np.minimum(x.astype(np.int64), num_rows) - 1
    return ranks
