"""How fast the host is at the moment: a few calls that are always the same."""

from __future__ import annotations

from time import perf_counter, thread_time

import numpy as np
import torch

from calibration.runtime.accelerator import Accelerator

_LAUNCHES, _REPEATS = 20, 5
_ROWS, _WIDTH = 8, 64


class LaunchProbe:
    """Issues small layers, and says what one of them takes the host.

    A virtual core may share a physical one with a neighbour that nobody here sees: then all that the host
    does takes 1.4 to 1.6 times as long, for seconds. What is issued beside a probe shows how much of its time
    was that.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        shapes = ((_ROWS, _WIDTH), (_WIDTH, _WIDTH), (_WIDTH,))
        self.operands = [torch.rand(shape, device=accelerator.device) for shape in shapes]
        self.launch_s()  # loads the kernel

    def launch_s(self, repeats: int = _REPEATS) -> float:
        """Median time to issue one launch, of some times 20. [s]"""
        given, weight, bias = self.operands
        seconds = []
        with torch.inference_mode():
            for _ in range(repeats):
                self.accelerator.synchronise()
                start = perf_counter()
                for _ in range(_LAUNCHES):
                    torch._C._nn.linear(given, weight, bias)
                seconds.append((perf_counter() - start) / _LAUNCHES)
            self.accelerator.synchronise()
        return float(np.median(seconds))


class CallProbe:
    """Runs small layers within a core's first cache, and says what one takes: `LaunchProbe` of a CPU."""

    def __init__(self) -> None:
        self.operands = [torch.rand(shape) for shape in ((_ROWS, _WIDTH), (_WIDTH, _WIDTH), (_WIDTH,))]
        self.call_s()

    def call_s(self, repeats: int = _REPEATS) -> float:
        """Median processor time of one call, of some times 20. [s]"""
        given, weight, bias = self.operands
        seconds = []
        with torch.inference_mode():
            for _ in range(repeats):
                start = thread_time()
                for _ in range(_LAUNCHES):
                    torch._C._nn.linear(given, weight, bias)
                seconds.append((thread_time() - start) / _LAUNCHES)
        return float(np.median(seconds))
