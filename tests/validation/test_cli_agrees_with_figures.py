"""The command line and the README's table of published figures speak of the same quantity."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calibration.published.compare import compare_shipped
from calibration.published.figures import mean_error
from calibration.published.observations import read_rows
from perfmodel.cli.main import main

FIGURE = "gpu_speedup_isca2020_fig9.csv"
COLUMN = "gtx1080ti_speedup_over_one_broadwell_thread"
README = 0.101
"""Mean error of the ten points that are not left as deviations, as the README's table has it."""
LEFT = {("dlrm-rmc3", "1"), ("dlrm-rmc3", "37")}
"""Deviations: the README's table has them in a row of their own."""


def latency_ms(capsys: pytest.CaptureFixture[str], *arguments: str) -> float:
    assert main(["latency", *arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    return float(row["latency_ms"])


@pytest.mark.thorough
def test_the_speed_ups_of_isca_2020_come_out_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors = []
    for row in read_rows(FIGURE):
        if (row["model"], row["batch_size"]) in LEFT:
            continue
        asked = ["-m", row["model"], "-b", row["batch_size"]]
        # Loading data is in both: see `calibration.published.figures`.
        cpu_ms = latency_ms(capsys, *asked, "--on", "broadwell@deeprecsys-isca2020")
        card_ms = latency_ms(capsys, *asked, "--on", "gtx1080ti@deeprecsys-isca2020")
        errors.append(abs(cpu_ms / card_ms / float(row[COLUMN]) - 1.0))
    assert len(errors) == 10
    assert np.mean(errors) == pytest.approx(mean_error(compare_shipped(), FIGURE))
    assert np.mean(errors) == pytest.approx(README, abs=0.0005)


@pytest.mark.thorough
def test_a_latency_of_hpca_2020_comes_out_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    case = "hpca-rmc1, broadwell, batch 16"
    (point,) = (p for p in compare_shipped() if (p.label, p.quantity) == (case, "latency [ms]"))
    found = latency_ms(capsys, "-m", "hpca-rmc1", "--on", "broadwell", "-b", "16")
    assert found == pytest.approx(point.predicted)
