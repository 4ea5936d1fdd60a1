"""A card, or memories, that several workers share: how long each transfer takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfmodel.costmodel.kernels import Floats

_NO_TIME_S = 1e-30
_MOST_STEPS = 60
"""Newton's, which double the distance from a pole or the number of right digits: some 10 are taken."""


def shared_transfer_s(alone_s: Floats, elsewhere_s: Floats, busy: Floats) -> Floats:
    """Time of a transfer on a card that several workers share, each elsewhere between two transfers. [s]

    A transfer is stretched by the others that are in one too, each with the chance r / (r + z):
    r = s (1 + (n - 1) r / (r + z)), solved for r: mean-value analysis [1]_ of a processor-sharing station
    with the others' presence as of n workers (Schweitzer's approximation). s alone, n s where z = 0.

    Parameters
    ----------
    alone_s : (...) float array
        Transfer s on a card of one's own. [s]
    elsewhere_s : (...) float array
        Time z between two transfers of a worker. [s]
    busy : (...) float array
        Workers n, >= 1.

    References
    ----------
    .. [1] M. Reiser, S. Lavenberg, "Mean-Value Analysis of Closed Multichain Queueing Networks", J. ACM
       27(2), 1980.

    Examples
    --------
    >>> shared_transfer_s(np.array(1.0), np.array([0.0, 99.0]), np.array(4.0)).round(3).tolist()
    [4.0, 1.031]
    """
    free = elsewhere_s - busy * alone_s
    root = np.sqrt(free**2 + 4.0 * alone_s * elsewhere_s)
    # Of the two forms of the root the one without a difference of like terms.
    shorter = 2.0 * alone_s * elsewhere_s / np.maximum(root + free, _NO_TIME_S)
    return np.asarray(np.where(free > 0.0, shorter, 0.5 * (root - free)))


def wait_for_core_s(alone_s: Floats, elsewhere_s: Floats, workers: Floats, cores: int) -> Floats:
    """Mean wait until one of a machine's cores is free for what a worker asks of it. [s]

    Each of n workers is elsewhere for z, then asks for s of a core, and waits for it: the machine-repair
    model [1]_, times being exponential. The chance of k asking is n! / (n - k)! (s / z)^k / product of
    min(j, c) for j up to k, over their sum; in the mean b cores are busy, so that a round takes n s / b. Zero
    where there are as many cores as workers.

    Parameters
    ----------
    alone_s : (...) float array
        On a core that is free, s. [s]
    elsewhere_s : (...) float array
        Time z between two of them of a worker. [s]
    workers : (...) float array
        Workers n, >= 1; between whole numbers as the products run on.
    cores : int
        Cores c, >= 1.

    References
    ----------
    .. [1] D. Gross, J. F. Shortle, J. M. Thompson, C. M. Harris, "Fundamentals of Queueing Theory", 4th ed.,
       2008, section 2.7.

    Examples
    --------
    Two workers that are never elsewhere share a core: each waits for the other.

    >>> wait_for_core_s(np.array(1.0), np.array([0.0, 1.0]), np.array(2.0), 1).round(3).tolist()
    [1.0, 0.5]
    """
    alone, elsewhere, n = np.broadcast_arrays(alone_s, elsewhere_s, workers)
    if not np.any(n > cores):
        return np.zeros(n.shape)
    ratio = alone / np.maximum(elsewhere, _NO_TIME_S)
    chance, total, busy = np.ones(n.shape), np.ones(n.shape), np.zeros(n.shape)
    for k in range(1, int(np.ceil(n.max())) + 1):
        chance = chance * np.maximum(0.0, n - (k - 1.0)) * ratio / min(k, cores)
        total, busy = total + chance, busy + min(k, cores) * chance
        scale = 1.0 / np.maximum(1.0, chance)  # they would leave the range of floats
        chance, total, busy = chance * scale, total * scale, busy * scale
    round_s = n * alone * total / np.maximum(busy, _NO_TIME_S)
    waits = (n > cores) & (alone > 0.0)
    return np.asarray(np.where(waits, np.maximum(0.0, round_s - elsewhere - alone), 0.0))


def shared_transfers_s(
    alone_s: Sequence[Floats], at_least_s: Sequence[Floats], elsewhere_s: Floats, busy: Floats
) -> list[Floats]:
    """Time at each of several memories that workers share, one after the other in each pass. [s]

    Each of n workers is at memory i with the chance r_i / R: r_i = max(w_i, s_i (1 + (n - 1) r_i / R)),
    R = z + sum of r_i: `shared_transfer_s` with several stations, solved for R together (Schweitzer's
    approximation of mean-value analysis [1]_; the floor w_i is derived here). The slowest binds, R >= (n - 1)
    s_i: a worker that waits at one memory is at no other.

    Parameters
    ----------
    alone_s : sequence of (...) float array
        Transfer s_i of a pass on a memory of one's own. [s]
    at_least_s : sequence of (...) float array
        What it takes whoever else is there, w_i: latencies. [s]
    elsewhere_s : (...) float array
        Time z of a pass at none of them. [s]
    busy : (...) float array
        Workers n, >= 1.

    References
    ----------
    .. [1] M. Reiser, S. Lavenberg, "Mean-Value Analysis of Closed Multichain Queueing Networks", J. ACM
       27(2), 1980.

    Examples
    --------
    >>> alone, zero, four = [np.array(1.0)] * 2, np.array(0.0), np.array(4.0)
    >>> [each.round(3).tolist() for each in shared_transfers_s(alone, [zero, zero], zero, four)]
    [2.5, 2.5]
    """
    least = [np.maximum(alone, floor) for alone, floor in zip(alone_s, at_least_s, strict=True)]
    whole_s = elsewhere_s + sum(least, np.zeros_like(elsewhere_s))
    # None sees the others stretched yet: the pass takes no less than each of these, and Newton's steps rise.
    pass_s = whole_s
    for alone, own in zip(alone_s, least, strict=True):
        before = whole_s - own
        pass_s = np.maximum(pass_s, before + np.maximum(own, shared_transfer_s(alone, before, busy)))
    for _ in range(_MOST_STEPS):
        at_each = [_at_one(*each, pass_s, busy) for each in zip(alone_s, at_least_s, strict=True)]
        missing = elsewhere_s + sum((time for time, _ in at_each), np.zeros_like(pass_s)) - pass_s
        slope = 1.0 + sum((fall for _, fall in at_each), np.zeros_like(pass_s))
        step = np.maximum(missing, 0.0) / slope
        pass_s = pass_s + step
        if np.all(step <= 1e-12 * pass_s):
            break
    return [_at_one(*each, pass_s, busy)[0] for each in zip(alone_s, at_least_s, strict=True)]


def _at_one(alone_s: Floats, at_least_s: Floats, pass_s: Floats, busy: Floats) -> tuple[Floats, Floats]:
    """Time at a memory in a pass of some length, and by how much less it is for each second more. [s], [1]"""
    left = np.maximum(pass_s - (busy - 1.0) * alone_s, _NO_TIME_S)
    shared_s = alone_s * pass_s / left
    falls = alone_s * (busy - 1.0) * alone_s / left**2
    return np.maximum(at_least_s, shared_s), np.where(shared_s > at_least_s, falls, 0.0)
