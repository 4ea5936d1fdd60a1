"""What only a CUDA device can show: `pytest -m gpu`. No claim about how fast it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calibration.measure.device_probes import copies, launches
from calibration.runtime.accelerator import Precision
from calibration.runtime.cuda import CudaAccelerator, cuda_accelerator
from calibration.runtime.device_timing import device_call_seconds, issue_call_seconds, stamp_overhead_s
from calibration.runtime.host_level import LaunchProbe
from calibration.runtime.memory import shrunk
from calibration.runtime.offloaded import offloaded_programme
from calibration.runtime.programme import build_programme
from perfmodel.cli.main import main
from perfmodel.costmodel.service_time import batch_time
from perfmodel.loading.derived_profile import read_profile
from perfmodel.planning.prepare import find_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*TF32"),
]


@pytest.fixture(scope="module")
def card() -> CudaAccelerator:
    return cuda_accelerator()


@pytest.mark.parametrize("name", ["ncf", "wnd", "dlrm-rmc1", "dlrm-rmc3", "din", "dien"])
def test_a_pass_on_the_device_gives_what_the_cpu_gives(card: CudaAccelerator, name: str) -> None:
    model = shrunk(find_model(name), 1e-3)
    there, here = offloaded_programme(model, card, seed=3), build_programme(model, seed=3)
    inputs = here.inputs(17, np.random.default_rng(0))
    torch.testing.assert_close(there.run(inputs), here.run(inputs), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", ["wnd", "dlrm-rmc3", "dien"])
def test_a_pass_in_fewer_bits_gives_about_the_same(precision: Precision, name: str) -> None:
    model, rounded = shrunk(find_model(name), 1e-3), cuda_accelerator(precision=precision)
    there, here = offloaded_programme(model, rounded, seed=3), build_programme(model, seed=3)
    inputs, same = (one.inputs(17, np.random.default_rng(0)) for one in (there.programme, here))
    torch.testing.assert_close(there.run(inputs).float(), here.run(same), rtol=0.05, atol=0.05)


def test_a_launch_takes_microseconds(card: CudaAccelerator) -> None:
    assert 1e-6 < LaunchProbe(card).launch_s() < 1e-3


def test_the_device_is_held_for_about_as_long_as_asked(card: CudaAccelerator) -> None:
    card.hold(1e-3)
    start = card.event()
    card.hold(20e-3)
    end = card.event()
    card.synchronise()
    assert card.elapsed_s(start, end) == pytest.approx(20e-3, rel=0.3)


def test_calls_take_time_on_the_device_and_on_the_host(card: CudaAccelerator) -> None:
    offloaded = offloaded_programme(shrunk(find_model("dlrm-rmc1"), 1e-2), card)
    programme, rng = offloaded.programme, np.random.default_rng(0)
    inputs = [programme.inputs(256, rng).to(card.device) for _ in range(8)]
    for given in inputs[:3]:
        programme.run(given)
    issue_s = np.median(issue_call_seconds(programme, inputs, card), axis=0)
    device_s = np.median(device_call_seconds(programme, inputs, card, issue_s), axis=0)
    assert np.all(issue_s > 0.0)
    assert np.all((device_s > 1e-7) & (device_s < 1e-2))
    assert 0.0 <= stamp_overhead_s(card) < 3e-6  # a stamp that waits for the host is 4 us and more


def test_launches_and_copies_have_plausible_costs(card: CudaAccelerator) -> None:
    latency_s, output_s = launches(card)
    assert 0.0 < latency_s < 1e-3
    assert 0.0 <= output_s < 1e-3
    pageable, pinned = (copies(card, pinned=pinned) for pinned in (False, True))
    assert pinned.bandwidth_bytes_per_s > 0.9 * pageable.bandwidth_bytes_per_s > 1e8
    assert 0.0 < pageable.fixed_s < 1e-3


def test_thirty_seconds_give_a_profile_that_predicts(tmp_path: Path, card: CudaAccelerator) -> None:
    out = tmp_path / "card.yaml"
    assert main(["calibrate", "--device", "cuda", "--budget", "30s", "--out", str(out)]) == 0
    profile = read_profile(out)
    assert profile.kind == "gpu"
    assert card.name in profile.description
    seconds = batch_time(find_model("ncf"), profile.device(), np.array([1.0, 1024.0])).seconds
    assert np.all((seconds > 1e-5) & (seconds < 1.0))
