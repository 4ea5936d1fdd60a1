"""What the host needs to issue each kind of call to an accelerator, fitted to the visits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from calibration.measure.sequences import sequence_of_seed
from calibration.measure.visits import Visit
from calibration.runtime.timing import Floats
from perfmodel.costmodel.issue import calls_of, issued, parts_of, rows_of
from perfmodel.costmodel.kernels import Kernel, is_part_of_another, surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.domain.hardware import IssueCost, LaunchCosts

_FEW_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Where libraries go over from products of vectors to those of blocks, which are more launches. [rows]"""
_FEWEST = 12
"""Calls on either side of such a number of rows, for it to be looked at."""
_WORTH = 0.95
"""Mean error with two costs over that with one, from which on two are told apart. [1]"""


def issue_error(
    visits: Iterable[Visit], costs: Mapping[str, IssueCost], *, most_table_bytes: float, level: float
) -> float:
    """How far off the host's time for a whole sequence is at the mean level: neighbours come and go. [ln]

    The root mean square of the logarithm, over visits: what a pass that waits for the host is off by.
    """
    errors, seed, kernels = [], None, tuple[Kernel, ...]()
    for visit in visits:
        if visit.seed != seed:
            seed = visit.seed
            kernels = lower(sequence_of_seed(seed, most_table_bytes=most_table_bytes))
        if visit.issue_s is None:
            continue
        launches = LaunchCosts(issue=costs, latency_s=0.0, host_level=level)
        nothing, batch = np.array(0.0), np.array(float(visit.batch_size))
        expected_s = sum(float(issued(kernel, launches, nothing, batch).issue_s) for kernel in kernels)
        measured_s = float(visit.issue_s.sum())
        if expected_s > 0.0 and measured_s > 0.0:
            errors.append(np.log(expected_s / measured_s))
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0


class _Call(NamedTuple):
    """One kind of call as it was seen: parts, rows, and the time to issue it on a quiet host. [s]"""

    parts: float
    rows: float
    seconds: float


def issue_costs(visits: Iterable[Visit], *, most_table_bytes: float, quiet_s: float) -> dict[str, IssueCost]:
    """Cost of every kind of call on a quiet host: t = t_call + parts t_part, fitted to relative errors.

    Parameters
    ----------
    visits : iterable of Visit
        Those with issue times; each sequence's visits follow each other.
    most_table_bytes : float
        What the sequences were drawn with. [bytes]
    quiet_s : float
        Of a probe on a quiet host; 0: none was made, and times are taken as they are. [s]
    """
    seen: dict[str, list[_Call]] = defaultdict(list)
    seed, kernels = None, tuple[Kernel, ...]()
    for visit in visits:
        if visit.seed != seed:
            seed = visit.seed
            model = sequence_of_seed(seed, most_table_bytes=most_table_bytes)
            kernels = lower(model)
        issue_s = [] if visit.issue_s is None else visit.issue_s.tolist()
        level = visit.probe_s / quiet_s if quiet_s else 1.0
        for kernel, seconds in zip(kernels, issue_s, strict=False):
            if seconds > 0.0 and not is_part_of_another(kernel):
                rows = float(rows_of(kernel, np.array(visit.batch_size, float)))
                quiet = seconds / level / calls_of(kernel)
                seen[surface_key(kernel)].append(_Call(parts_of(kernel), rows, quiet))
    return {call: _fitted(found) for call, found in sorted(seen.items())}


def _fitted(found: Sequence[_Call]) -> IssueCost:
    """A line over parts where they differ; else the median, or two of them where rows matter."""
    parts, rows, seconds = np.array(found, dtype=float).T
    if np.ptp(parts) == 0.0:
        return _by_rows(rows, seconds)
    return _line(parts, seconds)


def _line(parts: Floats, seconds: Floats) -> IssueCost:
    amounts = np.stack([np.ones_like(parts), parts], axis=1)
    (call_us, part_us), _ = nnls(amounts / seconds[:, None] / 1e6, np.ones_like(seconds))
    return IssueCost(call_s=float(call_us) / 1e6, part_s=float(part_us) / 1e6)


def _by_rows(rows: Floats, seconds: Floats) -> IssueCost:
    """One cost, or one up to some rows and another beyond, where that is nearer to what was measured."""
    one_s = float(np.median(seconds))
    best, least = IssueCost(call_s=one_s), _WORTH * _error(seconds, np.full_like(seconds, one_s))
    for few_rows in _FEW_ROWS:
        is_few = rows <= few_rows
        if min(np.sum(is_few), np.sum(~is_few)) < _FEWEST:
            continue
        few_s, many_s = float(np.median(seconds[is_few])), float(np.median(seconds[~is_few]))
        error = _error(seconds, np.where(is_few, few_s, many_s))
        if error < least:
            best, least = IssueCost(call_s=many_s, few_rows=few_rows, few_rows_call_s=few_s), error
    return best


def _error(seconds: Floats, expected_s: Floats) -> float:
    """Mean distance of the logarithms. [ln]"""
    return float(np.mean(np.abs(np.log(expected_s / seconds))))
