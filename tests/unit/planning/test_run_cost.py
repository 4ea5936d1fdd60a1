"""What would take minutes or gigabytes is refused beforehand, with what it costs and what to set."""

from __future__ import annotations

import numpy as np
import pytest

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.fleet import Routing
from perfmodel.domain.serving import DynamicBatchingPolicy, FusionPolicy, SeparateQueuesPolicy
from perfmodel.errors import InputError, Note
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.fleet.computation import predict_fleet
from perfmodel.planning.fleet.question import FleetMember, FleetQuestion
from perfmodel.planning.prepare import prepare
from perfmodel.planning.run_cost import (
    affordable_batch_sizes,
    affordable_queries,
    requests_a_query,
    require_affordable,
)
from perfmodel.planning.tune.computation import tune
from perfmodel.planning.tune.question import TuneOptions
from perfmodel.sim import fleet_window, run, run_length, users_run
from perfmodel.sim.builtin_policies import DynamicBatching, Fusion, SeparateQueues
from perfmodel.sim.policies import SplitAndOffload, split_query
from perfmodel.sim.query_sizes import SizePmf, pmf_of_list


def test_requests_are_counted_as_queries_are_split() -> None:
    sizes = [1, 64, 65, 300, 128, 999]
    law = pmf_of_list(sizes)
    for batch_size in (1, 7, 64, 1000):
        counted = float(np.mean([len(split_query(size, batch_size)) for size in sizes]))
        assert requests_a_query(SplitAndOffload(batch_size=batch_size), law) == pytest.approx(counted)


def test_an_offloaded_query_is_one_request_and_large_ones_have_a_batch_of_their_own() -> None:
    law = pmf_of_list([10, 100])
    assert requests_a_query(SplitAndOffload(batch_size=10, offload_threshold_items=100), law) == 1.0
    apart = SeparateQueues(
        SeparateQueuesPolicy(large_from_items=50, small_cores=1, small_batch_size=5, large_batch_size=20)
    )
    assert requests_a_query(apart, law) == pytest.approx((2 + 5) / 2)


def test_as_many_queries_as_a_budget_of_requests_allows() -> None:
    assert affordable_queries(10_000, 2.0, fewest=1_000, most_requests=1e6) == 10_000
    assert affordable_queries(10_000, 500.0, fewest=1_000, most_requests=1e6) == 2_000
    assert affordable_queries(10_000, 5e6, fewest=1_000, most_requests=1e6) == 1_000


@pytest.mark.parametrize("num_items", [100_000, 1_000_000])
def test_queries_of_a_thousand_requests_are_refused_with_their_cost(num_items: int) -> None:
    override = f"traffic.query_sizes={{distribution: fixed, num_items: {num_items}}}"
    with pytest.raises(InputError) as caught:
        prepare(load_scenario("rm1_skylake", [override]))
    message = str(caught.value)
    assert f"batch_size: a query of {num_items} items is {-(-num_items // 128):,} requests" in message
    least = int(message.rpartition("set at least ")[2])
    prepare(load_scenario("rm1_skylake", [override, f"policy.batch_size={least}"]))
    with pytest.raises(InputError):
        prepare(load_scenario("rm1_skylake", [override, f"policy.batch_size={least // 2}"]))


def test_published_queries_are_served_an_item_at_a_time() -> None:
    prepare(load_scenario("rm1_skylake", ["policy.batch_size=1"]))


def test_batches_of_one_item_joined_by_events_are_refused() -> None:
    batching = "policy={name: dynamic-batching, max_batch_items: 1, timeout_ms: 1}"
    with pytest.raises(InputError, match="max_batch_items: a query of 223 items is 223 requests"):
        prepare(load_scenario("rm1_skylake", [batching]))


def test_a_table_of_service_times_fits_in_memory() -> None:
    law: SizePmf = pmf_of_list([100])
    require_affordable(
        DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=100_000, timeout_ms=1000.0)),
        law,
        workers=80,
    )
    with pytest.raises(ValueErrorAt, match="100_001 items on 80 workers need a table") as caught:
        require_affordable(
            DynamicBatching(DynamicBatchingPolicy(pool="cpu", max_batch_items=100_001, timeout_ms=1000.0)),
            law,
            workers=80,
        )
    assert caught.value.path == ("policy", "max_batch_items")
    fusion = Fusion(FusionPolicy(batch_size=10, offload_threshold_items=50, max_fused_items=10**9))
    with pytest.raises(ValueErrorAt, match="launches of up to 1_000_000_000 items") as caught:
        require_affordable(fusion, law, workers=80)
    assert caught.value.path == ("policy", "max_fused_items")


def test_no_node_has_a_thousand_accelerators() -> None:
    cards = ", ".join(["gtx1080ti"] * 1000)
    with pytest.raises(
        InputError, match="accelerators: expected a list of at most 64 entries, got a list of"
    ):
        load_scenario("rm1_skylake", [f"node={{cpu: skylake, accelerators: [{cards}]}}"])


def test_tune_refuses_batches_so_small_that_trying_them_would_not_end() -> None:
    sizes = "traffic.query_sizes={distribution: fixed, num_items: 100000}"
    question = prepare(load_scenario("rm1_skylake", [sizes, "policy.batch_size=1000"]))
    with pytest.raises(InputError, match="--batch-sizes: expected sizes from 251 up, got 128"):
        tune(question, TuneOptions(batch_sizes=(128, 512)))


def test_tune_begins_its_own_batches_where_they_can_be_tried() -> None:
    law = pmf_of_list([100_000])
    assert affordable_batch_sizes([1, 2, 256, 1024], law) == (256, 1024)
    assert affordable_batch_sizes([1, 2], law) == (2,)
    assert affordable_batch_sizes([1, 2], pmf_of_list([223])) == (1, 2)


def test_runs_are_as_long_as_their_requests_and_records_allow() -> None:
    load = ["policy.batch_size=1", "simulation.max_queries=100000000"]
    with pytest.warns(Note, match="max_queries: runs end after 17_"):
        assert prepare(load_scenario("rm1_skylake", load)).simulation.max_queries < 18_000_000
    with pytest.raises(InputError, match="min_queries: runs of 100_000_000 queries take minutes"):
        prepare(load_scenario("rm1_skylake", [*load, "simulation.min_queries=100000000"]))
    asked = prepare(load_scenario("rm1_skylake", ["simulation.max_queries=100000000"]))
    assert asked.simulation.max_queries == 100_000_000
    with pytest.raises(InputError, match=r"min_queries: runs of 100_000_000 .* 6 GB .*at most 20_000_000"):
        prepare(load_scenario("rm1_skylake", ["simulation.min_queries=100000000"]))
    batching = "policy={name: dynamic-batching, max_batch_items: 64, timeout_ms: 1}"
    with pytest.raises(InputError, match=r"min_queries: runs of 100_000_000 .*expected at most"):
        prepare(load_scenario("rm1_skylake", [batching, "simulation.min_queries=100000000"]))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "asked",
    [
        "traffic.arrivals={process: closed, users: 200, think_s: 0.05}",
        "policy={name: split, batch_size: 64, shedding: {queue_limit_requests: 50}}",
        "node.pauses=[{rate_per_s: 0.1, length_ms: 20, scope: executor}]",
    ],
)
def test_runs_that_keep_everything_end_where_memory_does(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest is made small here; none of these is precise to a thousandth after 20,000 queries."""
    for module in (run, users_run, run_length):
        monkeypatch.setattr(module, "MOST_RECORDED", 20_000)
    monkeypatch.setattr(run, "RECORDED_QUERIES", 15_000)
    settings = "simulation={min_queries: 10000, max_queries: 100000, precision: 1e-6}"
    question = prepare(load_scenario("ncf_skylake", [asked, settings]))
    found = run.run_until_precise(
        question.traffic, question.times.table, question.policy, question.simulation, percentile=0.95
    )
    assert found.num_queries == 20_000
    assert any("memory, which holds all that happened, ended the run" in note for note in found.notes)


def test_users_are_no_more_than_a_run_has_rounds_for() -> None:
    arrivals = "traffic.arrivals={{process: closed, users: {}, think_s: 5}}"
    prepare(load_scenario("ncf_skylake", [arrivals.format(666_666)]))
    with pytest.raises(
        InputError, match=r"users: 30 rounds of 1_000_000 users .* 1\.8 GB; expected at most 666_666"
    ):
        prepare(load_scenario("ncf_skylake", [arrivals.format(1_000_000)]))


def test_a_router_looks_at_no_more_queues_than_memory_holds() -> None:
    member = FleetMember(question=prepare(load_scenario("ncf_skylake")), num_nodes=10_001)
    FleetQuestion(members=(member,), routing=Routing.RANDOM)
    with pytest.raises(
        InputError, match=r"routing: .*for 10_001 nodes, got join-shortest-queue: .* 1 GB; at most 10_000"
    ):
        FleetQuestion(members=(member,), routing=Routing.JOIN_SHORTEST_QUEUE)


@pytest.mark.thorough
def test_a_fleets_stretch_ends_where_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_window, "MOST_RECORDED", 20_000)
    settings = "simulation={min_queries: 10000, max_queries: 100000, precision: 1e-6}"
    question = prepare(load_scenario("ncf_skylake", [settings]))
    member = FleetMember(question=question, num_nodes=2)
    asked = FleetQuestion(members=(member,), routing=Routing.RANDOM, num_windows=1)
    stretch = predict_fleet(asked).windows[0].stretch
    assert stretch.num_queries == 20_000
