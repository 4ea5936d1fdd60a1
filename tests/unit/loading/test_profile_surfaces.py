"""Surfaces in a profile: read by name, never by position; those of another version's law are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from perfmodel.domain.surface import LAW_NAMES, Surface, law_names
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.profile_surfaces import SurfaceSection, surface_section
from perfmodel.loading.shipped import find_profile
from tests.unit.loading.test_profile_file import document, error_of, profile, surface_values


def calibrated(surface: dict[str, Any], **stack: Any) -> dict[str, Any]:
    """A profile with one surface."""
    described = document()
    plain = {**described["stacks"]["plain"], "surfaces": [surface], **stack}
    return described | {"stacks": {"plain": plain}}


NAMES_OF_LAYERS = " ".join((*law_names("fc").coordinates, "weight"))
REFIT = "perfplan dev refit MEASURED.csv PROFILE"


def test_a_law_by_position_is_refused_with_the_way_out() -> None:
    """As profiles were until terms had names, whatever else is in them."""
    flat = {"law_ns": [1.0] * 21, "scales": [1.0], "low": [0.0], "high": [1.0]}
    surface = {key: value for key, value in surface_values("fc").items() if key != "coordinates"} | flat
    for stack in ({}, {"law_revision": 2}):
        message = error_of(calibrated(surface, **stack))
        assert message.startswith("law_ns: expected coefficients by name, got a list of 21: ")
        assert REFIT in message


@pytest.mark.parametrize("key", ["law_ns", "coordinates"])
def test_names_of_another_version_are_refused_with_the_way_out(key: str) -> None:
    surface = surface_values("fc")
    lost = next(iter(surface[key]))
    surface[key]["new"] = surface[key][lost]
    message = error_of(calibrated(surface))
    assert message.startswith("new: expected the names of this version, unknown new: ")
    assert REFIT in message
    del surface[key][lost]
    assert f"missing {lost}; unknown new" in error_of(calibrated(surface))
    del surface[key]["new"]
    message = error_of(calibrated(surface))
    assert message.startswith(f"{key}: expected the names of this version, missing {lost}: ")


def test_terms_and_coordinates_are_read_by_name_in_whatever_order() -> None:
    """Each value is its own: any two that change places would show."""
    surface = surface_values("sum")
    terms, coordinates = list(surface["law_ns"]), list(surface["coordinates"])
    surface["law_ns"] = {name: float(number) for number, name in enumerate(terms)}
    surface["coordinates"] = {
        name: {"scale": number + 1.0, "low": float(number), "high": number + 0.5}
        for number, name in enumerate(coordinates)
    }
    columns = {name: f"{number}.25" for number, name in enumerate(coordinates)} | {"weight": "0.7"}

    def read() -> Surface:
        surface["residual"] = f"{' '.join(columns)}\n{' '.join(columns.values())}\n"
        return profile(calibrated(surface)).device("plain").surfaces["sum"]

    def values(found: Surface) -> list[Any]:
        arrays = (found.scales, found.low, found.high, found.points, found.weights)
        return [list(found.law.items()), *(array.tolist() for array in arrays)]

    as_listed = read()
    assert as_listed.law["written_byte"] == pytest.approx(3e-9)
    assert as_listed.points.tolist() == [[0.25, 1.25, 2.25, 3.25, 4.25]]
    assert as_listed.low.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    for key in ("law_ns", "coordinates"):
        surface[key] = dict(reversed(surface[key].items()))
    columns = dict(reversed(columns.items()))
    assert values(read()) == values(as_listed)


@pytest.mark.thorough
def test_a_surface_is_written_as_it_was_read() -> None:
    """Those that are shipped, to the last bit: they were rounded when they were first written."""
    shipped = read_profile(find_profile("amd-epyc-turin-2c").path)
    for call, surface in shipped.device().surfaces.items():
        section = surface_section(call, surface, calls=12, source="measured: raw.csv")
        again = SurfaceSection.model_validate_json(json.dumps(section)).surface()
        assert (again.law, again.amplitude) == (surface.law, surface.amplitude)
        assert (again.noise, again.noise_s) == (surface.noise, surface.noise_s)
        for field in ("scales", "low", "high", "points", "weights"):
            assert np.array_equal(getattr(again, field), getattr(surface, field)), field


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"call": "fx"},
            f"call: expected family or family.variant, of {', '.join(LAW_NAMES)}",
        ),
        (
            {"residual": ""},
            f"residual: line 1: expected the names {NAMES_OF_LAYERS}",
        ),
        (
            {"residual": f"{NAMES_OF_LAYERS}\n0 1 2\n"},
            "residual: line 2: expected 10 coordinates and a weight",
        ),
        *(
            (
                {"residual": f"{NAMES_OF_LAYERS}\n{'0 ' * 10}1\n{'0 ' * 10}{odd}\n"},
                f"residual: line 3: expected finite numbers, got {'0 ' * 10}{odd}",
            )
            for odd in ("x", "nan", "inf")
        ),
    ],
)
def test_a_surface_that_does_not_fit_its_names_is_refused(change: dict[str, Any], error: str) -> None:
    assert error_of(calibrated(surface_values("fc") | change)) == error


def test_a_range_that_descends_is_refused() -> None:
    surface = surface_values("fc")
    surface["coordinates"]["log_rows"] = {"scale": 1.0, "low": 2.0, "high": 1.0}
    assert error_of(calibrated(surface)) == "high: expected at least low, 2, got 1"
    surface["coordinates"]["log_rows"]["low"] = 1.0
    assert set(profile(calibrated(surface)).device("plain").surfaces) == {"fc"}


def test_noise_of_small_calls_is_read_in_seconds() -> None:
    surface = surface_values("sum") | {"noise": 0.2, "noise_ns": 30.0}
    read = profile(calibrated(surface)).device().surfaces["sum"]
    assert (read.noise, read.noise_s) == (0.2, pytest.approx(30e-9))
