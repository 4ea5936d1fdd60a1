"""Periods of traffic: a whole one is simulated, and each of its windows is kept."""

from __future__ import annotations

import pytest

from perfmodel.domain.bounds import MOST_PERIOD_S
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario


@pytest.mark.parametrize(
    "arrivals",
    [
        "{process: diurnal, rate_qps: 10, amplitude: 0.5, period_s: 1e9}",
        "{process: stages, stages: [{duration_s: 1e9, rate_qps: 10}]}",
        "{process: stages, stages: [{duration_s: 2e7, rate_qps: 10}, {duration_s: 2e7, rate_qps: 1}]}",
    ],
)
def test_a_period_beyond_a_year_is_refused_before_its_windows_fill_the_memory(arrivals: str) -> None:
    with pytest.raises(InputError, match=r"expected at most 3\.162\d*e\+07"):
        load_scenario("rm3_skylake", [f"traffic.arrivals={arrivals}"])


def test_a_year_is_a_period() -> None:
    year = f"traffic.arrivals={{process: diurnal, rate_qps: 10, amplitude: 0.5, period_s: {MOST_PERIOD_S}}}"
    load_scenario("rm3_skylake", [year])
