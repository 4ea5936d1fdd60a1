"""Writing down an accelerator's calibration as a hardware profile: plain values, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from calibration.measure.calibration import Fitted
from calibration.measure.profile import profile_values, with_fitted_values
from calibration.runtime.accelerator import SIGNIFICAND_BITS
from perfmodel.domain.fingerprint import Fingerprint
from perfmodel.domain.hardware import IssueCost
from perfmodel.units import GB, GFLOP, GIB, KIB, MIB, NS, PICO, US

_ASSUMED_PEAK_W, _ASSUMED_IDLE_W = 350.0, 60.0
_NO_COUNTER = "no energy counter of the card can be read here"
_LENGTH_EXCESS_BYTES = 4
"""The formula of inputs counts 4 bytes for a bag's length; the runtime hands over int64 offsets."""
_DEVICE = "measured: as the driver reports it"
_ONE_CARD = "measured: one card"
_ALONE = "assumed: one pass at a time"


def device_values(
    fitted: Fitted,
    issue: Mapping[str, IssueCost],
    taken: Fingerprint,
    *,
    facts: Mapping[str, float],
    card: str,
    name: str,
    raw: str,
) -> dict[str, Any]:
    """Plain values of the profile file: those of a CPU's calibration, with what differs for a card.

    Parameters
    ----------
    fitted : Fitted
        Surfaces of device times.
    issue : mapping
        Kind of call to the host's cost of issuing one.
    taken : Fingerprint
        The machine with the card.
    facts : mapping
        What was measured once, and the error of whole sequences.
    card, name, raw : str
        What the maker calls the card; of the profile, and of the file with the measurements.
    """
    source = f"measured: {raw}"
    values = profile_values(
        name=name,
        taken=taken,
        surfaces=fitted.surfaces,
        calls=fitted.calls,
        co_located={},
        facts=facts,
        raw=raw,
    )
    stack = values["stacks"]["pytorch"]
    precision = _precision(facts)
    stack["description"] = f"PyTorch eager, {precision}, on one stream: the calls of calibration/runtime"
    if precision == "bf16":
        stack["precision"] = precision
    stack["describes"] = (
        f"PyTorch's own calls, eager, {precision}, on one stream, {_level_words(facts)}; "
        "copying the inputs included"
    )
    stack["relative_error"] = _entry(_rounded(facts["relative_error"]), f"{source}; {_error_words(facts)}")
    stack["costs"] |= _costs(facts, source)
    stack["launches"] = _launches({call: issue[call] for call in fitted.surfaces}, facts, source)
    host, day = taken.machine.cpu, taken.date[:10]
    torch = taken.software.torch if taken.software else "of unknown version"
    return with_fitted_values(
        values
        | {
            "kind": "gpu",
            "description": f"{card} in {precision} beside {host}, calibrated {day} with PyTorch {torch}",
            "hardware": _hardware(facts, source),
        }
    )


def _level_words(facts: Mapping[str, float]) -> str:
    over = ", the mean over all visits to such machines" if "mean_probe_s" in facts else ""
    return f"its host {facts.get('host_level', 1.0):.2f} times as slow as when quiet{over}"


def _error_words(facts: Mapping[str, float]) -> str:
    """Whose error a profile states: the card's and its host's are told apart here only."""
    return (
        "root mean square of the logarithm: the larger of that of the card's time for whole sequences left "
        f"out of the fit, {facts['device_error']:.3f}, and of its host's at its mean level, "
        f"{facts['host_error']:.3f}"
    )


def _precision(facts: Mapping[str, float]) -> str:
    names = {bits: name for name, bits in SIGNIFICAND_BITS.items()}
    return names[int(facts.get("significand_bits", SIGNIFICAND_BITS["fp32"]))]


def _hardware(facts: Mapping[str, float], source: str) -> dict[str, Any]:
    """The hardware section: what the driver says, and what was measured once."""
    # Large products draw the most; where copies or launches were read higher, a card draws that at its peak.
    drawn = [facts[key] for key in ("busy_w", "copied_w", "launched_w") if key in facts]
    peak_w = max(drawn) if "busy_w" in facts else _ASSUMED_PEAK_W
    # A card that worked just before has not calmed down yet: at rest it draws no more than with launches.
    idle_w = min(peak_w, facts.get("idle_w", _ASSUMED_IDLE_W), facts.get("launched_w", inf))
    power = _nvml(facts) if "busy_w" in facts else f"assumed: a large card's; {_NO_COUNTER}"
    limit_w = facts.get("power_limit_w")
    tdp = f"{power}; its peak, for want of a limit" if limit_w is None else "measured: its limit, by NVML"
    cache = "measured: the card's L2 as the driver reports it, as both levels: it has no other that matters"
    return {
        "sockets": _entry(1, _ONE_CARD),
        "cores_per_socket": _entry(1, f"{_ONE_CARD}; a forward pass has it to itself"),
        "peak_gflop_per_s": _entry(_rounded(facts["peak_flop_per_s"] / GFLOP), source),
        "l2_kib_per_core": _entry(_rounded(facts["l2_bytes"] / KIB), cache),
        "l3_mib_per_socket": _entry(_rounded(facts["l2_bytes"] / MIB), cache),
        "l3_policy": _entry("inclusive", cache),
        "memory_gib": _entry(_rounded(facts["memory_bytes"] / GIB), _DEVICE),
        "memory_gb_per_s_per_socket": _entry(_rounded(facts["bandwidth_bytes_per_s"] / GB), source),
        "memory_random_fraction": _entry(1.0, _ALONE),
        "memory_saturation_sharpness": _entry(4.0, _ALONE),
        "tdp_w": _entry(_rounded(peak_w if limit_w is None else limit_w), tdp),
        "idle_w": _entry(_rounded(idle_w), power),
        "peak_w": _entry(_rounded(peak_w), power),
    } | _energies(facts)


def _nvml(facts: Mapping[str, float], what: str = "") -> str:
    """Whose power it is: the file's `powers_days_later` says that another card's stands for this one's."""
    days = facts.get("powers_days_later", 0)
    day = "a day" if days == 1 else f"{days:g} days"
    return f"measured: NVML{what}" + (
        f"; of another card of the kind, calibrated {day} later" if days else ""
    )


def _energies(facts: Mapping[str, float]) -> dict[str, Any]:
    """What launches, arithmetic and memory traffic take, where the card's counter could be read."""
    if not {"launched_w", "copied_w", "busy_w"} <= facts.keys():
        return {}
    launched_w = facts["launched_w"]
    per_flop = max(0.0, facts["busy_w"] - launched_w) / facts["peak_flop_per_s"]
    per_byte = max(0.0, facts["copied_w"] - launched_w) / facts["bandwidth_bytes_per_s"]
    return {
        "launched_w": _entry(_rounded(launched_w), _nvml(facts, ", small kernels one after the other")),
        "pj_per_flop": _entry(_rounded(per_flop / PICO), _nvml(facts, ", products of large matrices")),
        "pj_per_byte": _entry(_rounded(per_byte / PICO), _nvml(facts, ", copies within the card")),
    }


def _costs(facts: Mapping[str, float], source: str) -> dict[str, Any]:
    """Costs of inputs, which are copies from pageable memory, and rates that a CPU's law would cap."""
    bandwidth = _rounded(facts["bandwidth_bytes_per_s"] / GB)
    transfer = facts["copy_pageable_bytes_per_s"]
    pinned = facts["copy_pinned_bytes_per_s"] / GB
    offsets = f"{source}, {_LENGTH_EXCESS_BYTES} bytes at that rate: offsets are int64"
    return {
        "stream_gb_per_s": _entry(bandwidth, source),
        "weight_memory_gb_per_s": _entry(bandwidth, source),
        "input_blob_us": _entry(_rounded(facts["copy_pageable_s"] / US), source),
        "input_bag_ns": _entry(_rounded(_LENGTH_EXCESS_BYTES / transfer / NS), offsets),
        "transfer_gb_per_s": _entry(
            _rounded(transfer / GB), f"{source}, pageable memory; pinned {pinned:.3g} GB/s"
        ),
    }


def _launches(issue: Mapping[str, IssueCost], facts: Mapping[str, float], source: str) -> dict[str, Any]:
    return {
        "issue_us": {call: _issue(cost) for call, cost in issue.items()},
        "launch_latency_us": _rounded(facts["launch_latency_s"] / US),
        "output_us": _rounded(facts["output_s"] / US),
        "host_level": _rounded(facts.get("host_level", 1.0)),
        "quiet_probe_us": _rounded(facts.get("quiet_probe_s", 0.0) / US),
        "source": source + _beside_words(facts),
    }


def _beside_words(facts: Mapping[str, float]) -> str:
    """Whose launches these are, and what busy cores did to some; nothing where that was not measured."""
    if "beside.launch_s" not in facts:
        return ""
    launch, rate = (
        facts[f"beside.{name}"] / facts[f"apart.{name}"] for name in ("launch_s", "copy_bytes_per_s")
    )
    return (
        f"; of launches alone: what {facts['beside.workers']:.0f} busy workers beside do is not in it, "
        f"launches of {launch:.2f} times the time and copies at {rate:.2f} times the rate"
    )


def _issue(cost: IssueCost) -> dict[str, float]:
    """One kind of call; rows only where they matter."""
    found = {"call": _rounded(cost.call_s / US), "part": _rounded(cost.part_s / US)}
    if cost.few_rows:
        found |= {"few_rows": cost.few_rows, "few_rows_call": _rounded(cost.few_rows_call_s / US)}
    return found


def _entry(value: object, source: str) -> dict[str, object]:
    return {"value": value, "source": source}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
