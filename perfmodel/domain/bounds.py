"""How large and how small a value may be: one type for each kind of quantity, with the reason.

What lies outside is no machine, model or traffic, and the arithmetic behind the answers would round it away
or overflow: floats still hold every whole number below 2^53, and products of a few of the others stay far
from 1e308. Each type has the bound that everybody knows (a rate is positive), which messages and the JSON
Schema name, and the outer ones, which only who exceeds them hears of.
"""

from __future__ import annotations

from math import inf
from typing import Annotated

from pydantic import AfterValidator, Field

from perfmodel.domain.base import ValueErrorAt

MOST_COUNT = 10**9
"""Of things that are counted or laid side by side: items, requests, elements of a layer."""

MOST_ROWS = 10**12
"""Rows of an embedding table: at one byte a row, a terabyte."""

MOST_ITEMS = 1_000_000
"""Of a query: a thousand times the largest published one. [items]"""

MOST_CORES = 100_000
"""Of a node."""

MOST_ACCELERATORS = 64
"""Of a node: a few times what boards have room for."""

MOST_INSTANCES = 1024
"""Serving processes of a node."""

MOST_QUERIES = 2 * 10**8
"""Of a run, whose latencies are kept, eight bytes each, and sorted. [queries]"""

MOST_SEED = 2**63 - 1
"""What other tools still read as a whole number."""

LEAST_RATE_QPS = 1e-6
"""More seldom, and the time stamps of a run, as floats, no longer resolve a millisecond. [queries/s]"""

MOST_RATE_QPS = 1e12
"""A hundred queries a second for everybody on earth. [queries/s]"""

LEAST_PRECISION = 1e-6
"""A relative half-width that takes more than 10^12 queries. [1]"""


def within(low: float = -inf, high: float = inf) -> AfterValidator:
    """Refuse a number outside wide bounds.

    Examples
    --------
    >>> within(high=1000).func(7)
    7
    """

    def checked(value: float) -> float:
        if value > high:
            raise ValueErrorAt(f"expected at most {_shown(high)}, got {_shown(value)}", ())
        if value < low:
            raise ValueErrorAt(f"expected at least {_shown(low)}, got {_shown(value)}", ())
        return value

    return AfterValidator(checked)


def _shown(value: float) -> str:
    """A number as people write it; a long whole one by its digits."""
    if isinstance(value, int) and abs(value) >= 10**15:
        digits = len(str(abs(value)))
        return f"a number of {digits} digits" if digits > 19 else str(value)
    return f"{value:,d}".replace(",", "_") if isinstance(value, int) else f"{value:g}"


Count = Annotated[int, Field(ge=1), within(high=MOST_COUNT)]
CountFromZero = Annotated[int, Field(ge=0), within(high=MOST_COUNT)]
Rows = Annotated[int, Field(ge=1), within(high=MOST_ROWS)]
FileOrName = Annotated[str, Field(min_length=1)]
Cores = Annotated[int, Field(ge=1), within(high=MOST_CORES)]
QueryItems = Annotated[int, Field(ge=1, le=MOST_ITEMS)]
Queries = Annotated[int, Field(ge=1000), within(high=MOST_QUERIES)]
Seed = Annotated[int, Field(ge=0), within(high=MOST_SEED)]

Rate = Annotated[
    float,
    Field(gt=0, description="mean arrival rate [queries/s]"),
    within(LEAST_RATE_QPS, MOST_RATE_QPS),
]
Precision = Annotated[float, Field(gt=0, lt=1), within(low=LEAST_PRECISION)]
Pooling = Annotated[float, Field(gt=0), within(1e-9, MOST_COUNT)]

# From a nanosecond, in which nothing here happens, to eleven days, for which nobody waits.
Milliseconds = Annotated[float, Field(gt=0), within(1e-6, 1e9)]
MillisecondsFromZero = Annotated[float, Field(ge=0), within(high=1e9)]
# From a microsecond, since what changes faster averages out between two queries, to thirty years.
Seconds = Annotated[float, Field(gt=0), within(1e-6, 1e9)]
# A whole period is simulated in windows of minutes, each of which is kept: up to a leap year.
MOST_PERIOD_S = 366 * 86_400.0
Period = Annotated[float, Field(gt=0), within(1e-6, MOST_PERIOD_S)]

# Ratios, and quantities in the units of files (GB/s, ns, W, GiB): far around what exists.
Positive = Annotated[float, Field(gt=0), within(1e-12, 1e15)]
NonNegative = Annotated[float, Field(ge=0), within(high=1e15)]
Signed = Annotated[float, within(-1e15, 1e15)]
Fraction = Annotated[float, Field(gt=0, le=1), within(low=1e-12)]
Slowdown = Annotated[float, Field(ge=1), within(high=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
StoredItems = Annotated[int, Field(ge=0), within(high=1_000_000)]
QueueBlobs = Annotated[int, Field(ge=0), within(high=1_000)]

TRACED_QUERIES, MOST_TRACED_QUERIES = 1000, 100_000
"""Of a trace to look into, by default and at the most: more make files that no viewer opens."""
