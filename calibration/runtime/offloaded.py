"""A programme on an accelerator, from inputs in the host's memory to an output there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from calibration.runtime.accelerator import Accelerator
from calibration.runtime.programme import Inputs, Programme, build_programme
from perfmodel.domain.model import RecModel


@dataclass(frozen=True, slots=True)
class OffloadedProgramme:
    """A programme whose weights are on an accelerator; it is served as one on the CPU is.

    Inputs are drawn in ordinary (pageable) host memory, as requests arrive, and copied within the pass, one
    tensor after the other.
    """

    programme: Programme
    accelerator: Accelerator

    @property
    def model(self) -> RecModel:
        """What runs."""
        return self.programme.model

    def inputs(self, batch_size: int, rng: np.random.Generator) -> Inputs:
        """Draw a batch in the host's memory."""
        return self.programme.inputs(batch_size, rng)

    def run(self, inputs: Inputs) -> torch.Tensor:
        """Copy the inputs that calls read, run them, and copy the output back, which waits for all."""
        return self.programme.run(inputs.to(self.accelerator.device, self.programme.read)).cpu()


def offloaded_programme(
    model: RecModel, accelerator: Accelerator, *, seed: int = 0, shrink_tables: bool = False
) -> OffloadedProgramme:
    """Give a model random weights on an accelerator: those that it has on the CPU for the same seed.

    Raises
    ------
    InputError
        If they do not fit into its free memory.
    """
    programme = build_programme(
        model,
        seed=seed,
        shrink_tables=shrink_tables,
        device=accelerator.device,
        room_bytes=accelerator.free_bytes(),
        dtype=accelerator.dtype,
    )
    return OffloadedProgramme(programme, accelerator)


@dataclass(slots=True)
class LazyServable:
    """Something servable that is built by the process that runs it, at its first request.

    CUDA does not survive a fork: workers are forked, so that each must initialise it by itself. The first
    request of a worker is one of its warm-up.

    Attributes
    ----------
    host : Programme
        Draws the inputs in the parent; nothing is pinned, since a fork copies what it touches.
    build : callable
        Called once, in the worker.
    """

    host: Programme
    build: Callable[[], OffloadedProgramme]
    built: OffloadedProgramme | None = field(default=None)

    def inputs(self, batch_size: int, rng: np.random.Generator) -> Inputs:
        """Draw a batch in the host's memory."""
        return self.host.inputs(batch_size, rng)

    def run(self, inputs: Inputs) -> torch.Tensor:
        """Run one forward pass on what was built."""
        if self.built is None:
            self.built = self.build()
        return self.built.run(inputs)
