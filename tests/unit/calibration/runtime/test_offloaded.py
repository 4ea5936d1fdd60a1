"""Programmes on an accelerator: everything is on it, outputs come back, and a lack of one is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calibration.runtime.accelerator import Accelerator
from calibration.runtime.cuda import cuda_accelerator, missing_cuda
from calibration.runtime.memory import random_weights, shrunk
from calibration.runtime.offloaded import LazyServable, OffloadedProgramme, offloaded_programme
from calibration.runtime.programme import build_programme, programme_with
from perfmodel.errors import InputError
from perfmodel.loading.shipped import shipped_names
from perfmodel.planning.prepare import find_model
from tests.unit.calibration.runtime.standin import StandIn

META = torch.device("meta")  # computes nothing, and refuses tensors that are elsewhere


@pytest.mark.thorough_cases("dien-paper")
@pytest.mark.parametrize("name", shipped_names("model"))
def test_weights_and_constants_of_every_shipped_model_are_on_the_device(name: str) -> None:
    programme = programme_with(shrunk(find_model(name), 1e-4), random_weights(0, META), META)
    result = programme.run(programme.inputs(3, np.random.default_rng(0)).to(META))
    assert result.device == META
    assert result.shape == (3, programme.model.output_width)


def test_a_pass_on_the_accelerator_gives_what_the_cpu_gives() -> None:
    model = shrunk(find_model("dlrm-rmc1"), 1e-3)
    there, here = offloaded_programme(model, StandIn(), seed=3), build_programme(model, seed=3)
    inputs = there.inputs(5, np.random.default_rng(0))
    torch.testing.assert_close(there.run(inputs), here.run(inputs))


def test_what_only_cores_run_is_neither_run_nor_copied_to_a_card() -> None:
    model = shrunk(find_model("ncf"), 1e-3)
    cores, card = build_programme(model), programme_with(model, random_weights(0, META), META)
    assert [kernel.operator for kernel in cores.kernels].count("mf_again") == 2  # two tables
    assert "mf_again" not in [kernel.operator for kernel in card.kernels]
    assert len(cores.calls) == len(card.calls) + 2
    drawn = cores.inputs(3, np.random.default_rng(0))
    # indices and offsets of each lookup, and two ids that only stand for those: of six lookups, and of four
    assert len(drawn.tensors) == 6 * 2 + 2
    assert len(drawn.to(META, card.read).tensors) == 4 * 2
    assert card.run(drawn.to(META, card.read)).shape == (3, 64)


def test_a_model_that_the_card_has_no_room_for_is_refused() -> None:
    with pytest.raises(InputError, match="GiB are missing"):
        offloaded_programme(find_model("dlrm-rmc2"), StandIn(free=1e8))


def test_what_is_built_lazily_is_built_once_by_its_first_request() -> None:
    host, built = build_programme(shrunk(find_model("ncf"), 1e-3)), []

    def build() -> OffloadedProgramme:
        accelerator: Accelerator = StandIn()
        built.append(offloaded_programme(host.model, accelerator))
        return built[-1]

    lazy = LazyServable(host, build)
    inputs = lazy.inputs(2, np.random.default_rng(0))
    assert not built
    torch.testing.assert_close(lazy.run(inputs), lazy.run(inputs))
    assert len(built) == 1


@pytest.mark.skipif(missing_cuda() is None, reason="there is a device")
def test_a_missing_device_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^--device cuda: PyTorch sees no CUDA device here \(torch [^\n]*$"):
        cuda_accelerator()
