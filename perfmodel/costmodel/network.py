"""A card, or a memory, that several workers share: how long each transfer takes."""

from __future__ import annotations

import numpy as np

from perfmodel.costmodel.kernels import Floats

_NO_TIME_S = 1e-30


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
