"""Fitting anew gives the profiles that are shipped: their values have no other origin."""

from __future__ import annotations

import pytest

from calibration.published.compare import shipped_devices, shipped_models
from calibration.published.figures import ISCA
from calibration.published.loaded import ENGINES, LoadedNode, fitted_slowdowns, loaded_cases
from calibration.published.stacks import fit_all
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file
from tests.measured_profiles import measured_names

pytestmark = pytest.mark.slow

ROUNDING = 0.01
"""Profiles hold four digits, and the fit stops within 1e-4. [1]"""


def shipped_costs() -> dict[tuple[str, str], dict[str, float]]:
    profiles = [read_profile(find_file("profile", name)) for name in measured_names()]
    return {
        (profile.name, stack): {key: entry.value for key, entry in section.costs if entry is not None}
        for profile in profiles
        for stack, section in profile.stacks.items()
    }


def test_refitting_gives_the_shipped_costs() -> None:
    shipped = shipped_costs()
    fitted = fit_all(shipped_models())
    assert {(entry.device, entry.stack) for entry in fitted} <= shipped.keys()
    for entry in fitted:
        costs = {key: shipped[entry.device, entry.stack][key] for key in entry.costs}
        assert entry.costs == pytest.approx(costs, rel=ROUNDING), f"{entry.device}@{entry.stack}"


def test_refitting_the_loaded_figures_gives_the_shipped_slowdowns() -> None:
    broadwell = shipped_devices()["broadwell", ISCA]
    node = LoadedNode(cpu=broadwell, models=shipped_models(), engines=ENGINES[0])
    cases = loaded_cases()
    found = fitted_slowdowns(node.errors_between(cases), [case.is_fitted for case in cases])
    shipped = broadwell.interference.conversion_factor, broadwell.interference.node_factor
    assert found == pytest.approx(shipped, rel=0.02)
