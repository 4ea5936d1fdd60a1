"""The stages of the fit, stack by stack, with every model or without one.

(1) HPCA 2020 alone gives each server generation its bare kernels: Broadwell first, on which it measured most,
and the other two from the same software there; (2) the DeepRecSys repository's figures
give Skylake and the 1080 Ti that stack; (3) ISCA 2020's figures give Broadwell and the 1080 Ti theirs,
starting from the same silicon in (1) and (2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from calibration.published import parameters as start_from
from calibration.published.figures import (
    COPIES_FILE,
    HPCA,
    ISCA,
    REPOSITORY,
    Devices,
    Models,
    is_deviation,
)
from calibration.published.fitted import Fitted, device_of
from calibration.published.observations import read_rows
from calibration.published.parameters import Parameter
from calibration.published.profiles import HARDWARE, PLATFORMS, Costs
from calibration.published.stages import Begin, Outcome, Parameters, Stage, fit_stage

HPCA_FIGURES = (
    "cpu_latency_hpca2020_fig8.csv",
    "cpu_latency_hpca2020_fig8_rmc2_broadwell.csv",
    "cpu_latency_hpca2020_text.csv",
    "colocation_hpca2020_fig9.csv",
    COPIES_FILE,
)
REPOSITORY_FIGURES = (
    "operator_share_repository_skylake.csv",
    "operator_share_repository_gtx1080ti.csv",
    "gpu_speedup_repository.csv",
)
ISCA_FIGURES = (
    "operator_share_isca2020_fig6.csv",
    "gpu_speedup_isca2020_fig9.csv",
    "query_time_isca2020_fig10.csv",
)
MOST_MEASURED = "broadwell"
"""Server that HPCA 2020 shows three models and co-located copies on, of the others two models."""
V = TypeVar("V")


def fit_all(models: Models) -> list[Fitted]:
    """Run the stages in order and return the costs of every stack."""
    bare = fit_bare_kernels(models)
    return [*bare.values(), *fit_serving(bare, models)]


def fit_bare_kernels(
    models: Models, *, without: str | None = None, near: Mapping[str, Fitted] | None = None
) -> dict[str, Fitted]:
    """Fit HPCA 2020's stack on each server; `without` and `near` as of `fit_serving`."""
    begin, found = near or {}, dict[str, Fitted]()
    for server in (MOST_MEASURED, *(name for name in PLATFORMS if name != MOST_MEASURED)):
        kernels = cpu_kernels(server)
        if found:
            kernels = _from_software(kernels, server, found[MOST_MEASURED].costs)
        found[server] = _fit_bare_kernels(server, kernels, models, without, begin.get(server))
    return {server: found[server] for server in PLATFORMS}


def fit_server(server: str, models: Models, without: str | None = None) -> Fitted:
    """Fit HPCA 2020's stack on one server, from physical expectations; `without` one model's figures."""
    return _fit_bare_kernels(server, cpu_kernels(server), models, without, None)


def cpu_kernels(server: str) -> dict[str, Parameter]:
    """Where the kernels' costs of a server start: what follows from its peak is its own."""
    peak = float(HARDWARE[server]["peak_gflop_per_s"][0])
    return start_from.CPU_KERNELS | {"gemm_half_rows": start_from.half_rows(peak)}


def _from_software(parameters: Parameters, server: str, measured: Costs) -> dict[str, Parameter]:
    """Start what the software decides from the server that most was measured on, calls by the clocks."""
    by_clock = _clock_ghz(MOST_MEASURED) / _clock_ghz(server)
    said = f"the same software on {MOST_MEASURED}"
    return dict(parameters) | {
        key: Parameter(
            measured[key] * (by_clock if clocked else 1.0),
            min(start_from.SAME_SOFTWARE_SPREAD, parameters[key].spread),
            f"{said}, by the clocks" if clocked else said,
        )
        for key, clocked in start_from.DECIDED_BY_SOFTWARE.items()
    }


def fit_serving(
    bare: Mapping[str, Fitted],
    models: Models,
    *,
    without: str | None = None,
    near: Sequence[Fitted] = (),
) -> list[Fitted]:
    """Fit DeepRecSys's two stacks, starting from the bare kernels; `without` one model's figures.

    `near` are fits to say where the search begins: it saves steps.
    """
    begin = {(entry.device, entry.stack): entry for entry in near}
    skylake, repository_card = _fit_host_and_card(
        host="skylake",
        stack=REPOSITORY,
        figures=REPOSITORY_FIGURES,
        groups=_repository_groups(bare["skylake"].costs),
        models=models,
        without=without,
        begin=begin,
    )
    broadwell, isca_card = _fit_host_and_card(
        host="broadwell",
        stack=ISCA,
        figures=ISCA_FIGURES,
        groups=_isca_groups(bare["broadwell"].costs, skylake.costs, repository_card.costs),
        models=models,
        without=without,
        begin=begin,
    )
    return [skylake, repository_card, broadwell, isca_card]


def _clock_ghz(server: str) -> float:
    """Of a server, as HPCA 2020 Table II has it. [GHz]"""
    (row,) = (row for row in read_rows("platforms.csv") if row["name"] == server)
    return float(row["frequency_ghz"])


def _fit_bare_kernels(
    server: str, kernels: Parameters, models: Models, without: str | None, near: Fitted | None
) -> Fitted:
    """Fit one server generation to HPCA 2020, which measured kernels without a serving stack."""
    groups = {"kernels": kernels}

    def assemble(costs: Mapping[str, Costs]) -> Devices:
        return dict([device_of(server, HPCA, costs["kernels"])])

    stage = Stage(
        groups=groups,
        assemble=assemble,
        files=HPCA_FIGURES,
        keep=lambda point: point.model != without,
    )
    begin = None if near is None else Begin(costs={"kernels": near.costs}, slopes=near.slopes)
    return _fitted(server, HPCA, ["kernels"], stage, fit_stage(stage, models, begin))


def _fit_host_and_card(
    *,
    host: str,
    stack: str,
    figures: tuple[str, ...],
    groups: Mapping[str, Parameters],
    models: Models,
    without: str | None,
    begin: Mapping[tuple[str, str], Fitted],
) -> tuple[Fitted, Fitted]:
    """Fit a CPU and the 1080 Ti under one stack together: the figures compare them, and share the input."""
    on_host, on_card = ["cpu", "input"], ["gpu", "input", "transfer"]

    def assemble(costs: Mapping[str, Costs]) -> Devices:
        return dict(
            [
                device_of(host, stack, _merged(costs, on_host)),
                device_of("gtx1080ti", stack, _merged(costs, on_card)),
            ]
        )

    stage = Stage(
        groups=groups,
        assemble=assemble,
        files=figures,
        keep=lambda point: point.model != without and not is_deviation(point),
    )
    first = None
    if (host, stack) in begin:
        cpu, card = begin[host, stack], begin["gtx1080ti", stack]
        costs = {group: (card if group in ("gpu", "transfer") else cpu).costs for group in groups}
        first = Begin(costs=costs, slopes=cpu.slopes)
    outcome = fit_stage(stage, models, first)
    return (
        _fitted(host, stack, on_host, stage, outcome),
        _fitted("gtx1080ti", stack, on_card, stage, outcome),
    )


def _repository_groups(skylake: Costs) -> dict[str, Parameters]:
    """Another library version than HPCA 2020's: only what the silicon decides is tied to that stack."""
    return {
        "cpu": _from_silicon(cpu_kernels("skylake"), skylake),
        "gpu": start_from.GPU_KERNELS,
        "input": start_from.REPOSITORY_INPUT,
        "transfer": {**start_from.GPU_TRANSFER, "input_blob_us": start_from.GPU_FEEDING},
    }


def _isca_groups(broadwell: Costs, skylake: Costs, card: Costs) -> dict[str, Parameters]:
    """The card's kernels as under the repository's stack, but for what a call takes; inputs by the clocks.

    Both studies convert inputs with the same code, on the host.
    """
    own = {"fc_call_us": 0.5, "embedding_bag_call_us": 0.5, "recurrent_step_us": 0.5, "gemm_efficiency": 0.1}
    same_card = {
        key: Parameter(card[key], own.get(key, 0.0), "the repository's stack on the same card")
        for key in start_from.GPU_KERNELS
    }
    return {
        "cpu": _from_silicon(cpu_kernels("broadwell"), broadwell),
        "gpu": same_card,
        "input": {
            key: Parameter(
                skylake[key] * _clock_ghz("skylake") / _clock_ghz("broadwell"),
                start_from.SAME_CODE_SPREAD,
                "the same code on skylake, by the clocks",
            )
            for key in start_from.REPOSITORY_INPUT
        },
        "transfer": {**start_from.GPU_TRANSFER, "input_blob_us": start_from.GPU_FEEDING},
    }


def _from_silicon(parameters: Parameters, silicon: Costs) -> dict[str, Parameter]:
    """Start what the chip decides from its fit under another stack; calls and steps are the stack's own."""
    spread = start_from.SAME_SILICON_SPREAD
    return {
        key: Parameter(silicon[key], min(spread, value.spread), "the HPCA stack on the same chip")
        if key in start_from.DECIDED_BY_SILICON
        else value
        for key, value in parameters.items()
    }


def _fitted(device: str, stack: str, groups: Sequence[str], stage: Stage, outcome: Outcome) -> Fitted:
    """Join the groups that make up a device's costs; where two hold a key, the later one has it."""
    return Fitted(
        device=device,
        stack=stack,
        costs=_merged(outcome.costs, groups),
        parameters=_merged(stage.groups, groups),
        spreads=_merged(outcome.spreads, groups),
        figures=tuple(stage.files),
        left_out=outcome.left_out,
        slopes=outcome.slopes,
        pinned=_merged(outcome.pinned, groups),
    )


def _merged(by_group: Mapping[str, Mapping[str, V]], groups: Sequence[str]) -> dict[str, V]:
    return {key: value for group in groups for key, value in by_group[group].items()}
