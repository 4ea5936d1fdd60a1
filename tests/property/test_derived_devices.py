"""A machine derived from a measured one is never slower for more of what it has, other things equal."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.service_time import batch_time
from perfmodel.costmodel.surface_times import surface_times
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import DerivedFile, derived, read_profile
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.validated import parse_file
from perfmodel.loading.yaml_source import parse_yaml
from tests.examples import examples

BASES = {
    "h200": ("memory_gb_per_s_per_socket", "peak_gflop_per_s", "caches", "clock_ratio"),
    "amd-epyc-turin-2c": ("memory_gb_per_s_per_socket", "peak_gflop_per_s", "caches", "clock_ratio"),
    "intel-xeon-emerald-16c": ("memory_gb_per_s_per_socket", "peak_gflop_per_s", "caches", "clock_ratio"),
    "skylake": ("memory_gb_per_s_per_socket", "peak_gflop_per_s", "caches", "clock_ratio"),
    "gtx1080ti": ("peak_gflop_per_s", "clock_ratio"),
}
"""Profiles, and what of them a derived one may change: a GTX 1080 Ti states no caches."""
MODELS = ("dlrm-rmc1", "dlrm-rmc2", "dlrm-rmc3", "wnd", "din", "dien", "dcn-v2-moe", "bst", "ncf")
"""Of all kinds of operators together."""


@cache
def base_of(name: str) -> ProfileFile:
    return read_profile(find_file("profile", name))


def changed(name: str, **factors: float) -> Device:
    """The base with so many times as much of some of its hardware."""
    base, lines = base_of(name), []
    for key, factor in factors.items():
        of_caches = ("l2_kib_per_core", "l3_mib_per_socket")
        for each in of_caches if key == "caches" else (key,):
            value = 1.0 if each == "clock_ratio" else getattr(base.hardware, each).value
            lines.append(f"  {each}: {value * factor!r}")
    source = parse_yaml("\n".join([f"name: mine\nbase: {name}\nchanges:", *lines]), "mine.yaml")
    return derived(DerivedFile.model_validate(source.data()), base, source).device()


@cache
def model_of(name: str) -> RecModel:
    return parse_file(find_file("model", name), RecModel)


def kernel_seconds(model: str, device: Device, batch: np.ndarray, busy: float) -> np.ndarray:
    """Of each kernel by itself: on a card, without the host that issues it. [s]"""
    of_model = model_of(model)
    if not device.surfaces:
        return np.array([timed.seconds for timed in batch_time(of_model, device, batch, busy).kernels])
    kernels = lower(of_model, device.kind)
    times = surface_times(kernels, device, batch, np.full_like(batch, busy))
    return np.array([seconds for seconds, _ in times if seconds is not None])


@given(data=st.data())
@examples(120)
def test_more_hardware_is_never_slower(data: st.DataObject) -> None:
    """Each kernel alone, and the pass, of more bandwidth, FLOP, cache or clock; whatever the rest is."""
    name = data.draw(st.sampled_from(sorted(BASES)))
    key = data.draw(st.sampled_from(BASES[name]))
    # By formulas a core at a tenth of its clock has a line sooner from memory than from a cache.
    others = (0.5, 1.0, 2.0) if (name, key) == ("skylake", "caches") else (0.1, 0.5, 1.0, 2.0)
    rest = {
        other: data.draw(st.sampled_from(others))
        for other in BASES[name]
        if other != key and data.draw(st.booleans())
    }
    less = data.draw(st.floats(0.03, 1.9))
    more = less * data.draw(st.floats(1.01, 30.0))
    model = data.draw(st.sampled_from(MODELS))
    batch = np.array([float(data.draw(st.integers(1, 1024)))])
    try:
        slow, fast = changed(name, **rest, **{key: less}), changed(name, **rest, **{key: more})
    except InputError:
        return  # a peak beyond any chip
    before, after = (kernel_seconds(model, device, batch, 1.0) for device in (slow, fast))
    assert np.all(after <= before * (1.0 + 1e-9)), (name, key, rest, less, more, model, batch)
    of_model = model_of(model)
    before, after = (batch_time(of_model, device, batch).seconds for device in (slow, fast))
    assert after <= before * (1.0 + 1e-9)
