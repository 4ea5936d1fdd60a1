"""The fingerprint of this machine and its torch."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from calibration.fingerprint import differences, fingerprint, from_dict, to_dict  # noqa: E402


def test_a_fingerprint_survives_plain_values() -> None:
    taken = fingerprint(settings=("trim threshold 4 GiB",))
    assert from_dict(json.loads(json.dumps(to_dict(taken)))) == taken


def test_a_fingerprint_equals_another_taken_at_once() -> None:
    assert differences(fingerprint(), fingerprint()) == ()


def test_threads_and_allocator_variables_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    software = fingerprint().software
    assert software is not None
    assert software.torch == torch.__version__
    assert software.torch_threads == torch.get_num_threads()
    assert software.environment["MALLOC_TRIM_THRESHOLD_"] == "1000"
    assert any(line.startswith("BLAS_INFO=") for line in software.torch_build)
