"""Hardware profiles: every value with its source, units converted once, and what does not fit refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfmodel.domain.surface import law_names
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.validated import validate
from perfmodel.loading.yaml_source import parse_yaml

SOURCE = "datasheet: a page"
CACHES = ("l2_kib_per_core", "l3_mib_per_socket", "l3_policy")


def sourced(**values: Any) -> dict[str, Any]:
    return {key: {"value": value, "source": SOURCE} for key, value in values.items()}


def document() -> dict[str, Any]:
    """A small CPU profile; a new one for each caller, to change as it likes."""
    hardware = sourced(
        sockets=2,
        cores_per_socket=4,
        peak_gflop_per_s=100,
        l2_kib_per_core=256,
        l3_mib_per_socket=10,
        l3_policy="inclusive",
        memory_gib=64,
        memory_gb_per_s_per_socket=50,
        memory_random_fraction=0.5,
        memory_saturation_sharpness=2,
        tdp_w=200,
        idle_w=80,
        peak_w=180,
    )
    costs = sourced(
        gemm_efficiency=0.8,
        gemm_half_width=16,
        gemm_half_rows=30,
        weight_l2_gb_per_s=60,
        weight_l3_gb_per_s=20,
        weight_memory_gb_per_s=5,
        stream_gb_per_s=30,
        lookup_bag_ns=10,
        lookup_cached_line_ns=1,
        lookup_memory_line_ns=5,
        fc_call_us=4,
        embedding_bag_call_us=3,
        concat_call_us=2,
        elementwise_call_us=1,
        recurrent_step_us=14,
        softmax_row_ns=6,
        softmax_element_ns=0.9,
        small_product_ns=300,
    )
    stack = {
        "description": "a stack",
        "batch_range": [1, 512],
        "relative_error": {"value": 0.1, "source": "fitted: a figure"},
        "costs": costs,
    }
    return {
        "name": "cpu1",
        "kind": "cpu",
        "description": "a CPU",
        "hardware": hardware,
        "default_stack": "plain",
        "stacks": {"plain": stack, "other": stack},
    }


def profile(described: dict[str, Any]) -> ProfileFile:
    return validate(parse_yaml(json.dumps(described), "p.yaml"), ProfileFile)


def error_of(described: dict[str, Any]) -> str:
    """Message of the error, without the place."""
    with pytest.raises(InputError) as caught:
        profile(described)
    message = str(caught.value)
    assert message.startswith("p.yaml:1:")
    return message.split(": ", maxsplit=1)[1]


def test_units_are_converted_to_si() -> None:
    device = profile(document()).device()
    assert device.peak_flop_per_s == 100e9
    assert device.memory.capacity_bytes == 64 * 2**30
    assert device.memory.bandwidth_bytes_per_s == 50e9
    assert device.caches is not None
    assert (device.caches.l2_bytes, device.caches.l3_bytes) == (256 * 2**10, 10 * 2**20)
    assert device.stream_bytes_per_s == 30e9
    assert device.gemm.weight_memory_bytes_per_s == 5e9
    assert device.lookup.memory_line_s == pytest.approx(5e-9)
    assert device.calls.call_s["fc"] == pytest.approx(4e-6)
    assert device.calls.recurrent_step_s == pytest.approx(14e-6)


def test_what_is_in_l3_stays_there_unless_the_profile_gives_it_a_lifetime() -> None:
    described = document()
    caches = profile(described).device().caches
    assert caches is not None
    assert caches.l3_lifetime_s == float("inf")
    described["hardware"]["l3_lifetime_ms"] = {"value": 4, "source": "measured: here"}
    caches = profile(described).device().caches
    assert caches is not None
    assert caches.l3_lifetime_s == pytest.approx(0.004)


def test_a_stack_is_taken_by_name_and_the_default_without() -> None:
    described = document()
    described["stacks"]["other"] = {**described["stacks"]["other"], "batch_range": [1, 64]}
    assert profile(described).device().batch_range == (1, 512)
    assert profile(described).device("other").batch_range == (1, 64)
    assert profile(described).device("other").stack == "other"


def test_what_a_stack_does_not_have_costs_nothing() -> None:
    device = profile(document()).device()
    assert (device.inputs.blob_s, device.inputs.index_s, device.lookup.serial_row_s) == (0.0, 0.0, 0.0)
    assert device.inputs.transfer_bytes_per_s == float("inf")
    assert device.interference.node_factor == 1.0


def test_costs_without_a_fit_are_listed_as_assumptions() -> None:
    described = document()
    described["stacks"]["plain"]["costs"]["fc_call_us"] = {"value": 4, "source": "assumed: a guess"}
    assert profile(described).device().assumptions == ("fc_call_us 4 (a guess)",)


def test_a_value_without_a_source_is_refused() -> None:
    described = document()
    del described["hardware"]["tdp_w"]["source"]
    assert error_of(described).startswith("missing key 'source' in hardware.tdp_w")


@pytest.mark.parametrize("source", ["", "page 3", "data sheet: page 3", "datasheet:", "guessed: maybe"])
def test_a_source_says_of_which_kind_it_is(source: str) -> None:
    described = document()
    described["hardware"]["tdp_w"]["source"] = source
    assert error_of(described).startswith("source: expected ")


@pytest.mark.parametrize("kind", ["datasheet", "published", "measured", "fitted", "assumed"])
def test_every_kind_of_source_is_accepted(kind: str) -> None:
    described = document()
    described["hardware"]["tdp_w"]["source"] = f"{kind}: somewhere"
    assert profile(described).hardware.tdp_w.source == f"{kind}: somewhere"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("hardware", "peak_gflop_per_s", 0),
        ("hardware", "memory_random_fraction", 1.1),
        ("hardware", "sockets", 1.5),
        ("hardware", "l3_policy", "shared"),
        ("hardware", "hyper_thread_gemm_slowdown", 0.9),
        ("costs", "gemm_efficiency", 1.2),
        ("costs", "lookup_memory_line_ns", 0),
        ("costs", "fc_call_us", -1),
    ],
)
def test_impossible_values_are_refused(section: str, key: str, value: float | str) -> None:
    described = document()
    values = described["hardware"] if section == "hardware" else described["stacks"]["plain"]["costs"]
    values[key] = {"value": value, "source": SOURCE}
    assert error_of(described).startswith("value: expected ")


def test_a_misspelt_key_is_refused() -> None:
    described = document()
    described["hardware"]["l2_kb_per_core"] = described["hardware"].pop("l2_kib_per_core")
    assert "unknown key 'l2_kb_per_core' in hardware" in error_of(described)


def test_a_gpu_needs_no_caches() -> None:
    described = {**document(), "kind": "gpu"}
    for key in CACHES:
        del described["hardware"][key]
    assert profile(described).device().caches is None


def test_a_lifetime_in_l3_needs_an_l3() -> None:
    described = document() | {"kind": "gpu"}
    for key in CACHES:
        described["hardware"].pop(key, None)
    described["hardware"]["l3_lifetime_ms"] = {"value": 4, "source": "measured: here"}
    assert error_of(described) == "l3_lifetime_ms: expected l3_mib_per_socket beside it"


def test_a_cpu_needs_caches() -> None:
    described = document()
    for key in CACHES:
        del described["hardware"][key]
    expected = "hardware: a cpu needs l2_kib_per_core, l3_mib_per_socket and l3_policy"
    assert error_of(described) == expected


@pytest.mark.parametrize("missing", CACHES)
def test_caches_come_together(missing: str) -> None:
    described = {**document(), "kind": "gpu"}
    del described["hardware"][missing]
    expected = "expected all of l2_kib_per_core, l3_mib_per_socket and l3_policy, or none"
    assert expected in error_of(described)


def test_idle_power_is_at_most_peak_power() -> None:
    described = document()
    described["hardware"]["idle_w"]["value"] = 190
    assert error_of(described) == "idle_w: expected at most peak_w, 180"


def test_the_default_stack_exists() -> None:
    described = {**document(), "default_stack": "pytorch"}
    assert error_of(described) == "default_stack: no stack 'pytorch' below; there is plain, other"


def test_a_measured_curve_becomes_seconds_over_batch_sizes() -> None:
    described = document()
    curve = {"signature": "fc:1x4x8", "batch_sizes": [1, 16], "time_us": [2.0, 5.0], "source": "measured: x"}
    described["stacks"]["plain"] = {**described["stacks"]["plain"], "measured": [curve]}
    measured = profile(described).device().measured["fc:1x4x8"]
    assert measured.batch_sizes.tolist() == [1.0, 16.0]
    assert measured.seconds == pytest.approx([2e-6, 5e-6])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"time_us": [2.0]},
            "time_us: expected one time for each batch size, got 1 times for 2 batch sizes",
        ),
        ({"batch_sizes": [16, 1]}, "batch_sizes: expected ascending batch sizes"),
        ({"batch_sizes": [1, 1]}, "batch_sizes: expected ascending batch sizes"),
    ],
)
def test_a_measured_curve_ascends_with_a_time_each(change: dict[str, Any], error: str) -> None:
    described = document()
    curve = {"signature": "fc:1x4x8", "batch_sizes": [1, 16], "time_us": [2.0, 5.0], "source": "measured: x"}
    described["stacks"]["plain"] = {**described["stacks"]["plain"], "measured": [{**curve, **change}]}
    assert error_of(described) == error


def surface_values(call: str) -> dict[str, Any]:
    """A surface that is a constant: 2 us a call."""
    terms, coordinates = law_names(call)
    return {
        "call": call,
        "law_ns": dict.fromkeys(terms, 0.0) | {"call": 2000.0},
        "coordinates": {name: {"scale": 1.0, "low": 0.0, "high": 1.0} for name in coordinates},
        "amplitude": 1.0,
        "noise": 0.1,
        "noise_ns": 0.0,
        "relative_error": 0.1,
        "calls": 12,
        "source": "measured: raw.csv",
        "residual": f"{' '.join((*coordinates, 'weight'))}\n{' '.join(['0.5'] * len(coordinates))} 0.0\n",
    }


def card_with_launches(**changes: Any) -> dict[str, Any]:
    """A card whose only surface, of layers, is a constant."""
    launches = {
        "issue_us": {"fc": {"call": 5.0, "part": 0.5}},
        "launch_latency_us": 4.0,
        "output_us": 9.0,
        "source": "measured: raw.csv",
    }
    card = document() | {"kind": "gpu"}
    card["stacks"][card["default_stack"]] |= {
        "surfaces": [surface_values("fc")],
        "launches": launches | changes,
    }
    return card


def test_what_the_host_needs_to_launch_is_read_in_seconds() -> None:
    launches = profile(card_with_launches()).device().launches
    assert launches is not None
    assert (launches.latency_s, launches.output_s) == (pytest.approx(4e-6), pytest.approx(9e-6))
    assert launches.issue["fc"].call_s == pytest.approx(5e-6)
    assert launches.issue["fc"].part_s == pytest.approx(0.5e-6)


def test_a_call_with_a_surface_and_no_issue_time_is_refused() -> None:
    with pytest.raises(InputError, match=r"issue_us.*missing or unknown \['fc', 'fx'\]"):
        profile(card_with_launches(issue_us={"fx": {"call": 5.0}}))


def test_launches_of_a_cpu_are_refused() -> None:
    with pytest.raises(InputError, match="expected kind gpu"):
        profile(card_with_launches() | {"kind": "cpu"})


def test_surfaces_without_caches_are_refused() -> None:
    card = card_with_launches()
    for key in CACHES:
        del card["hardware"][key]
    with pytest.raises(InputError, match="expected caches in hardware"):
        profile(card)
