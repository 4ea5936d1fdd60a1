"""The changes that `explain` tries: the same small step of one thing after the other, and whole options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from perfmodel.domain.hardware import LINK_REACH, Device
from perfmodel.domain.near_memory import DEFAULT_CACHE_KIB, MOST_CACHE_KIB, MOST_RANKS, NearMemorySettings
from perfmodel.domain.operators import TABLE_PRECISION, EmbeddingBag, Operator
from perfmodel.domain.scenario import MOST_SUB_BATCHES
from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.derived_profile import is_derived, read_profile
from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
from perfmodel.loading.shipped import find_profile, shipped_names
from perfmodel.planning.explain.places import Place, places_of
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.planning.stages import StageTimes
from perfmodel.planning.tune.question import share_thresholds
from perfmodel.sim.policies import SplitAndOffload

STEP = 1.1
"""Of every small change: 10 % more, or in a tenth less time. [1]"""

PHYSICAL = "physical cores"
"""The step that is tried beside one whose cores are hyper-threads."""

_BATCH_KEYS = ("batch_size", "max_batch_items", "large_batch_size", "small_batch_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change by itself.

    Attributes
    ----------
    name : str
        In words.
    kind : {"step", "option"}
        The same small step as of everything else, or a whole option.
    resource : str
        What it is more of.
    make : callable
        Returns the changed question; raises a `PerfplanError` where there is none.
    setting : tuple of str
        As `--set` takes it, where that can say it.
    stage : str or None
        Of several stages the one that is changed; None: there is one, or it is no stage's.
    """

    name: str
    kind: str
    resource: str
    make: Callable[[], Question]
    setting: tuple[str, ...] = ()
    stage: str | None = None


def changes_of(loaded: LoadedScenario, question: Question, *, mixed_stacks: bool) -> list[Change]:
    """Return all changes of a scenario that can be thought of here."""
    changes, options = list(_sla_steps(question)), list[_Option]()
    places = list(places_of(loaded, question))
    for place in places:
        if isinstance(place.node, ServingNode):
            changes += _core_steps(place, place.node)
            changes += _device_steps(place, place.node)
            changes += _tier_steps(place, place.node)
    for place in places:
        options += _policy_options(place)
        options += _node_options(place)
    options += _pipeline_options(loaded, question)
    changes += [_option(loaded, question, option, mixed_stacks) for option in options]
    return changes + [change for place in places for change in _narrower_tables(place)]


def _sla_steps(question: Question) -> Iterator[Change]:
    sla = question.sla
    longer = sla.model_copy(update={"latency_ms": sla.latency_ms * STEP})
    known = question.times if isinstance(question.times, StageTimes) else None
    yield Change(
        name=f"SLA +10 %: {sla.latency_ms:g} to {longer.latency_ms:g} ms",
        kind="step",
        resource="sla",
        make=lambda: replace(question, sla=longer, known_times=known),
        setting=(f"sla.latency_ms={longer.latency_ms:.12g}",),
    )


def _core_steps(place: Place, node: ServingNode) -> Iterator[Change]:
    """More workers on the node as it is; where all its cores serve, on a node that has more of them too."""
    workers = max(node.num_workers + 1, round(STEP * node.num_workers))
    percent = 100.0 * (workers / node.num_workers - 1.0)
    more = replace(node, cores=workers * node.threads)
    has = node.cpu.num_cores
    serving = node.cores + node.beside  # of all stages on the machine
    shared = min(more.cores - node.cores, more.cores + node.beside - has)
    as_threads = shared > 0 and node.cpu.threads_per_core > 1

    def make() -> Question:
        if more.cores > node.cpu.num_threads:
            raise InputError(f"there are {node.cpu.threads_in_words}")
        return place.with_node(more)

    yield Change(
        name=place.called(f"cores {percent:+.3g} %: {node.cores} to {more.cores}")
        + (f", {shared} as hyper-threads" if as_threads else ""),
        kind="step",
        resource="cores",
        make=make,
        setting=(f"{place.node_key}cores={more.cores}",),
        stage=place.name,
    )
    if shared > 0 and serving <= has and not node.cpu.surfaces:
        a_socket = max(node.cpu.cores_per_socket + 1, round(STEP * node.cpu.cores_per_socket))
        larger = replace(node.cpu, cores_per_socket=a_socket)
        cores = node.cores + larger.num_cores - has
        name = f"{PHYSICAL} {100.0 * (cores / node.cores - 1.0):+.3g} %: {node.cores} to {cores}"
        yield _step(place, name, PHYSICAL, replace(node, cpu=larger, cores=cores))


def _device_steps(place: Place, node: ServingNode) -> Iterator[Change]:
    """Of each part of a device whose times are formulas; measured ones do not tell its parts apart."""
    if place.stage.shares_machine:
        return  # the device of the first stage, which is tried there
    whose = "the machine" if place.is_shared else "the cores"
    for resource, (words, change) in _OF_A_CPU.items():
        if node.cpu.surfaces:
            break
        device = change(node.cpu)
        if device != node.cpu:
            yield _step(place, f"{words} of {whose}", resource, replace(node, cpu=device))
    card = node.accelerator
    if card is None or not node.num_accelerators or card.surfaces:
        return
    for resource, (words, change) in _OF_A_CARD.items():
        device = change(card)
        if device != card:
            yield _step(place, f"{words} of the accelerator", resource, replace(node, accelerator=device))


def _tier_steps(place: Place, node: ServingNode) -> Iterator[Change]:
    """Of rows beyond the memory: each tier, and the memory; of tables elsewhere: the way there, and cores."""
    if (shards := node.shards) is not None and (network := shards.network) is not None:
        sooner = network.model_copy(
            update={
                "latency_us": network.latency_us / STEP,
                "gb_per_s": network.gb_per_s * STEP,
                "serialise_us_per_kib": network.serialise_us_per_kib / STEP,
            }
        )
        other = replace(node, shards=replace(shards, network=sooner))
        yield _step(place, "network +10 % faster to the shards", "network", other)
    if (shards := node.shards) is not None and (on := shards.on) is not None:
        cores = max(on.cores + 1, round(STEP * on.cores))
        other = replace(node, shards=replace(shards, on=replace(on, cores=cores)))
        percent = 100.0 * (cores / on.cores - 1.0)
        name = f"cores of each shard {percent:+.3g} %: {on.cores} to {cores}"
        yield _step(place, name, "shard cores", other)
    if (settings := node.tier_settings) is None:
        return
    for index, asked in enumerate(settings.beyond):
        links = {} if node.accelerator is None else node.accelerator.links
        tier = asked if asked.link is None else asked.over(links, LINK_REACH)
        assert tier.gb_per_s is not None, "a link has a rate"
        faster = tier.model_copy(
            update={
                "latency_us": tier.latency_us / STEP,
                "gb_per_s": tier.gb_per_s * STEP,
                "reads_per_s": None if tier.reads_per_s is None else tier.reads_per_s * STEP,
                "core_us_per_read": tier.core_us_per_read / STEP,
            }
        )
        beyond = (*settings.beyond[:index], faster, *settings.beyond[index + 1 :])
        changed = settings.model_copy(update={"beyond": beyond})
        yield _step(place, f"{tier.name} +10 % faster", "tier", node.placed_anew(tier_settings=changed))
    memory = node.cpu.memory
    cpu = replace(node.cpu, memory=replace(memory, capacity_bytes=STEP * memory.capacity_bytes))
    own = None if settings.memory_gib is None else STEP * settings.memory_gib
    larger = node.placed_anew(cpu=cpu, tier_settings=settings.model_copy(update={"memory_gib": own}))
    yield _step(place, "memory +10 % larger for rows", "memory size", larger)


def _step(place: Place, name: str, resource: str, node: ServingNode) -> Change:
    return Change(
        name=place.called(name),
        kind="step",
        resource=resource,
        make=lambda: place.with_node(node),
        stage=place.name,
    )


def _faster_arithmetic(device: Device) -> Device:
    return replace(device, peak_flop_per_s=STEP * device.peak_flop_per_s)


def _faster_memory(device: Device) -> Device:
    """Bandwidth of the socket, and what one core gets of it: streams, weights and lines of rows."""
    memory, gemm, lookup = device.memory, device.gemm, device.lookup
    return replace(
        device,
        memory=replace(memory, bandwidth_bytes_per_s=STEP * memory.bandwidth_bytes_per_s),
        stream_bytes_per_s=STEP * device.stream_bytes_per_s,
        gemm=replace(gemm, weight_memory_bytes_per_s=STEP * gemm.weight_memory_bytes_per_s),
        lookup=replace(
            lookup,
            memory_line_s=lookup.memory_line_s / STEP,
            serial_row_s=lookup.serial_row_s / STEP,
        ),
    )


def _larger_caches(device: Device) -> Device:
    if device.caches is None:
        return device
    caches = device.caches
    larger = replace(caches, l2_bytes=STEP * caches.l2_bytes, l3_bytes=STEP * caches.l3_bytes)
    return replace(device, caches=larger)


def _cheaper_calls(device: Device) -> Device:
    calls = device.calls
    return replace(
        device,
        calls=replace(
            calls,
            call_s={family: seconds / STEP for family, seconds in calls.call_s.items()},
            concat_piece_s=calls.concat_piece_s / STEP,
            concat_row_piece_s=calls.concat_row_piece_s / STEP,
            recurrent_step_s=calls.recurrent_step_s / STEP,
            softmax_row_s=calls.softmax_row_s / STEP,
            softmax_element_s=calls.softmax_element_s / STEP,
            small_product_s=calls.small_product_s / STEP,
        ),
    )


def _faster_conversion(device: Device) -> Device:
    inputs, engine = device.inputs, device.engine
    return replace(
        device,
        inputs=replace(
            inputs,
            blob_s=inputs.blob_s / STEP,
            bag_s=inputs.bag_s / STEP,
            index_s=inputs.index_s / STEP,
            dense_element_s=inputs.dense_element_s / STEP,
        ),
        engine=replace(
            engine,
            stored_index_s=engine.stored_index_s / STEP,
            feed_call_s=engine.feed_call_s / STEP,
        ),
    )


def _faster_transfer(device: Device) -> Device:
    inputs = device.inputs
    return replace(device, inputs=replace(inputs, transfer_bytes_per_s=STEP * inputs.transfer_bytes_per_s))


_Parts = Mapping[str, tuple[str, Callable[[Device], Device]]]

_OF_A_CPU: _Parts = {
    "compute": ("arithmetic +10 %", _faster_arithmetic),
    "memory": ("memory +10 % faster", _faster_memory),
    "cache": ("caches +10 % larger", _larger_caches),
    "calls": ("framework calls in a tenth less time", _cheaper_calls),
    "conversion": ("input conversion in a tenth less time", _faster_conversion),
}
_OF_A_CARD: _Parts = {
    "accelerator compute": ("arithmetic +10 %", _faster_arithmetic),
    "accelerator memory": ("memory +10 % faster", _faster_memory),
    "accelerator calls": ("launches in a tenth less time", _cheaper_calls),
    "accelerator conversion": ("input conversion in a tenth less time", _faster_conversion),
    "transfer": ("transfer +10 % faster", _faster_transfer),
}
"""By the resource, what the step is called and what it does to a device."""


@dataclass(frozen=True, slots=True)
class _Option:
    name: str
    resource: str
    setting: tuple[str, ...]
    stage: str | None = None


def _policy_options(place: Place) -> Iterator[_Option]:
    settings, prefix = place.policy_settings, place.policy_key
    for key in _BATCH_KEYS:
        batch = settings.get(key)
        if batch is None:
            continue
        for other in (batch // 2, 2 * batch):
            if other >= 1:
                name = place.called(f"{key} {batch} to {other}")
                yield _Option(name, "batch", (f"{prefix}{key}={other}",), place.name)
    if not place.node.num_accelerators or not isinstance(place.policy, SplitAndOffload):
        return
    threshold = settings["offload_threshold_items"]
    steps = share_thresholds(place.sizes)
    below = [step for step in steps if threshold is None or step < threshold][-1:]
    above = [step for step in steps if threshold is not None and step > threshold][:1]
    for other in [*below, *above, *([None] if threshold is not None else [])]:
        written = "null" if other is None else str(other)
        words = "nothing offloaded" if other is None else f"offload from {other} items"
        before = "" if threshold is None else f" instead of {threshold}"
        setting = (f"{prefix}offload_threshold_items={written}",)
        yield _Option(place.called(words + before), "threshold", setting, place.name)


def _node_options(place: Place) -> Iterator[_Option]:
    node = place.node
    if not isinstance(node, ServingNode) or place.stage.shares_machine:
        return

    def option(name: str, resource: str, *settings: str) -> _Option:
        written = tuple(f"{place.node_key}{setting}" for setting in settings)
        return _Option(place.called(name), resource, written, place.name)

    for name in _other_cpus(node):
        yield option(f"node of {name}, all its cores", "node type", f"cpu={name}@{node.stack}", "cores=null")
    if node.cpu.without_input is not None:
        words = f"a process without input conversion ({node.cpu.without_input})"
        yield option(words, "conversion", f"stack={node.cpu.without_input}")
    if not place.cards:  # which no way to serve a module on cores has
        for way, law in node.cpu.module_ways.items():
            if way != node.cpu.stack and law.tables == "fp32":  # shorter tables: see below, and their memory
                other = "layers in int8" if law.precision == "int8" else f"all in {law.precision}"
                words = "a process" if law.precision == node.cpu.precision else other
                yield option(f"{words} as {way} has it", "software", f"stack={way}")
    if node.near_memory is not None:
        for words, setting in _memory_options(node.near_memory.settings):
            yield option(words, "memory", setting)
    if place.cards:
        cards = ", ".join([*place.cards, place.cards[0]])
        yield option(f"one more {place.cards[0]}", "accelerator", f"accelerators=[{cards}]")


def _pipeline_options(loaded: LoadedScenario, question: Question) -> Iterator[_Option]:
    """Of several stages other parts, and filters twice as fine."""
    settings = loaded.scenario.pipeline
    if settings is None:
        return
    parts = settings.sub_batches
    for other in (parts // 2, 2 * parts):
        if 1 <= other <= MOST_SUB_BATCHES:
            yield _Option(f"sub_batches {parts} to {other}", "parts", (f"pipeline.sub_batches={other}",))
    for number, stage in enumerate(settings.stages):
        name, half = question.stages[number + 1].name, stage.items // 2
        if half >= 1:
            words = f"{name}: ranks {half} items instead of {stage.items}"
            yield _Option(words, "items", (f"pipeline.stages.{number}.items={half}",), name)


def _memory_options(asked: NearMemorySettings) -> Iterator[tuple[str, str]]:
    """Of modules that pool rows twice the ranks, caches or larger ones, and lookups by the cores."""
    if 2 * asked.ranks <= MOST_RANKS:
        words = f"near memory of {2 * asked.ranks} ranks instead of {asked.ranks}"
        yield words, f"near_memory.ranks={2 * asked.ranks}"
    kib = DEFAULT_CACHE_KIB if asked.cache_kib is None else 2.0 * asked.cache_kib
    if kib <= MOST_CACHE_KIB:
        before = "none" if asked.cache_kib is None else f"{asked.cache_kib:g}"
        yield f"caches of {kib:g} KiB a rank instead of {before}", f"near_memory.cache_kib={kib!r}"
    yield "lookups by the cores, no near memory", "near_memory=null"


def _other_cpus(node: ServingNode) -> Iterator[str]:
    """Shipped CPUs that somebody measured with the same software stack: what is at hand."""
    for name in shipped_names("profile"):
        path = find_profile(name).path
        if is_derived(path) or f"\n  {node.stack}:" not in path.read_text(encoding="utf-8"):
            continue  # long ones are slow to parse
        profile = read_profile(path)
        if profile.kind == "cpu" and profile.name != node.cpu.name and node.stack in profile.stacks:
            yield name


def _option(loaded: LoadedScenario, question: Question, option: _Option, mixed_stacks: bool) -> Change:
    def make() -> Question:
        stack = question.node.stack
        # The stack of the answer stays, unless the option is another one.
        kept = [f"node.stack={stack}"] if stack is not None and not mixed_stacks else []
        if any(setting.startswith(("node.stack=", "node.cpu=")) for setting in option.setting):
            kept = []
        changed = load_scenario(loaded, [*kept, *option.setting])
        return prepare(changed, mixed_stacks=mixed_stacks, stages=True)

    return Change(
        name=option.name,
        kind="option",
        resource=option.resource,
        make=make,
        setting=option.setting,
        stage=option.stage,
    )


def _narrower_tables(place: Place) -> Iterator[Change]:
    """Half the bytes of each element of the embedding tables, where the model says how many there are."""
    node = place.node
    if not isinstance(node, ServingNode):
        return
    widths = {table.element_bytes for op in node.model.embedding_operators for table in op.tables}
    if not widths or max(widths) == 1:
        return
    # Where calls were measured one by one, only what was measured.
    if node.cpu.surfaces and TABLE_PRECISION[max(widths) // 2] not in node.cpu.table_precisions:
        return

    def make() -> Question:
        operators = [_narrower(op) for op in node.model.operators]
        model = node.model.model_copy(update={"operators": tuple(operators)})
        return place.with_node(node.placed_anew(model=model))

    wide = max(widths)
    yield Change(
        name=place.called(f"embedding tables of {wide // 2} bytes an element instead of {wide}"),
        kind="option",
        resource="table precision",
        make=make,
        stage=place.name,
    )


def _narrower(op: Operator) -> Operator:
    """An operator with half the bytes of each element of its tables, if it has any."""
    if not isinstance(op, EmbeddingBag):
        return op
    tables = tuple(
        table.model_copy(update={"element_bytes": max(1, table.element_bytes // 2)}) for table in op.tables
    )
    return op.model_copy(update={"tables": tables})


def refusal(change: Change) -> Question | PerfplanError:
    """The changed question, or why there is none."""
    try:
        return change.make()
    except PerfplanError as error:
        return error
