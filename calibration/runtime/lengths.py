"""One model for histories of several lengths: the weights are held once, the calls follow the length."""

from __future__ import annotations

from dataclasses import replace

import torch

from calibration.runtime import operators
from calibration.runtime.assembly import OWNING, Assembly, Step, bound, kind_of
from calibration.runtime.binding import Materials
from calibration.runtime.programme import Programme, programme_of
from perfmodel.costmodel.lowering import walk_over
from perfmodel.costmodel.walk import Call
from perfmodel.errors import InputError


def of_length(programme: Programme, length: int) -> Programme:
    """The programme for queries whose lists are so long, on the same weights.

    Raises
    ------
    InputError
        If a call's weights depend on the length.
    """
    before = programme.assembly
    model = programme.model.with_length(length)
    walk = walk_over(model, kind_of(programme.device))
    names = [call.name for call in before.walk.calls]
    if [call.name for call in walk.calls] != names:
        raise InputError(
            f"{model.name}: lists of {length}: the runtime makes other calls than of {model.history_length}"
        )
    materials = Materials(model.name, _no_weights, programme.device, programme.dtype, programme.library)
    steps = tuple(
        _step(call, old, step, materials, length)
        for call, old, step in zip(walk.calls, before.walk.calls, before.steps, strict=True)
    )
    return replace(
        programme_of(model, Assembly(walk, steps), programme.dtype, programme.mode),
        device=programme.device,
        library=programme.library,
        weights=programme.weights,
    )


def _step(call: Call, old: Call, step: Step, materials: Materials, length: int) -> Step:
    """A call with the weights that it has at another length, or made anew where it has none."""
    if not (call.weights or call.name in OWNING):
        return bound(call, materials)
    if call.weights != old.weights or (call.name == "parameters" and call.settings != old.settings):
        raise InputError(
            f"{materials.model}: {call.operator}: has weights for lists of one length, and cannot "
            f"follow lists of {length}"
        )
    function = operators.as_vector(step.function) if call.gives_vector else step.function
    return Step(function, call.reads, call.writes, call.kernels, call.is_query)


def _no_weights(*shape: int) -> torch.Tensor:
    raise AssertionError(f"weights of {shape} are there already")
