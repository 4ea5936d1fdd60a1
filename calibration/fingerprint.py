"""The fingerprint of this machine and its PyTorch: what a calibration made here holds for."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from perfmodel.domain.fingerprint import Fingerprint, Software, differences
from perfmodel.loading.this_machine import read_machine

__all__ = ["Fingerprint", "differences", "fingerprint", "from_dict", "to_dict"]

_VARIABLES = re.compile(
    r"LD_PRELOAD|MALLOC_\w+|GLIBC_TUNABLES|(OMP|MKL|KMP|GOMP|DNNL|ONEDNN|ATEN)_\w+|PYTORCH\w*ALLOC\w*"
)
_BUILD_LINES = re.compile(r"(oneAPI Math Kernel|MKL-DNN|oneDNN|OpenMP|CPU capability|CUDA Runtime|CuDNN)")
_BUILD_KEYS = ("BLAS_INFO", "USE_CUDA", "USE_MKLDNN")


def fingerprint(*, settings: Sequence[str] = ()) -> Fingerprint:
    """Describe this machine and its PyTorch, now.

    Parameters
    ----------
    settings : sequence of str
        Settings that the calling process made, in words, such as its allocator's thresholds.

    Returns
    -------
    Fingerprint
        With the thread count that this process uses at the time of the call.
    """
    return Fingerprint(
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machine=read_machine(),
        software=Software(
            python=platform.python_version(),
            torch=str(torch.__version__),
            torch_build=_build(torch.__config__.show()),
            torch_threads=torch.get_num_threads(),
            environment=_environment(os.environ),
            settings=tuple(settings),
        ),
    )


def to_dict(taken: Fingerprint) -> dict[str, Any]:
    """Turn a fingerprint into plain values for a YAML or JSON file; what is not known is left out."""
    values: dict[str, Any] = taken.model_dump(mode="json", exclude_none=True)
    return values


def from_dict(values: Mapping[str, Any]) -> Fingerprint:
    """Read a fingerprint back from plain values, strictly."""
    return Fingerprint.model_validate_json(json.dumps(values))


def _build(text: str) -> tuple[str, ...]:
    """The lines of torch's build description that change how fast operators are."""
    lines = [line.strip(" -") for line in text.splitlines() if _BUILD_LINES.search(line)]
    keys = [match[0] for key in _BUILD_KEYS if (match := re.search(rf"\b{key}=\w+", text))]
    return (*lines, *keys)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables that steer allocators and threads, in alphabetical order."""
    return {name: variables[name] for name in sorted(variables) if _VARIABLES.fullmatch(name)}
