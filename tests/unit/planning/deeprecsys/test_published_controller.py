"""What the published controller's shortcuts are worth, and what its climb forgets."""

from __future__ import annotations

import json

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import load_scenario
from perfmodel.planning.deeprecsys.climb import (
    Attempt,
    Configuration,
    _choice,
    _fell,
    climb_once,
    published_climbs,
)
from perfmodel.planning.deeprecsys.controlled import ControlledNode, Effort, with_interpolation
from perfmodel.planning.deeprecsys.settings import PUBLISHED, ControllerSettings, Shortcut
from perfmodel.planning.deeprecsys.shortcuts import ShortcutReport, compare_shortcuts
from perfmodel.planning.prepare import prepare
from perfmodel.planning.question import Question
from perfmodel.planning.rate.search import RateSearch
from perfmodel.report.documents.deeprecsys import climbs_document

QUICK = Effort(probe_queries=30_000, long_runs=2, short_probe_queries=10_000, short_runs=4)


STACK = "deeprecsys-isca2020"


def question(scenario: str, *overrides: str) -> Question:
    """The scenario in the study's own stack, whose figures go up to the controller's batches of 1024."""
    own = [f"node.stack={STACK}"] if "broadwell" in scenario else []
    return prepare(load_scenario(scenario, [*overrides, *own]))


@pytest.fixture(scope="module")
def report() -> ShortcutReport:
    return compare_shortcuts(question("rm3_broadwell_gtx1080ti"), effort=QUICK)


@pytest.mark.thorough
def test_every_shortcut_is_tried_alone_and_all_together(report: ShortcutReport) -> None:
    switched = [row.shortcuts for row in report.rows]
    assert switched[0] == frozenset()
    assert switched[-1] == frozenset(Shortcut)
    for shortcut in Shortcut:
        assert frozenset({shortcut}) in switched


@pytest.mark.thorough
def test_exact_row_is_the_rate_search() -> None:
    asked = question("rm3_broadwell")
    effort = Effort(probe_queries=200_000, long_runs=1, short_probe_queries=1, short_runs=1)
    found = ControlledNode.of(asked, effort=effort).capacity(frozenset())
    search = RateSearch(
        traffic=asked.traffic,
        service=asked.node.service_times(asked.policy, asked.max_items),
        policy=asked.policy,
        sla=asked.sla,
        seed=asked.simulation.seed,
    )
    assert found is not None
    assert found.mean_qps == pytest.approx(search.greatest_rate_qps(), rel=0.01)


def test_log_spaced_rates_never_find_more_than_the_exact_search() -> None:
    controlled = ControlledNode.of(question("rm3_broadwell"), effort=QUICK)
    exact, on_grid = controlled.capacity(frozenset()), controlled.capacity(frozenset({Shortcut.LOG_RATES}))
    assert exact is not None
    assert on_grid is not None
    assert all(on_grid.rates_qps <= exact.rates_qps * 1.003)
    step = (20.0 / 1.0) ** (1 / 49)
    assert all(on_grid.rates_qps * step >= exact.rates_qps * 0.997)
    assert set((1000 / on_grid.rates_qps).round(9)) <= {round(1000 * gap, 9) for gap in PUBLISHED.gaps_s}


def test_few_replayed_sizes_make_the_capacity_a_matter_of_the_draw(report: ShortcutReport) -> None:
    exact, replayed = report.rows[0], report.rows[2]
    assert replayed.shortcuts == {Shortcut.REPLAYED_SIZES}
    assert replayed.highest_qps / replayed.lowest_qps > 1.1
    assert exact.highest_qps / exact.lowest_qps < 1.05


def test_short_bounded_queues_meet_any_sla_however_large_the_load() -> None:
    # One request may wait before 28 cores: nobody waits long, since the generator stands still.
    settings = ControllerSettings(cpu_queue=1)
    controlled = ControlledNode.of(question("rm3_broadwell"), settings, effort=QUICK)
    found = controlled.capacity(frozenset({Shortcut.BOUNDED_QUEUES}))
    exact = controlled.capacity(frozenset())
    assert found is not None
    assert exact is not None
    assert "every offered rate" in found.note
    assert found.mean_qps > exact.mean_qps
    assert (
        controlled.exact_latency_s(found.mean_qps) is None or controlled.exact_latency_s(found.mean_qps) > 0.1
    )


def test_interpolation_is_exact_at_the_measured_batches_and_above_between_them() -> None:
    node = question("rm3_broadwell_gtx1080ti").node
    policy = question("rm3_broadwell_gtx1080ti").policy
    service = node.service_times(policy, 1000)
    coarse = with_interpolation(node, service, (1, 4, 16, 64, 256, 1024))
    assert coarse.accelerator_s is not None
    exact_s = service.accelerator_by_streams_s[:, 0]
    for batch in (1, 4, 16, 64, 256):
        assert coarse.accelerator_s[batch - 1] == pytest.approx(exact_s[batch - 1])
    # A time that grows in proportion to the batch lies below its chord in log(batch).
    assert coarse.accelerator_s[511] > 1.05 * exact_s[511]


@pytest.mark.thorough
def test_same_seed_gives_the_same_bytes(report: ShortcutReport) -> None:
    asked = question("rm3_broadwell_gtx1080ti")
    assert report.all_together is not None
    controlled = ControlledNode.of(asked, report.settings, effort=QUICK)
    again = controlled.capacity(report.all_together.shortcuts)
    assert again is not None
    assert again.mean_qps == report.all_together.qps
    first, second = (climbs_document(published_climbs(asked, num_climbs=1, effort=QUICK)) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_grid_moves_by_powers_of_two_until_it_holds_the_rate() -> None:
    assert PUBLISHED.placed_around(450.0) == PUBLISHED
    assert PUBLISHED.placed_around(2000.0).shortest_gap_ms == 0.25
    assert PUBLISHED.placed_around(60.0).longest_gap_ms == 40.0


def attempts(*rates: float) -> list[Attempt]:
    configurations = [Configuration(512 >> index, None) for index in range(len(rates))]
    return [Attempt(each, each, qps) for each, qps in zip(configurations, rates, strict=True)]


@pytest.mark.parametrize(
    ("rates", "fell", "batch_size"),
    [
        ((100.0, 90.0), True, 512),  # the first was better
        ((90.0, 100.0, 95.0), True, 256),
        ((90.0, 90.0, 90.0), False, 512),  # equal is not lower; of equal ones the first
        ((80.0, 90.0, 100.0), False, 128),
    ],
)
def test_climb_ends_at_the_first_fall(rates: tuple[float, ...], fell: bool, batch_size: int) -> None:
    tried = attempts(*rates)
    assert _fell(tried) is fell
    assert _choice(tried).named.batch_size == batch_size


def test_first_threshold_is_never_measured() -> None:
    overrides = ("policy.batch_size=512", "policy.offload_threshold_items=null")
    whole = question("rm3_broadwell_gtx1080ti", *overrides)
    controlled = ControlledNode.of(whole, effort=QUICK)
    climb = climb_once(controlled, accelerated=True, replication=0)
    by_threshold = [each for each in climb.attempts if each.named.offload_threshold_items != 1024]
    assert by_threshold[0].named.offload_threshold_items == 96
    assert by_threshold[0].measured.offload_threshold_items == 1024
    assert all(each.named == each.measured for each in by_threshold[1:])


@pytest.mark.thorough
def test_climbs_on_the_cores_choose_from_the_list() -> None:
    report = published_climbs(question("rm3_broadwell"), num_climbs=4, effort=QUICK)
    assert {chosen for chosen, _ in report.chosen} <= set(report.exact_qps)
    assert sum(count for _, count in report.chosen) == 4
    assert report.true_qps <= report.exact_qps[report.best]


def test_no_load_meets_an_sla_below_the_service_time() -> None:
    report = compare_shortcuts(question("rm3_broadwell", "sla.latency_ms=0.01"), effort=QUICK)
    assert report.exact_qps is None
    assert report.rows == ()


@pytest.mark.parametrize(
    "scenario", ["rm3_skylake_bursty", "wnd_broadwell_size_priority", "rm1_broadwell_overloaded_shedding"]
)
def test_what_the_controller_could_not_drive_is_refused(scenario: str) -> None:
    with pytest.raises(InputError, match="DeepRecSys mode"):
        compare_shortcuts(question(scenario), effort=QUICK)
