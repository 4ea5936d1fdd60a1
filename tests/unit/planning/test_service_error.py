"""How far off service times may be: of what runs, where it runs, and nothing of what idles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.prepare import Question, prepare
from perfmodel.planning.sensitivity import Errors
from perfmodel.planning.service_error import service_errors
from perfmodel.sim.policies import SplitAndOffload


def question(name: str, *overrides: str) -> Question:
    return prepare(load_scenario(name, overrides))


def errors(asked: Question) -> Errors:
    return service_errors(asked.node, asked.policy, asked.traffic.size_pmf)


def test_an_idle_card_has_no_error() -> None:
    with_card = question("rm1_broadwell_gtx1080ti")
    largest = with_card.traffic.size_pmf.max_items
    idle = replace(with_card, policy=SplitAndOffload(batch_size=128, offload_threshold_items=largest + 1))
    assert errors(idle).accelerator is None
    assert errors(idle).cpu == pytest.approx(errors(question("rm1_broadwell")).cpu)


def test_idle_cores_have_no_error() -> None:
    with_card = question("rm1_broadwell_gtx1080ti", "policy.offload_threshold_items=1")
    found = errors(with_card)
    assert found.cpu == 0.0
    assert found.accelerator is not None
    assert found.accelerator > 0.0
