"""The question of a pair as its capacity was found: with its batch size, threshold and threads."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.domain.workload import PoissonArrivals
from perfmodel.planning.node import ServingNode
from perfmodel.planning.plan.question import PairCapacity, PlanQuestion
from perfmodel.planning.question import Question
from perfmodel.planning.tune.question import Configuration, Joins
from perfmodel.sim.builtin_policies import DynamicBatching
from perfmodel.sim.traffic import has_days


def tuned_question(asked: PlanQuestion, service: str, name: str) -> Question:
    """The question of a pair with the settings that its capacity was found with; traffic as it is."""
    pair: PairCapacity = asked.capacities[service, name]
    question = asked.prepared[service, name].question()
    sla = question.sla.model_copy(update={"confidence": asked.provision.confidence})
    traffic = question.traffic
    if has_days(traffic):  # constant within the hour
        traffic = replace(traffic, arrivals=PoissonArrivals(rate_qps=traffic.rate_qps))
    question = replace(question, sla=sla, traffic=traffic)
    if pair.source != "tune":
        return question
    assert pair.batch_size is not None, "tune sets it"
    node = question.node
    if isinstance(node, ServingNode):
        node = replace(node, threads=pair.threads)
    joins = None
    if pair.timeout_ms is not None:
        assert isinstance(question.policy, DynamicBatching), "whose timeout tune sets"
        joins = Joins(question.policy.settings.pool, pair.timeout_ms)
    shares_work = question.policy.share_query_work
    policy = Configuration(pair.batch_size, pair.offload_threshold_items, joins, shares_work).policy
    return replace(question, node=node, policy=policy)
