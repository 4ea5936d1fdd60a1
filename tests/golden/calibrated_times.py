"""Times of batches on the shipped calibrated profile, to see whether its law or its reading moved.

`python -m tests.golden.calibrated_times` rewrites them; a diff needs a reason in the commit message.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.model import RecModel
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file, find_profile
from perfmodel.loading.validated import parse_file

TIMES = Path(__file__).with_name("calibrated_times.json")
MODELS = ("dien", "dien-paper", "din", "din-paper", "hpca-rmc1", "ncf")
"""Together they make every family of calls."""
BATCH_SIZES = (1.0, 3.0, 64.0, 1000.0)


def times_us() -> dict[str, dict[str, list[float]]]:
    """Model and operator to the time of its calls at each batch size, alone and beside a busy worker. [us]"""
    device = read_profile(find_profile("amd-epyc-turin-2c").path).device()
    found: dict[str, dict[str, list[float]]] = {}
    for name in MODELS:
        model = parse_file(find_file("model", name), RecModel)
        for busy in (1.0, 2.0):
            time = batch_time(model, device, np.array(BATCH_SIZES), busy)
            found[f"{name}, {busy:g} busy"] = {
                family: (1e6 * time.family_s(family)).tolist()
                for family in dict.fromkeys(timed.kernel.family for timed in time.kernels)
            }
    return found


if __name__ == "__main__":
    TIMES.write_text(json.dumps(times_us(), indent=1) + "\n", encoding="utf-8")
