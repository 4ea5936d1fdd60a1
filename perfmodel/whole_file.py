"""Files that are there whole or not at all."""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path


def replace_whole(path: Path, content: bytes, *, keep: bool = True) -> None:
    """Write beside a file and take its place, so that no reader sees half of it.

    Whatever ends the writing, an interrupt too, nothing is left but what was there before.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        All of it.
    keep : bool
        Whether to take its place; otherwise only to see whether there is room.

    Raises
    ------
    OSError
        If the folder does not exist or takes no such file.
    """
    temporary = path.with_name(f".perfplan-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        if keep:
            temporary.replace(path)
    finally:  # the name is known before the file is there: no interrupt finds it without one
        temporary.unlink(missing_ok=True)


def sealed(content: bytes) -> bytes:
    """Content behind its digest, by which `unsealed` knows any other."""
    return sha256(content).hexdigest().encode() + b" " + content


def unsealed(written: bytes) -> bytes | None:
    """What was sealed; None where a byte of it is missing or another one.

    Examples
    --------
    >>> unsealed(sealed(b"whole")), unsealed(sealed(b"whole")[:-1]), unsealed(b"")
    (b'whole', None, None)
    """
    digest, _, content = written.partition(b" ")
    return content if digest == sha256(content).hexdigest().encode() else None
