"""What is written where something else belongs, and what may just be written."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

LARGE = "x" * 10_000_000

VALUES: dict[str, Any] = {
    "text": "abc",
    "list": [1],
    "section": {"a": 1},
    "true": True,
    "null": None,
    "+0": 0,
    "-0": -0.0,
    "-1": -1,
    "inf": inf,
    "-inf": -inf,
    "nan": nan,
    "2^63": 2**63,
    "400 digits": 10**399,
    "1e-308": 1e-308,
    "1e308": 1e308,
    "empty": "",
    "300 characters": "x" * 300,
    "control character": "a\0b",
    "10 MB": LARGE,
    "directory": ".",
    "missing": "no/such/file.yaml",
}
"""Values of keys, by what the report calls them."""

TEXTS: dict[str, str] = {
    name: str(value) for name, value in VALUES.items() if not isinstance(value, list | dict | bool | None)
} | {"1e-308": "1e-308", "-0": "-0", "a comma": ",", "wrong encoding": "\udce9\udcff"}
"""Values of options and of cells; bytes that are no UTF-8 arrive as surrogates."""

LADDER: tuple[float | int, ...] = (
    *(-(10.0**power) for power in (300, 12, 3, 0)),
    *(0, 1, 2),
    *(10**power for power in range(1, 19)),
    *(10.0**power for power in (-300, -12, -9, -6, -3)),
    *(0.5, 0.999999, 1.000001, 1e300),
)
"""Numbers among which the legal extremes of a key are looked for."""


def contents(ordinary: bytes) -> dict[str, Callable[[], bytes]]:
    """Whole files, made of an ordinary one's bytes."""
    return {
        "empty": lambda: b"",
        "10 MB": lambda: LARGE.encode(),
        "10 MB of lines": lambda: ordinary * (1 + len(LARGE) // len(ordinary)),
        "latin-1": lambda: b"# \xe9\n" + ordinary,
        "UTF-16": lambda: ordinary.decode().encode("utf-16"),
        "cut": lambda: ordinary[: len(ordinary) // 2],
        "zeros": lambda: bytes(1000),
    }
