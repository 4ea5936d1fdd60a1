"""A function in a process whose linear algebra has one thread: small products are slower with more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from calibration.children import in_fresh_process

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by the libraries when they are loaded, so that only a fresh process heeds them."""

P = ParamSpec("P")
R = TypeVar("R")


def in_one_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what the function returns, called in a fresh process; all of it must be picklable."""
    with _environment(dict.fromkeys(_VARIABLES, "1")):
        return in_fresh_process(function, *args, **kwargs)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables while the body runs, for processes that it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
