"""A claim is worth having only where it is mostly made: calibrated machines, at 0.7 of what they carry."""

from __future__ import annotations

import pytest

import perfmodel

CALIBRATED = ("node.cpu=amd-epyc-turin-2c", "node.cores=2", "node.stack=null")
SCENARIOS = ("rm1_skylake", "rm2_skylake", "rm3_skylake", "wnd_skylake", "ncf_skylake", "din_skylake")
CLAIMED = 0.75


@pytest.mark.slow
def test_three_of_four_loads_at_seven_tenths_of_the_capacity_get_a_plain_verdict() -> None:
    verdicts = []
    for name in SCENARIOS:
        found = perfmodel.predict(name, overrides=(*CALIBRATED, "traffic.arrivals.rate_qps=5"))
        assert found.latency_bounded_qps is not None
        loaded = f"traffic.arrivals.rate_qps={0.7 * found.latency_bounded_qps}"
        verdicts.append(perfmodel.predict(name, overrides=(*CALIBRATED, loaded)).verdict)
    assert verdicts.count("meets_sla") >= CLAIMED * len(verdicts)
