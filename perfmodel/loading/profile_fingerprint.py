"""A hash of what a profile's fit decided, so that an edit by hand shows."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from perfmodel.loading.profile_sections import HardwareSection, StackSection

NOT_FITTED = frozenset(
    {
        "threads_per_core",
        "memory_gib",
        "tdp_w",
        "idle_w",
        "peak_w",
        "launched_w",
        "pj_per_flop",
        "pj_per_byte",
        "host_link_gb_per_s",
        "card_link_gb_per_s",
        "peaks_tflop_per_s",
    }
)
"""Hardware that no service time depends on: what fits, how many workers there may be, and what it draws."""
DIGITS = 32
"""Hexadecimal digits of the hash that are kept: 128 bits."""


def fitted_values(hardware: HardwareSection, stack: StackSection) -> str:
    """Hash the hardware that service times depend on, and the stack's costs and measured calls.

    Values only, as numbers: sources, comments and the way a number is written do not count; nor does what
    may be added to a profile, how threads scale and anchors of whole models.
    """
    return sha256("\n".join(_values(hardware, stack)).encode()).hexdigest()[:DIGITS]


def _values(hardware: HardwareSection, stack: StackSection) -> Iterator[str]:
    """Each value that was given: what a later version adds with a default changes no hash."""
    for section, keys in ((hardware, hardware.model_fields_set - NOT_FITTED), (stack.costs, None)):
        for key in sorted(section.model_fields_set if keys is None else keys):
            entry = getattr(section, key)  # null, where somebody took a value out
            yield f"{key} {None if entry is None else entry.value}"
    for curve in stack.measured:
        yield f"{curve.signature} {curve.batch_sizes} {curve.time_us}"
    for surface in stack.surfaces:
        yield f"{surface.call} {sorted(surface.law_ns.items())} {surface.amplitude}"
        for name, range_ in sorted(surface.coordinates.items()):
            yield f"{name} {range_.scale} {range_.low} {range_.high}"
        yield surface.residual
    for family, by_workers in sorted(stack.co_located.items()):
        yield f"{family} {sorted(by_workers.items())}"
    for way, served in sorted(stack.served.items()):
        yield f"{way} {sorted(served.law_ns.items())}"
        if served.layers_ns:
            yield f"{served.precision} {sorted(served.layers_ns.items())} {sorted(served.factors.items())}"
        elif served.tables != "fp32":
            yield f"tables {served.tables} {sorted(served.factors.items())}"
    if stack.launches is not None:
        costs = stack.launches.costs()
        yield f"{sorted(costs.issue.items())} {costs.latency_s} {costs.output_s} {costs.host_level}"
