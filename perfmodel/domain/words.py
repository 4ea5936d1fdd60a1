"""What every key of a file means, read off the docstrings of the types: for schemas, and so for editors."""

from __future__ import annotations

import re
from inspect import cleandoc

_ENTRY = re.compile(r"^(?P<names>[a-z_][\w]*(?:, [a-z_][\w]*)*) : .*$")


def attribute_words(docstring: str | None) -> dict[str, str]:
    """The text of each attribute in a numpydoc docstring, on one line.

    Examples
    --------
    >>> text = '''A thing.
    ...
    ...     Attributes
    ...     ----------
    ...     width, height : float
    ...         Sides. [m]
    ...     name : str
    ...         What it is called,
    ...         by people.
    ...     '''
    >>> attribute_words(text)
    {'width': 'Sides. [m]', 'height': 'Sides. [m]', 'name': 'What it is called, by people.'}
    """
    _, found, section = cleandoc(docstring or "").partition("Attributes\n----------\n")
    words: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines() if found else ():
        if (entry := _ENTRY.match(line)) is not None:
            names = entry["names"].split(", ")
        elif line.startswith("    "):
            for name in names:
                words[name] = f"{words.get(name, '')} {line.strip()}".strip()
        elif line.strip():
            break  # the next section
    return words
