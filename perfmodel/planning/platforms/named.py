"""The map of models and devices that are named, as commands and Python name them."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import files_of
from perfmodel.loading.inputs import input_files
from perfmodel.loading.shipped import find_file, find_profile
from perfmodel.loading.words import quoted
from perfmodel.planning.platforms.answer import By, DeviceMap
from perfmodel.planning.platforms.computation import device_map
from perfmodel.planning.prepare import find_devices, find_model


def named_map(
    models: Sequence[str],
    on: Sequence[str],
    batch_sizes: Sequence[int],
    *,
    by: By = "latency",
    mixed_stacks: bool = False,
    extrapolate: bool = False,
) -> DeviceMap:
    """Read models and profiles, and compare: see `device_map`.

    For each model all devices have one stack, unless they are asked to differ.

    Raises
    ------
    InputError
        If there is no such model or profile, one is named twice, there is nothing to compare, or the devices
        have no stack in common.
    """
    for option, names in (("--models", models), ("--on", on)):
        twice = [name for at, name in enumerate(names) if name in names[:at]]
        if twice:
            raise InputError(f"{option}: {quoted(twice[0])} is named twice")
    if len(on) < 2:
        raise InputError(f"--on: expected two devices or more to compare, got {len(on)}")
    if len(set(batch_sizes)) < len(batch_sizes):
        raise InputError("--batch: expected each size once")
    found = [find_model(name) for name in models]
    paths = [find_file("model", name) for name in models]
    return device_map(
        found,
        [find_devices(on, model, mixed_stacks=mixed_stacks) for model in found],
        batch_sizes,
        by=by,
        extrapolate=extrapolate,
        inputs=input_files([*paths, *(part for name in on for part in files_of(find_profile(name).path))]),
    )
