"""What a serving process (an engine) does for each request beside its network, in a loaded node.

DeepRecSys's engines take requests from a queue. For each, one thread turns the inputs of the largest batch,
which are stored as lists, into arrays and keeps the first items of them; then it feeds the network tensor by
tensor. A second thread of the process runs the network. A single run, outside such a node, converts its own
batch alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from perfmodel.costmodel.kernel_time import LENGTH_BYTES
from perfmodel.costmodel.kernels import Floats, Kernel
from perfmodel.costmodel.timing import Conditions, KernelTime, kernel_parts
from perfmodel.domain.hardware import Device

STORED_BATCH = "conversion of the stored batch"
FEEDING = "feeding, a call a tensor"
HAND_OVER = "hand-over between processes"
ROWS = (STORED_BATCH, FEEDING, HAND_OVER)
"""Rows of their own in a breakdown: what an engine does beside the network."""


def serving_inputs(device: Device) -> Device:
    """The device as it handles a request's own inputs in a loaded node: lists are copied, not converted.

    Derived here: where the stored batch is converted whole, of the request's own indices and lengths a slice
    is left to copy, at the rate of streamed traffic.

    Parameters
    ----------
    device : Device
        With its stack.
    """
    if device.engine.stored_items == 0:
        return device
    rate = device.stream_bytes_per_s
    copied = replace(device.inputs, index_s=device.inputs.index_bytes / rate, bag_s=LENGTH_BYTES / rate)
    return replace(device, inputs=copied)


def engine_times(
    kernels: Sequence[Kernel], device: Device, batch_size: Floats, at: Conditions
) -> Iterator[tuple[Kernel, KernelTime]]:
    """What each request takes beside the model's kernels, whatever its size; nothing in most stacks.

    t = S (i + l) t_index + n t_feed + t_hand_over, S being the items of the stored batch, i and l an item's
    indices and lists (a length each), n the model's input tensors. Read in DeepRecSys's public code [1]_.

    Parameters
    ----------
    kernels : sequence of Kernel
        The model's, its inputs among them.
    device : Device
        With its stack, whose engine has costs.
    batch_size : (...) float array
        Items in the request; gives the shape.
    at : Conditions
        What other busy engines do to an interpreter.

    Yields
    ------
    (Kernel, KernelTime)
        A row of `ROWS` that takes any time.

    References
    ----------
    .. [1] `inferenceEngine.py` and `models/dlrm_s_caffe2.py` of harvard-acc/DeepRecSys.
    """
    engine = device.engine
    inputs = [kernel for kernel in kernels if kernel.family == "input"]
    stored_s = engine.stored_index_s * sum(
        (engine.stored_items if kernel.scope == "item" else 1)
        * kernel.calls
        * (kernel.gather.bags_per_item + kernel.gather.rows_per_item)
        for kernel in inputs
        if kernel.gather is not None and engine.stored_items
    )
    tensors = sum(kernel.calls * kernel.pieces for kernel in inputs)
    seconds = (stored_s, tensors * engine.feed_call_s, engine.hand_over_s)
    for name, taken_s in zip(ROWS, seconds, strict=True):
        if taken_s > 0.0:
            own = at.input_slowdown * np.full_like(batch_size, taken_s)
            yield Kernel(operator=name, family="input"), kernel_parts(batch_size, inputs=own)


def in_flight_factor(converting_s: Floats, seconds: Floats, device: Device, beyond: Floats) -> Floats:
    """Time of a request whose engine has another one in flight, over that of one alone. [1]

    Alone a request takes c + k, conversion (feeding included) and network. While every engine has a second
    one in flight, each takes 2 (c + k - (1 - h) min(c, k)), so that an engine completes a request every
    max(c, k) where the interpreter's lock holds up nothing (h = 0), and every c + k where it holds up all. A
    finished network that waits for the conversion beside it is in that: where c > k, a request leaves after
    2 c. In between, linear in the share of engines with two. Derived here; assumed: requests wait in one
    queue. The real ones are taken ahead of time, up to nine by an engine, whose order is its own.

    Parameters
    ----------
    converting_s, seconds : (...) float array
        c, and c + k. [s]
    device : Device
        With the engine's lock h.
    beyond : (...) float array
        Share of the engines that have a second request in flight. [1]

    Examples
    --------
    An engine that converts for 3 ms and computes for 1 ms serves one request every 3 ms:

    >>> from types import SimpleNamespace
    >>> free = SimpleNamespace(engine=SimpleNamespace(interpreter_lock=0.0))
    >>> float(4e-3 * in_flight_factor(np.array(3e-3), np.array(4e-3), free, np.array(1.0)))
    0.006
    """
    network_s = seconds - converting_s
    hidden_s = (1.0 - device.engine.interpreter_lock) * np.minimum(converting_s, network_s)
    both = 2.0 * (seconds - hidden_s) / seconds
    return np.asarray(1.0 + (both - 1.0) * beyond)
