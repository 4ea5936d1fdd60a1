"""Hardware profiles: the file format, and how its values become a `Device` in SI.

Every value stands with its source. A profile holds one kind of hardware and one cost section for each
software stack that was measured on it; `broadwell@hpca2020` names a stack, `broadwell` takes the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import hypot, inf
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from perfmodel.domain.base import Frozen, ValueErrorAt
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.domain.hardware import (
    Caches,
    CallCosts,
    Device,
    EngineCosts,
    FitErrors,
    GemmCosts,
    InputCosts,
    Interference,
    LookupCosts,
    MeasuredCurve,
    Memory,
    Power,
)
from perfmodel.domain.shapes import Link, Precision
from perfmodel.errors import InputError
from perfmodel.loading.profile_fingerprint import is_edited
from perfmodel.loading.profile_sections import (
    NO_LOCK,
    NO_SLOWDOWN,
    NONE,
    NOTHING_AHEAD,
    NOTHING_STORED,
    SHARED_CORE_SPREAD,
    CostSection,
    Curve,
    HardwareSection,
    Positive,
    ServedSection,
    StackSection,
)
from perfmodel.loading.words import quoted
from perfmodel.units import GB, GFLOP, GIB, KIB, MIB, MS, NS, PICO, TFLOP, US

MOST_PEAK_GFLOP_PER_S = {"cpu": 1024.0, "gpu": 2e7}
"""fp32 of one core: 128 FLOP a cycle, twice the widest sold, at 8 GHz; of a card, in the precision
that its profile is of: ten times the fastest in int8."""
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]*$"


def require_name(name: str, where: str) -> None:
    """Refuse a name that a profile may not have; `where` begins the message.

    Raises
    ------
    InputError
        Saying what names look like.
    """
    if not re.match(NAME_PATTERN, name) or name.endswith("\n"):
        raise InputError(
            f"{where}: expected a name of lower-case letters, digits, dots, dashes and underscores "
            f"that begins with a letter or a digit, got {quoted(name)}"
        )


class ProfileFile(Frozen):
    """A hardware profile."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    kind: Literal["cpu", "gpu"]
    description: str
    hardware: HardwareSection
    fingerprint: Fingerprint | None = None
    default_stack: str
    stacks: Annotated[dict[str, StackSection], Field(min_length=1)]
    _measured: ProfileFile | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _names_are_distinct(self) -> ProfileFile:
        for stack, section in self.stacks.items():
            for way in section.served:
                if [*self.stacks, *(each for other in self.stacks.values() for each in other.served)].count(
                    way
                ) > 1:
                    raise ValueErrorAt(f"{way}: name is used twice", ("stacks", stack, "served", way))
        return self

    @model_validator(mode="after")
    def _default_exists(self) -> ProfileFile:
        if self.default_stack not in self.stacks:
            known = ", ".join(self.stacks)
            raise ValueErrorAt(f"no stack {self.default_stack!r} below; there is {known}", ("default_stack",))
        if self.kind == "cpu" and self.hardware.l3_policy is None:
            raise ValueErrorAt("a cpu needs l2_kib_per_core, l3_mib_per_socket and l3_policy", ("hardware",))
        return self

    @model_validator(mode="after")
    def _stacks_suit_the_hardware(self) -> ProfileFile:
        for name, stack in self.stacks.items():
            if stack.launches is not None and self.kind == "cpu":
                raise ValueErrorAt("expected kind gpu: a cpu launches nothing", ("stacks", name, "launches"))
            if stack.surfaces and self.hardware.l3_policy is None:
                raise ValueErrorAt("expected caches in hardware", ("stacks", name, "surfaces"))
        return self

    @model_validator(mode="after")
    def _peak_is_that_of_a_chip(self) -> ProfileFile:
        most, got = MOST_PEAK_GFLOP_PER_S[self.kind], self.hardware.peak_gflop_per_s.value
        if got > most:
            whose = "fp32 peak of one core" if self.kind == "cpu" else "peak of a card"
            expected = f"expected the {whose}, at most {most:g} of any chip, got {got:g}"
            raise ValueErrorAt(expected, ("hardware", "peak_gflop_per_s"))
        return self

    def carried_from(self, base: ProfileFile) -> ProfileFile:
        """The same profile, which knows where its surfaces were measured: on `base`, or its own base."""
        own = self.model_copy()
        own._measured = base._measured or base
        return own

    @property
    def stack_names(self) -> tuple[str, ...]:
        """All stacks, and ways to serve them."""
        ways = (way for section in self.stacks.values() for way in section.served)
        return (*self.stacks, *ways)

    def stack_of(
        self,
        model: str,
        published_in: str | None = None,
        *,
        is_module: bool = False,
        precision: Precision = "fp32",
    ) -> str:
        """Choose the stack for a model where none was named.

        That in which the model's figures were published; else the default, if its figures were measured
        with this model or the profile does not say with which; else one without a framework's own
        overheads, where there is one: they are those of the models and the framework measured. For a
        model that somebody serves as a module the first measured way to do that in its precision, where there
        is one, else the first.

        Parameters
        ----------
        model : str
            Its name.
        published_in : str, optional
            The stack that the model's file names.
        is_module : bool, default False
            Whether it is a user's own model, and no shipped one.
        precision : Precision, default fp32
            What its layers multiply in.
        """
        if published_in in self.stack_names:
            return str(published_in)
        if is_module and (ways := self.stacks[self.default_stack].served):
            return next(
                (way for way, served in ways.items() if served.precision == precision), next(iter(ways))
            )
        measured_with = self.stacks[self.default_stack].fitted_models
        if not measured_with or model in measured_with:
            return self.default_stack
        return next((name for name, stack in self.stacks.items() if stack.is_bare), self.default_stack)

    def device(self, stack: str | None = None) -> Device:
        """Return the device with one of its stacks, by default `default_stack`, in SI units."""
        name = stack or self.default_stack
        if name in self.stacks:
            return self._flat_device(name)
        base = next(base for base, section in self.stacks.items() if name in section.served)
        return _served_device(self._flat_device(base), name, self.stacks[base].served)

    def _flat_device(self, stack: str) -> Device:
        """With a stack of its own; surfaces of another machine with that machine."""
        device = device_from(self, stack, self.stacks[stack])
        if self._measured is None or not device.surfaces:
            return device
        return replace(device, carried_from=self._measured.device(stack))


def device_from(profile: ProfileFile, stack: str, section: StackSection) -> Device:
    """Convert a profile's values to a `Device`; sources stay in the file, assumptions are listed by key."""
    hardware, costs = profile.hardware, section.costs
    return Device(
        name=profile.name,
        kind=profile.kind,
        stack=stack,
        sockets=hardware.sockets.value,
        cores_per_socket=hardware.cores_per_socket.value,
        threads_per_core=_threads_per_core(profile),
        peak_flop_per_s=hardware.peak_gflop_per_s.value * GFLOP,
        stream_bytes_per_s=costs.stream_gb_per_s.value * GB,
        caches=_caches(hardware),
        memory=_memory(hardware),
        power=_power(hardware),
        gemm=_gemm(costs),
        lookup=_lookup(costs),
        calls=_calls(costs),
        inputs=_inputs(costs),
        interference=Interference(
            node_factor=costs.network_slowdown.value,
            conversion_factor=costs.conversion_slowdown.value,
            node_factor_spread=section.network_slowdown_spread.value
            if section.network_slowdown_spread
            else 0.0,
            hyper_thread_gemm=hardware.hyper_thread_gemm_slowdown.value,
            hyper_thread_lookup=hardware.hyper_thread_lookup_slowdown.value,
            hyper_thread_spread=_shared_core_spread(hardware),
        ),
        engine=_engine(costs),
        batch_range=section.batch_range,
        errors=_errors(section),
        describes=section.describes or section.description,
        without_input=None if section.is_bare else _bare_stack(profile),
        is_derived=section.derived_from is not None,
        is_edited=is_edited(hardware, section),
        measured={curve.signature: _measured(curve) for curve in section.measured},
        thread_scaling={family: entry.value for family, entry in section.thread_scaling.items()},
        unrest=section.unrest,
        surfaces={entry.call: entry.surface() for entry in section.surfaces},
        co_located={str(family): counts for family, counts in section.co_located.items()},
        launches=section.launches.costs() if section.launches else None,
        anchors={model: entry.anchor() for model, entry in section.anchors.items()},
        precision=section.precision,
        links=_links(hardware),
        peaks_flop_per_s=_peaks(hardware),
        assumptions=_assumptions(costs),
    )


def _shared_core_spread(hardware: HardwareSection) -> float:
    """How far off the slow-down of two threads on a core may be: where a profile assumes it. [ln]"""
    sources = (hardware.hyper_thread_gemm_slowdown.source, hardware.hyper_thread_lookup_slowdown.source)
    return SHARED_CORE_SPREAD if any(source.startswith("assumed") for source in sources) else 0.0


def _threads_per_core(profile: ProfileFile) -> int:
    """As the file says, else as the machine showed when it was calibrated: a virtual one may have one."""
    if profile.kind == "gpu":
        return 1
    stated, measured = profile.hardware.threads_per_core.value, profile.fingerprint
    if "threads_per_core" in profile.hardware.model_fields_set or measured is None:
        return int(stated)
    return 1 if measured.machine.threads <= measured.machine.cores else int(stated)


def _served_device(device: Device, name: str, ways: Mapping[str, ServedSection]) -> Device:
    """The device with its calls made by modules; anchors of whole models are of the flat list of calls."""
    served = ways[name]
    errors = FitErrors(
        whole=hypot(device.errors.whole, served.relative_error.value), correlation=device.errors.correlation
    )
    return replace(
        device,
        stack=name,
        describes=served.describes,
        errors=errors,
        anchors={},
        modules=served.law(),
        module_ways={way: section.law() for way, section in ways.items()},
        precision=served.precision,
    )


def _errors(section: StackSection) -> FitErrors:
    of_fitted, correlation = section.relative_error_of_fitted_models, section.error_correlation
    return FitErrors(
        whole=section.relative_error.value,
        of_fitted_models=None if of_fitted is None else of_fitted.value,
        models=frozenset(section.fitted_models),
        kinds=None if section.fitted_kinds is None else frozenset(section.fitted_kinds),
        correlation=0.0 if correlation is None else correlation.value,
    )


def _bare_stack(profile: ProfileFile) -> str | None:
    return next((name for name, stack in profile.stacks.items() if stack.is_bare), None)


def bare_device(hardware: HardwareSection) -> Device:
    """A CPU whose costs are not known yet: what calibration starts from."""
    nothing = GemmCosts(
        efficiency=1.0,
        half_width=0.0,
        half_rows=0.0,
        weight_l2_bytes_per_s=float("inf"),
        weight_l3_bytes_per_s=float("inf"),
        weight_memory_bytes_per_s=float("inf"),
    )
    return Device(
        name="uncalibrated",
        kind="cpu",
        stack="none",
        sockets=hardware.sockets.value,
        cores_per_socket=hardware.cores_per_socket.value,
        peak_flop_per_s=hardware.peak_gflop_per_s.value * GFLOP,
        stream_bytes_per_s=float("inf"),
        caches=_caches(hardware),
        memory=_memory(hardware),
        power=_power(hardware),
        gemm=nothing,
        lookup=LookupCosts(bag_s=0.0, cached_line_s=0.0, memory_line_s=0.0),
        calls=CallCosts(call_s={}),
        inputs=InputCosts(),
    )


def _power(hardware: HardwareSection) -> Power:
    return Power(
        tdp_w=hardware.tdp_w.value,
        idle_w=hardware.idle_w.value,
        peak_w=hardware.peak_w.value,
        launched_w=hardware.launched_w.value if hardware.launched_w else None,
        joules_per_flop=hardware.pj_per_flop.value * PICO,
        joules_per_byte=hardware.pj_per_byte.value * PICO,
    )


def _links(hardware: HardwareSection) -> Mapping[Link, float]:
    """What goes over each link of a card, one way, of those that it has. [bytes/s]"""
    rates: dict[Link, Positive | None] = {
        "host": hardware.host_link_gb_per_s,
        "cards": hardware.card_link_gb_per_s,
    }
    return {link: rate.value * GB for link, rate in rates.items() if rate is not None}


def _peaks(hardware: HardwareSection) -> Mapping[str, float]:
    peaks = hardware.peaks_tflop_per_s
    return {} if peaks is None else {key: value * TFLOP for key, value in peaks.named.items()}


def _caches(hardware: HardwareSection) -> Caches | None:
    l2, l3, policy = hardware.l2_kib_per_core, hardware.l3_mib_per_socket, hardware.l3_policy
    if l2 is None or l3 is None or policy is None:
        return None
    lifetime = hardware.l3_lifetime_ms
    return Caches(
        l2_bytes=l2.value * KIB,
        l3_bytes=l3.value * MIB,
        exclusive=policy.value == "exclusive",
        l3_lifetime_s=lifetime.value * MS if lifetime else inf,
    )


def _memory(hardware: HardwareSection) -> Memory:
    return Memory(
        capacity_bytes=hardware.memory_gib.value * GIB,
        bandwidth_bytes_per_s=hardware.memory_gb_per_s_per_socket.value * GB,
        random_fraction=hardware.memory_random_fraction.value,
        saturation_sharpness=hardware.memory_saturation_sharpness.value,
    )


def _gemm(costs: CostSection) -> GemmCosts:
    return GemmCosts(
        efficiency=costs.gemm_efficiency.value,
        half_width=costs.gemm_half_width.value,
        half_rows=costs.gemm_half_rows.value,
        weight_l2_bytes_per_s=costs.weight_l2_gb_per_s.value * GB,
        weight_l3_bytes_per_s=costs.weight_l3_gb_per_s.value * GB,
        weight_memory_bytes_per_s=costs.weight_memory_gb_per_s.value * GB,
    )


def _lookup(costs: CostSection) -> LookupCosts:
    return LookupCosts(
        bag_s=costs.lookup_bag_ns.value * NS,
        cached_line_s=costs.lookup_cached_line_ns.value * NS,
        memory_line_s=costs.lookup_memory_line_ns.value * NS,
        serial_row_s=costs.lookup_serial_row_ns.value * NS,
    )


def _calls(costs: CostSection) -> CallCosts:
    return CallCosts(
        call_s={
            "fc": costs.fc_call_us.value * US,
            "embedding_bag": costs.embedding_bag_call_us.value * US,
            "concat": costs.concat_call_us.value * US,
            "elementwise": costs.elementwise_call_us.value * US,
        },
        concat_piece_s=costs.concat_piece_us.value * US,
        concat_row_piece_s=costs.concat_row_piece_ns.value * NS,
        recurrent_step_s=costs.recurrent_step_us.value * US,
        softmax_row_s=costs.softmax_row_ns.value * NS,
        softmax_element_s=costs.softmax_element_ns.value * NS,
        small_product_s=costs.small_product_ns.value * NS,
    )


def _inputs(costs: CostSection) -> InputCosts:
    transfer = costs.transfer_gb_per_s
    return InputCosts(
        blob_s=costs.input_blob_us.value * US,
        bag_s=costs.input_bag_ns.value * NS,
        index_s=costs.input_index_ns.value * NS,
        dense_element_s=costs.input_dense_element_ns.value * NS,
        transfer_bytes_per_s=float("inf") if transfer is None else transfer.value * GB,
    )


def _engine(costs: CostSection) -> EngineCosts:
    return EngineCosts(
        engines=None if costs.engines is None else costs.engines.value,
        stored_items=costs.stored_batch_items.value,
        stored_index_s=costs.stored_index_ns.value * NS,
        feed_call_s=costs.feed_call_us.value * US,
        hand_over_s=costs.hand_over_us.value * US,
        queue_blobs=costs.input_queue_blobs.value,
        interpreter_lock=costs.interpreter_lock.value,
    )


def _measured(curve: Curve) -> MeasuredCurve:
    return MeasuredCurve(batch_sizes=np.array(curve.batch_sizes, float), seconds=np.array(curve.time_us) * US)


def _assumptions(costs: CostSection) -> tuple[str, ...]:
    """Costs that no fit stands behind, as `key: why`, what slows all down first; idle ones left out."""
    return tuple(
        f"{key} {entry.value:g} ({entry.source.removeprefix('assumed: ')})"
        for key, entry in sorted(costs, key=lambda item: not item[0].endswith("_slowdown"))
        if entry is not None
        and entry not in (NONE, NO_SLOWDOWN, NOTHING_STORED, NOTHING_AHEAD, NO_LOCK)
        and entry.source.startswith("assumed: ")
    )
