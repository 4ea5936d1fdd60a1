"""A profile with the anchor of a model in it, so that every other command predicts with it too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from calibration.validation.anchor import Anchor
from perfmodel.loading.derived_profile import measured_document
from perfmodel.loading.profile_writing import write_profile
from perfmodel.loading.yaml_source import read_yaml
from perfmodel.planning.question import Question
from perfmodel.sim.service import ServiceTimes

DIGITS = 4


def write_refined_profile(
    source: Path, target: Path, question: Question, service: ServiceTimes, anchor: Anchor
) -> None:
    """Write the profile at `source` with what was anchored, for the question's model, in its stack.

    An anchor that the profile has already for this model is replaced by the two together.

    Raises
    ------
    InputError
        If the profile cannot be read, or `target` not be written.
    """
    document = cast(dict[str, Any], measured_document(read_yaml(source)).data())
    stack: dict[str, Any] = document["stacks"][question.serving_node.cpu.stack]
    entry = anchor_entry(question, anchor.refine(service), anchor.num_requests)
    stack["anchors"] = {**stack.get("anchors", {}), question.serving_node.model.name: entry}
    write_profile(target, document)


def anchor_entry(question: Question, refined: ServiceTimes, num_requests: int) -> dict[str, Any]:
    """The refined times over those of the operators alone, at powers of two and the largest size."""
    node = question.serving_node
    bare = replace(node, cpu=replace(node.cpu, anchors={}), accelerator=None, num_accelerators=0)
    largest = refined.max_batch_items
    operators = bare.service_times(question.policy, question.max_items, question.traffic.size_pmf)
    factors = refined.cpu_s / operators.cpu_s
    sizes = sorted({2**power for power in range(largest.bit_length())} | {largest})
    crowded = float(np.exp(np.mean(np.log(factors[:, -1] / factors[:, 0]))))
    return {
        "batch_sizes": sizes,
        "factors": [round(float(factors[size - 1, 0]), DIGITS) for size in sizes],
        "all_busy_factor": round(crowded, DIGITS),
        "source": f"measured: {num_requests} requests of mixed sizes on {node.num_workers} workers, paced",
    }
