"""Fit the shipped profiles to the published figures, print every residual, and write the profiles.

Stages: (1) HPCA 2020 alone gives each server generation its bare kernels; (2) the DeepRecSys
repository's figures give Skylake and the 1080 Ti that stack; (3) ISCA 2020's figures give Broadwell and
the 1080 Ti theirs, starting from the same silicon in (1) and (2). The loaded level of RMC3, which names
how much the serving stack's processes slow each other down, is `node_level`'s.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from calibration.published import parameters as start_from
from calibration.published.compare import comparison_table, shipped_models
from calibration.published.figures import FIGURES, HPCA, ISCA, REPOSITORY, Models, Point, all_points
from calibration.published.parameters import Parameter
from calibration.published.profiles import HARDWARE, PLATFORMS, Costs, profile_of, write_profiles
from perfmodel.domain.hardware import Device
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.shipped import shipped_directory

RELATIVE_SCALE = 0.10
SHARE_SCALE_POINTS = 3.0
LOADING_SCALE_POINTS = 8.0
UNDECIDED = 0.9
"""Where the figures leave this much of the spread that a constant had before, they say nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Costs of one stack on one device, the parameters they were fitted from, and the figures used."""

    device: str
    stack: str
    costs: Costs
    parameters: dict[str, Parameter]
    spreads: dict[str, float]
    figures: tuple[str, ...]

    def source(self, key: str) -> str:
        """Where a cost comes from: the figures, or its start where they say nothing about it."""
        parameter, spread = self.parameters[key], self.spreads[key]
        if spread >= UNDECIDED * parameter.spread:
            return f"assumed: {parameter.reason}"
        percent = f"+-{100 * np.expm1(spread):.0f} %"
        return f"fitted: {', '.join(self.figures)} ({percent}); expected {parameter.start:.3g}: {parameter.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Parameters that a stage fits together: one set of names, shared by the device stacks that use it."""

    name: str
    parameters: dict[str, Parameter]


def fit_stage(
    groups: Sequence[Group],
    assemble: Callable[[dict[str, Costs]], dict[tuple[str, str], Device]],
    files: Sequence[str],
    models: Models,
    keep: Callable[[Point], bool],
) -> tuple[dict[str, Costs], dict[str, Costs]]:
    """Least squares over the logarithms of all free parameters of the groups.

    Residuals are errors over their scale, plus each parameter's distance from its start over its spread.
    Returns the costs of each group, and their remaining spreads (from the curvature at the optimum).
    """
    names = [
        (group.name, key) for group in groups for key, value in group.parameters.items() if value.spread > 0
    ]
    table = {(group.name, key): value for group in groups for key, value in group.parameters.items()}
    start = np.log([table[name].start for name in names])
    spread = np.array([table[name].spread for name in names])

    def costs_at(logs: np.ndarray) -> dict[str, Costs]:
        values = {name: value.start for name, value in table.items()}
        values.update({name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)})
        return {group.name: {key: values[group.name, key] for key in group.parameters} for group in groups}

    def residuals(logs: np.ndarray) -> np.ndarray:
        points = all_points(files, models, assemble(costs_at(logs)))
        misses = [scaled_residual(point) for point in points if keep(point)]
        return np.concatenate([misses, (logs - start) / spread])

    # An efficiency is a fraction of a peak: its logarithm ends at 0.
    upper = np.array([-1e-9 if key == "gemm_efficiency" else np.inf for _, key in names])
    solution = least_squares(
        residuals, start, method="trf", bounds=(-np.inf, upper), max_nfev=40, xtol=1e-4, ftol=1e-4
    )
    left = np.sqrt(np.diag(np.linalg.inv(solution.jac.T @ solution.jac)))
    remaining = dict(zip(names, map(float, left), strict=True))
    spreads = {
        group.name: {key: remaining.get((group.name, key), 0.0) for key in group.parameters}
        for group in groups
    }
    return costs_at(solution.x), spreads


def scaled_residual(point: Point) -> float:
    """Error over its scale: logarithms for times and ratios, points for percentages."""
    if point.unit == "relative":
        return point.weight * float(np.log(max(point.predicted, 1e-12) / point.published)) / RELATIVE_SCALE
    return point.error / (SHARE_SCALE_POINTS if point.headline else LOADING_SCALE_POINTS)


def fit_all(models: Models) -> list[Fitted]:
    """Run the stages in order and return the costs of every stack."""
    fitted = [_fit_hpca(server, models) for server in ("haswell", "broadwell", "skylake")]
    by_device = {entry.device: entry.costs for entry in fitted}
    repository = _fit_repository(by_device["skylake"], models)
    isca = _fit_isca(by_device["broadwell"], repository[1].costs, models)
    return [*fitted, *repository, *isca]


def _fit_hpca(server: str, models: Models) -> Fitted:
    files = ("cpu_latency_hpca2020_fig8.csv", "cpu_latency_hpca2020_text.csv", "colocation_hpca2020_fig9.csv")
    group = Group(name="kernels", parameters=start_from.CPU_KERNELS)

    def assemble(costs: dict[str, Costs]) -> dict[tuple[str, str], Device]:
        # Figures of the other servers need some device; their points are not kept.
        return {(name, HPCA): profile_of(name, {HPCA: costs["kernels"]}).device(HPCA) for name in PLATFORMS}

    costs, spreads = fit_stage([group], assemble, files, models, keep=lambda point: server in point.label)
    return Fitted(device=server, stack=HPCA, costs=costs["kernels"], parameters=group.parameters, spreads=spreads["kernels"], figures=files)


def _fit_repository(skylake: Costs, models: Models) -> tuple[Fitted, Fitted]:
    files = (
        "operator_share_repository_skylake.csv",
        "operator_share_repository_gtx1080ti.csv",
        "gpu_speedup_repository.csv",
    )
    # Another library version: only what the silicon decides is tied to the HPCA stack.
    cpu = Group(name="cpu", parameters=_from_silicon(start_from.CPU_KERNELS, skylake))
    gpu = Group(name="gpu", parameters=start_from.GPU_KERNELS)
    host = Group(name="input", parameters=start_from.REPOSITORY_INPUT)
    feed = Group(
        name="transfer",
        parameters={
            **start_from.GPU_TRANSFER,
            "input_blob_us": Parameter(16, 0.7, "one tensor handed over and copied"),
        },
    )

    def assemble(costs: dict[str, Costs]) -> dict[tuple[str, str], Device]:
        on_gpu = {**costs["gpu"], **costs["input"], **costs["transfer"]}
        return {
            ("skylake", REPOSITORY): profile_of(
                "skylake", {REPOSITORY: {**costs["cpu"], **costs["input"]}}
            ).device(REPOSITORY),
            ("gtx1080ti", REPOSITORY): profile_of("gtx1080ti", {REPOSITORY: on_gpu}).device(REPOSITORY),
        }

    costs, spreads = fit_stage([cpu, gpu, host, feed], assemble, files, models, keep=lambda _: True)
    return (
        Fitted(
            device="skylake",
            stack=REPOSITORY,
            costs={**costs["cpu"], **costs["input"]},
            parameters={**cpu.parameters, **host.parameters},
            spreads={**spreads["cpu"], **spreads["input"]},
            figures=files,
        ),
        Fitted(
            device="gtx1080ti",
            stack=REPOSITORY,
            costs={**costs["gpu"], **costs["input"], **costs["transfer"]},
            parameters={**gpu.parameters, **host.parameters, **feed.parameters},
            spreads={**spreads["gpu"], **spreads["input"], **spreads["transfer"]},
            figures=files,
        ),
    )


def _fit_isca(broadwell: Costs, gpu_costs: Costs, models: Models) -> tuple[Fitted, Fitted]:
    files = ("operator_share_isca2020_fig6.csv", "gpu_speedup_isca2020_fig9.csv")
    cpu = Group(name="cpu", parameters=_from_silicon(start_from.CPU_KERNELS, broadwell))
    own = {"fc_call_us": 0.5, "embedding_bag_call_us": 0.5, "recurrent_step_us": 0.5, "gemm_efficiency": 0.1}
    gpu_parameters = {
        key: Parameter(gpu_costs[key], own.get(key, 0.0), "the repository's stack on the same card")
        for key in start_from.GPU_KERNELS
    }
    # RMC3's GPU time hardly depends on the batch: its weights seem to travel with every batch, so the
    # rate at which they stream is this stack's own, from PCIe to the card's memory.
    gpu_parameters["weight_memory_gb_per_s"] = Parameter(40, 1.5, "between PCIe and the card's memory")
    gpu = Group(name="gpu", parameters=gpu_parameters)
    host = Group(name="input", parameters=start_from.ISCA_INPUT)
    feed = Group(name="transfer", parameters=start_from.GPU_TRANSFER)

    def assemble(costs: dict[str, Costs]) -> dict[tuple[str, str], Device]:
        on_gpu = {**costs["gpu"], **costs["input"], **costs["transfer"]}
        return {
            ("broadwell", ISCA): profile_of("broadwell", {ISCA: {**costs["cpu"], **costs["input"]}}).device(
                ISCA
            ),
            ("gtx1080ti", ISCA): profile_of("gtx1080ti", {ISCA: on_gpu}).device(ISCA),
        }

    costs, spreads = fit_stage([cpu, gpu, host, feed], assemble, files, models, keep=lambda _: True)
    return (
        Fitted(
            device="broadwell",
            stack=ISCA,
            costs={**costs["cpu"], **costs["input"]},
            parameters={**cpu.parameters, **host.parameters},
            spreads={**spreads["cpu"], **spreads["input"]},
            figures=files,
        ),
        Fitted(
            device="gtx1080ti",
            stack=ISCA,
            costs={**costs["gpu"], **costs["input"], **costs["transfer"]},
            parameters={**gpu.parameters, **host.parameters, **feed.parameters},
            spreads={**spreads["gpu"], **spreads["input"], **spreads["transfer"]},
            figures=files,
        ),
    )


def _from_silicon(parameters: dict[str, Parameter], silicon: Costs) -> dict[str, Parameter]:
    """Start what the chip decides from its fit under another stack; calls and steps are the stack's own."""
    tied = {
        "gemm_efficiency",
        "weight_l3_gb_per_s",
        "weight_memory_gb_per_s",
        "stream_gb_per_s",
        "lookup_bag_ns",
        "lookup_cached_line_ns",
        "lookup_memory_line_ns",
        "small_product_ns",
    }
    spread = start_from.SAME_SILICON_SPREAD
    return {
        key: Parameter(silicon[key], min(spread, value.spread), "the HPCA stack on the same chip")
        if key in tied
        else value
        for key, value in parameters.items()
    }


def profiles_from(fitted: Sequence[Fitted], models: Models, node_slowdown: Mapping[str, tuple[float, str]]) -> list[ProfileFile]:
    """Gather the stacks of each device into its profile, each cost with its source and mean error."""
    devices = {
        (entry.device, entry.stack): profile_of(entry.device, {entry.stack: entry.costs}).device(entry.stack)
        for entry in fitted
    }
    points = all_points(list(FIGURES), models, devices)
    profiles = []
    for name in HARDWARE:
        stacks, sources, errors = {}, {}, {}
        for entry in (entry for entry in fitted if entry.device == name):
            stacks[entry.stack] = dict(entry.costs)
            sources[entry.stack] = {key: entry.source(key) for key in entry.costs}
            if entry.stack != HPCA and name in node_slowdown:
                stacks[entry.stack]["node_slowdown"] = node_slowdown[name][0]
                sources[entry.stack]["node_slowdown"] = node_slowdown[name][1]
            own = [
                abs(point.error)
                for point in points
                if point.figure in entry.figures and point.headline and point.unit == "relative"
                if entry.stack != HPCA or name in point.label
            ]
            error = float(np.mean(own))
            errors[entry.stack] = (error, f"fitted: mean absolute error over {len(own)} published points")
        profiles.append(profile_of(name, stacks, sources, errors))
    return profiles


def main() -> None:
    """Fit, print the comparison, and with --write replace the shipped profiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace hardware_profiles/*.yaml")
    arguments = parser.parse_args()
    models = shipped_models()
    fitted = fit_all(models)
    profiles = profiles_from(fitted, models, {})
    devices = {
        (profile.name, stack): profile.device(stack) for profile in profiles for stack in profile.stacks
    }
    print(comparison_table(all_points(list(FIGURES), models, devices)))
    if arguments.write:
        write_profiles(profiles, shipped_directory("profile"))


if __name__ == "__main__":
    main()
