"""Writing down a calibration as a hardware profile: plain values of every section, each with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Any

from calibration.measure.served import ModuleCosts
from calibration.measure.threaded import parallel_fraction
from calibration.runtime.modules import SERVED
from perfmodel.costmodel.places import LEAST_LINES, ROW_BLOCK, VECTOR
from perfmodel.domain.fingerprint import Fingerprint, Machine
from perfmodel.domain.hardware import ModuleLaw
from perfmodel.domain.surface import Surface
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.profile_fingerprint import fitted_values
from perfmodel.loading.profile_surfaces import surface_section
from perfmodel.units import GB, GFLOP, MS, NS, US

_ASSUMED_W_PER_CORE = 5.0
_ASSUMED_IDLE = 0.35
_FASTEST_GB_PER_S = 1000.0  # where a law charges nothing for traffic
_CALIBRATED_BATCHES = [1, 1280]
_BOUNDED = 1.25
"""A shared bandwidth of up to so many times what was read together counts as measured: nothing was seen to
stop the workers beyond. [1]"""
_NO_COUNTER = "no energy counter can be read here"
_CACHE_KIB, _L3_MIB = 1024.0, 32.0
_LEFT_OUT = "root mean square of the logarithm, of whole sequences left out of the fit"
_LEVELS = "{fit:.3f} at the machine's mean level, and {level:.3f} by which that differs from moment to moment"
_BETWEEN = "between kinds of calls in a sequence left out of the fit"


def _error_words(facts: Mapping[str, float]) -> str:
    """What is in the error of whole passes: where probes told the machine's levels apart, that too."""
    if not (level := facts.get("level_spread")):
        return _LEFT_OUT
    fit = sqrt(max(0.0, facts["relative_error"] ** 2 - level**2))
    return f"{_LEFT_OUT}: {_LEVELS.format(fit=fit, level=level)}"


def profile_values(
    *,
    name: str,
    taken: Fingerprint,
    surfaces: Mapping[str, Surface],
    calls: Mapping[str, int],
    co_located: Mapping[str, Mapping[int, float]],
    facts: Mapping[str, float],
    raw: str,
    threaded: Mapping[str, Mapping[int, float]] | None = None,
    unrest: Mapping[str, Any] | None = None,
    served: Mapping[str, ModuleCosts] | None = None,
) -> dict[str, Any]:
    """Plain values of the profile file.

    Parameters
    ----------
    name : str
        Of the profile.
    taken : Fingerprint
        What it holds for.
    surfaces : mapping
        Kind of call to its surface; `calls` says how many calls are behind each.
    co_located : mapping
        Kernel family to slow-down by busy workers. [1]
    facts : mapping
        Measured once: `bandwidth_bytes_per_s`, and `idle_w` and `busy_w` where energy can be read.
    raw : str
        Name of the file with the raw measurements.
    threaded : mapping, optional
        Kernel family to its time on several threads over that on one, by their number. [1]
    unrest : mapping, optional
        Plain values of `domain.unsteady.Unrest`.
    served : mapping, optional
        What ways to serve modules take more, by their names.
    """
    source, software = f"measured: {raw}", taken.software
    version = software.torch if software else "of unknown version"
    return {
        "name": name,
        "kind": "cpu",
        "description": f"{taken.machine.cpu}, calibrated {taken.date[:10]} with PyTorch {version}",
        "hardware": hardware_values(taken.machine, facts, source),
        "fingerprint": taken.model_dump(mode="json", exclude_none=True),
        "default_stack": "pytorch",
        "stacks": {
            "pytorch": {
                "description": "PyTorch eager, fp32, one thread a worker: the calls of calibration/runtime",
                "batch_range": _CALIBRATED_BATCHES,
                "describes": "PyTorch's own calls, eager, one thread a worker; inputs are ready",
                "relative_error": _entry(
                    _rounded(facts["relative_error"]), f"{source}; {_error_words(facts)}"
                ),
                "error_correlation": _entry(_rounded(facts["error_correlation"]), f"{source}; {_BETWEEN}"),
                "spread_between_passes": _entry(_rounded(facts["spread_between_passes"]), source),
                "costs": _costs(surfaces, facts["bandwidth_bytes_per_s"], source),
                "co_located": {family: dict(by_count) for family, by_count in co_located.items()},
                "surfaces": [
                    surface_section(call, surface, calls=calls[call], source=source)
                    for call, surface in surfaces.items()
                ],
                **({"thread_scaling": _thread_scaling(threaded, source)} if threaded else {}),
                **({"unrest": dict(unrest)} if unrest else {}),
                **({"served": served_sections(served, source)} if served else {}),
            }
        },
    }


def _thread_scaling(by_family: Mapping[str, Mapping[int, float]], source: str) -> dict[str, Any]:
    """Shares, with the times behind them: threads may only have stood in the way."""

    def times(ratios: Mapping[int, float]) -> str:
        return ", ".join(f"{ratio:.3g} on {threads}" for threads, ratio in sorted(ratios.items()))

    return {
        family: _entry(
            _rounded(parallel_fraction(ratios)),
            f"{source}; calls by the wall clock over those on one thread: {times(ratios)}",
        )
        for family, ratios in by_family.items()
    }


def served_sections(served: Mapping[str, ModuleCosts], source: str) -> dict[str, Any]:
    """The ways to serve modules, by name."""
    return {way: _served(way, costs, source) for way, costs in served.items()}


def _served(way: str, costs: ModuleCosts, source: str) -> dict[str, Any]:
    left_out = (
        "root mean square of the logarithm, of passes left out, given the time of the flat list of calls"
    )
    return {
        "describes": SERVED[way].describes,
        **({} if costs.law.precision == "fp32" else {"precision": costs.law.precision}),
        **({} if costs.law.tables == "fp32" else {"tables": costs.law.tables}),
        "law_ns": {term: _rounded(value / NS) for term, value in costs.law.costs.items()},
        **_layers(costs.law),
        "relative_error": _entry(_rounded(costs.relative_error), f"{source}; {left_out}"),
        "passes": costs.passes,
        "source": f"{source}; {costs.ratio:.2f} times the flat list of calls, geometric mean",
    }


def _layers(law: ModuleLaw) -> dict[str, Any]:
    """What another precision than fp32 makes of times."""
    layers = {term: _rounded(value / NS) for term, value in law.layers.items()}
    factors = {kind: _rounded(value) for kind, value in law.factors.items()}
    return ({"layers_ns": layers} if layers else {}) | ({"factors": factors} if factors else {})


def with_fitted_values(values: dict[str, Any]) -> dict[str, Any]:
    """Put beside the stack the hash that tells an edit by hand from what was measured."""
    profile = ProfileFile.model_validate_json(json.dumps(values))
    for name, stack in profile.stacks.items():
        values["stacks"][name]["fitted_values"] = fitted_values(profile.hardware, stack)
    return values


def hardware_values(machine: Machine, facts: Mapping[str, float], source: str) -> dict[str, Any]:
    """The hardware section: what the operating system says, and what was measured once."""
    cores = machine.cores
    system = "measured: as the operating system reports it"
    bandwidth = facts.get("node_bandwidth_bytes_per_s", facts["bandwidth_bytes_per_s"]) / GB
    shared = _bandwidth_source(bandwidth, facts, source)
    sharpness = _entry(4.0, "assumed: as of other servers; there is one worker")
    if "saturation_sharpness" in facts:
        sharpness = _entry(_rounded(facts["saturation_sharpness"]), source)
    busy_w = facts.get("busy_w", _ASSUMED_W_PER_CORE * cores)
    idle_w = facts.get("idle_w", _ASSUMED_IDLE * busy_w)
    power = (
        "measured: RAPL" if "busy_w" in facts else f"assumed: {_ASSUMED_W_PER_CORE:g} W a core; {_NO_COUNTER}"
    )
    idle = "measured: RAPL" if "idle_w" in facts else f"assumed: {_ASSUMED_IDLE:g} of peak; {_NO_COUNTER}"
    lifetime_ms = facts.get("l3_lifetime_s", inf) / MS
    lifetime = {"l3_lifetime_ms": _entry(_rounded(lifetime_ms), source)} if isfinite(lifetime_ms) else {}
    return lifetime | {
        "sockets": _entry(1, "assumed: all cores of this process share their last-level cache"),
        "cores_per_socket": _entry(cores, system),
        "peak_gflop_per_s": _entry(_rounded(facts["peak_flop_per_s"] / GFLOP), source),
        "l2_kib_per_core": _entry(
            machine.l2_kib or _CACHE_KIB, system if machine.l2_kib else "assumed: unknown"
        ),
        "l3_mib_per_socket": _entry(
            machine.l3_mib or _L3_MIB, system if machine.l3_mib else "assumed: unknown"
        ),
        "l3_policy": _entry("exclusive", "assumed: as in the servers since Skylake-SP and Zen"),
        "memory_gib": _entry(_rounded(machine.memory_gib), system),
        "memory_gb_per_s_per_socket": _entry(_rounded(bandwidth), shared),
        "memory_random_fraction": _entry(1.0, "assumed: the bandwidth is that of rows and streams together"),
        "memory_saturation_sharpness": sharpness,
        "tdp_w": _entry(_rounded(busy_w), power),
        "idle_w": _entry(_rounded(idle_w), idle),
        "peak_w": _entry(_rounded(busy_w), power),
    }


def _bandwidth_source(bandwidth_gb_per_s: float, facts: Mapping[str, float], source: str) -> str:
    """Measured is what workers read together; what the fit says beyond that is no measurement."""
    together = {
        key: int(key.rpartition(".")[2]) * rate / GB
        for key, rate in facts.items()
        if key.startswith("shared.")
    }
    if not together or bandwidth_gb_per_s <= _BOUNDED * max(together.values()):
        return source
    most = max(together, key=lambda key: together[key])
    return (
        f"assumed: {most.rpartition('.')[2]} workers read at most {together[most]:.3g} GB/s together "
        f"({source.removeprefix('measured: ')}), and this fits how they slowed each other"
    )


def _costs(surfaces: Mapping[str, Surface], read_bytes_per_s: float, source: str) -> dict[str, Any]:
    """The formulas' constants, read off the laws: for reports of what bounds a call, and as a fallback."""

    def law(call: str, term: str) -> float:
        surface = surfaces.get(call)
        return 0.0 if surface is None else surface.law[term]

    def rate(seconds_per_byte: float) -> float:
        return min(_FASTEST_GB_PER_S, 1.0 / max(seconds_per_byte, 1e-15) / GB)

    def line(level: str) -> float:
        terms = [f"line_beyond_{level}_least_{least:g}" for least in LEAST_LINES]
        return sum(law("embedding_bag.pooled", term) for term in terms)

    weights, multiply_add_s = rate(law("fc", "weight") / 4.0), multiply_add_seconds(surfaces)
    cached_line_s = law("embedding_bag.pooled", "line") + line("l2")
    memory_line_s = cached_line_s + line("l3")
    values = {
        "gemm_efficiency": 1.0,
        "gemm_half_width": 0.0,
        "gemm_half_rows": law("fc", "weight") / multiply_add_s,
        "weight_l2_gb_per_s": weights,
        "weight_l3_gb_per_s": weights,
        "weight_memory_gb_per_s": min(weights, read_bytes_per_s / GB),
        "stream_gb_per_s": rate(law("activation.relu", "element") / 8.0),
        "lookup_bag_ns": law("embedding_bag.pooled", "bag") / NS,
        "lookup_cached_line_ns": cached_line_s / NS,
        "lookup_memory_line_ns": max(memory_line_s / NS, 0.01),
        "fc_call_us": law("fc", "call") / US,
        "embedding_bag_call_us": law("embedding_bag.pooled", "call") / US,
        "concat_call_us": law("concat.features", "call") / US,
        "elementwise_call_us": law("activation.relu", "call") / US,
        "concat_piece_us": law("concat.features", "piece") / US,
        "concat_row_piece_ns": law("concat.features", "item_piece") / NS,
        "recurrent_step_us": law("recurrent.gru", "step") / US,
        "softmax_row_ns": law("softmax", "row") / NS,
        "softmax_element_ns": law("softmax", "element") / NS,
        "small_product_ns": law("batch_matmul.pairs", "product") / NS,
    }
    return {key: _entry(_rounded(value), source) for key, value in values.items()}


def multiply_add_seconds(surfaces: Mapping[str, Surface]) -> float:
    """Time of a multiply-add in a large product, from what the law charges for elements and strips. [s]"""
    law = surfaces["fc"].law
    per_element = law["multiply_add"] + law["row_strip"] / VECTOR + law["block_output"] / ROW_BLOCK
    per_element += law["block_strip"] / (VECTOR * ROW_BLOCK)
    return max(per_element, 1e-15)


def _entry(value: object, source: str) -> dict[str, object]:
    return {"value": value, "source": source}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
