"""A programme as it is written down, variable by variable and row by row, and the solver that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from perfmodel.planning.plan.solver_output import solver_kept_off_stdout

if TYPE_CHECKING:  # a quarter of what a plan imports: left alone where all solutions are known
    from scipy.optimize import LinearConstraint

PROVED, INFEASIBLE = 0, 2
"""What scipy calls a programme answered as closely as was asked, and one that nothing meets."""


class Rows:
    """Rows of a sparse matrix, as they are written down."""

    def __init__(self) -> None:
        self.row: list[int] = []
        self.column: list[int] = []
        self.value: list[float] = []
        self.low: list[float] = []
        self.high: list[float] = []

    def add(self, entries: Sequence[tuple[int, float]], low: float, high: float) -> None:
        """Write low <= sum of value x variable <= high."""
        for column, value in entries:
            self.row.append(len(self.low))
            self.column.append(column)
            self.value.append(value)
        self.low.append(low)
        self.high.append(high)

    def constraint(self, num_columns: int) -> LinearConstraint:
        """All of them as scipy takes them."""
        from scipy.optimize import LinearConstraint
        from scipy.sparse import csr_array

        matrix = csr_array((self.value, (self.row, self.column)), shape=(len(self.low), num_columns))
        return LinearConstraint(matrix, np.array(self.low), np.array(self.high))


class Variables:
    """Variables, as they are introduced: bounds, whether whole, cost."""

    def __init__(self) -> None:
        self.high: list[float] = []
        self.low: list[float] = []
        self.whole: list[int] = []
        self.cost: list[float] = []

    def add(self, high: float, *, low: float = 0.0, whole: bool = True, cost: float = 0.0) -> int:
        """Introduce a variable, and return its index."""
        self.high.append(high)
        self.low.append(low)
        self.whole.append(int(whole))
        self.cost.append(cost)
        return len(self.high) - 1


class Effort(NamedTuple):
    """What the solver may take for one programme.

    Attributes
    ----------
    gap : float
        Between the answer and its bound, relative, at which it stops. [1]
    seconds : float
        At most. [s]
    nodes : int or None
        Of its branch and bound, at most, so that a busy machine answers alike; None: any number.
    """

    gap: float
    seconds: float
    nodes: int | None = None


class Solved(NamedTuple):
    """What the solver says.

    Attributes
    ----------
    values : (variables,) float or None
        Of the best answer found; None: none was.
    bound : float
        No answer costs less; inf: there is none.
    is_proved, is_infeasible : bool
        Whether the answer is as close to the bound as was asked, and whether there is none.
    """

    values: npt.NDArray[np.float64] | None
    bound: float
    is_proved: bool
    is_infeasible: bool


def solved(variables: Variables, rows: Rows, effort: Effort) -> Solved:
    """Find values of least cost that meet all rows."""
    from scipy.optimize import Bounds, milp  # a second of SciPy, where nothing else of a plan needs it

    limits: dict[str, float] = {"mip_rel_gap": effort.gap, "time_limit": effort.seconds}
    if effort.nodes is not None:
        limits["node_limit"] = effort.nodes
    with solver_kept_off_stdout():
        result = milp(
            np.array(variables.cost),
            integrality=np.array(variables.whole),
            bounds=Bounds(np.array(variables.low), np.array(variables.high)),
            constraints=rows.constraint(len(variables.high)) if rows.low else (),
            options=limits,
        )
    bound = -inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    is_infeasible = result.x is None and result.status == INFEASIBLE
    return Solved(result.x, inf if is_infeasible else bound, result.status == PROVED, is_infeasible)
