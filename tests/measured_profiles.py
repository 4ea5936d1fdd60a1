"""The shipped profiles that were measured or fitted themselves."""

from __future__ import annotations

from perfmodel.loading.derived_profile import is_derived
from perfmodel.loading.shipped import find_file, shipped_names


def measured_names() -> list[str]:
    """Names of the shipped profiles that are derived from no other."""
    return [name for name in shipped_names("profile") if not is_derived(find_file("profile", name))]
