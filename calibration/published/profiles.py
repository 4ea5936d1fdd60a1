"""The hardware profiles that the fit writes: data-sheet values, and the file around the fitted costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perfmodel.loading.profile_file import ProfileFile

Costs = dict[str, float]

HYPER_THREADING = {
    "hyper_thread_gemm_slowdown": (1.6, "published: HPCA 2020, text: FC 1.6x slower with hyper-threading"),
    "hyper_thread_lookup_slowdown": (1.3, "published: HPCA 2020, text: lookups 1.3x slower"),
}
RECNMP = "fitted: memory_bandwidth_vs_threads_recnmp_fig6.csv (lookups on an 18-core Skylake)"
TABLE_II = "published: HPCA 2020 Table II"
TURBO = "datasheet: 32 fp32 FLOP a cycle (AVX2, two FMA) at the single-core turbo of 3.3 GHz of this generation's parts; clock and core count in HPCA 2020 Table II"
IDLE = "assumed: 40 % of TDP at idle, a common value for dual-socket servers of the time; no figure published"


def _cpu(cores: int, peak: tuple[float, str], l2: float, l3: float, policy: str, bandwidth: float, tdp: tuple[float, str]) -> dict[str, tuple[Any, str]]:
    return {
        "sockets": (2, TABLE_II),
        "cores_per_socket": (cores, TABLE_II),
        "peak_gflop_per_s": peak,
        "l2_kib_per_core": (l2, TABLE_II),
        "l3_mib_per_socket": (l3, TABLE_II),
        "l3_policy": (policy, TABLE_II),
        "memory_gib": (256.0, TABLE_II),
        "memory_gb_per_s_per_socket": (bandwidth, TABLE_II),
        "memory_random_fraction": (0.77, RECNMP),
        "memory_saturation_sharpness": (1.3, RECNMP),
        "tdp_w": tdp,
        "idle_w": (0.4 * tdp[0], IDLE),
        "peak_w": (tdp[0], "assumed: peak is the TDP"),
        **HYPER_THREADING,
    }


HARDWARE: dict[str, dict[str, tuple[Any, str]]] = {
    "haswell": _cpu(12, (105.6, TURBO), 256, 30, "inclusive", 51,
                    (240.0, "assumed: 2 x 120 W, as Broadwell; Table II gives none")),
    "broadwell": _cpu(14, (105.6, TURBO), 256, 35, "inclusive", 77,
                      (240.0, "published: ISCA 2020 section V, 120 W a socket")),
    "skylake": _cpu(20, (224.0, "datasheet: 64 fp32 FLOP a cycle (AVX-512, two FMA) at the single-core turbo of 3.5 GHz of this generation's 20-core 2.0 GHz part; clock and core count in HPCA 2020 Table II"),
                    1024, 27.5, "exclusive", 85, (250.0, "published: ISCA 2020 section V, 125 W a socket")),
    "gtx1080ti": {
        "sockets": (1, "datasheet: one card"),
        "cores_per_socket": (1, "datasheet: one card; a forward pass has it to itself"),
        "peak_gflop_per_s": (10600.0, "published: ISCA 2020 section V, 3584 CUDA cores; 2 FLOP a cycle at 1.48 GHz, the vendor's base clock"),
        "memory_gib": (11.0, "published: ISCA 2020 section V"),
        "memory_gb_per_s_per_socket": (484.0, "datasheet: vendor's data sheet"),
        "memory_random_fraction": (1.0, "assumed: lookups are priced by their own rate"),
        "memory_saturation_sharpness": (4.0, "assumed: one forward pass at a time"),
        "tdp_w": (250.0, "published: ISCA 2020 section V"),
        "idle_w": (55.0, "assumed: card at idle with a context open"),
        "peak_w": (250.0, "assumed: peak is the TDP"),
    },
}  # fmt: skip

PLATFORMS = ("haswell", "broadwell", "skylake")

DESCRIPTIONS = {
    "haswell": "2 x 12-core Haswell, 2.5 GHz, AVX2",
    "broadwell": "2 x 14-core Broadwell, 2.4 GHz, AVX2, inclusive L3",
    "skylake": "2 x 20-core Skylake, 2.0 GHz, AVX-512, exclusive L3",
    "gtx1080ti": "NVIDIA GTX 1080 Ti",
}
STACKS = {
    "hpca2020": "Caffe2 with MKL as the HPCA 2020 study ran it: bare kernels, no input conversion",
    "deeprecsys-isca2020": "DeepRecInfra as ISCA 2020 measured it: Caffe2 kernels, input conversion, engine processes",
    "deeprecsys-repository": "DeepRecSys's public repository, whose figures count input conversion on both sides",
}
DEFAULT_STACK = {
    "haswell": "hpca2020",
    "broadwell": "deeprecsys-isca2020",
    "skylake": "deeprecsys-repository",
    "gtx1080ti": "deeprecsys-isca2020",
}


def profile_of(
    name: str,
    stacks: Mapping[str, Costs],
    sources: Mapping[str, Mapping[str, str]] | None = None,
    relative_error: Mapping[str, tuple[float, str]] | None = None,
) -> ProfileFile:
    """Assemble a profile from data-sheet values and the costs of its stacks."""
    hardware = {key: {"value": value, "source": source} for key, (value, source) in HARDWARE[name].items()}
    sections = {}
    for stack, costs in stacks.items():
        notes = (sources or {}).get(stack, {})
        error, error_source = (relative_error or {}).get(stack, (0.0, "assumed: being fitted"))
        sections[stack] = {
            "description": STACKS[stack],
            "batch_range": [1, 1024],
            "relative_error": {"value": error, "source": error_source},
            "costs": {
                key: {"value": value, "source": notes.get(key, "assumed: being fitted")}
                for key, value in costs.items()
            },
        }
    default = DEFAULT_STACK[name] if DEFAULT_STACK[name] in sections else next(iter(sections))
    document = {
        "name": name,
        "kind": "gpu" if name == "gtx1080ti" else "cpu",
        "description": DESCRIPTIONS[name],
        "hardware": hardware,
        "default_stack": default,
        "stacks": sections,
    }
    return ProfileFile.model_validate_json(json.dumps(document))


def profile_text(profile: ProfileFile) -> str:
    """Write a profile as YAML, one line for each value with its source."""
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
        lines += [
            f"  {name}:",
            f"    description: {json.dumps(section.description)}",
            f"    batch_range: [{low}, {high}]",
            *_entries({"relative_error": section.relative_error.model_dump()}, "    "),
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


def _number(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_profiles(profiles: list[ProfileFile], folder: Path) -> None:
    """Write each profile, to a temporary file first, then in place of the old one."""
    for profile in profiles:
        target = folder / f"{profile.name}.yaml"
        temporary = target.with_suffix(".yaml.tmp")
        temporary.write_text(profile_text(profile), encoding="utf-8")
        temporary.replace(target)
