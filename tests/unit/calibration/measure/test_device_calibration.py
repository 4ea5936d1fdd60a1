"""An accelerator's calibration from end to end, on a stand-in: what is measured, kept, fitted and loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch

from calibration.fingerprint import fingerprint
from calibration.measure import calibration, device_visits
from calibration.measure.device_calibration import (
    DeviceCalibration,
    calibrated_device_values,
    require_kind,
)
from calibration.measure.device_issue import issue_costs, issue_error
from calibration.measure.device_probes import _sources
from calibration.measure.device_profile import _hardware, _launches
from calibration.measure.levels import host_level, quiet_probe_s
from calibration.measure.records import Records, read_records
from calibration.measure.sequences import random_sequence
from calibration.measure.visits import Visit, allocate_pool
from calibration.runtime.cuda import missing_cuda
from calibration.runtime.host_level import LaunchProbe
from perfmodel.cli.main import main
from perfmodel.costmodel.issue import calls_of, parts_of, rows_of
from perfmodel.costmodel.kernels import is_part_of_another, surface_key
from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.hardware import IssueCost
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.planning.prepare import find_model
from perfmodel.threads import threads_here
from perfmodel.units import US
from tests.unit.calibration.runtime.standin import StandIn

ROOM_BYTES = 3e7


@dataclass(slots=True, kw_only=True)
class Ticking(DeviceCalibration):
    """Whose clock moves by 0.1 s whenever it is read: as many visits, however busy the machine is."""

    ticks: int = 0

    def _spent_s(self) -> float:
        self.ticks += 1
        return 0.1 * self.ticks


class Meter:
    """A card that takes 100 W at all times."""

    source = "made up"

    def __init__(self) -> None:
        self.joules = 0.0

    def read_j(self) -> tuple[float, ...]:
        self.joules += 0.5
        return (self.joules,)

    def used_j(self, start_j: tuple[float, ...], end_j: tuple[float, ...]) -> float:
        return end_j[0] - start_j[0]


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """The stand-in is a CPU: it has no time for batches that a card takes, nor for threads that wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_visits, "LARGEST_BATCH", 12)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records, StandIn]:
    """A calibration of some dozens of visits: enough to fit layers, and little else."""
    raw, card = tmp_path_factory.mktemp("card") / "card.measured.csv", StandIn(free=7.5e7)
    records, phases = Records(), list[str]()

    def progress(phase: str, spent_s: float) -> None:  # noqa: ARG001
        phases.append(phase)

    Ticking(
        budget_s=6.0, raw=raw, records=records, progress=progress, accelerator=card, meter=Meter()
    ).measure()
    assert set(phases) == {
        "power at rest",
        "launches and copies",
        *["launches and copies beside busy workers"][: len(threads_here()) - 1],
        "power at work",
        "operators",
        "spread between passes",
    }
    return raw, records, card


@pytest.mark.thorough
def test_every_visit_has_device_and_issue_times_of_the_same_kernels(
    measured: tuple[Path, Records, StandIn],
) -> None:
    _, records, card = measured
    assert len(records.seeds(0)) > 5
    assert records.seeds(1) <= records.seeds(0)
    assert card.held_s
    for _, visit in records.visits:
        assert visit.issue_s is not None
        assert np.array_equal(visit.seconds > 0.0, visit.issue_s > 0.0)


@pytest.mark.thorough
def test_what_was_measured_is_read_back_with_its_issue_times(measured: tuple[Path, Records, StandIn]) -> None:
    raw, records, _ = measured
    again = read_records(raw)
    assert again.facts == records.facts
    assert again.seeds(0) == records.seeds(0)
    for (_, one), (_, other) in zip(records.visits, again.visits, strict=True):
        assert one.issue_s is not None
        assert other.issue_s == pytest.approx(one.issue_s[: len(other.seconds)], rel=1e-4)


@pytest.mark.thorough
def test_facts_are_those_of_the_card(measured: tuple[Path, Records, StandIn]) -> None:
    facts = measured[1].facts
    assert facts["l2_bytes"] == 50 * 2**20
    assert all(facts[name] > 0.0 for name in ("idle_w", "launched_w", "copied_w", "busy_w"))
    if len(threads_here()) > 1:
        assert facts["beside.workers"] == len(threads_here()) - 1
        for state in ("apart", "beside"):
            for key in ("launch_s", "copy_s", "copy_bytes_per_s"):
                assert facts[f"{state}.{key}"] >= 0.0
    for key in ("peak_flop_per_s", "bandwidth_bytes_per_s", "copy_pinned_bytes_per_s"):
        assert 0.0 < facts[key] < float("inf")


@pytest.mark.slow
def test_the_profile_loads_and_predicts_as_a_card(
    measured: tuple[Path, Records, StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two dozen sequences on a CPU that others use too: how far off they are says nothing of a card.
    monkeypatch.setattr(calibration, "_LARGEST_ERROR", inf)
    raw, records, card = measured
    values = calibrated_device_values(records, fingerprint(), card=card.name, name="card", raw=raw.name)
    profile = ProfileFile.model_validate_json(json.dumps(values))
    device = profile.device()
    assert (profile.kind, device.num_cores) == ("gpu", 1)
    assert card.name in profile.description
    assert device.launches is not None
    assert set(device.launches.issue) == set(device.surfaces)
    assert device.inputs.transfer_bytes_per_s == pytest.approx(
        records.facts["copy_pageable_bytes_per_s"]
        * records.facts["copies_probe_s"]
        / device.launches.quiet_probe_s,
        rel=1e-3,
    )
    assert device.launches.host_level >= 1.0
    time = batch_time(find_model("ncf"), device, np.array([1.0, 64.0, 1024.0]))
    assert np.all(np.isfinite(time.seconds))
    assert np.all(time.family_s("input") > 0.0)
    assert np.sum([timed.seconds for timed in time.kernels], axis=0) == pytest.approx(time.seconds)


def test_a_visit_does_not_wait_for_what_memory_or_the_draw_cannot_give() -> None:
    model = find_model("dlrm-rmc2")
    largest = device_visits.largest_batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_visits, "LARGEST_BATCH", 10**9)
        assert largest(model, room_bytes=1e12) * model.lookups_per_item <= 3e6
        assert largest(model, room_bytes=1e5) < largest(model, room_bytes=1e7)
    assert largest(model, room_bytes=1e12) == 12


@pytest.mark.thorough
def test_the_sequence_of_a_seed_is_the_one_that_a_fit_lowers_again() -> None:
    pool = allocate_pool(ROOM_BYTES)
    visits = list(device_visits.device_visits(range(3), pool, LaunchProbe(StandIn())))
    assert visits
    for visit in visits:
        model = random_sequence(np.random.default_rng(visit.seed), most_table_bytes=pool.most_table_bytes)
        assert len(visit.seconds) == len(lower(model))


@pytest.mark.thorough
def test_issue_costs_are_found_again_in_made_up_visits() -> None:
    true = {"concat.features": IssueCost(call_s=5 * US, part_s=0.7 * US)}
    visits = []
    for seed in range(200):
        kernels = lower(random_sequence(np.random.default_rng(seed), most_table_bytes=ROOM_BYTES))
        costs = [true.get(surface_key(kernel), IssueCost(call_s=4 * US)) for kernel in kernels]
        batch_size, level = 1 + seed % 40, 1.0 + 0.5 * (seed % 3 == 0)  # a neighbour every third time
        issue_s = level * np.array(
            [
                (not is_part_of_another(k)) * calls_of(k) * (c.call_s + parts_of(k) * c.part_s)
                + 3 * US * calls_of(k) * (rows_of(k, np.array(batch_size)) > 16)
                for k, c in zip(kernels, costs, strict=True)
            ]
        )
        times = {"seconds": issue_s, "spread": 0.0 * issue_s, "issue_s": issue_s}
        visits.append(Visit(seed=seed, batch_size=batch_size, probe_s=level * 9 * US, **times))
    quiet_s = quiet_probe_s(visits)
    assert quiet_s == pytest.approx(9 * US)
    assert host_level(visits, quiet_s) == pytest.approx(1.0 + 0.5 / 3, rel=0.01)
    found = issue_costs(visits, most_table_bytes=ROOM_BYTES, quiet_s=quiet_s)
    assert found["fc"] == IssueCost(
        call_s=pytest.approx(7 * US), few_rows=16.0, few_rows_call_s=pytest.approx(4 * US)
    )
    assert found["softmax"] == IssueCost(call_s=pytest.approx(4 * US))
    # Fitted as it was made up: nothing is left but that every third host had a neighbour.
    level = host_level(visits, quiet_s)
    error = issue_error(visits, found, most_table_bytes=ROOM_BYTES, level=level)
    expected = np.log(level / np.where(np.arange(200) % 3 == 0, 1.5, 1.0))
    assert error == pytest.approx(float(np.sqrt(np.mean(expected**2))), rel=0.02)
    assert found["concat.features"].call_s == pytest.approx(5 * US, rel=1e-3)
    assert found["concat.features"].part_s == pytest.approx(0.7 * US, rel=1e-3)


@pytest.mark.slow
def test_more_is_measured_of_the_same_sequences_though_more_memory_is_free_now(
    measured: tuple[Path, Records, StandIn], tmp_path: Path
) -> None:
    records = read_records(measured[0])
    room, seeds = records.facts["most_table_bytes"], records.seeds(0)
    Ticking(
        budget_s=1.0,
        raw=tmp_path / "more.csv",
        records=records,
        progress=lambda _phase, _spent_s: None,
        accelerator=StandIn(free=2e8),
    ).measure()
    assert records.facts["most_table_bytes"] == room
    assert records.seeds(0) > seeds


@pytest.mark.thorough
def test_less_free_memory_than_before_is_refused(measured: tuple[Path, Records, StandIn]) -> None:
    raw, records, _ = measured
    with pytest.raises(InputError, match="more free memory than there is now"):
        DeviceCalibration(
            budget_s=1.0,
            raw=raw,
            records=records,
            progress=lambda _phase, _spent_s: None,
            accelerator=StandIn(free=1e6),
        ).measure()


@pytest.mark.thorough
def test_measurements_in_another_precision_are_not_added_to(measured: tuple[Path, Records, StandIn]) -> None:
    raw, records, _ = measured
    with pytest.raises(InputError, match="was measured in another --precision than bf16"):
        DeviceCalibration(
            budget_s=1.0,
            raw=raw,
            records=records,
            progress=lambda _phase, _spent_s: None,
            accelerator=StandIn(precision="bf16"),
        ).measure()


def test_measurements_of_another_kind_of_device_are_not_added_to() -> None:
    visit = Visit(seed=0, batch_size=1, seconds=np.ones(1), spread=np.ones(1))
    with pytest.raises(InputError, match="these measurements are the CPU's"):
        require_kind(Records(visits=[(0, visit)]), accelerated=True)
    with pytest.raises(InputError, match="these measurements are an accelerator's"):
        require_kind(Records(facts={"memory_bytes": 1.0}, visits=[(0, visit)]), accelerated=False)


@pytest.mark.skipif(missing_cuda() is None, reason="there is a device")
def test_without_a_device_the_command_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "--out", "card.yaml", "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert "--device cuda: PyTorch sees no CUDA device here (torch" in error
    assert not list(tmp_path.iterdir())


def test_short_copies_are_of_bytes_that_a_cache_holds_and_long_ones_of_others() -> None:
    block = torch.arange(2**18)  # 1 MiB of fp32, as the probe counts
    for size_bytes, different in ((4096, 1), (2**16, 1), (2**18, 4), (2**20, 1)):
        taken = list(islice(_sources(block.float(), size_bytes), 8))
        assert all(len(source) == size_bytes // 4 for source in taken)
        assert len({source.data_ptr() for source in taken}) == different


def test_a_card_that_has_not_calmed_down_rests_at_what_launches_take() -> None:
    facts = {"busy_w": 700.0, "idle_w": 135.0, "launched_w": 121.0, "copied_w": 570.0, "power_limit_w": 690.0}
    once = {"l2_bytes": 5e7, "memory_bytes": 1e11, "bandwidth_bytes_per_s": 4e12, "peak_flop_per_s": 5e13}
    found = {key: entry["value"] for key, entry in _hardware(facts | once, "measured: x").items()}
    assert (found["idle_w"], found["peak_w"], found["tdp_w"]) == (121.0, 700.0, 690.0)
    assert found["pj_per_flop"] == pytest.approx((700.0 - 121.0) / 5e13 * 1e12)
    assert found["pj_per_byte"] == pytest.approx((570.0 - 121.0) / 4e12 * 1e12, rel=1e-4)
    noisy = _hardware(facts | once | {"busy_w": 119.0, "copied_w": 120.0}, "measured: x")
    assert (noisy["peak_w"]["value"], noisy["launched_w"]["value"]) == (121.0, 121.0)
    del facts["power_limit_w"]
    assert _hardware(facts | once, "measured: x")["tdp_w"]["source"].endswith("for want of a limit")


def test_power_of_another_card_is_said_to_be_so() -> None:
    facts = {"busy_w": 700.0, "idle_w": 110.0, "launched_w": 121.0, "copied_w": 570.0}
    once = {"l2_bytes": 5e7, "memory_bytes": 1e11, "bandwidth_bytes_per_s": 4e12, "peak_flop_per_s": 5e13}
    powers = ("idle_w", "peak_w", "launched_w", "pj_per_flop", "pj_per_byte")
    own, other, older = (
        {key: entry["source"] for key, entry in _hardware(facts | once | days, "measured: x").items()}
        for days in ({}, {"powers_days_later": 1.0}, {"powers_days_later": 2.0})
    )
    for key in powers:
        assert other[key] == own[key] + "; of another card of the kind, calibrated a day later"
        assert older[key] == own[key] + "; of another card of the kind, calibrated 2 days later"
    del own["tdp_w"], other["tdp_w"]  # for want of a limit its peak, whose source it has
    assert {key for key in own if own[key] != other[key]} == set(powers)


def test_a_profile_says_what_busy_cores_did_to_launches_where_it_was_measured() -> None:
    facts = {"launch_latency_s": 5e-6, "output_s": 8e-6}
    assert _launches({}, facts, "measured: raw.csv")["source"] == "measured: raw.csv"
    both = {"apart.launch_s": 16e-6, "beside.launch_s": 20e-6, "beside.workers": 15}
    rates = {"apart.copy_bytes_per_s": 8e9, "beside.copy_bytes_per_s": 6e9}
    assert _launches({}, facts | both | rates, "measured: raw.csv")["source"] == (
        "measured: raw.csv; of launches alone: what 15 busy workers beside do is not in it, launches of 1.25 "
        "times the time and copies at 0.75 times the rate"
    )
