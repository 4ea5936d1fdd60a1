"""Host and accelerator as a pipeline: the host issues calls, the device executes them behind it.

A pass takes as long as the slower of the two, call by call: small calls wait for the host, large ones hide
it. The contribution of a call is what the end of the pass moves by, so contributions sum to the pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perfmodel.costmodel.kernels import Floats, Kernel, is_part_of_another, measured_as
from perfmodel.domain.hardware import LaunchCosts

BESIDE_CORES = 1.47
"""Time of a launch that the host issues beside cores that serve, over that by the card's profile: 1.05 to
1.57 in five runs of one model, 1.07 to 2.02 in six of two others, on four machines of one kind; geometric
mean over models (docs/reports/validate-h*.json). The host's two speeds and pauses of the whole node are in
it. [1]"""
BESIDE_CORES_SPREAD = 0.25
"""How far off that is for a model that it was not taken from: root mean square of the logarithm over the
eleven runs, each against the mean of the other models. [ln]"""


class Issued(NamedTuple):
    """One kernel of a pass as host and device see it; times are of all its launches together.

    Attributes
    ----------
    issue_s : (...) float array
        What the host needs to issue them. [s]
    device_s : (...) float array
        What the device needs to execute them. [s]
    launches : int
        Equal pieces that follow each other; 0: the kernel is part of another.
    """

    issue_s: Floats
    device_s: Floats
    launches: int


def parts_of(kernel: Kernel) -> int:
    """Parts of a call that the host handles one by one: tensors joined or added, steps of a layer.

    Source: the kernel's own counts.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass; one that is part of another has no call of its own.
    """
    if is_part_of_another(kernel):
        return 0
    return kernel.shape[0] if kernel.family == "recurrent" else kernel.pieces


def calls_of(kernel: Kernel) -> int:
    """Framework calls that a kernel stands for: all steps of a recurrent layer are one.

    Source: the kernel's own counts.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    """
    return 1 if kernel.family == "recurrent" else kernel.calls


def rows_of(kernel: Kernel, batch_size: Floats) -> Floats:
    """Rows that one call multiplies; 0 of what is no product with weights. [rows]

    Source: the kernel's own counts.

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    batch_size : (...) float array
        Items.
    """
    per_item = kernel.product.rows_per_item if kernel.product and kernel.family == "fc" else 0.0
    return per_item * kernel.of(np.asarray(batch_size, dtype=float))


def issued(kernel: Kernel, costs: LaunchCosts, device_s: Floats, batch_size: Floats) -> Issued:
    """A kernel with what its calls cost the host: t = level calls (t_call + parts t_part).

    The steps of a recurrent layer are launches of their own: the device starts with the first one while the
    host issues the next. A kind of call whose issue was not measured costs the host nothing.

    Derived here: a straight line in the parts of a call, fitted to issue times (docs/gpu.md).

    Parameters
    ----------
    kernel : Kernel
        A kernel of a pass.
    costs : LaunchCosts
        t_call and t_part of each kind of call, and the host's level. [s], [s], [1]
    device_s : (...) float array
        Time of all its calls on the device. [s]
    batch_size : (...) float array
        Items.
    """
    if is_part_of_another(kernel):
        return Issued(np.zeros_like(device_s), np.zeros_like(device_s), 0)
    cost, parts, calls = (
        costs.issue.get(measured_as(kernel, costs.issue) or ""),
        parts_of(kernel),
        calls_of(kernel),
    )
    issue_s = np.zeros_like(device_s)
    if cost:
        rows = rows_of(kernel, batch_size)
        is_few = (rows > 0.0) & (rows <= cost.few_rows)
        call_s = np.where(is_few, cost.few_rows_call_s, cost.call_s)
        issue_s = issue_s + costs.host_level * calls * (call_s + parts * cost.part_s)
    launches = max(1, parts) if kernel.family == "recurrent" else calls
    return Issued(issue_s, device_s, launches)


def contributions_s(kernels: Sequence[Issued], ready_s: Floats, costs: LaunchCosts) -> list[Floats]:
    """What each kernel adds to the time of a pass whose inputs are on the device after `ready_s`. [s]

    The host ends issuing launch i at h_i = h_{i-1} + a_i, the device executing it at
    e_i = max(h_i + L, e_{i-1}) + k_i: not before it was issued, and not before the launch before it. For
    n equal launches of a kernel with I = n a and K = n k this is, in closed form,

        e = max(e_before + K, h_before + a + L + K, h_before + I + L + k).

    Derived here: Lindley's recursion of a queue with one server, whose arrivals are the ends of issuing.
    Assumes that h and e start at `ready_s` (copies of inputs hold up the host), and that the launch
    queue is never full.

    Parameters
    ----------
    kernels : sequence of Issued
        Of one pass, in execution order, inputs left out.
    ready_s : (...) float array
        When the inputs are there. [s]
    costs : LaunchCosts
        The latency L between a launch and its start.

    Returns
    -------
    list of (...) float arrays
        e_i - e_{i-1} of each kernel; the first one's counts from `ready_s`. [s]

    Examples
    --------
    Two launches of 2 us that the host issues in 10 us each, then one of 50 us, at a latency of 3 us: the
    first two end at 15 and 25 us, the last at 30 + 3 + 50.

    >>> costs = LaunchCosts(issue={}, latency_s=3e-6)
    >>> small = Issued(np.array(20e-6), np.array(4e-6), 2)
    >>> large = Issued(np.array(10e-6), np.array(50e-6), 1)
    >>> [round(float(part) * 1e6, 3) for part in contributions_s([small, large], np.array(0.0), costs)]
    [25.0, 58.0]
    """
    host_s, end_s = np.asarray(ready_s, dtype=float), np.asarray(ready_s, dtype=float)
    parts: list[Floats] = []
    for issue_s, device_s, launches in kernels:
        if launches == 0:
            parts.append(np.zeros_like(device_s))
            continue
        started_s = host_s + costs.latency_s
        first_s, last_s = issue_s / launches, device_s / launches
        ended_s = np.maximum(end_s + device_s, started_s + first_s + device_s)
        ended_s = np.maximum(ended_s, started_s + issue_s + last_s)
        parts.append(ended_s - end_s)
        host_s, end_s = host_s + issue_s, ended_s
    return parts
