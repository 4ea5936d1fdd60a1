"""Randomness: one stream for each use, by name."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def stream(seed: int, name: str, replication: int = 0) -> np.random.Generator:
    """Return the generator of one use, such as "arrivals" or "query sizes".

    A new consumer takes a new name and so never shifts another's draws; a replication
    takes the same name and another index.

    Parameters
    ----------
    seed : int
        The scenario's seed, >= 0.
    name : str
        The use.
    replication : int, default 0
        Index of an independent repetition of the whole run, >= 0.

    Examples
    --------
    >>> bool(stream(1, "arrivals").random() == stream(1, "arrivals").random())
    True
    >>> bool(stream(1, "arrivals").random() == stream(1, "query sizes").random())
    False
    """
    key = (crc32(name.encode()), replication)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
