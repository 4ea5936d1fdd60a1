"""Several stages in `explain` and `diff`: a change is made where it says, and is what the file answers."""

from __future__ import annotations

import pytest

import perfmodel
from perfmodel.errors import PerfplanError
from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
from perfmodel.planning.diff.keys import differing_keys
from perfmodel.planning.diff.side import largest_load
from perfmodel.planning.explain import computation
from perfmodel.planning.explain.changes import Change, changes_of
from perfmodel.planning.explain.places import places_of, with_stages
from perfmodel.planning.node import ServingNode
from perfmodel.planning.prepare import prepare, prepare_together
from perfmodel.planning.question import Question
from perfmodel.planning.stages import StageTimes

TWO = "ranking_two_stages"
QUICK = ("simulation.min_queries=20000", "simulation.max_queries=20000")
ON_ONE = ("pipeline.stages.0.node=null", "pipeline.stages.0.cores=8", "node.cores=20")


def test_every_change_names_its_stage_and_reads_as_a_setting() -> None:
    loaded = load_scenario(TWO)
    changes = changes_of(loaded, prepare(loaded, stages=True), mixed_stacks=False)
    stages = {change.stage for change in changes}
    assert stages == {None, "dlrm-rmc1", "dlrm-rmc3"}
    assert {change.resource for change in changes if change.stage is None} == {"sla", "parts"}
    for change in changes:
        if change.setting and change.kind == "step":
            made, read = change.make(), prepare(load_scenario(loaded, change.setting), stages=True)
            assert [stage.node.cores for stage in made.stages] == [
                stage.node.cores for stage in read.stages
            ], change.name


@pytest.mark.parametrize("changes", [(), ON_ONE])
def test_a_change_of_a_stage_carries_what_the_changed_scenario_does(changes: tuple[str, ...]) -> None:
    loaded = load_scenario(TWO, [*QUICK, *changes])
    every = changes_of(loaded, prepare(loaded, stages=True), mixed_stacks=False)
    (change,) = [each for each in every if each.stage == "dlrm-rmc3" and each.resource == "cores"]
    made = largest_load(change.make())
    read = largest_load(prepare(load_scenario(loaded, change.setting), stages=True))
    assert made is not None
    assert read is not None
    assert made.value == pytest.approx(read.value, rel=1e-12)


def test_stages_on_one_machine_share_what_is_changed_of_it() -> None:
    loaded = load_scenario(TWO, ON_ONE)
    question = prepare(loaded, stages=True)
    first, second = places_of(loaded, question)
    assert isinstance(first.node, ServingNode)
    assert isinstance(second.node, ServingNode)
    assert (first.machine, second.machine) == ("dlrm-rmc1", "dlrm-rmc1")
    changes = changes_of(loaded, question, mixed_stacks=False)
    (faster,) = [each for each in changes if each.resource == "memory"]
    assert "of the machine" in faster.name
    changed = faster.make()
    own, later = (stage.node for stage in changed.stages)
    assert isinstance(own, ServingNode)
    assert isinstance(later, ServingNode)
    assert own.cpu == later.cpu != first.node.cpu
    assert (own.beside, later.beside) == (8, 20)
    (cores,) = [each for each in changes if each.resource == "cores" and each.stage == "dlrm-rmc3"]
    assert cores.make().node.beside == 9  # type: ignore[union-attr]  # a serving node


def test_more_cores_than_the_machine_has_room_for_are_refused() -> None:
    loaded = load_scenario(TWO, [*ON_ONE[:1], "pipeline.stages.0.cores=30", "node.cores=26"])
    changes = changes_of(loaded, prepare(loaded, stages=True), mixed_stacks=False)
    for change in changes:
        if change.resource == "cores":
            with pytest.raises(PerfplanError, match="expected at most 56 cores of broadwell for all stages"):
                change.make()


def test_times_of_stages_that_stay_are_kept() -> None:
    question = prepare(load_scenario(TWO), stages=True)
    first, second = question.stages
    assert isinstance(question.times, StageTimes)
    assert isinstance(second.node, ServingNode)
    other = second.node.placed_anew(cores=20)
    changed = with_stages(question, [first, type(second)(name="b", node=other, policy=second.policy)])
    assert isinstance(changed.times, StageTimes)
    assert changed.times.by_stage[0] is question.times.by_stage[0]
    assert changed.times.by_stage[1] is not question.times.by_stage[1]


@pytest.mark.thorough
def test_what_binds_is_the_fullest_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(loaded: LoadedScenario, question: Question, *, mixed_stacks: bool) -> list[Change]:
        every = changes_of(loaded, question, mixed_stacks=mixed_stacks)
        return [change for change in every if change.resource in ("memory", "sla")]

    monkeypatch.setattr(computation, "changes_of", few)
    found = perfmodel.explain(TWO, overrides=QUICK)
    assert found.binds.stage == "dlrm-rmc3"
    assert found.binds.operator == "bottom"
    assert "of dlrm-rmc3 are" in found.binds.why
    steps = {(gain.stage, gain.resource): gain for gain in found.gains if gain.kind == "step"}
    assert (steps["dlrm-rmc3", "memory"].gain or 0.0) > 0.03
    assert abs(steps["dlrm-rmc1", "memory"].gain or 0.0) < 0.01
    other = perfmodel.explain(TWO, overrides=[*QUICK, "node.cores=4"])
    assert other.binds.stage == "dlrm-rmc1"
    both = [each.question.tdp_w for each in (found, other)]
    assert both == [480.0, 480.0]  # of both machines


def test_keys_of_stages_differ_by_number() -> None:
    a = load_scenario(TWO)
    b = load_scenario(TWO, ["pipeline.stages.0.items=64", "pipeline.sub_batches=2", "pipeline.candidates={}"])
    assert [(key.key, key.a, key.b) for key in differing_keys(a, b)] == [
        ("pipeline.stages.0.items", 128, 64),
        ("pipeline.sub_batches", 4, 2),
    ]
    alone = load_scenario(TWO, ["pipeline=null"])
    assert [key.key for key in differing_keys(a, alone)] == ["pipeline"]


def test_both_sides_have_one_stack_in_all_their_stages() -> None:
    single = load_scenario("rm3_broadwell", ["node.stack=null"])
    one, other = prepare_together([load_scenario(TWO), single], stages=True)
    assert {stage.node.stack for stage in (*one.stages, *other.stages)} == {"hpca2020"}
    other_stack = load_scenario("rm3_broadwell", ["node.stack=deeprecsys-isca2020"])
    with pytest.raises(PerfplanError, match="stack"):
        prepare_together([load_scenario(TWO), other_stack], stages=True)


@pytest.mark.thorough
def test_a_difference_is_that_of_two_capacities() -> None:
    fewer = perfmodel.load_scenario(TWO, [*QUICK, "pipeline.stages.0.items=64"])
    found = perfmodel.diff(perfmodel.load_scenario(TWO, QUICK), fewer)
    (key,) = found.keys
    assert key.key.key == "pipeline.stages.0.items"
    by_metric = {each.metric: each for each in found.differences}
    power, load = by_metric["power_w"], by_metric["latency_bounded_qps"]
    assert (power.a, power.b, power.value) == (480.0, 480.0, 0.0)
    assert load.a == pytest.approx(perfmodel.capacity(TWO, overrides=QUICK).latency_bounded_qps, rel=0.01)
    assert load.b == pytest.approx(perfmodel.capacity(fewer).latency_bounded_qps, rel=0.01)
    assert load.is_significant


def test_a_machine_of_one_thread_a_core_has_no_more_workers_than_cores_for_all_stages() -> None:
    asked = {
        "model": "dlrm-rmc1",
        "node": {"cpu": "amd-epyc-turin-2c", "cores": 1},
        "policy": {"name": "split", "batch_size": 64},
        "pipeline": {
            "stages": [
                {
                    "items": 20,
                    "model": "ncf",
                    "cores": 2,
                    "policy": {"name": "split", "batch_size": 20},
                }
            ]
        },
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": 10},
            "query_sizes": {"distribution": "fixed", "num_items": 64},
        },
        "sla": {"percentile": 0.95, "latency_ms": 100},
    }
    with pytest.raises(
        PerfplanError, match="expected at most 2 cores of amd-epyc-turin-2c for all stages, got 3"
    ):
        prepare(load_scenario(asked), stages=True)
