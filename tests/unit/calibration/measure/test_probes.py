"""What is measured once, on a meter that the test advances."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from calibration.measure import probes
from calibration.measure.probes import l3_lifetime_s, power_w
from calibration.measure.visits import allocate_pool


@dataclass
class Stairs:
    """A meter that has used 1 J more at the second reading and 9 J more at the fourth."""

    source: str = "stairs"
    readings_j: list[float] = field(default_factory=lambda: [0.0, 1.0, 1.0, 10.0])

    def read_j(self) -> tuple[float, ...]:
        return (self.readings_j.pop(0),)

    def used_j(self, start_j: tuple[float, ...], end_j: tuple[float, ...]) -> float:
        return end_j[0] - start_j[0]


def test_power_at_rest_and_at_work_are_the_energy_of_each_phase_over_its_time() -> None:
    power = power_w(Stairs(), allocate_pool(1e6), 0, 0.2)
    assert power["busy_w"] == pytest.approx(9.0 * power["idle_w"], rel=0.2)
    assert power["idle_w"] == pytest.approx(1.0 / 0.2, rel=0.2)


@pytest.mark.thorough
def test_lines_are_kept_until_the_worker_itself_has_read_more_than_a_cache_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = allocate_pool(4e8)

    def evict(duration_s: float) -> None:
        if duration_s >= 0.01:
            pool.memory[25_000_000:].sum()

    monkeypatch.setattr(probes, "_compute", evict)
    # The host's other work may hide it, three times in a row too, as was seen once; not ten times.
    found_s = (l3_lifetime_s(pool) for _ in range(10))
    assert any(0.0 < each_s <= 0.016 for each_s in found_s)
