"""Scatter and pauses that a calibration measured: said where they are left out, and put in by one key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from perfmodel import predict
from perfmodel.errors import InputError
from perfmodel.loading.shipped import find_file

UNREST = {
    "relative_std": 0.06,
    "pauses": [{"rate_per_s": 2.0, "length_ms": 4.0, "lengths": "exponential", "scope": "executor"}],
    "source": "measured: made up",
}
WORDS = "scatter of 6 % and pauses of a core, 2 a second of 4 ms"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated profile, as if its calibration had measured unrest."""
    text = find_file("profile", "amd-epyc-turin-2c").read_text(encoding="utf-8")
    unrest = yaml.safe_dump({"unrest": UNREST}, default_flow_style=True, width=10_000).strip()[1:-1]
    path = tmp_path_factory.mktemp("profiles") / "mine.yaml"
    assert text.count("\n  pytorch:\n") == 1
    path.write_text(text.replace("\n  pytorch:\n", f"\n  pytorch:\n    {unrest}\n"), encoding="utf-8")
    return path


def document(profile: Path, *more: str) -> dict[str, Any]:
    here = (f"node.cpu={profile}", "node.stack=pytorch", "node.cores=2", "traffic.arrivals.rate_qps=100")
    return predict("rm1_skylake", overrides=(*here, *more)).to_dict()


@pytest.mark.thorough
def test_what_is_left_out_is_said_and_the_key_puts_it_in(profile: Path) -> None:
    without = document(profile)
    assert f"{WORDS} are left out (node.measured_unrest=true puts them in)" in without["service_times_of"]
    with_it = document(profile, "node.measured_unrest=true")
    assert f"{WORDS} are in it" in with_it["service_times_of"]
    scatter = "node.scatter={distribution: lognormal, relative_std: 0.06}"
    stated = document(profile, scatter, f"node.pauses={json.dumps(UNREST['pauses'])}")
    assert with_it["latency_ms"] == stated["latency_ms"] != without["latency_ms"]


def test_a_profile_without_it_refuses_and_so_does_unrest_stated_twice(profile: Path) -> None:
    nobody = "measured_unrest: expected false: nobody measured scatter and pauses of"
    with pytest.raises(InputError, match=nobody):
        predict("rm1_skylake", overrides=["node.measured_unrest=true"])
    twice = "scatter: expected none beside measured_unrest, which states it"
    with pytest.raises(InputError, match=twice):
        document(profile, "node.measured_unrest=true", "node.scatter={distribution: exponential}")
