"""Serving configurations of other tools as sections of a scenario, and what tuning found in their form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from typing_extensions import TypedDict

from perfmodel.domain.serving import SlaTarget
from perfmodel.loading.serving_config import ServingConfig
from perfmodel.planning.node import ServingNode
from perfmodel.planning.question import Question
from perfmodel.planning.tune.answer import TuneAnswer
from perfmodel.report.tables import counted
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.policies import Policy
from perfmodel.units import plain

WHOLE_QUERY_ITEMS = 1024
"""Requests that hold every query of the published lists whole. [items]"""

CARD = "h200"
CARD_CPU = "intel-xeon-emerald-16c"
"""Profiles of a scenario that begins with cards, until the user names others: they share a software stack."""


def policy_section(config: ServingConfig, items_per_request: float) -> list[str]:
    """Lines of a scenario's policy, each setting with where it comes from."""
    pool = "accelerator" if config.gpus else "cpu"
    if config.delay_ms is None:
        size = config.full_batch if config.tool == "triton" else WHOLE_QUERY_ITEMS
        source = (
            f"max_batch_size {config.max_batch}" if config.tool == "triton" else "batchSize 1: whole queries"
        )
        lines = [
            "policy:",
            "  name: split                     # requests are not joined",
            f"  batch_size: {size:<20} # {source} [items]",
        ]
        if config.gpus:
            lines.append("  offload_threshold_items: 1      # all instances are on cards")
        return lines
    items = config.full_batch
    source = f"max_batch_size {config.max_batch}"
    if config.preferred:
        source = f"largest of preferred_batch_size {', '.join(map(str, config.preferred))}"
    if config.tool == "torchserve":
        items = max(1, round(config.max_batch * items_per_request))
        source = f"batchSize {config.max_batch} requests of {items_per_request:g} items each"
    delay = "max_queue_delay_microseconds" if config.tool == "triton" else "maxBatchDelay"
    return [
        "policy:",
        "  name: dynamic-batching          # queries are joined into batches",
        f"  pool: {pool}",
        f"  max_batch_items: {items:<15} # {source} [items]",
        f"  timeout_ms: {config.delay_ms:<20g} # {delay} [ms]",
    ]


def node_section(config: ServingConfig) -> list[str]:
    """Lines of a scenario's node: an executor an instance."""
    cpu = CARD_CPU if config.gpus else "skylake"
    lines = ["node:", f"  cpu: {cpu:<26} # yours: perfplan list profiles, perfplan calibrate"]
    if config.cpu_instances is not None:
        lines.append(f"  cores: {config.cpu_instances:<24} # an executor an instance on CPUs")
    if config.gpus:
        cards = ", ".join([CARD] * config.gpus)
        lines.append(f"  accelerators: [{cards}]{'':<5} # yours, of one kind: perfplan list profiles")
    return lines


def left_out(config: ServingConfig) -> list[str]:
    """What the configuration says and the scenario does not."""
    notes = []
    if config.gpus and (config.gpu_instances or 0) > config.gpus:
        notes.append(
            f"{config.gpu_instances} instances on {config.gpus} cards: one launch at a time on each "
            "card here (policy fusion has streams)"
        )
    if config.gpus and config.cpu_instances and config.delay_ms is not None:
        notes.append("instances on CPUs beside those on cards: batches run on the cards only here")
    if config.cpu_instances is None and not config.gpus:
        notes.append("it says no number of instances: node.cores is left to the profile")
    return notes


def with_sections(text: str, sections: Mapping[str, Sequence[str]]) -> str:
    """A scenario file with some of its top-level sections replaced; comments elsewhere stay."""
    lines, replacing = text.splitlines(), False
    kept: list[str] = []
    for line in lines:
        key = line.split(":", 1)[0]
        if line and not line[0].isspace() and not line.startswith("#"):
            replacing = key in sections
            if replacing:
                kept += sections[key]
        elif line.strip() == "":
            replacing = False
        if not replacing:
            kept.append(line)
    return "\n".join(kept) + "\n"


class Settings(NamedTuple):
    """What a serving tool is told of one kind of node.

    Attributes
    ----------
    words : str
        Of what, and what it carries.
    batch_size : int
        Largest request. [items]
    offload_threshold_items : int or None
        From which on a query goes whole to the card. [items]
    workers : int
        Executors on the CPU.
    threads : int
        Cores of each.
    max_items : int
        Of a query. [items]
    delay_ms : float or None
        How long a full batch is waited for; None: requests are not joined. [ms]
    cards : int
        Accelerators that all batches run on; 0: on the cores.
    items_per_request : float
        Of a query in the mean, for a tool that counts requests. [items]
    """

    words: str
    batch_size: int
    offload_threshold_items: int | None
    workers: int
    threads: int
    max_items: int
    delay_ms: float | None = None
    cards: int = 0
    items_per_request: float = 1.0


def tuned_triton(answer: TuneAnswer) -> str:
    """What tuning found, as the fields of a `config.pbtxt`."""
    return triton_text(_tuned(answer))


def tuned_torchserve(answer: TuneAnswer) -> str:
    """What tuning found, as a model configuration of TorchServe."""
    return torchserve_text(_tuned(answer))


def _tuned(answer: TuneAnswer) -> Settings:
    best, node = answer.tuning.exhaustive, answer.tuning.node
    return Settings(
        words=f"{answer.question.name}: {_found(answer)}",
        batch_size=best.batch_size,
        offload_threshold_items=best.offload_threshold_items,
        workers=node.num_workers,
        threads=node.threads if isinstance(node, ServingNode) else 1,
        max_items=answer.question.max_items,
        **joining_settings(best.configuration.policy, answer.question),
    )


class Joining(TypedDict, total=False):
    """What is set where requests are joined."""

    delay_ms: float
    cards: int
    items_per_request: float


def joining_settings(policy: Policy, question: Question) -> Joining:
    """How a policy joins requests; nothing where it does not."""
    if not isinstance(policy, DynamicBatching):
        return {}
    on_cards = policy.settings.pool == "accelerator"
    return {
        "delay_ms": policy.settings.timeout_ms,
        "cards": question.node.num_accelerators if on_cards else 0,
        "items_per_request": question.traffic.size_pmf.mean_items,
    }


def triton_text(best: Settings) -> str:
    """Fields of a `config.pbtxt`."""
    if best.delay_ms is not None:
        return _joined_triton(best, best.delay_ms)
    lines = [f"# {best.words}"]
    lines.append(f"# the client cuts a query into requests of at most {best.batch_size} items")
    if best.offload_threshold_items is not None:
        lines.append(
            f"# queries of at least {best.offload_threshold_items} items go whole to a second model on the "
            "card, as Triton does not choose by size: that one has KIND_GPU, and max_batch_size "
            f"{best.max_items}"
        )
    lines += _cores(best)
    lines += [f"max_batch_size: {best.batch_size}", "instance_group [", "  {"]
    lines += [f"    count: {best.workers}", "    kind: KIND_CPU", "  }", "]"]
    return "\n".join(lines)


def torchserve_text(best: Settings) -> str:
    """A model configuration of TorchServe."""
    if best.delay_ms is not None:
        return _joined_torchserve(best, best.delay_ms)
    workers = best.workers
    lines = [f"# {best.words}"]
    lines.append(
        f"# the client cuts a query into requests of at most {best.batch_size} items, which are not joined"
    )
    if best.offload_threshold_items is not None:
        lines.append(
            f"# queries of at least {best.offload_threshold_items} items go whole to a second model with "
            "deviceType gpu"
        )
    lines += _cores(best)
    lines += ["batchSize: 1", "maxBatchDelay: 0", f"minWorkers: {workers}", f"maxWorkers: {workers}"]
    return "\n".join([*lines, "deviceType: cpu"])


def _joined_triton(best: Settings, delay_ms: float) -> str:
    """Requests joined by items: a batch is sent when it is full, or its oldest request has waited."""
    lines = [f"# {best.words}", *_cores(best), f"max_batch_size: {best.batch_size}", "dynamic_batching {"]
    lines += [f"  preferred_batch_size: [ {best.batch_size} ]"]
    lines += [f"  max_queue_delay_microseconds: {round(1e3 * delay_ms)}", "}", "instance_group [", "  {"]
    if best.cards:
        numbers = ", ".join(map(str, range(best.cards)))
        lines += ["    count: 1", "    kind: KIND_GPU", f"    gpus: [ {numbers} ]"]
    else:
        lines += [f"    count: {best.workers}", "    kind: KIND_CPU"]
    return "\n".join([*lines, "  }", "]"])


def _joined_torchserve(best: Settings, delay_ms: float) -> str:
    """Requests joined by their number, whole milliseconds waited."""
    requests = max(1, round(best.batch_size / best.items_per_request))
    workers = best.cards or best.workers
    return "\n".join(
        [
            f"# {best.words}",
            f"# {best.batch_size} items are {counted(requests, 'request')} of {best.items_per_request:.4g} "
            f"in the mean; waited for {delay_ms:g} ms, here in whole ones",
            *_cores(best),
            f"batchSize: {requests}",
            f"maxBatchDelay: {round(delay_ms)}",
            f"minWorkers: {workers}",
            f"maxWorkers: {workers}",
            f"deviceType: {'gpu' if best.cards else 'cpu'}",
        ]
    )


def _cores(best: Settings) -> list[str]:
    """What neither file sets: cores that work together are the back end's own threads."""
    return [f"# each instance computes on {best.threads} cores (OMP_NUM_THREADS)"] if best.threads > 1 else []


def sla_words(sla: SlaTarget) -> str:
    """The bound in words."""
    return f"p{100 * sla.percentile:g} of {sla.latency_ms:g} ms"


def _found(answer: TuneAnswer) -> str:
    rate, sla = answer.tuning.exhaustive.latency_bounded_qps, answer.question.sla
    carries = "no load" if rate is None else f"{plain(rate)} queries/s"
    return f"{carries} within {sla_words(sla)}, by perfplan tune"
