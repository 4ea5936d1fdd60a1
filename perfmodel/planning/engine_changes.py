"""A stack's engine as a scenario asks for it: what a node's processes would do otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perfmodel.domain.hardware import Device
from perfmodel.domain.scenario import EngineChanges
from perfmodel.units import NS, US


def with_engine(device: Device, changes: EngineChanges | None) -> Device:
    """The device whose serving processes differ from its stack's as stated.

    Parameters
    ----------
    device : Device
        The node's cores.
    changes : EngineChanges or None
        What a scenario says under `node.engine`; None: nothing.
    """
    if changes is None:
        return device
    return replace(
        device,
        engine=_replaced(
            device.engine,
            stored_items=changes.stored_batch_items,
            stored_index_s=_times(changes.stored_index_ns, NS),
            feed_call_s=_times(changes.feed_call_us, US),
            hand_over_s=_times(changes.hand_over_us, US),
            queue_blobs=changes.input_queue_blobs,
            interpreter_lock=changes.interpreter_lock,
        ),
        interference=_replaced(
            device.interference,
            conversion_factor=changes.conversion_slowdown,
            node_factor=changes.network_slowdown,
        ),
    )


def _times(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _replaced(costs: Any, **changes: float | None) -> Any:
    """The costs with those in place that are stated."""
    return replace(costs, **{key: value for key, value in changes.items() if value is not None})
