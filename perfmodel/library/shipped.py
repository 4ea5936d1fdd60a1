"""What comes with perfplan: models, hardware profiles, scenarios."""

from __future__ import annotations

from perfmodel.loading.shipped import shipped_names


def models() -> list[str]:
    """Return the names of the shipped models.

    Examples
    --------
    >>> import perfmodel
    >>> perfmodel.models()[:3]
    ['bert4rec', 'bst', 'dcn-v2-moe']
    """
    return shipped_names("model")


def profiles() -> list[str]:
    """Return the names of the shipped hardware profiles; `perfplan list profiles` describes them."""
    return shipped_names("profile")


def scenarios() -> list[str]:
    """Return the names of the shipped scenarios."""
    return shipped_names("scenario")
