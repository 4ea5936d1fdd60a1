"""From the options of `perfplan validate` to a question about this machine, and the server for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from calibration.other_machine import warn_of_other_machine
from calibration.power import nvml_meter
from calibration.runtime.cuda import cuda_accelerator, missing_cuda
from calibration.runtime.modules import SERVED, Served
from calibration.runtime.offloaded import LazyServable, OffloadedProgramme, offloaded_programme
from calibration.runtime.programme import Programme, build_programme
from calibration.runtime.settings import RuntimeSettings, apply_plain_settings, apply_settings
from calibration.serving.processes import cores_for
from calibration.serving.requests import require_servable
from calibration.serving.server import Workers
from calibration.validation.bench import Bench, Say, pool_for
from calibration.validation.own_module import OwnModule
from calibration.validation.passes import passes_of
from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError, PerfplanError, UnstableError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.loading.shipped import find_profile
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare, scaled_load
from perfmodel.planning.question import Question
from perfmodel.sim.policies import largest_cpu_launch_items
from perfmodel.sim.service import ServiceTimes
from perfmodel.sim.utilisation import offered_utilisation
from perfmodel.threads import threads_here
from perfmodel.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What holds for every load of a validation.

    Attributes
    ----------
    profile : str or None
        This machine's profile; None: what the scenario names.
    overrides : tuple of str
        Values of the scenario to change.
    anchor, capacity : bool
        Whether to refine the profile, and to search for the largest load.
    shrink_tables, extrapolate : bool
        Whether tables may be scaled down, and batches lie outside the calibrated range.
    settings : str
        What the process was set to, in words.
    module : OwnModule or None
        What is served in place of the model that the runtime builds.
    """

    profile: str | None
    overrides: tuple[str, ...]
    anchor: bool
    capacity: bool
    shrink_tables: bool
    extrapolate: bool
    settings: str
    module: OwnModule | None = None


def question_of(scenario: str, overrides: Sequence[str], profile: str | None) -> Question:
    """Load a scenario, on `profile` with all cores that this process may use where one is given.

    Raises
    ------
    InputError
        If the scenario is wrong, asks for more cores or accelerators than this machine has, or for
        another policy than the runtime serves.

    Warns
    -----
    CalibrationWarning
        If the profile is of another machine.
    """
    loaded = load_scenario(scenario, _here(scenario, overrides, profile))
    question = prepare(loaded)
    warn_of_other_machine(loaded.cpu_profile().path)
    require_servable(question.policy)
    with loaded.places():
        _require_own_tables(question)
        _require_on_cores(question)
    cores_for(question.node.num_workers, question.node.threads)
    _require_accelerator(question)
    # What is measured here is the node: nothing of a query is outside of it.
    return replace(question, traffic=replace(question.traffic, outside=None))


def _require_own_tables(question: Question) -> None:
    """Refuse tables on other machines and in other memories: what is measured here is one of each."""
    if isinstance(question.node, ServingNode) and question.node.instances is not None:
        raise ValueErrorAt(
            "expected none here: the runtime's workers have one copy of the tables", ("node", "instances")
        )
    if isinstance(question.node, ServingNode) and question.node.shards is not None:
        raise ValueErrorAt(
            "expected none here: the runtime serves from one machine's memory", ("node", "shards")
        )
    if isinstance(question.node, ServingNode) and question.node.near_memory is not None:
        raise ValueErrorAt("expected none here: the runtime's cores do the lookups", ("node", "near_memory"))
    if isinstance(question.node, ServingNode) and question.node.tier_settings is not None:
        raise ValueErrorAt("expected none here: the runtime serves from memory", ("node", "tiers"))


def _require_on_cores(question: Question) -> None:
    """Refuse histories of several lengths, and shared work of queries, beside a card: cores have them."""
    if question.node.accelerator is None:
        return
    why = "the runtime serves it on cores only; expected a node without accelerators"
    if question.serving_node.lengths is not None:
        raise ValueErrorAt(why, ("traffic", "lengths"))
    if question.policy.share_query_work:
        raise ValueErrorAt(why, ("policy", "share_query_work"))


def _require_accelerator(question: Question) -> None:
    """Refuse what the runtime cannot offload to: several cards, or one where there is none."""
    node = question.node
    if node.accelerator is None:
        return
    without = "--set node.accelerators=[] --set policy.offload_threshold_items=null"
    if node.num_accelerators > 1:
        raise InputError(f"node.accelerators: the runtime serves one, got {node.num_accelerators}; {without}")
    if (why := missing_cuda()) is not None:
        raise InputError(f"node.accelerators: {node.accelerator.name}, but {why}; {without}")
    if not largest_cpu_launch_items(question.policy, question.max_items):
        raise InputError(
            "policy.offload_threshold_items: expected some queries on the cores, all go to the accelerator"
        )


def settings_for(
    scenario: str, overrides: Sequence[str], profile: str | None, *, of_module: bool = False
) -> RuntimeSettings:
    """Set this process up as the scenario's stack has it: as modules are served, or as the runtime is.

    A user's own module runs in a process where nothing is tuned.
    """
    if of_module:
        return apply_plain_settings()
    question = prepare(load_scenario(scenario, _here(scenario, overrides, profile)))
    served = SERVED.get(question.serving_node.cpu.stack)
    return apply_settings() if served is None else served.apply_settings()


def profile_path(scenario: str, overrides: Sequence[str], profile: str | None) -> Path:
    """The file of the CPU's profile."""
    return load_scenario(scenario, _here(scenario, overrides, profile)).cpu_profile().path


def _here(scenario: str, overrides: Sequence[str], profile: str | None) -> list[str]:
    """Overrides that move a scenario to this machine's profile and all its cores; the user's follow.

    One core is left for the process that issues to an accelerator, where there is one.
    """
    if profile is None:
        return list(overrides)
    try:
        find_profile(profile)
    except InputError as error:
        raise InputError(f"--profile: {error}") from None
    node = load_scenario(scenario, [f"node.cpu={profile}", *overrides]).scenario.node
    cores = len(threads_here()) - (1 if node.accelerators else 0)
    return [f"node.cpu={profile}", f"node.cores={max(1, cores)}", *overrides]


def at_utilisation(question: Question, service: ServiceTimes, utilisation: float) -> Question:
    """The same traffic at the rate whose predicted utilisation is the one given."""
    unit = offered_utilisation(question.traffic.at_rate(1.0), service, question.policy, contended=True)
    return scaled_load(question, utilisation / max(unit) / question.traffic.rate_qps)


def require_stable(question: Question, service: ServiceTimes) -> None:
    """Refuse a load that this machine cannot carry: its queue would grow for as long as one measures.

    Raises
    ------
    UnstableError
        Saying by how much, and what load it could be.
    """
    load = max(offered_utilisation(question.traffic, service, question.policy, contended=True))
    if load >= 1.0:
        rate = question.traffic.rate_qps
        raise UnstableError(
            f"unstable: {rate:.4g} queries/s fill {100 * load:.0f} % of this machine, as predicted; "
            f"--utilisation 0.7 would be {0.7 * rate / load:.4g} queries/s",
            utilisation=load,
        )


def bench_for(
    question: Question, say: Say, *, shrink_tables: bool, module: OwnModule | None = None
) -> tuple[Bench, Question]:
    """Build the model with random weights and draw its inputs; the question is then about the model built.

    Or take the user's own module, whose model is what was imported of it.
    """
    if module is not None:
        return _bench_of(module, question, say), question
    model = question.serving_node.model
    say(f"building {model.name}: {(model.embedding_bytes + model.dense_parameter_bytes) / GIB:.2f} GiB")
    served = SERVED.get(question.serving_node.cpu.stack)
    programme = _built(model, question.simulation.seed, served, shrink_tables=shrink_tables)
    question = replace(question, node=replace(question.serving_node, model=programme.model))
    passes = passes_of(question, programme)
    workers = Workers(
        servable=programme,
        by_variety=passes.by_variety,
        shared_bytes=passes.shared_bytes,
        num_workers=question.node.num_workers,
        threads=question.node.threads,
        accelerated=_accelerated(question, programme),
        set_threads=torch.set_num_threads,
    )
    meter = nvml_meter() if question.node.accelerator is not None else None
    pool = pool_for(question, programme, by_variety=passes.by_variety, shares=passes.shares)
    bench = Bench(question=question, workers=workers, pool=pool, say=say, shares=passes.shares, meter=meter)
    return bench, question


def _bench_of(module: OwnModule, question: Question, say: Say) -> Bench:
    """The server of a user's module, on cores only."""
    node = question.serving_node
    if question.policy.share_query_work:
        raise InputError("--module: is served whole; expected no policy.share_query_work")
    if node.accelerator is not None:
        raise InputError(
            "--module: expected a node without accelerators: the module is served on the cores; "
            "--set node.accelerators=[] --set policy.offload_threshold_items=null"
        )
    workers = Workers(
        servable=module.servable,
        num_workers=node.num_workers,
        threads=node.threads,
        accelerated=None,
        set_threads=torch.set_num_threads,
    )
    say(f"drawing inputs of {node.model.name}")
    return Bench(
        question=question, workers=workers, pool=pool_for(question, module.servable), say=say, meter=None
    )


def _built(model: RecModel, seed: int, served: Served | None, *, shrink_tables: bool) -> Programme:
    """Build the model, and run it once: what the runtime has no call for is told before anything is measured.

    Raises
    ------
    InputError
        If it cannot be built or run.
    """
    try:
        if served is None:
            programme = build_programme(model, seed=seed, shrink_tables=shrink_tables)
        else:
            programme = build_programme(
                model,
                seed=seed,
                shrink_tables=shrink_tables,
                dtype=served.dtype,
                library=served.library,
                mode=served.mode,
            )
        programme.run(programme.inputs(1, np.random.default_rng(seed)))
    except (PerfplanError, MemoryError):
        raise
    except Exception as error:  # whatever the tensor library says to it
        why = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{model.name}: the serving runtime cannot run this model: {why}") from None
    return programme


def _accelerated(question: Question, programme: Programme) -> LazyServable | None:
    """What runs offloaded requests: the same model on the CUDA device, built by the worker itself."""
    if question.node.accelerator is None:
        return None
    return LazyServable(programme, partial(_on_device, programme.model, question.simulation.seed))


def _on_device(model: RecModel, seed: int) -> OffloadedProgramme:
    return offloaded_programme(model, cuda_accelerator("node.accelerators"), seed=seed)


def service_of(question: Question, *, extrapolate: bool = False) -> ServiceTimes:
    """The profile's service times.

    Raises
    ------
    ExtrapolationError
        If batches lie outside the calibrated range and `extrapolate` is not set.
    """
    if not extrapolate:
        question.times.require_calibrated()
    return question.node.service_times(question.policy, question.max_items, question.traffic.size_pmf)
