"""What a plan tells the serving tools: the settings of every service on every kind of node that it got."""

from __future__ import annotations

from collections.abc import Callable

from perfmodel.planning.plan.answer import PlanAnswer
from perfmodel.planning.plan.tuned import tuned_question
from perfmodel.report.serving_config import Settings, joining_settings, sla_words
from perfmodel.units import plain


def planned_settings(answer: PlanAnswer, form: Callable[[Settings], str]) -> str:
    """The settings of every service on every node type that it got, a block each in a tool's form.

    Parameters
    ----------
    form : callable
        `triton_text` or `torchserve_text`.
    """
    if answer.static is None:
        return f"# {answer.question.name}: infeasible, so that there is nothing to set"
    provisioned = answer.static.provisioned if answer.simulated is None else answer.simulated.provisioned
    blocks = []
    for service, counts in provisioned.nodes.items():
        for name, count in counts.items():
            where = f"{service} on {name}, {count:,} nodes"
            pair = answer.question.capacities[service, name]
            if pair.source == "given":
                blocks.append(f"# {where}: capacity given, so that its settings are not known")
                continue
            asked = tuned_question(answer.question, service, name)
            if pair.batch_size is None:
                policy = asked.policy.name
                blocks.append(f"# {where}: policy {policy}, as its scenario has it: not tuned")
                continue
            each = "a node" if pair.num_nodes == 1 else f"a unit of {pair.num_nodes} nodes"
            carries = f"{plain(pair.low_qps)} queries/s {each} within {sla_words(asked.sla)}"
            settings = Settings(
                words=f"{where}: {carries}, by perfplan plan",
                batch_size=pair.batch_size,
                offload_threshold_items=pair.offload_threshold_items,
                workers=asked.node.num_workers,
                threads=pair.threads,
                max_items=asked.max_items,
                **joining_settings(asked.policy, asked),
            )
            blocks.append(form(settings))
    return "\n\n".join(blocks)
