"""The hardware profiles that the fit writes: data-sheet values, and the file around the fitted costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from calibration.published.figures import HPCA, ISCA, REPOSITORY
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.profile_fingerprint import fitted_values
from perfmodel.loading.written import write_atomically

Costs = dict[str, float]
"""Key of a profile's cost section to its value, in the unit that the key names."""
Value = float | int | str
Sourced = tuple[Value, str]
"""A value and its source."""

RECNMP = (
    "fitted: memory_bandwidth_vs_threads_recnmp_fig6.csv (lookups on an 18-core Skylake)"  # saturation.py
)
TABLE_II = "published: HPCA 2020 Table II"
SECTION_V = "published: ISCA 2020 section V"
ONE_CARD = "datasheet: one card"
AVX2_TURBO = (
    "datasheet: 32 fp32 FLOP a cycle (AVX2, two FMA) at the single-core turbo of 3.3 GHz of this "
    "generation's parts; clock and core count in HPCA 2020 Table II"
)
AVX512_TURBO = (
    "datasheet: 64 fp32 FLOP a cycle (AVX-512, two FMA) at the single-core turbo of 3.5 GHz of this "
    "generation's 20-core 2.0 GHz part; clock and core count in HPCA 2020 Table II"
)
CARD_PEAK = f"{SECTION_V}, 3584 CUDA cores; 2 FLOP a cycle at 1.48 GHz, the vendor's base clock"
IDLE = "assumed: 40 % of TDP at idle, a common value for dual-socket servers of the time; no figure published"
PEAK_IS_TDP = "assumed: peak is the TDP"

PLATFORMS = ("haswell", "broadwell", "skylake")


def _cpu(
    *,
    cores: int,
    peak_gflop_per_s: Sourced,
    l2_kib: float,
    l3_mib: float,
    l3_policy: str,
    gb_per_s: float,
    tdp_w: tuple[float, str],
) -> dict[str, Sourced]:
    """Two sockets of one server generation."""
    return {
        "sockets": (2, TABLE_II),
        "cores_per_socket": (cores, TABLE_II),
        "threads_per_core": (2, "published: HPCA 2020, text: run with hyper-threading and without"),
        "peak_gflop_per_s": peak_gflop_per_s,
        "l2_kib_per_core": (l2_kib, TABLE_II),
        "l3_mib_per_socket": (l3_mib, TABLE_II),
        "l3_policy": (l3_policy, TABLE_II),
        "memory_gib": (256.0, TABLE_II),
        "memory_gb_per_s_per_socket": (gb_per_s, TABLE_II),
        "memory_random_fraction": (0.762, RECNMP),
        "memory_saturation_sharpness": (1.105, RECNMP),
        "tdp_w": tdp_w,
        "idle_w": (0.4 * tdp_w[0], IDLE),
        "peak_w": (tdp_w[0], PEAK_IS_TDP),
        "hyper_thread_gemm_slowdown": (
            1.6,
            "published: HPCA 2020, text: FC 1.6x slower with hyper-threading",
        ),
        "hyper_thread_lookup_slowdown": (1.3, "published: HPCA 2020, text: lookups 1.3x slower"),
    }


HARDWARE: dict[str, dict[str, Sourced]] = {
    "haswell": _cpu(
        cores=12,
        peak_gflop_per_s=(105.6, AVX2_TURBO),
        l2_kib=256,
        l3_mib=30,
        l3_policy="inclusive",
        gb_per_s=51,
        tdp_w=(240.0, "assumed: 2 x 120 W, as Broadwell; Table II gives none"),
    ),
    "broadwell": _cpu(
        cores=14,
        peak_gflop_per_s=(105.6, AVX2_TURBO),
        l2_kib=256,
        l3_mib=35,
        l3_policy="inclusive",
        gb_per_s=77,
        tdp_w=(240.0, f"{SECTION_V}, 120 W a socket"),
    ),
    "skylake": _cpu(
        cores=20,
        peak_gflop_per_s=(224.0, AVX512_TURBO),
        l2_kib=1024,
        l3_mib=27.5,
        l3_policy="exclusive",
        gb_per_s=85,
        tdp_w=(250.0, f"{SECTION_V}, 125 W a socket"),
    ),
    "gtx1080ti": {
        "sockets": (1, ONE_CARD),
        "cores_per_socket": (1, f"{ONE_CARD}; a forward pass has it to itself"),
        "threads_per_core": (1, ONE_CARD),
        "hyper_thread_gemm_slowdown": (1.0, "assumed: no interference beyond caches and bandwidth"),
        "hyper_thread_lookup_slowdown": (1.0, "assumed: no interference beyond caches and bandwidth"),
        "peak_gflop_per_s": (10600.0, CARD_PEAK),
        "memory_gib": (11.0, SECTION_V),
        "memory_gb_per_s_per_socket": (484.0, "datasheet: vendor's data sheet"),
        "memory_random_fraction": (1.0, "assumed: lookups are priced by their own rate"),
        "memory_saturation_sharpness": (4.0, "assumed: one forward pass at a time"),
        "tdp_w": (250.0, SECTION_V),
        "idle_w": (55.0, "assumed: card at idle with a context open"),
        "peak_w": (250.0, PEAK_IS_TDP),
    },
}

DESCRIPTIONS = {
    "haswell": "2 x 12-core Haswell, 2.5 GHz, AVX2",
    "broadwell": "2 x 14-core Broadwell, 2.4 GHz, AVX2, inclusive L3",
    "skylake": "2 x 20-core Skylake, 2.0 GHz, AVX-512, exclusive L3",
    "gtx1080ti": "NVIDIA GTX 1080 Ti",
}
STACKS = {
    HPCA: "Caffe2 with MKL as the HPCA 2020 study ran it: bare kernels, no input conversion",
    ISCA: "DeepRecInfra as ISCA 2020 measured it: Caffe2 kernels, input conversion, engine processes",
    REPOSITORY: "DeepRecSys's public repository, whose figures count input conversion on both sides",
}
DESCRIBES = {
    HPCA: "Caffe2 with MKL as the HPCA 2020 study ran it: bare kernels, inputs ready",
    ISCA: "Caffe2 as DeepRecInfra ran it for ISCA 2020, its conversion of inputs included",
    REPOSITORY: "Caffe2 as DeepRecSys ran it, its conversion of inputs included",
}
"""What is in the times, as answers print it."""
LARGEST_MEASURED_BATCH = {"hpca2020": 256, "deeprecsys-isca2020": 1024, "deeprecsys-repository": 1024}

DEFAULT_STACK = {"haswell": HPCA, "broadwell": ISCA, "skylake": REPOSITORY, "gtx1080ti": ISCA}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCosts:
    """The costs of one stack, each with its source, and how far off they are.

    Attributes
    ----------
    errors : mapping
        `relative_error`, and the further keys of a stack that are errors or spreads.
    models, kinds : tuple of str
        Models and kernel families in the figures.
    """

    costs: Mapping[str, tuple[float, str]]
    errors: Mapping[str, tuple[float, str]]
    models: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None


def being_fitted(costs: Costs) -> StackCosts:
    """Costs in the middle of a fit, which have no source yet."""
    source = "assumed: being fitted"
    return StackCosts(
        costs={key: (value, source) for key, value in costs.items()},
        errors={"relative_error": (0.0, source)},
    )


def profile_of(name: str, stacks: Mapping[str, StackCosts]) -> ProfileFile:
    """Assemble a profile from data-sheet values and the costs of its stacks."""
    document = {
        "name": name,
        "kind": "gpu" if name == "gtx1080ti" else "cpu",
        "description": DESCRIPTIONS[name],
        "hardware": _with_sources(HARDWARE[name]),
        "default_stack": DEFAULT_STACK[name] if DEFAULT_STACK[name] in stacks else next(iter(stacks)),
        "stacks": {
            stack: {
                "description": STACKS[stack],
                "describes": DESCRIBES[stack],
                "batch_range": [1, LARGEST_MEASURED_BATCH[stack]],
                **_with_sources(fitted.errors),
                "fitted_models": fitted.models,
                "fitted_kinds": fitted.kinds,
                "costs": _with_sources(fitted.costs),
            }
            for stack, fitted in stacks.items()
        },
    }
    return ProfileFile.model_validate_json(json.dumps(document))


def _with_sources(values: Mapping[str, tuple[Any, str]]) -> dict[str, dict[str, Any]]:
    return {key: {"value": value, "source": source} for key, (value, source) in values.items()}


ERRORS = ("relative_error", "relative_error_of_fitted_models", "network_slowdown_spread")
"""Keys of a stack that say how far off its times are."""


def profile_text(profile: ProfileFile) -> str:
    """Write a profile as YAML, one line for each value with its source, and the hash of what it says."""
    # The hash is of the values as they are written, rounded: reading the file back gives it again.
    written = ProfileFile.model_validate_json(json.dumps(yaml.safe_load(_text(profile, {}))))
    hashes = {name: fitted_values(written.hardware, stack) for name, stack in written.stacks.items()}
    return _text(profile, hashes)


def _text(profile: ProfileFile, hashes: Mapping[str, str]) -> str:
    lines = [
        "# Written by `python -m calibration.published.fit --write`; each value stands with its source.",
        f"name: {profile.name}",
        f"kind: {profile.kind}",
        f"description: {json.dumps(profile.description)}",
        "hardware:",
        *_entries(profile.hardware.model_dump(), "  "),
        f"default_stack: {profile.default_stack}",
        "stacks:",
    ]
    for name, section in profile.stacks.items():
        low, high = section.batch_range
        values = section.model_dump()
        lines += [
            f"  {name}:",
            f"    description: {json.dumps(section.description)}",
            f"    describes: {json.dumps(section.describes)}",
            f"    batch_range: [{low}, {high}]",
            *_entries({key: values[key] for key in ERRORS}, "    "),
            f"    fitted_models: [{', '.join(section.fitted_models)}]",
            *(
                [f"    fitted_kinds: [{', '.join(section.fitted_kinds)}]"]
                if section.fitted_kinds is not None
                else []
            ),
            *([f'    fitted_values: "{hashes[name]}"'] if name in hashes else []),
            "    costs:",
            *_entries(section.costs.model_dump(exclude_unset=True), "      "),
        ]
    return "\n".join(lines) + "\n"


def _entries(values: Mapping[str, Any], indent: str) -> list[str]:
    return [
        f"{indent}{key}: {{value: {_number(entry['value'])}, source: {json.dumps(entry['source'])}}}"
        for key, entry in values.items()
        if entry is not None
    ]


def _number(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_profiles(profiles: list[ProfileFile], folder: Path) -> None:
    """Write each profile in place of the old one."""
    for profile in profiles:
        write_atomically(folder / f"{profile.name}.yaml", profile_text(profile))
