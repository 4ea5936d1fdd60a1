"""A node known by its service times: a table that somebody measured, in place of a model and of profiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import expm1, log1p

import numpy as np
import numpy.typing as npt

from perfmodel.costmodel.tabulated import tabulated_basis, tabulated_s
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.service_table import ServiceTable
from perfmodel.domain.unsteady import PauseSettings, ScatterSettings
from perfmodel.errors import ExtrapolationError
from perfmodel.planning.sensitivity import ANCHORED_SPREAD, Errors
from perfmodel.planning.sent_sizes import sizes_on_cores
from perfmodel.planning.unsteady import made_unsteady
from perfmodel.sim.policies import Policy, largest_cpu_launch_items
from perfmodel.sim.query_sizes import SizePmf
from perfmodel.sim.scatter import scatter_by_size
from perfmodel.sim.service import ServiceTimes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNode:
    """One machine, as a table of its service times describes it; the rest as `ServingNode` has it.

    Attributes
    ----------
    table : ServiceTable
        Its service times.
    executors : int
        What serves side by side.
    tdp_w : float or None
        Static power; None: not said, and no answer about power exists. [W]
    relative_error : float or None
        How far off the times may be, root mean square; None: nobody knows. [1]
    scatter : ScatterSettings or None
        How times of one size differ from request to request.
    pauses : tuple of PauseSettings
        Times in which executors, or the whole node, stand still.
    level : float or None
        Factor on all times that a load test found; None: there was none. [1]
    """

    table: ServiceTable
    executors: int
    tdp_w: float | None = None
    relative_error: float | None = None
    scatter: ScatterSettings | None = None
    pauses: tuple[PauseSettings, ...] = ()
    level: float | None = None

    @property
    def model_name(self) -> str | None:
        """What runs; None: a table does not say."""
        return None

    @property
    def stack(self) -> str | None:
        """Software that the times are of; None: a table does not say."""
        return None

    @property
    def cores(self) -> int:
        """The same as executors: each serves one request at a time."""
        return self.executors

    @property
    def num_workers(self) -> int:
        """Likewise."""
        return self.executors

    @property
    def threads(self) -> int:
        """Of an executor: what is inside of it is in its times."""
        return 1

    @property
    def accelerator(self) -> Device | None:
        """None: all that such a node has is one pool of executors."""
        return None

    @property
    def num_accelerators(self) -> int:
        """Likewise."""
        return 0

    @property
    def num_machines(self) -> int:
        """Itself."""
        return 1

    @property
    def cores_tdp_w(self) -> float | None:
        """Static power without accelerators, of which there are none. [W]"""
        return self.tdp_w

    @property
    def where(self) -> str:
        """What it is, for the head of a page."""
        return f"{self.executors} executor{'' if self.executors == 1 else 's'} of {self.table.name}"

    @property
    def short_name(self) -> str:
        """The same in a word."""
        return self.table.name

    @property
    def threads_scale(self) -> bool:
        """Whether it is known how threads of an executor share out its work."""
        return False

    @property
    def is_measured_by_call(self) -> bool:
        """Whether times hang on what ran before: rows of a table do not."""
        return False

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Costs that no fit stands behind."""
        return ()

    def service_times(self, policy: Policy, max_items: int, sizes: SizePmf | None = None) -> ServiceTimes:  # noqa: ARG002
        """Tabulate what the simulation needs: see `ServingNode.service_times`; sizes play no part."""
        largest = max(1, largest_cpu_launch_items(policy, max_items))
        every = np.arange(1.0, largest + 1)
        level = 1.0 if self.level is None else self.level
        steady = ServiceTimes(cpu_s=level * tabulated_s(self.table, every, self.at_work))
        unsteady = made_unsteady(steady, self.scatter, self.pauses)
        relative_std = self.table.relative_std_of(every)
        if self.scatter is not None or relative_std is None or not relative_std.any():
            return unsteady
        return replace(unsteady, cpu_scatter=scatter_by_size(relative_std))

    @property
    def at_work(self) -> Floats:
        """Every number of executors that can be at work."""
        return np.arange(1.0, self.executors + 1)

    def power_w(
        self,
        cpu_utilisation: float,  # noqa: ARG002
        accelerator_utilisation: float | None,  # noqa: ARG002
        serving_w: float | None = None,  # noqa: ARG002
        asking_share: float = 0.0,  # noqa: ARG002
    ) -> float | None:
        """Power at a load: not known, since idle power is not. [W]"""
        return None


class TableTimes:
    """What an answer needs of such a node's service times under one policy and one law of sizes.

    Parameters
    ----------
    node : TableNode
        What serves.
    policy : Policy
        What splits and places queries.
    sizes : SizePmf
        Of the queries.
    """

    def __init__(self, node: TableNode, policy: Policy, sizes: SizePmf) -> None:
        self._node, self._policy, self._sizes = node, policy, sizes

    @cached_property
    def table(self) -> ServiceTimes:
        """What the simulation needs."""
        return self._node.service_times(self._policy, self._sizes.max_items)

    @property
    def errors(self) -> Errors:
        """As whoever measured the table states it. [ln]"""
        error = self._node.relative_error
        if error is None and self._node.level is not None:
            error = expm1(ANCHORED_SPREAD)
        return Errors(0.0 if error is None else log1p(error), None, known=error is not None)

    @property
    def serving_w(self) -> float | None:
        """None: there is no accelerator."""
        return None

    @property
    def asking_share(self) -> float:
        """0: nothing is known of other machines. [1]"""
        return 0.0

    @property
    def words(self) -> str:
        """What is in the times."""
        table = self._node.table
        low, high = table.items_range
        text = f"measured table {table.name}: {len(table.items)} rows, {low} to {high} items"
        if table.busy_range is not None:
            fewest, most = table.busy_range
            text += f", {fewest} to {most} executors at work"
        return text

    @cached_property
    def basis(self) -> Basis:
        """That of the table, unless it is left."""
        return Basis.EXTRAPOLATED if self._outside else Basis.TABLE

    def require_calibrated(self) -> None:
        """Refuse requests that lie beyond the rows of the table.

        Raises
        ------
        ExtrapolationError
            Naming its range and what exceeds it.
        """
        if self._outside:
            raise ExtrapolationError(
                f"outside the table {self._node.table.name}: {self._outside} (--extrapolate answers, marked)"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any answer about this node must know of it."""
        table, notes = self._node.table, []
        if self._node.relative_error is None and self._node.level is None:
            notes.append(
                f"how far off the times of {table.name} are is not known: the verdict and the load to plan "
                "for take them as they are; node.error_percent says it"
            )
        if table.busy is None and self._node.executors > 1:
            notes.append(
                f"{table.name} has no column busy: a request takes as long beside {self._node.executors - 1} "
                "others at work as alone"
            )
        if (by_row := table.relative_std) is not None:
            if self._node.scatter is not None:
                notes.append(
                    f"the scatter of single requests in {table.name} is not used: node.scatter counts"
                )
            else:
                low, high = 100 * by_row.min(), 100 * by_row.max()
                wide = f"{high:.3g} %" if high - low < 0.05 else f"{low:.3g} to {high:.3g} %"
                notes.append(
                    f"single requests scatter as {table.name} says, log-normal, by {wide} of the mean of "
                    "their size"
                )
        return tuple(notes)

    @cached_property
    def _outside(self) -> str:
        """What the policy sends that no row reaches; empty where all is within."""
        table, sizes = self._node.table, sizes_on_cores(self._policy, self._sizes)
        if not len(sizes) or tabulated_basis(table, sizes, self._node.at_work) is not Basis.EXTRAPOLATED:
            return ""
        for number, curve in table.levels:
            low, high = curve.batch_sizes[0], curve.batch_sizes[-1]
            far = sizes[(sizes < low) | (sizes > high)]
            if len(far):
                beside = (
                    ""
                    if table.busy is None
                    else f" with {number:.0f} {'executor' if number == 1 else 'executors'} at work"
                )
                asked = f"{far[0]:.0f}" if len(far) == 1 else f"{far[0]:.0f} to {far[-1]:.0f}"
                return f"it has {low:.0f} to {high:.0f} items{beside}; this sends requests of {asked} items"
        assert table.busy_range is not None, "what lies outside is not a size"
        fewest, most = table.busy_range
        has = f"{fewest} to {most} executors at work" if fewest < most else f"busy {fewest} only"
        return f"it has {has}; node.executors is {self._node.executors}"
