"""Where a section of a profile ends: the last value that is accepted, and the first that is refused."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.domain.hardware import LATER_MODULE_TERMS, LAYER_TERMS, MODULE_TERMS
from perfmodel.errors import InputError
from tests.unit.loading.test_profile_file import (
    SOURCE,
    card_with_launches,
    document,
    error_of,
    profile,
    sourced,
)


def with_stack(**keys: Any) -> dict[str, Any]:
    described = document()
    return described | {"stacks": {"plain": described["stacks"]["plain"] | keys}}


def with_hardware(**values: Any) -> dict[str, Any]:
    described = document()
    return described | {"hardware": described["hardware"] | sourced(**values)}


def with_costs(**values: Any) -> dict[str, Any]:
    described = document()
    plain = described["stacks"]["plain"]
    return described | {"stacks": {"plain": plain | {"costs": plain["costs"] | sourced(**values)}}}


def test_a_batch_range_may_be_one_size() -> None:
    assert profile(with_stack(batch_range=[16, 16])).device().batch_range == (16, 16)
    assert error_of(with_stack(batch_range=[17, 16])) == (
        "batch_range: expected [lowest, highest], got [17, 16]"
    )


def test_a_device_may_draw_as_much_at_rest_as_at_work() -> None:
    assert profile(with_hardware(idle_w=180)).device().power.idle_w == 180
    assert error_of(with_hardware(idle_w=181)) == "idle_w: expected at most peak_w, 180"


@pytest.mark.parametrize("peak_w", [100, 300])
def test_power_at_work_may_be_half_of_tdp_and_half_as_much_again(peak_w: float) -> None:
    assert profile(with_hardware(peak_w=peak_w, idle_w=1)).device().power.peak_w == peak_w


@pytest.mark.parametrize("peak_w", [99, 301])
def test_power_at_work_is_no_further_from_tdp(peak_w: float) -> None:
    expected = f"peak_w: expected 100 to 300, 0.5 to 1.5 times tdp_w, got {peak_w}"
    assert error_of(with_hardware(peak_w=peak_w, idle_w=1)) == expected


@pytest.mark.parametrize(
    "costs",
    [
        {"input_blob_us": 1},
        {"input_bag_ns": 1},
        {"input_index_ns": 1},
        {"input_dense_element_ns": 1},
        {"network_slowdown": 1.1},
    ],
)
def test_any_cost_of_a_framework_makes_a_stack_more_than_bare(costs: dict[str, float]) -> None:
    assert (
        profile(with_costs(**dict.fromkeys(costs, 0.0) | {"network_slowdown": 1.0})).stacks["plain"].is_bare
    )
    assert not profile(with_costs(**costs)).stacks["plain"].is_bare


@pytest.mark.parametrize(("value", "is_accepted"), [(0, True), (1, True), (1.01, False), (-0.01, False)])
def test_a_correlation_of_errors_is_a_share(value: float, *, is_accepted: bool) -> None:
    described = with_stack(error_correlation={"value": value, "source": SOURCE})
    if is_accepted:
        assert profile(described).device().errors.correlation == value
    else:
        assert error_of(described).startswith("value: expected a number >= 0 and <= 1")


def test_beside_a_busy_worker_are_two() -> None:
    assert profile(with_stack(co_located={"fc": {2: 1.1}})).device().co_located["fc"] == {2: 1.1}
    with pytest.raises(InputError):
        profile(with_stack(co_located={"fc": {1: 1.1}}))


def test_a_curve_and_an_anchor_may_be_of_one_size() -> None:
    anchor = {"batch_sizes": [1], "factors": [1.2], "source": "measured: here"}
    curve = {"signature": "fc:1x4x8", "batch_sizes": [16], "time_us": [2.0], "source": "measured: here"}
    device = profile(with_stack(anchors={"ncf": anchor}, measured=[curve])).device()
    assert device.anchors["ncf"].batch_sizes.tolist() == [1]
    assert device.measured["fc:1x4x8"].batch_sizes.tolist() == [16]


def test_an_anchor_says_what_whole_models_took() -> None:
    anchor = {"batch_sizes": [1, 64], "factors": [1.2, 0.9], "source": "measured: here"}
    found = profile(with_stack(anchors={"ncf": anchor})).device().anchors["ncf"]
    assert (found.batch_sizes.tolist(), found.factors.tolist(), found.all_busy) == ([1, 64], [1.2, 0.9], 1.0)
    busy = profile(with_stack(anchors={"ncf": anchor | {"all_busy_factor": 1.3}})).device().anchors["ncf"]
    assert busy.all_busy == 1.3


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"factors": [1.2]},
            "factors: expected one factor for each batch size, got 1 factors for 2 batch sizes",
        ),
        ({"batch_sizes": [64, 1]}, "batch_sizes: expected ascending batch sizes"),
        ({"batch_sizes": [64, 64]}, "batch_sizes: expected ascending batch sizes"),
    ],
)
def test_an_anchor_ascends_with_a_factor_each(change: dict[str, Any], error: str) -> None:
    anchor = {"batch_sizes": [1, 64], "factors": [1.2, 0.9], "source": "measured: here"}
    assert error_of(with_stack(anchors={"ncf": anchor | change})) == error


def test_what_a_launch_does_not_say_costs_nothing() -> None:
    described = card_with_launches(issue_us={"fc": {"call": 5.0}})
    del described["stacks"]["plain"]["launches"]["output_us"]
    launches = profile(described).device().launches
    assert launches is not None
    assert (launches.issue["fc"].part_s, launches.output_s) == (0.0, 0.0)


def test_a_profile_that_no_fit_wrote_was_not_edited() -> None:
    assert not profile(document()).device().is_edited
    assert profile(with_stack(fitted_values="0" * 32)).device().is_edited


def test_levels_of_a_host_are_read_as_they_are_and_its_quiet_probe_in_seconds() -> None:
    plain = profile(card_with_launches()).device().launches
    assert plain is not None
    assert (plain.host_level, plain.quiet_probe_s) == (1.0, 0.0)
    slowed = profile(card_with_launches(host_level=1.5, quiet_probe_us=12.0)).device().launches
    assert slowed is not None
    assert (slowed.host_level, slowed.quiet_probe_s) == (1.5, pytest.approx(12e-6))


def test_what_modules_take_more_is_read_in_seconds() -> None:
    law_ns = {term: 100.0 * number for number, term in enumerate(MODULE_TERMS, start=1)}
    served = {
        "describes": "modules",
        "law_ns": law_ns,
        "relative_error": {"value": 0.1, "source": SOURCE},
        "passes": 20,
        "source": SOURCE,
    }
    device = profile(with_stack(served={"modules": served})).device("modules")
    assert device.modules is not None
    assert device.modules.costs == pytest.approx({term: 1e-9 * ns for term, ns in law_ns.items()})
    assert device.precision == device.modules.precision == "fp32"


def served_in(precision: str, **changes: object) -> dict[str, object]:
    law_ns = dict.fromkeys(MODULE_TERMS, 1.0)
    error = {"value": 0.1, "source": SOURCE}
    section = {
        "describes": "modules",
        "law_ns": law_ns,
        "relative_error": error,
        "passes": 20,
        "source": SOURCE,
    }
    return {**section, "precision": precision, **changes}


def test_a_way_in_another_precision_has_a_law_of_its_layers() -> None:
    layers_ns = {term: float(number) for number, term in enumerate(LAYER_TERMS)}
    served = served_in("bf16", layers_ns=layers_ns, factors={"activation": 0.5})
    device = profile(with_stack(served={"half": served})).device("half")
    assert device.modules is not None
    assert device.precision == "bf16"
    assert device.modules.layers == pytest.approx({term: 1e-9 * ns for term, ns in layers_ns.items()})
    assert device.modules.factors == {"activation": 0.5}


@pytest.mark.parametrize(
    ("served", "place"),
    [
        (served_in("bf16"), "layers_ns"),
        (served_in("fp32", layers_ns=dict.fromkeys(LAYER_TERMS, 1.0)), "layers_ns"),
        (served_in("int8", layers_ns=dict.fromkeys(LAYER_TERMS, 1.0), factors={"lines": 1.0}), "factors"),
        (served_in("int4"), "precision"),
    ],
)
def test_such_a_way_with_other_terms_is_refused(served: dict[str, object], place: str) -> None:
    assert place in error_of(with_stack(served={"other way": served}))


def test_terms_that_came_later_may_be_missing() -> None:
    law_ns = {term: 1.0 for term in MODULE_TERMS if term not in LATER_MODULE_TERMS}
    device = profile(with_stack(served={"modules": served_in("fp32", law_ns=law_ns)})).device("modules")
    assert device.modules is not None
    assert {device.modules.costs[term] for term in LATER_MODULE_TERMS} == {0.0}


def test_an_engine_of_which_a_stack_says_nothing_stores_queues_and_locks_nothing() -> None:
    engine = profile(document()).device().engine
    assert (engine.stored_items, engine.queue_blobs, engine.interpreter_lock) == (0, 0, 0.0)
    said = (
        profile(with_costs(stored_batch_items=8, input_queue_blobs=3, interpreter_lock=0.25)).device().engine
    )
    assert (said.stored_items, said.queue_blobs, said.interpreter_lock) == (8, 3, 0.25)
