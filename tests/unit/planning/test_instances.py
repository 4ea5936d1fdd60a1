"""Processes pinned to sockets: copies of the tables take memory, and share a socket's cache."""

from __future__ import annotations

import numpy as np
import pytest

import perfmodel
from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.base import ValueErrorAt
from perfmodel.errors import InputError
from perfmodel.loading.fleet_file import load_fleet
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.node import ServingNode
from perfmodel.planning.plan.prepare import plan_question
from perfmodel.planning.prepare import prepare

SMALL = "model=hpca-rmc1"
"""5 tables of which 5 MB are in use: a socket's L3 holds one copy, and not twenty."""


def node_with(*changes: str) -> ServingNode:
    return prepare(load_scenario("rm1_skylake", changes)).serving_node


def seconds(node: ServingNode) -> float:
    return float(node.cpu_time(64, node.cores).seconds[0])


@pytest.mark.parametrize("model", [(), (SMALL,)])
def test_one_process_a_socket_is_the_node_but_for_its_memory(model: tuple[str, ...]) -> None:
    assert seconds(node_with(*model, "node.instances=2")) == seconds(node_with(*model))


def test_more_copies_never_find_more_of_their_rows_cached() -> None:
    times = [seconds(node_with(SMALL, f"node.instances={count}")) for count in (2, 4, 8, 20, 40)]
    assert times == sorted(times)
    assert times[-1] > 1.2 * times[0]


def test_a_process_a_core_is_a_co_location_experiment() -> None:
    """20 copies on each of two sockets: what HPCA 2020 pinned to one."""
    node = node_with(SMALL, "node.instances=40")
    batches = np.array([64.0])
    pinned = batch_time(node.model, node.cpu, batches, 40.0)
    one_socket = batch_time(node.model, node.cpu, batches, 20.0, copies=True)
    assert pinned.family_s("embedding_bag")[0] == pytest.approx(
        one_socket.family_s("embedding_bag")[0], rel=1e-9
    )


def test_copies_have_to_fit() -> None:
    for count, fits in ((2, True), (4, False)):
        loaded = load_scenario("mlperf_dlrm_v2_skylake", [f"node.instances={count}"])
        if fits:
            assert prepare(loaded).serving_node.instances == count
        else:
            with pytest.raises(InputError, match=r"4 copies need 389\.7 GiB, memory has 256\.0 GiB"):
                prepare(loaded)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            ["node.instances=3"],
            "expected a multiple of the 2 sockets of skylake, so that none lies in two, got 3",
        ),
        (["node.instances=6"], "expected a number that shares 40 cores out by as many, got 6"),
        (["node.instances=0"], "node.instances: expected a whole number >= 1 and <= 1024"),
        (["node.instances=2", "node.near_memory={ranks: 8}"], "expected none beside near_memory"),
        (["node.instances=2", "node.shards={count: 2, by: row}"], "expected none beside shards"),
    ],
)
def test_what_cannot_be_is_said_at_its_place(changes: list[str], expected: str) -> None:
    with pytest.raises((InputError, ValueErrorAt), match=expected):
        prepare(load_scenario("rm1_skylake", changes))


def test_copies_in_one_cache_were_not_measured() -> None:
    with pytest.raises(InputError, match="expected 1, one a socket: what several copies"):
        prepare(load_scenario("rm3_amd_epyc_turin_2c", ["node.instances=2"]))
    assert prepare(load_scenario("rm3_amd_epyc_turin_2c", ["node.instances=1"])).serving_node.instances == 1


def test_answers_say_what_is_assumed() -> None:
    quick = ["simulation.min_queries=20000", "simulation.max_queries=20000", "simulation.precision=0.5"]
    answer = perfmodel.predict("rm1_skylake", overrides=[*quick, "node.instances=2"]).to_dict()
    assert answer["node"]["instances"] == 2
    (said,) = [note for note in answer["notes"] if "pinned" in note]
    assert said.startswith(
        "2 processes, each pinned to 20 cores of one socket, with its own copy of the tables"
    )
    assert "assumed: one queue" in said


def test_fleets_count_copies_where_nodes_serve_one_service() -> None:
    fleet = {
        "services": {
            "big": {
                "scenario": "mlperf_dlrm_v2_skylake",
                "demand": {"peak_qps": 100, "trough": 0.5},
                "tune": False,
            }
        },
        "node_types": {
            "split": {"node": {"cpu": "skylake@hpca2020", "instances": 4}, "available": 4},
            "whole": {"node": {"cpu": "skylake@hpca2020"}, "available": 4},
        },
        "capacities": {"big": {"whole": 40}},
        "provision": {"objective": "power"},
    }
    question = plan_question(load_fleet(fleet))
    assert "4 copies need 389.7 GiB" in question.refused["big", "split"]
    with pytest.raises(InputError, match=r"expected none with provision\.sharing"):
        plan_question(load_fleet({**fleet, "provision": {"objective": "power", "sharing": True}}))
