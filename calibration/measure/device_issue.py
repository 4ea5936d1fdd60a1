"""What the host needs to issue each kind of call to an accelerator, fitted to the visits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from scipy.optimize import nnls

from calibration.measure.sequences import random_sequence
from calibration.measure.visits import Visit
from perfmodel.costmodel.issue import parts_of
from perfmodel.costmodel.kernels import Kernel, is_part_of_another, surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.hardware import IssueCost


def issue_costs(visits: Iterable[Visit], *, most_table_bytes: float) -> dict[str, IssueCost]:
    """Cost of every kind of call: t = t_call + parts t_part, fitted to relative errors.

    Parameters
    ----------
    visits : iterable of Visit
        Those with issue times; each sequence's visits follow each other.
    most_table_bytes : float
        What the sequences were drawn with. [bytes]
    """
    seen: dict[str, list[tuple[int, float]]] = defaultdict(list)
    seed, kernels = None, tuple[Kernel, ...]()
    for visit in visits:
        if visit.seed != seed:
            seed = visit.seed
            model = random_sequence(np.random.default_rng(seed), most_table_bytes=most_table_bytes)
            kernels = lower(model)
        issue_s = [] if visit.issue_s is None else visit.issue_s.tolist()
        for kernel, seconds in zip(kernels, issue_s, strict=False):
            if seconds > 0.0 and not is_part_of_another(kernel):
                seen[surface_key(kernel)].append((parts_of(kernel), seconds / kernel.calls))
    return {call: _fitted(np.array(found, dtype=float)) for call, found in sorted(seen.items())}


def _fitted(found: np.ndarray) -> IssueCost:
    """A line through `(n, 2)` parts and seconds; the median where all calls have as many parts."""
    parts, seconds = found.T
    if np.ptp(parts) == 0.0:
        return IssueCost(call_s=float(np.median(seconds)))
    amounts = np.stack([np.ones_like(parts), parts], axis=1)
    (call_us, part_us), _ = nnls(amounts / seconds[:, None] / 1e6, np.ones_like(seconds))
    return IssueCost(call_s=float(call_us) / 1e6, part_s=float(part_us) / 1e6)
