"""An imported model runs on the runtime, with the shapes that its file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.importing.factory import load_example
from calibration.importing.importer import import_example
from calibration.runtime.programme import build_programme

MODULES = Path(__file__).with_name("modules.py")
FACTORIES = (
    "dlrm",
    "dcn",
    "cross_v1",
    "din",
    "gru",
    "factorization_machine",
    "transformer",
    "explicit_attention",
)


@pytest.mark.thorough_cases("dlrm", "transformer")
@pytest.mark.parametrize("factory", FACTORIES)
def test_an_imported_model_runs(factory: str) -> None:
    model = import_example(load_example(f"{MODULES}:{factory}"), factory.replace("_", "-")).model
    programme = build_programme(model, seed=1)
    output = programme.run(programme.inputs(5, np.random.default_rng(1)))
    assert output.shape[0] == 5
    assert output[0].numel() == model.shapes()[model.operators[-1].name].elements
