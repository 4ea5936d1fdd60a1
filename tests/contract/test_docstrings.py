"""Every public formula says what goes in, in which unit, what it refuses, and where it comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

import perfmodel.costmodel
import perfmodel.queueing

PACKAGES = (perfmodel.costmodel, perfmodel.queueing)
SURFACES = ("perfmodel.costmodel.surfaces", "perfmodel.costmodel.places")
"""The measured laws: docs/calibration-method.md has their method, files the names of their terms."""
SOURCES = ("References\n", "Derived here", "Source: ")
"""How a docstring gives its source: a numbered reference, a derivation, or where another has it."""
OURS = r"raise (\w+Error)\("


def formulas() -> Iterator[Any]:
    """Public functions of the packages."""
    for package in PACKAGES:
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            if module.name in SURFACES:
                continue
            for name, found in vars(import_module(module.name)).items():
                if name.startswith("_") or getattr(found, "__module__", None) != module.name:
                    continue
                if inspect.isfunction(found):
                    yield pytest.param(found, id=f"{module.name}.{name}")


EVERY_FORMULA = pytest.mark.parametrize("formula", list(formulas()))


@EVERY_FORMULA
def test_a_formula_states_its_parameters_its_errors_and_its_source(formula: Callable[..., Any]) -> None:
    text = inspect.getdoc(formula) or ""
    assert any(source in text for source in SOURCES), "no source"
    _, _, section = text.partition("Parameters\n----------\n")
    entries = re.findall(r"^(\w[\w, *]*?)(?: : .*)?$", section.split("\n\n")[0], flags=re.MULTILINE)
    named = {name.strip(" *") for entry in entries for name in entry.split(",")}
    assert set(inspect.signature(formula).parameters) == named
    raised = set(re.findall(OURS, inspect.getsource(formula))) - {"AssertionError"}
    _, _, errors = text.partition("Raises\n------\n")
    assert raised <= set(re.findall(r"\w+Error", errors))


@EVERY_FORMULA
def test_a_reference_that_is_cited_is_given(formula: Callable[..., Any]) -> None:
    text = inspect.getdoc(formula) or ""
    assert set(re.findall(r"\[(\d+)\]_", text)) == set(
        re.findall(r"^\.\. \[(\d+)\]", text, flags=re.MULTILINE)
    )
