"""Solutions of a plan's integer programmes that were found before: a plan asked for again solves nothing.

All solutions of one plan are one entry (`kept`), each by all that its programme says. What the clock ended is
not kept: another run may find better.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

from perfmodel.planning.plan.kept import Kept
from perfmodel.planning.plan.programme import Programme, Solution


class KeptSolutions:
    """What is known of the programmes of one plan.

    Parameters
    ----------
    digest : str
        Of the plan: the name of the entry.
    kept : Kept, optional
        Where entries are; by default in the user's cache.
    """

    def __init__(self, digest: str, kept: Kept | None = None) -> None:
        self._digest, self._kept = digest, Kept() if kept is None else kept
        self._found: dict[str, Any] = self._kept.get(digest) or {}
        self._is_new = False

    def get(self, programme: Programme, asked: str) -> Solution | None:
        """Return a solution; None where it is not known, or of another make."""
        try:
            found = self._found[_digest_of(programme, asked)]
            units = found["units"]
            return Solution(
                status=found["status"],
                units=None if units is None else np.array(units, dtype=np.int64),
                loads_qps=tuple(np.array(each, dtype=np.float64) for each in found["loads_qps"]),
                bound=float(found["bound"]),
                served=float(found["served"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def keep(self, programme: Programme, asked: str, solution: Solution) -> None:
        """Take a solution; it is written with the others."""
        if solution.status == "stopped":
            return
        self._found[_digest_of(programme, asked)] = {
            "status": solution.status,
            "units": None if solution.units is None else solution.units.tolist(),
            "loads_qps": [each.tolist() for each in solution.loads_qps],
            "bound": solution.bound,
            "served": solution.served,
        }
        self._is_new = True

    def write(self) -> None:
        """Write all that was found, where anything was found anew."""
        if self._is_new:
            self._kept.keep(self._digest, self._found)
            self._is_new = False


def _digest_of(programme: Programme, asked: str) -> str:
    """Digest of all that a programme says, and of what is asked of it."""
    digest = sha256(asked.encode())
    for name in programme.__dataclass_fields__:
        if name == "known":
            continue
        value = getattr(programme, name)
        said = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        digest.update(f" {name} {getattr(value, 'shape', '')} ".encode())
        digest.update(said)
    return digest.hexdigest()
