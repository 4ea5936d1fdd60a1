"""What each shortcut of DeepRecSys's published controller is worth: capacity with and without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.errors import InputError
from perfmodel.planning.deeprecsys.controlled import THOROUGH, ControlledNode, Effort, Found
from perfmodel.planning.deeprecsys.settings import PUBLISHED, ControllerSettings, Shortcut
from perfmodel.planning.question import Question
from perfmodel.threads import Tell, untold


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutCapacity:
    """The capacity that one finds with some shortcuts.

    Attributes
    ----------
    name : str
        What reports call the row.
    shortcuts : frozenset of Shortcut
        Those that are on.
    qps : float
        Mean over the repetitions. [queries/s]
    lowest_qps, highest_qps : float
        Over the repetitions: any one of them is what a user of the controller would have got. [queries/s]
    repetitions : int
        Searches, each with random numbers of its own.
    of_exact : float
        `qps` over the exact capacity. [1]
    exact_latency_s : float or None
        The SLA's percentile at `qps`, of Poisson traffic; None: an overload. [s]
    note : str
        What a reader must know of the row; may be empty.
    """

    name: str
    shortcuts: frozenset[Shortcut]
    qps: float
    lowest_qps: float
    highest_qps: float
    repetitions: int
    of_exact: float
    exact_latency_s: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutReport:
    """The exact capacity of a scenario's policy, and what one finds with shortcuts.

    Attributes
    ----------
    question : Question
        What was asked; its arrival rate plays no part.
    settings : ControllerSettings
        The controller's constants.
    rows : tuple of ShortcutCapacity
        The exact mode first, then each shortcut alone, then together; empty where no load meets the SLA.
    """

    question: Question
    settings: ControllerSettings
    rows: tuple[ShortcutCapacity, ...]

    @property
    def exact_qps(self) -> float | None:
        """Capacity without any shortcut; None: no load meets the SLA. [queries/s]"""
        return self.rows[0].qps if self.rows else None

    @property
    def all_together(self) -> ShortcutCapacity | None:
        """The row of the whole published controller."""
        return self.rows[-1] if self.rows else None


def compare_shortcuts(
    question: Question,
    settings: ControllerSettings | None = None,
    *,
    effort: Effort = THOROUGH,
    extrapolate: bool = False,
    tell: Tell = untold,
) -> ShortcutReport:
    """Find the capacity of a scenario's policy exactly, with each shortcut alone, and with all of them.

    Without `settings` they are the published ones, their grid of rates moved where the capacity asks for it.

    Rows with the same randomness share its random numbers. Rows that search with long runs bisect for the
    greatest rate at which the SLA's order statistic meets its bound; rows with windows let the controller
    walk.

    Parameters
    ----------
    tell : callable
        Takes how much of it is done.

    Raises
    ------
    InputError
        If the traffic is not a Poisson process with sizes of its own, or the policy is not `split` without
        shedding.
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    controlled = ControlledNode.of(question, settings or PUBLISHED, effort=effort, extrapolate=extrapolate)
    exact = controlled.capacity(frozenset())
    if exact is None:
        return ShortcutReport(question=question, settings=controlled.settings, rows=())
    if settings is None:
        controlled = replace(controlled, settings=PUBLISHED.placed_around(exact.mean_qps))
    known = [shortcut for shortcut in Shortcut if shortcut in controlled.shortcuts]
    chosen: list[tuple[str, frozenset[Shortcut]]] = [("exact", frozenset())]
    chosen += [(shortcut.value, frozenset({shortcut})) for shortcut in known]
    searched = frozenset({Shortcut.WINDOWS, Shortcut.LOG_RATES})
    chosen += [
        ("its search: windows, log rates", searched),
        ("all but the replayed sizes", frozenset(known) - {Shortcut.REPLAYED_SIZES}),
        ("all together", frozenset(known)),
    ]
    rows = []
    for name, shortcuts in chosen:
        rows.append(_row(controlled, name, shortcuts, exact))
        tell(len(rows) / len(chosen))
    return ShortcutReport(question=question, settings=controlled.settings, rows=tuple(rows))


def _row(
    controlled: ControlledNode, name: str, shortcuts: frozenset[Shortcut], exact: Found
) -> ShortcutCapacity:
    """Find the capacity with these shortcuts and set it beside the exact one."""
    found = controlled.capacity(shortcuts, near_qps=exact.mean_qps) if shortcuts else exact
    if found is None:
        raise InputError(f"deeprecsys: no rate meets the SLA with: {name}")
    return ShortcutCapacity(
        name=name,
        shortcuts=shortcuts,
        qps=found.mean_qps,
        lowest_qps=float(found.rates_qps.min()),
        highest_qps=float(found.rates_qps.max()),
        repetitions=len(found.rates_qps),
        of_exact=found.mean_qps / exact.mean_qps,
        exact_latency_s=controlled.exact_latency_s(found.mean_qps),
        note=found.note,
    )
