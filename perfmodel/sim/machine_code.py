"""Machine code: what numba makes of the loops, and the files that keep it from one run to the next.

numba's own cache knows the file of the cached function only. Functions are compiled into one another across
files, so an edit of one leaves the machine code of the others as it was, and one answer mixes both. Here an
entry is named by all that it depends on: the sources of `perfmodel.sim`, the versions of numba, llvmlite,
numpy and Python, the settings that change code, the CPU, and the types of the arguments. No entry is ever
changed, so that processes that write at once cannot disturb each other; one that is damaged is compiled
anew, and where none can be written, everything is.

This is the one module that imports numba and LLVM; the others take them from here.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from perfmodel.errors import CacheWarning, InputError
from perfmodel.whole_file import replace_whole

try:
    import llvmlite
    import numba
    from llvmlite import ir
    from numba.core import types
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.errors import NumbaWarning
    from numba.core.runtime.nrt import rtsys
    from numba.core.serialize import dumps
    from numba.extending import intrinsic, models, register_model
except (ImportError, ValueError) as error:
    settings = " ".join(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    raise InputError(
        f"numba, which compiles the simulation, does not start: {' '.join(str(error).split())}"
        + (f" (settings: {settings})" if settings else "")
    ) from error

__all__ = [
    "NumbaWarning",
    "compiled",
    "compiled_as",
    "compiled_uncached",
    "intrinsic",
    "ir",
    "models",
    "register_model",
    "tuple_type",
    "types",
]

# numba's own types know little of what it has.
config: Any = numba.config
_njit: Any = numba.njit
_dumps: Any = dumps
_run_time: Any = rtsys
_compile_result: Any = CompileResult

if config.DISABLE_JIT:
    raise InputError("NUMBA_DISABLE_JIT is set, and the simulation needs the compiler: unset it")

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = Path(__file__).parent
"""Where all functions that are compiled and kept have their source."""

CODE_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT", "BOUNDSCHECK")
"""Settings of numba, beside the CPU's, that give other machine code for the same source."""

_DIGEST_BYTES = sha256().digest_size


def compiled(function: Function) -> Function:
    """Compile on first use, run without the GIL, divide as numpy does."""
    return cast(Function, _dispatcher(function, error_model="numpy"))


def compiled_as(*signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile for these arguments at once, or for any on first use; divide as Python does."""

    def compile_function(function: Callable[..., Any]) -> Any:
        dispatcher = _dispatcher(function)
        for types_of_arguments in signature:
            dispatcher.compile(types_of_arguments)
            dispatcher.disable_compile()
        return dispatcher

    return compile_function


def tuple_type(fields: tuple[Any, ...], named: type | None = None) -> Any:
    """numba's type of a tuple, or of a `NamedTuple` class."""
    of: Any = types
    return of.Tuple(fields) if named is None else of.NamedTuple(fields, named)


def compiled_uncached(function: Any, *signature: Any) -> Any:
    """Compile a function whose sources nobody knows, such as a user's; it is never kept."""
    return _njit(*signature, nogil=True)(function)


def _dispatcher(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = _njit(nogil=True, **options)(function)
    dispatcher._cache = _Cache(function)  # as `cache=True` would set numba's own
    return dispatcher


def sources_digest() -> str | None:
    """Digest of all sources beside this one; None where there are none to read, as in a zip file."""
    digest = sha256()
    paths = sorted(SOURCES.glob("*.py"))
    try:
        for path in paths:
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)} ".encode())
            digest.update(content)
    except OSError:
        return None
    return digest.hexdigest() if paths else None


_SOURCES_AT_IMPORT = sources_digest()


def cache_folders() -> list[Path]:
    """Folders that may keep machine code, the first choice first.

    `NUMBA_CACHE_DIR` where that is set; else beside the bytecode of the sources, or in the user's cache.
    """
    name = f"{SOURCES.name}_{sha256(str(SOURCES).encode()).hexdigest()[:16]}"
    if config.CACHE_DIR:
        return [Path(config.CACHE_DIR) / name]
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [SOURCES / "__pycache__", Path(user_cache) / "perfplan" / name]


class _Cache(NullCache):
    """The entries of one function; numba's dispatcher asks before it compiles, and tells afterwards."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what an earlier run compiled for these arguments, or None."""
        # What machine code runs on. numba would load here all that it needs to compile, scipy's BLAS
        # included, which takes longer than all else that a short prediction does.
        _run_time.initialize(target_context)
        key = self._key(sig, target_context.codegen())
        for path in self._paths(key):
            try:
                content = path.read_bytes()
            except (FileNotFoundError, PermissionError, NotADirectoryError):
                continue
            except OSError:
                content = b""
            try:
                return _unpacked(content, key, target_context)
            except Exception:  # nearly anything, of a file that holds nearly anything
                _warn(f"compiled code kept in {path.parent} is damaged: compiled anew")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what has been compiled, in the first folder that takes it."""
        if data.library.has_dynamic_globals or data.lifted:
            return
        if sources_digest() != _SOURCES_AT_IMPORT:  # edited since: nobody knows which version this is
            return
        key = self._key(sig, data.codegen)
        content = _packed(data, key)
        problems = []
        for path in self._paths(key):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_whole(path, content)
            except OSError as error:
                problems.append(f"{path.parent}: {error.strerror or error}")
            else:
                self._drop_others(path)
                return
        _warn(
            f"compiled code cannot be kept ({'; '.join(problems) or 'its sources cannot be read'}), so each "
            "run compiles it anew; NUMBA_CACHE_DIR can name a folder for it"
        )

    def _paths(self, key: Any) -> Iterator[Path]:
        """Where an entry may be; nowhere if the sources are unknown."""
        if _SOURCES_AT_IMPORT is not None:
            what, version = (sha256(repr(part).encode()).hexdigest()[:16] for part in (key[:3], key[3:]))
            name = f"{self._prefix()}{what}.{version}.nbc"
            yield from (folder / name for folder in cache_folders())

    def _key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """All that machine code depends on; three parts set entries of one version apart."""
        function = (self._function.__module__, self._function.__qualname__)
        versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
        settings = tuple(getattr(config, name) for name in CODE_SETTINGS)
        return function, sig, codegen.magic_tuple(), versions, settings, _SOURCES_AT_IMPORT

    def _prefix(self) -> str:
        return f"{self._function.__module__.rpartition('.')[2]}.{self._function.__name__}-"

    def _drop_others(self, kept: Path) -> None:
        """Remove what an older version of the sources or of numba left for the same arguments and CPU."""
        what, _version, suffix = kept.name.rsplit(".", 2)
        for path in kept.parent.glob(f"{what}.*.{suffix}"):
            if path != kept:
                path.unlink(missing_ok=True)


def _packed(data: Any, key: Any) -> bytes:
    """Write an entry: a digest, and what it is of."""
    content: bytes = _dumps((repr(key), data._reduce()))
    return sha256(content).digest() + content


def _unpacked(content: bytes, key: Any, target_context: Any) -> Any:
    """Read an entry; raises where it is not what was written."""
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if sha256(content).digest() != digest:
        raise ValueError("the digest differs")
    written_key, reduced = pickle.loads(content)
    if written_key != repr(key):
        raise ValueError("another entry's content")
    return _compile_result._rebuild(target_context, *reduced)


def _warn(message: str) -> None:
    warnings.warn(message, CacheWarning, stacklevel=3)
