"""Say in one line what to install where a command needs PyTorch and there is none."""

from __future__ import annotations

from importlib.util import find_spec

from perfmodel.errors import InputError


def require_torch() -> None:
    """Check that torch can be imported, without importing it.

    Raises
    ------
    InputError
        If it cannot.
    """
    if find_spec("torch") is None:
        raise InputError("this command needs PyTorch: pip install 'perfplan[calibration]'")
