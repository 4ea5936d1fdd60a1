"""A hash of what a profile's fit decided and claims, so that an edit by hand shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
CLAIMED_ERRORS = (
    "relative_error",
    "relative_error_of_fitted_models",
    "error_correlation",
    "network_slowdown_spread",
)
"""Keys of a stack from which answers take how far off its times may be."""
DIGITS = 32
"""Hexadecimal digits of the hash that are kept: 128 bits."""


WITH_CLAIMS = "2-"
"""What a hash begins with that is also of what the fit claims; hashes from before are bare digits."""


def fitted_values(hardware: HardwareSection, stack: StackSection) -> str:
    """Hash the hardware that service times depend on, the stack's costs and measured calls, and its claims.

    Claims are how far off its times are, and the batches, models, kinds of calls and precision they hold for.
    Values only, as numbers: sources, comments and the way a number is written do not count; nor does what
    may be added to a profile, how threads scale and anchors of whole models.
    """
    return WITH_CLAIMS + _digest((*_values(hardware, stack), *_claims(stack)))


def is_edited(hardware: HardwareSection, stack: StackSection) -> bool:
    """Whether a stack is not as its fit left it, as far as the hash in its profile covers it.

    Every calibration writes a hash: calls measured here without one cannot be told from edited ones. Of a
    derived stack, whose calls are another profile's, and of costs that nobody fitted there is none; a derived
    one is edited where its base was, or the base of that.
    """
    stated = stack.fitted_values
    if stated is None:
        return stack.base_is_edited if stack.derived_from is not None else bool(stack.surfaces)
    if stated.startswith(WITH_CLAIMS):
        return stated != fitted_values(hardware, stack)
    return stated != _digest(_values(hardware, stack))


def _digest(lines: Iterable[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()[:DIGITS]


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


def _claims(stack: StackSection) -> Iterator[str]:
    """What the fit says of itself, each that was given; the order of names does not count."""
    yield f"precision {stack.precision}"
    yield f"batch_range {stack.batch_range}"
    for key in CLAIMED_ERRORS:
        if (entry := getattr(stack, key)) is not None:
            yield f"{key} {entry.value}"
    yield f"fitted_models {sorted(stack.fitted_models)}"
    if stack.fitted_kinds is not None:
        yield f"fitted_kinds {sorted(stack.fitted_kinds)}"
    for surface in stack.surfaces:
        yield f"{surface.call} {surface.noise} {surface.noise_ns} {surface.relative_error}"
    for way, served in sorted(stack.served.items()):
        yield f"{way} {served.precision} {served.tables} {served.relative_error.value}"
    if stack.launches is not None:
        yield f"quiet_probe_us {stack.launches.quiet_probe_us}"
