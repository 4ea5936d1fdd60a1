"""Measurements survive the disk, and a calibrated profile loads like any other and predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.fingerprint import fingerprint
from calibration.measure.calibration import calibrated_values, spread_between_passes
from calibration.measure.records import Records, read_records
from calibration.measure.sequences import DRAWN_BY, random_sequence
from calibration.measure.visits import Visit
from perfmodel.cli.main import main
from perfmodel.costmodel.lowering import lower
from perfmodel.errors import InputError
from perfmodel.loading.profile_text import profile_text

ROOM_BYTES = 1e8
LIFETIME_S = 0.004


def made_records(sequences: int) -> Records:
    """Visits whose calls take 1 us and 1 ns a kilobyte and a kiloFLOP: made up, to be fitted."""
    records = Records(
        facts={"drawn_by": DRAWN_BY, "most_table_bytes": ROOM_BYTES, "bandwidth_bytes_per_s": 1e10}
    )
    for seed in range(sequences):
        kernels = lower(random_sequence(np.random.default_rng(seed), most_table_bytes=ROOM_BYTES))
        for batch_size in (1, 30):
            works = [kernel.work(np.array(float(batch_size))) for kernel in kernels]
            seconds = np.array([1e-6 + 1e-12 * float(w.flop + w.bytes_moved) for w in works])
            seconds *= [kernel.calls * (kernel.family != "input") for kernel in kernels]
            visit = Visit(
                seed=seed,
                batch_size=batch_size,
                seconds=seconds,
                spread=0.0 * seconds,
                l3_lifetime_s=LIFETIME_S,
            )
            records.visits.append((0, visit))
    return records


def test_records_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    records = made_records(3)
    records.write(tmp_path / "raw.csv")
    again = read_records(tmp_path / "raw.csv")
    assert again.facts == records.facts
    for (_, one), (_, other) in zip(records.visits, again.visits, strict=True):
        assert (one.seed, one.batch_size) == (other.seed, other.batch_size)
        assert other.l3_lifetime_s == LIFETIME_S
        assert other.seconds == pytest.approx(one.seconds[: len(other.seconds)], rel=1e-4)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text("hello\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"raw\.csv:1:1: expected '# ' and a JSON object .* got 'hello'"):
        read_records(tmp_path / "raw.csv")


def test_the_spread_between_passes_is_that_of_repeated_visits() -> None:
    first = Visit(seed=1, batch_size=2, seconds=np.array([0.0, 1.0, 2.0]), spread=np.zeros(3))
    again = Visit(seed=1, batch_size=2, seconds=np.array([0.0, 1.1, 2.2]), spread=np.zeros(3))
    assert spread_between_passes(Records(visits=[(0, first), (1, again)])) == pytest.approx(0.1)


@pytest.mark.thorough
def test_a_calibrated_profile_loads_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = made_records(25)
    _, again = records.visits[0]
    records.visits.append((1, replace(again, seconds=1.04 * again.seconds)))
    values = calibrated_values(records, fingerprint(), name="made", raw="raw.csv")
    assert values["stacks"]["pytorch"]["spread_between_passes"]["value"] == pytest.approx(0.04)
    profile = tmp_path / "made.yaml"
    profile.write_text(profile_text(values), encoding="utf-8")
    assert main(["latency", "--model", "ncf", "--on", str(profile), "--batch", "1,64", "--extrapolate"]) == 0
    assert "ncf on made" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "here.yaml", "--budget", "soon"], "--budget: expected a time"),
        (["--out", "nowhere/here.yaml"], "no directory nowhere"),
        (["--out", "here.yaml", "--device", "tpu"], "--device: expected cpu or cuda"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *options]) == 2
    assert message in capsys.readouterr().err
