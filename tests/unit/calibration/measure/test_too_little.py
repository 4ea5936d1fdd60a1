"""A profile is written only where it says something of the machine."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import calibration
from calibration.measure.calibration import caches_of, fit_records
from calibration.measure.records import Records, read_records
from calibration.measure.refit import identity, refitted
from perfmodel.domain.hardware import Caches
from perfmodel.errors import InputError
from perfmodel.loading.shipped import find_profile

RAW = Path(calibration.__file__).parent / "raw" / "amd-epyc-turin-2c.measured.csv"


def first(sequences: int) -> Records:
    """The first sequences of a shipped calibration."""
    records = read_records(RAW)
    chosen = sorted(records.seeds(0))[:sequences]
    return Records(records.facts, [pair for pair in records.visits if pair[1].seed in chosen])


def caches() -> Caches:
    return caches_of(identity(find_profile("amd-epyc-turin-2c").path)[1], read_records(RAW).facts)


@pytest.mark.thorough
@pytest.mark.parametrize("sequences", [0, 1, 4])
def test_too_few_sequences_are_told(sequences: int) -> None:
    with pytest.raises(InputError, match=f"too little was measured to fit anything: {sequences} sequences"):
        fit_records(first(sequences), caches())


@pytest.mark.thorough
def test_a_profile_that_would_charge_nothing_for_lookups_is_not_written() -> None:
    # Eight sequences have enough products to fit, and too little else: a bag of 20 rows took 2e-10 ms then.
    with pytest.raises(InputError, match=r"too few calls of embedding_bag\.pooled, concat\.features, activ"):
        fit_records(first(8), caches())


@pytest.mark.slow  # two fits of a minute
def test_an_error_that_helps_no_one_is_told() -> None:
    records, rng = first(40), np.random.default_rng(0)
    scattered = [
        (number, replace(visit, seconds=visit.seconds * np.exp(rng.normal(0.0, 2.0))))
        for number, visit in records.visits
    ]
    with pytest.raises(
        InputError, match=r"too little was measured: 40 sequences, .* a factor of \d.*, .* one of 2;"
    ):
        fit_records(Records(records.facts, scattered), caches())


@pytest.mark.slow
def test_few_sequences_that_agree_are_a_profile() -> None:
    assert 0.0 < fit_records(first(40), caches()).relative_error < log(2.0)


def test_refitting_refuses_what_it_cannot_write_before_it_fits(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"OUT .*: no directory"):
        refitted(RAW, tmp_path / "no" / "x.yaml")
    with pytest.raises(InputError, match=r"OUT .*: expected a name of lower-case letters"):
        refitted(RAW, tmp_path / "_mine.yaml")
