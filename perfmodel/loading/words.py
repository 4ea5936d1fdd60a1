"""Words of messages: what was written, cut to a line's worth; the nearest known word; times as said."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

LONGEST_QUOTE = 60
"""What a message quotes of what was written, lest it bury what is wrong. [characters]"""


MOST_HINTS = 4

LONGEST_PATH = 200
"""Of a path a message shows more: people look it up. [characters]"""


def cut(text: str, *, most: int = LONGEST_QUOTE) -> str:
    """Return the beginning of a text that is too long for a message.

    Examples
    --------
    >>> cut("short"), len(cut("long" * 1000))
    ('short', 60)
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def cut_path(path: Path) -> str:
    """Return the end of a path that is too long for a message."""
    text = str(path)
    return text if len(text) <= LONGEST_PATH else "…" + text[1 - LONGEST_PATH :]


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


def near(word: str, known: Iterable[str]) -> str:
    """As `nearest`; where none is near, the names that begin with the word, if there are any.

    Examples
    --------
    >>> near("rm3", ["rm1_skylake", "rm3_broadwell", "rm3_skylake"])
    "; did you mean 'rm3_broadwell' or 'rm3_skylake'?"
    """
    names = list(known)
    begin = [name for name in names if word and _folded(name).startswith(_folded(word))][:MOST_HINTS]
    if hint := nearest(word, names):
        return hint
    return f"; did you mean {' or '.join(map(repr, begin))}?" if begin else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")


def duration(seconds: float) -> str:
    """A time as people say it.

    Examples
    --------
    >>> duration(42.0), duration(600.0), duration(9000.0)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 6000.0 else f"{seconds / 3600.0:.1f} h"
