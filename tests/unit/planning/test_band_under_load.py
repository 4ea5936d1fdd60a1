"""Near saturation the queue makes far more of the service times' error than it is, and the band says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import perfmodel

QUICK = ["simulation.min_queries=200000", "simulation.max_queries=200000", "simulation.precision=0.5"]


def node(folder: Path, service_ms: float, **more: Any) -> dict[str, Any]:
    """Two executors that take the same time for every query, loaded to 0.8 where that is 10 ms."""
    table = folder / f"{service_ms:g}.csv"
    table.write_text(f"items,service_ms\n100,{service_ms}\n", encoding="utf-8")
    return {
        "node": {"service_times": str(table), "executors": 2, **more},
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": 160},
            "query_sizes": {"distribution": "fixed", "num_items": 100},
        },
        "policy": {"name": "split", "batch_size": 128},
        "sla": {"percentile": 0.95, "latency_ms": 100},
    }


@pytest.mark.thorough
def test_times_too_long_by_their_error_are_within_the_band_at_high_utilisation(
    tmp_path: Path,
) -> None:
    truth = perfmodel.predict(node(tmp_path, 10.0), overrides=QUICK)
    assert truth.cpu_utilisation == pytest.approx(0.8, abs=0.01)
    off = perfmodel.predict(node(tmp_path, 11.3, error_percent=13), overrides=QUICK).to_dict()
    true_ms = truth.to_dict()["latency_ms"]["p95"]
    found_ms, band, sure = (
        off["latency_ms"]["p95"],
        off["calibration_band_ms"]["p95"],
        off["sla"]["confidence_band_ms"],
    )
    assert true_ms is not None
    assert found_ms > 1.8 * true_ms  # 13 % of service time, and nearly twice the percentile
    # One error to the shorter side is the truth itself: the band's lower end is that queue's percentile.
    assert band[0] == pytest.approx(true_ms, rel=0.05)
    assert sure[0] < 0.97 * true_ms
    assert sure[1] is None  # 1.28 errors to the longer side, 17 %, the node cannot keep up
    page = str(perfmodel.predict(node(tmp_path, 11.3, error_percent=13), overrides=QUICK))
    assert "an overload is within them" in " ".join(page.split())


@pytest.mark.thorough
@pytest.mark.parametrize("limit_ms", [60.0, 200.0])
def test_the_verdict_is_open_where_the_limit_is_within_the_band(limit_ms: float, tmp_path: Path) -> None:
    limit = f"sla.latency_ms={limit_ms}"
    off = perfmodel.predict(node(tmp_path, 11.3, error_percent=13), overrides=[*QUICK, limit])
    assert off.verdict == "within_error"
    sure = perfmodel.predict(node(tmp_path, 11.3, error_percent=0.1), overrides=[*QUICK, limit])
    assert sure.verdict == ("misses_sla" if limit_ms < 92 else "meets_sla")


@pytest.mark.thorough
def test_at_low_utilisation_the_band_is_that_of_the_service_times(tmp_path: Path) -> None:
    asked = node(tmp_path, 10.0, error_percent=13)
    idle = perfmodel.predict(asked, overrides=[*QUICK, "traffic.arrivals.rate_qps=2"])
    low, high = idle.to_dict()["sla"]["confidence_band_ms"]
    assert low == pytest.approx(10.0 / 1.13**1.2816, rel=0.02)
    assert high == pytest.approx(10.0 * 1.13**1.2816, rel=0.02)
    assert "each end with" not in str(idle)
