"""How fast the machine was beside each visit, by probes that are always the same, and visits as at its mean.

A virtual core may share a physical one with a neighbour that nobody here sees: all that it does then takes
1.4 to 1.7 times as long, for seconds, and two visits of one sequence differ by as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from calibration.measure.visits import Visit
from calibration.runtime.timing import Floats

_QUIET = 0.1
"""Share of the visits that found the host quiet, at the least: their slowest probe is the reference. [1]"""
_HIGHEST = 2.0
"""Level beyond which a probe tells of an interrupt in it, and nothing of the visit. [1]"""
_DISTURBED = 1.25
"""Over the median level, beyond which a visit tells of what disturbed it and not of its calls: memory that a
hypervisor takes away makes lookups up to eight times as slow, and a probe twice. [1]"""
_USUAL = 0.9
"""Share of the visits that are not disturbed, at the least: what is met more often is no exception. [1]"""
_FEWEST = 20
"""Visits with a probe, from which on levels are told apart."""


def quiet_probe_s(visits: Iterable[Visit]) -> float:
    """What a probe takes on a core that nobody shares; 0 where none was made. [s]"""
    probes = [visit.probe_s for visit in visits if visit.probe_s > 0.0]
    return float(np.quantile(probes, _QUIET)) if probes else 0.0


def host_level(visits: Iterable[Visit], quiet_s: float) -> float:
    """What the host took during the calibration over what it takes when quiet, on average. [1]"""
    probes = [visit.probe_s for visit in visits if visit.probe_s > 0.0]
    return max(1.0, float(np.mean(probes)) / quiet_s) if quiet_s else 1.0


def at_mean_level(visits: Sequence[tuple[int, Visit]]) -> list[tuple[int, Visit]]:
    """A CPU's visits with times as at their mean level: each over its own level, times the mean.

    Those beside which the machine was disturbed are left out, of the mean too. Those without probes, and an
    accelerator's, whose own clock no neighbour slows, stay as they are.
    """
    alone = [visit for _, visit in visits]
    levels = _levels(alone)
    if not len(levels):
        return list(visits)
    kept = ~np.array(was_disturbed(alone))
    factors = np.mean(levels[kept]) / levels
    return [
        (number, replace(visit, seconds=visit.seconds * factor))
        for (number, visit), factor, is_kept in zip(visits, factors, kept, strict=True)
        if is_kept
    ]


def was_disturbed(visits: Sequence[Visit]) -> list[bool]:
    """Of each visit, whether its probe was far slower than most: never, where there are too few probes."""
    levels = _levels(visits)
    if not len(levels):
        return [False] * len(visits)
    most = max(_DISTURBED * float(np.median(levels)), float(np.quantile(levels, _USUAL)))
    return [bool(level > most) for level in levels]


def level_spread(visits: Sequence[Visit]) -> float:
    """By how much a pass at any moment differs from one at the mean level: the root mean square. [ln]

    Rare disturbances are left out here too: they are pauses, which `unrest` measures and simulations have.
    """
    levels = _levels(visits)
    usual = levels[~np.array(was_disturbed(visits))] if len(levels) else levels
    return float(np.std(np.log(usual))) if len(usual) else 0.0


def _levels(visits: Sequence[Visit]) -> Floats:
    """Of each visit, where all of them have a probe and are a CPU's; else none. [1]"""
    if len(visits) < _FEWEST or any(not visit.probe_s or visit.issue_s is not None for visit in visits):
        return np.empty(0)
    probes_s = np.array([visit.probe_s for visit in visits])
    return np.clip(probes_s / quiet_probe_s(visits), 1.0, _HIGHEST)
