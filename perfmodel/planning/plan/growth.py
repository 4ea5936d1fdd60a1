"""What more traffic takes: the static provision at each growth, and the growth at which there is none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from perfmodel.errors import InputError
from perfmodel.planning.plan.answer import Growth, GrowthRow
from perfmodel.planning.plan.binding import binding_of
from perfmodel.planning.plan.optimum import best
from perfmodel.planning.plan.programme import solve
from perfmodel.planning.plan.question import PlanQuestion
from perfmodel.threads import side_by_side

STEPS = 10
"""Of a range that names no step."""

MOST_ROWS = 1000
MOST_GROWTH = 1e6


def growth_of(question: PlanQuestion, factors: Sequence[float]) -> Growth:
    """Plan for the demand times each factor."""
    found = side_by_side(lambda factor: best(question, factor * question.peak_qps), factors)
    rows = tuple(
        GrowthRow(growth=factor, static=static) for factor, static in zip(factors, found, strict=True)
    )
    highest = max(factors)
    if all(row.static is not None for row in rows):
        return Growth(rows=rows, gives_out_at=None, gives_out=None)
    # The share of the highest demand that can be served is, times its growth, the growth that can be.
    asked_qps = highest * question.peak_qps
    most = solve(question.programme(asked_qps), most_served=True)
    at = 0.0 if most.units is None else highest * most.served
    beyond_qps = asked_qps * (1.0 if at == 0.0 else min(1.0, at * (1.0 + 1e-3) / highest))
    return Growth(rows=rows, gives_out_at=at, gives_out=binding_of(question, beyond_qps).constraint)


def growth_notes(factors: Sequence[float]) -> tuple[str, ...]:
    """Say which factors were taken, and what their rows are not.

    Examples
    --------
    >>> growth_notes((1.0, 1.25, 1.5))[0][:44]
    'growth: 3 factors, 1 to 1.5, each 0.25 more;'
    >>> growth_notes((1.0, 1.1, 1.5))[0][:28]
    'growth: 3 factors, 1 to 1.5;'
    """
    if not factors:
        return ()
    steps = {round(after - before, 9) for before, after in pairwise(factors)}
    taken = f"{len(factors)} factors, {factors[0]:g} to {factors[-1]:g}" if steps else f"{factors[0]:g}"
    each = f", each {min(steps):g} more" if len(steps) == 1 else ""
    return (
        f"growth: {taken}{each}; its rows are plans before simulation: where that raises the plan, "
        "they may take more nodes as well, and give out sooner",
    )


def growth_range(text: str) -> tuple[float, ...]:
    """Read LOW:HIGH or LOW:HIGH:STEP.

    Raises
    ------
    InputError
        One line that begins with the option.

    Examples
    --------
    >>> growth_range("1.0:2.0:0.5")
    (1.0, 1.5, 2.0)
    >>> len(growth_range("1:2"))
    11
    """
    expected = "--growth: expected LOW:HIGH or LOW:HIGH:STEP, such as 1.0:2.0 or 1.0:2.0:0.25 (every 0.25)"
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        raise InputError(f"{expected}, got {text[:60]!r}") from None
    if len(numbers) not in (2, 3) or not all(0.0 < number <= MOST_GROWTH for number in numbers):
        raise InputError(f"{expected}, of numbers > 0, got {text[:60]!r}")
    low, high, *rest = numbers
    if high < low:
        raise InputError(f"{expected}, the higher one last, got {text[:60]!r}")
    step = rest[0] if rest else (high - low) / STEPS
    if high == low:
        return (low,)
    if step > (high - low) * (1.0 + 1e-9):
        raise InputError(
            f"--growth: expected a step of at most {high - low:g}, from {low:g} to {high:g}, got {step:g}"
        )
    if (high - low) / step > MOST_ROWS:
        raise InputError(f"--growth: expected at most {MOST_ROWS} steps, got {text[:60]!r}")
    count = int((high - low) / step + 1e-9)
    return tuple(round(low + index * step, 12) for index in range(count + 1))
