"""The lock of the test command: complete, within the ranges that are declared, and of versions only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import perfmodel

CHECKOUT = Path(perfmodel.__file__).parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = {
    canonicalize_name(name): version
    for name, version in (line.split("==") for line in LINES if line and not line.startswith("#"))
}
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNTIME = PROJECT["project"]["dependencies"]
DECLARED = [*RUNTIME, *(text for texts in EXTRAS.values() for text in texts)]


def test_the_lock_holds_versions_and_nothing_else() -> None:
    assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in LINES)


@pytest.mark.parametrize("text", [*DECLARED, *PROJECT["build-system"]["requires"]])
def test_every_range_has_both_ends(text: str) -> None:
    operators = {part.operator for part in Requirement(text).specifier}
    assert operators == {">=", "<"}


@pytest.mark.parametrize("text", [*RUNTIME, *EXTRAS["test"], *EXTRAS["calibration"]])
def test_what_is_locked_lies_in_its_range(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_what_locked_packages_need_is_locked_too() -> None:
    roots = [Requirement(text) for text in [*RUNTIME, *EXTRAS["test"], *EXTRAS["calibration"]]]
    needed = {canonicalize_name(name) for name in _names(roots)}
    assert len(needed) > len(roots), "nothing indirect was found"
    assert needed <= PINS.keys()


def _names(roots: list[Requirement]) -> Iterator[str]:
    """Walk from package to package, where the version that is installed is the one that is locked."""
    pending, seen = list(roots), set[str]()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        yield name
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if found.version.split("+")[0] == PINS.get(name):  # whatever the build: torch 2.13.0+cpu
            pending += [Requirement(text) for text in found.requires or []]
