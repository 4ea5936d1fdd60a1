"""What is in a node's service times, and what is assumed of it: an answer's second line, and its notes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perfmodel.costmodel.kernels import FUSED, Floats
from perfmodel.costmodel.service_time import BatchTime, pages_far
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import Attention
from perfmodel.loading.shipped import card_of, lacks_precision, shipped_names
from perfmodel.planning.node import ServingNode
from perfmodel.sim.policies import Policy
from perfmodel.units import GB, GIB, MB

WORTH_SAYING = 0.005
"""Share of the time from which the conversion of inputs is mentioned. [1]"""
EDITED = "edited by hand since it was fitted: an extrapolation, off by a factor of 1.5 either way"


def device_words(device: Device, converting: float | None, *, option: str) -> str:
    """Say what is in a device's times.

    Parameters
    ----------
    device : Device
        With its stack.
    converting : float or None
        Share of the time that converting inputs takes; None: not known. [1]
    option : str
        What names another stack on the command line, the stack's name to follow.
    """
    text = device.describes
    if converting is not None and converting >= WORTH_SAYING:
        text += f": {100 * converting:.0f} % of this {'core' if device.kind == 'cpu' else 'card'}'s time"
    if device.without_input is not None:
        text += f"; `{option}{device.without_input}` leaves it out"
    return f"{text}; {edited_words(device)}" if device.is_edited else text


def edited_words(device: Device) -> str:
    """What was edited by hand, the profile or the one that it is derived from, and what that means."""
    what = f"the base of {device.name}" if device.is_derived else device.name
    return f"{what} was {EDITED}"


def input_share(time: BatchTime, shares: Floats) -> float:
    """Share of input conversion in the time of a mix of passes, each as often as its share. [1]"""
    return float(shares @ time.family_s("input") / (shares @ time.seconds))


def words_of_shares(operators: Mapping[str, float], most: int = 5) -> str:
    """Operators with their shares of the time, those that are worth saying.

    Examples
    --------
    >>> words_of_shares({"joined": 0.124, "user": 0.031, "joined.relu": 0.0001})
    'joined (12 %), user (3 %)'
    """
    listed = [f"{name} ({100 * share:.0f} %)" for name, share in operators.items() if share >= WORTH_SAYING]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _of_a_card(device: Device, wanted: str) -> str:
    """Which profile of the same card is in a precision; or that the card has none."""
    card = card_of(device.name)
    if device.peaks_flop_per_s and wanted not in device.peaks_flop_per_s:
        return f"; {lacks_precision(card, wanted, device.peaks_flop_per_s)}"
    name = f"{card}-{wanted}"
    return f"; {name} is that card in {wanted}" if name in shipped_names("profile") else ""


def words_of_precisions(device: Device, wanted: str | None = None) -> str:
    """Say what costs are known of, and which stacks know others, to whoever asked for another precision."""
    known = "fp32 only" if device.precision == "fp32" else f"fp32 and {device.precision}"
    others = [
        f"{way} ({law.precision})"
        for way, law in device.module_ways.items()
        if law.precision not in ("fp32", device.precision)
    ]
    there = f"; {device.name} has {', '.join(others)}" if others else ""
    if wanted is not None and device.kind == "gpu":
        there += _of_a_card(device, wanted)
    return f"costs are known of {known}{there} (--extrapolate answers as if all were fp32, marked)"


def tuning_advice(time: BatchTime, cpu: Device, shares: Floats) -> str | None:
    """Say what the best other way to serve the same module would take off a request's time, if it matters.

    Parameters
    ----------
    time : BatchTime
        Passes of the sizes in the mix, as `cpu` serves them.
    cpu : Device
        With its stack and the profile's other ways.
    shares : (n,) float array
        How often each size comes.
    """
    if cpu.modules is None:
        return None
    ways = {
        way: law
        for way, law in cpu.module_ways.items()
        if law.precision == cpu.precision and law.factors == cpu.modules.factors
    }
    if cpu.stack not in ways:
        return None
    from perfmodel.costmodel.module_costs import module_seconds  # few stacks were measured as modules

    far = pages_far(tuple(timed.kernel for timed in time.kernels), cpu, time.batch_size)
    more_s = {
        way: sum(
            float(shares @ module_seconds(timed.kernel, law.costs, time.batch_size, far))
            for timed in time.kernels
        )
        for way, law in ways.items()
    }
    best = min(more_s, key=lambda way: more_s[way])
    saved = (more_s[cpu.stack] - more_s[best]) / float(shares @ time.seconds)
    if saved < WORTH_SAYING:
        return None
    return (
        f"tuning the process would take {100 * saved:.0f} % off a request's time: `--set node.stack={best}` "
        "answers for it"
    )


def attention_notes(model: RecModel, device: Device) -> tuple[str, ...]:
    """That attention in one call takes what its parts take, where it was not measured itself."""
    fused = any(isinstance(op, Attention) and op.fused for op in model.operators)
    if not fused or not device.surfaces or f"batch_matmul.{FUSED}" in device.surfaces:
        return ()
    measures = "; perfplan calibrate --resume measures it" if device.kind == "cpu" else ""
    return (
        f"attention in one call was not measured on {device.name}; assumed: it takes what its scores, their "
        f"softmax and the weighted values take as calls of their own{measures}",
    )


def query_notes(node: ServingNode, policy: Policy) -> list[str]:
    """What is assumed of work of the query, and of histories whose lengths differ."""
    notes = list[str]()
    if policy.share_query_work:
        sent, rate = node.model.shared_bytes / 1e3, node.cpu.stream_bytes_per_s / GB
        notes.append(
            "policy.share_query_work, a what-if: a query's first request computes its work and the "
            f"others wait for it off the cores; assumed: {sent:.3g} kB of results are sent on to each at "
            f"{rate:.3g} GB/s, and nothing else is lost"
        )
    if node.lengths is not None:
        notes.append(
            f"traffic.lengths: histories of {node.lengths.values[0]} to {node.lengths.max_items}, "
            f"{node.lengths.mean_items:.3g} in the mean, as up to 12 lengths that stand for their "
            "neighbours; where a launch joins queries, all are padded to the longest; where a batch's "
            "time goes is shown of the mean length"
        )
    return notes


def shard_notes(node: ServingNode, largest: int) -> list[str]:
    """Where the tables are, what is sent for them, and what is assumed of it."""
    shards = node.shards
    if shards is None:
        return []
    from perfmodel.costmodel.shard_lookups import sent_bytes  # few nodes have shards
    from perfmodel.costmodel.table_groups import table_groups

    groups = table_groups(node.model)
    what = "rows" if shards.by_row else "tables"
    parts = f"{shards.num_shards} shard{'s' if shards.num_shards > 1 else ''}"
    copies = "" if shards.replicas == 1 else f" on {shards.replicas} nodes each"
    most = shards.held_bytes.max() / GIB
    priced = "each machine" if shards.on is None else "the main one"
    notes = [
        f"node.shards: {what} in {parts}{copies}, {most:.3g} GiB in the fullest; power counts all "
        f"{node.num_machines} machines of a node, and node.price_usd_per_h is of {priced}"
    ]
    if shards.network is None:
        notes.append("node.shards.network: none, a what-if: shards answer at once, which no network does")
    elif largest:
        out, back = sent_bytes(groups, shards, np.array(float(largest)))
        notes.append(
            f"a request of {largest} items sends {out / MB:.3g} MB of indices and gets "
            f"{back / MB:.3g} MB of vectors"
            + ("" if shards.slowest == 1.0 else f"; the slowest takes {shards.slowest:.3g} times one")
        )
    if (hot := shards.hot) is not None:
        kept = "looked up last" if hot.is_cache else "looked up most"
        notes.append(
            f"node.shards.hot_rows: the main node keeps rows {kept}, {hot.held_bytes / GIB:.3g} GiB of "
            f"its memory, and finds {100 * hot.lookups_share:.3g} % of the lookups there"
        )
    free = "a shard, with as many cores, has one free"
    if shards.on is not None:
        cores, workers = shards.on.cores * shards.replicas, node.num_workers
        free = f"a shard, with {cores} cores, has one free"
        if cores < workers:
            free = f"{workers} workers wait for {cores} cores of a shard as in the machine-repair model"
    notes.append(
        "assumed of shards: workers wait for the answer, nothing overlaps with it, popular rows are "
        f"spread evenly, and {free}; a quarter (0.22 in the logarithm) is added to the error"
    )
    if node.accelerator is not None and node.num_accelerators:
        rows = "" if shards.hot is None else ", for hot rows too"
        notes.append(
            f"assumed of launches on {node.accelerator.name}: the host converts and sends the indices, and "
            f"the card, which is held all the while, has the pooled vectors when the slowest answer is "
            f"there; a launch asks shards{rows}, meets none of the cores' lookups and transfers nor those "
            "of other launches, and finds a shard's core free"
        )
    if node.model.embedding_bytes + node.model.dense_parameter_bytes <= (node.cpu.memory.capacity_bytes):
        notes.append(f"{node.model.name} fits one {node.cpu.name} without shards")
    return notes


def near_memory_notes(node: ServingNode, largest: int) -> list[str]:
    """What the memory's modules find and save, and what is assumed of them."""
    memory = node.near_memory
    if memory is None or not largest:
        return []
    from perfmodel.costmodel.near_memory import near_memory_facts  # few nodes have it

    facts = near_memory_facts(node.model, memory, float(largest))
    told = "" if memory.settings.channels else ", as many of DDR4-2400 as the profile's bandwidth"
    cached = "" if memory.settings.cache_kib is None else f"{100 * facts.hit_rate:.3g} % of rows cached, "
    saved = 100.0 * (facts.energy_j / facts.host_energy_j - 1.0)
    notes = [
        f"node.near_memory: {memory.channels} channels{told}; a request of {largest} items: "
        f"{cached}the fullest rank of a packet reads {facts.fullest:.3g} times the mean",
        f"energy of memory for its lookups: {1e3 * facts.energy_j:.3g} mJ instead of "
        f"{1e3 * facts.host_energy_j:.3g} mJ ({saved:+.0f} %), which is no part of TDP, and so not of "
        f"queries per watt; the {memory.units_w:.3g} W of logic in the modules are",
    ]
    if memory.settings.cache_kib is not None and not facts.has_skew:
        notes.append(
            f"no table of {node.model.name} has a skew (zipf_exponent of its file): all rows are equally "
            "popular, and caches find few of them"
        )
    if facts.left_on_core:
        notes.append(f"not pooled, and left to the cores: {', '.join(facts.left_on_core)}")
    notes.append(
        "assumed of near memory: workers wait for their lookups, each table lies in one channel, tables "
        "are spread evenly over channels, and other traffic is not held up; a quarter (0.22 in the "
        "logarithm) is added to the error"
    )
    return notes


def tier_notes(node: ServingNode, largest: int, time: BatchTime | None) -> list[str]:
    """Where the rows are, how often each memory is read, what that takes, and what is assumed of it."""
    tiers = node.tiers
    if tiers is None:
        return []
    seconds = {} if time is None else {t.kernel.operator: float(t.seconds[-1]) for t in time.kernels}
    parts = [f"memory has the rows of {100 * tiers.lookups_share[0]:.3g} % of the lookups"]
    for index, tier in enumerate(tiers.beyond, start=1):
        spent = f", {1e3 * seconds[tier.name]:.3g} ms of" if tier.name in seconds else ", nothing of"
        price = "" if tier.price_usd_per_h is None else f", {tier.price_usd_per_h:g} USD/h"
        parts.append(
            f"{tier.name} {100 * tiers.lookups_share[index]:.3g} % "
            f"({tiers.used_bytes[index] / GIB:.4g} GiB{spent} a request of {largest} items{price}; "
            f"{tier.source})"
        )
    notes = [f"node.tiers: {'; '.join(parts)}"]
    if (cards := node.card_tiers) is not None:
        each = [f"own {100 * cards.lookups_share[0]:.3g} %"]
        each += [
            f"{tier.name} {100 * share:.3g} %"
            for tier, share in zip(cards.beyond, cards.lookups_share[1:], strict=True)
        ]
        notes.append(f"lookups of a card, by memory: {', '.join(each)}")
    notes.append(
        "assumed of tiers: rows keep their places, a worker waits for its reads, tier by tier, and "
        "computes nothing meanwhile; a quarter (0.22 in the logarithm) is added to the error"
    )
    return notes
