"""The nearest known word, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """Write `; did you mean 'x'?` for the nearest known word; nothing where none is near.

    Examples
    --------
    >>> nearest("rate_pqs", ["rate_qps", "process"])
    "; did you mean 'rate_qps'?"
    """
    by_lower = {_folded(name): name for name in known}
    close = get_close_matches(_folded(word), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")
