"""`loop.c`, built in a temporary folder with whatever C compiler there is."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from perfmodel.sim.arrays import FloatArray
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.traffic import Queries

Loop = Callable[[Queries, ServiceTimes, int, FloatArray], float]
POINTER = ctypes.c_void_p
ARGUMENTS = [ctypes.c_int64, POINTER, POINTER, ctypes.c_int64, ctypes.c_int64, POINTER, POINTER]


def build_loops(executors: int) -> dict[str, Loop] | None:
    """Build for a number of executors; None where there is no compiler. Keys: vectors, ring."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    source = Path(__file__).with_name("loop.c")
    with TemporaryDirectory() as folder:
        library = Path(folder) / "loop.so"
        flags = ["-O3", "-march=native", f"-DBLOCKS={-(-executors // 8)}", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    return {"vectors": _loop(loaded.serve_vectors), "ring": _loop(loaded.serve_ring)}


def _loop(function: ctypes._CFuncPtr) -> Loop:  # type: ignore[name-defined]  # not in the stubs
    function.restype = ctypes.c_double
    function.argtypes = ARGUMENTS

    def call(queries: Queries, service: ServiceTimes, batch_size: int, finish_s: FloatArray) -> float:
        arrays = (queries.arrival_s.ctypes.data, queries.num_items.ctypes.data)
        table = (service.num_executors, service.cpu_s.ctypes.data, finish_s.ctypes.data)
        return float(function(len(queries), *arrays, batch_size, *table))

    return call
