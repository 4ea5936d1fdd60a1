"""Names for the array types that the simulation hands around."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


def frozen_floats(values: ArrayLike) -> FloatArray:
    """Return the values as a contiguous float64 array that cannot be written through."""
    array = np.ascontiguousarray(values, dtype=np.float64).view()
    array.flags.writeable = False
    return array


def frozen_ints(values: ArrayLike) -> IntArray:
    """Return the values as a contiguous int64 array that cannot be written through."""
    array = np.ascontiguousarray(values, dtype=np.int64).view()
    array.flags.writeable = False
    return array
