"""Words of error messages: what was written, cut to a line's worth, and the nearest known word."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_QUOTE = 60
"""What a message quotes of what was written, lest it bury what is wrong. [characters]"""


def cut(text: str) -> str:
    """Return the beginning of a text that is too long for a message.

    Examples
    --------
    >>> cut("short"), len(cut("long" * 1000))
    ('short', 60)
    """
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def quoted(text: str) -> str:
    """Return a text in quotes, as Python writes it, cut to a line's worth.

    Examples
    --------
    >>> quoted("rm3")
    "'rm3'"
    """
    return cut(repr(text[:LONGEST_QUOTE]))  # what is cut away is not escaped first: it may be 10 MB


def nearest(word: str, known: Iterable[str]) -> str:
    """Write `; did you mean 'x'?` for the nearest known word; nothing where none is near.

    Examples
    --------
    >>> nearest("rate_pqs", ["rate_qps", "process"])
    "; did you mean 'rate_qps'?"
    """
    if len(word) > LONGEST_QUOTE:
        return ""
    by_lower = {_folded(name): name for name in known}
    close = get_close_matches(_folded(word), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")
