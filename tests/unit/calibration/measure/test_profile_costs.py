"""Constants of the formulas, read off the laws by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.fingerprint import fingerprint
from calibration.measure.calibration import _co_located
from calibration.measure.profile import _bandwidth_source, multiply_add_seconds, profile_values
from perfmodel.domain.surface import Surface, law_names
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.units import NS

LAWS_NS = {
    # a multiply-add: 1, and as much again for its share of a strip of 16, a block of 4, and of both
    "fc": {
        "call": 2000.0,
        "multiply_add": 1.0,
        "row_strip": 16.0,
        "block_output": 4.0,
        "block_strip": 64.0,
        "weight": 40.0,
    },
    "embedding_bag.pooled": {
        "call": 3000.0,
        "bag": 5.0,
        "row": 99.0,
        "line": 0.5,
        "line_beyond_l2_least_1": 0.1,
        "line_beyond_l2_least_2": 0.2,
        "line_beyond_l2_least_4": 0.4,
        "line_beyond_l3_least_1": 1.0,
        "line_beyond_l3_least_2": 2.0,
        "line_beyond_l3_least_4": 4.0,
    },
    "concat.features": {"call": 1000.0, "piece": 300.0, "byte": 99.0, "item_piece": 0.6},
    "activation.relu": {"call": 800.0, "element": 4.0},
    "recurrent.gru": {"call": 99.0, "step": 6000.0},
    "softmax": {"call": 99.0, "row": 7.0, "element": 0.3, "vector": 99.0},
    "batch_matmul.pairs": {"call": 99.0, "product": 22.0},
}
FACTS = {
    "bandwidth_bytes_per_s": 0.05e9,
    "peak_flop_per_s": 1e11,
    "relative_error": 0.1,
    "error_correlation": 0.2,
    "spread_between_passes": 0.03,
}


def surface(call: str) -> Surface:
    terms, coordinates = law_names(call)
    given = LAWS_NS[call]
    assert given.keys() <= terms.keys()
    dims = len(coordinates)
    return Surface(
        law={term: given.get(term, 0.0) * NS for term in terms},
        scales=np.ones(dims),
        amplitude=0.5,
        noise=0.1,
        noise_s=0.0,
        points=np.zeros((1, dims)),
        weights=np.zeros(1),
        low=np.zeros(dims),
        high=np.ones(dims),
        relative_error=0.05,
    )


def costs(*calls: str) -> dict[str, float]:
    values = profile_values(
        name="made",
        taken=fingerprint(),
        surfaces={call: surface(call) for call in calls},
        calls=dict.fromkeys(calls, 12),
        co_located={},
        facts=FACTS,
        raw="raw.csv",
    )
    return {key: entry["value"] for key, entry in values["stacks"]["pytorch"]["costs"].items()}


def test_each_constant_is_what_the_law_charges_under_a_name() -> None:
    assert multiply_add_seconds({"fc": surface("fc")}) == pytest.approx(4 * NS)
    assert costs(*LAWS_NS) == pytest.approx(
        {
            "gemm_efficiency": 1.0,
            "gemm_half_width": 0.0,
            "gemm_half_rows": 10.0,  # a weight takes as long as so many multiply-adds
            "weight_l2_gb_per_s": 0.1,  # 4 bytes in 40 ns
            "weight_l3_gb_per_s": 0.1,
            "weight_memory_gb_per_s": 0.05,  # as fast as memory is read
            "stream_gb_per_s": 2.0,  # 4 bytes in and 4 out in 4 ns
            "lookup_bag_ns": 5.0,
            "lookup_cached_line_ns": 1.2,
            "lookup_memory_line_ns": 8.2,
            "fc_call_us": 2.0,
            "embedding_bag_call_us": 3.0,
            "concat_call_us": 1.0,
            "elementwise_call_us": 0.8,
            "concat_piece_us": 0.3,
            "concat_row_piece_ns": 0.6,
            "recurrent_step_us": 6.0,
            "softmax_row_ns": 7.0,
            "softmax_element_ns": 0.3,
            "small_product_ns": 22.0,
        }
    )


def test_kinds_that_were_not_measured_cost_nothing_and_stream_at_the_fastest_rate() -> None:
    found = costs("fc")
    assert (found["lookup_bag_ns"], found["softmax_row_ns"], found["concat_call_us"]) == (0.0, 0.0, 0.0)
    assert found["stream_gb_per_s"] == 1000.0
    assert found["lookup_memory_line_ns"] == 0.01  # a rate cannot be infinite


def test_slow_downs_beside_more_workers_are_no_less() -> None:
    measured = {"co_located.concat.2": 1.2, "co_located.concat.4": 0.9, "co_located.concat.16": 1.5}
    # 0.9 is no speed-up, and 1.2 above it is noise: the two counts share their mean.
    assert _co_located({**measured, "bandwidth_bytes_per_s": 1e10}) == {"concat": {2: 1.1, 4: 1.1, 16: 1.5}}


def test_a_bandwidth_that_no_workers_reached_is_assumed() -> None:
    read = {"shared.stream.2": 12e9, "shared.stream.16": 8e9, "shared.rows.16": 4e9}
    source = "measured: here.measured.csv"
    assert _bandwidth_source(150.0, read, source) == source  # 16 x 8 = 128 GB/s were read
    found = _bandwidth_source(676.0, read, source)
    assert found.startswith("assumed: 16 workers read at most 128 GB/s together (here.measured.csv)")
    assert _bandwidth_source(38.0, {}, source) == source  # one worker, whose own reads these are


def test_threads_are_stated_as_shares_with_the_times_behind_them() -> None:
    values = profile_values(
        name="made",
        taken=fingerprint(),
        surfaces={"fc": surface("fc")},
        calls={"fc": 12},
        co_located={},
        facts=FACTS,
        raw="raw.csv",
        threaded={"fc": {2: 0.6}, "concat": {2: 3.0}},
    )
    stated = values["stacks"]["pytorch"]["thread_scaling"]
    assert stated["fc"]["value"] == pytest.approx(0.8)
    assert stated["concat"]["value"] == 0.0
    assert stated["concat"]["source"].endswith("over those on one thread: 3 on 2")
    section = ProfileFile.model_validate_json(json.dumps(values)).stacks["pytorch"]
    assert {family: entry.value for family, entry in section.thread_scaling.items()} == {
        "fc": pytest.approx(0.8),
        "concat": 0.0,
    }
