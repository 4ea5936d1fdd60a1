"""A CPU and a GPU with round numbers, so that every expected time can be worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perfmodel.costmodel.timing import Conditions
from perfmodel.domain.hardware import (
    Caches,
    CallCosts,
    Device,
    GemmCosts,
    InputCosts,
    Interference,
    LookupCosts,
    Memory,
    Power,
)
from perfmodel.domain.model import RecModel

MakeModel = Callable[..., RecModel]
MakeConditions = Callable[..., Conditions]


@pytest.fixture
def cpu() -> Device:
    """2 x 4 cores; 50 GFLOP/s of large products; a 64-byte line 2 ns from cache, 20 ns from memory."""
    return Device(
        name="cpu1",
        kind="cpu",
        stack="plain",
        sockets=2,
        cores_per_socket=4,
        peak_flop_per_s=100e9,
        stream_bytes_per_s=10e9,
        memory=Memory(
            capacity_bytes=2.0**30,
            bandwidth_bytes_per_s=10e9,
            random_fraction=0.64,  # 6.4 GB/s, twice what one worker's lookups ask for
            saturation_sharpness=4.0,
        ),
        power=Power(tdp_w=100.0, idle_w=40.0, peak_w=100.0),
        gemm=GemmCosts(
            efficiency=0.5,
            half_width=0.0,
            half_rows=10.0,
            weight_l2_bytes_per_s=80e9,
            weight_l3_bytes_per_s=50e9,
            weight_memory_bytes_per_s=10e9,
        ),
        lookup=LookupCosts(bag_s=10e-9, cached_line_s=2e-9, memory_line_s=20e-9),
        calls=CallCosts(
            call_s={"fc": 1e-6, "embedding_bag": 2e-6, "concat": 3e-6, "elementwise": 4e-6},
            concat_row_piece_s=5e-9,
            recurrent_step_s=10e-6,
            softmax_row_s=7e-9,
            softmax_element_s=1e-9,
            small_product_s=100e-9,
        ),
        inputs=InputCosts(blob_s=10e-6, bag_s=100e-9, index_s=10e-9, dense_element_s=1e-9),
        caches=Caches(l2_bytes=1e6, l3_bytes=10e6, exclusive=False),
        interference=Interference(hyper_thread_gemm=1.6, hyper_thread_lookup=1.3),
        batch_range=(1, 1024),
    )


@pytest.fixture
def gpu() -> Device:
    """One card: 5 TFLOP/s, 200 GB/s, 10 GB/s from the host; launches of 5 us, rows of a bag in a chain."""
    return Device(
        name="gpu1",
        kind="gpu",
        stack="plain",
        sockets=1,
        cores_per_socket=1,
        peak_flop_per_s=10e12,
        stream_bytes_per_s=200e9,
        memory=Memory(capacity_bytes=2.0**30, bandwidth_bytes_per_s=250e9),
        power=Power(tdp_w=250.0, idle_w=50.0, peak_w=250.0),
        gemm=GemmCosts(
            efficiency=0.5,
            half_width=0.0,
            half_rows=10.0,
            weight_l2_bytes_per_s=1.0,  # never used: no caches
            weight_l3_bytes_per_s=1.0,
            weight_memory_bytes_per_s=200e9,
        ),
        lookup=LookupCosts(bag_s=10e-9, cached_line_s=1.0, memory_line_s=0.5e-9, serial_row_s=50e-9),
        calls=CallCosts(
            call_s={"fc": 5e-6, "embedding_bag": 5e-6, "concat": 5e-6, "elementwise": 5e-6},
            concat_piece_s=2e-6,
        ),
        inputs=InputCosts(
            blob_s=10e-6, bag_s=100e-9, index_s=10e-9, dense_element_s=1e-9, transfer_bytes_per_s=10e9
        ),
        interference=Interference(hyper_thread_gemm=1.0, hyper_thread_lookup=1.0),
    )


@pytest.fixture
def conditions() -> MakeConditions:
    """Make conditions: weights all in L3, rows in memory, page entries in L2, unless told otherwise."""

    def make(
        *,
        in_l2: float = 0.0,
        in_l3: float = 1.0,
        hit: float = 0.0,
        entries_in_l2: float = 1.0,
        entries_in_l3: float = 0.0,
        memory_slowdown: float = 1.0,
        gemm_slowdown: float = 1.0,
        lookup_slowdown: float = 1.0,
        input_slowdown: float = 1.0,
    ) -> Conditions:
        return Conditions(
            weights_in_l2=np.array(in_l2),
            weights_in_l3=np.array(in_l3),
            row_hit_rates=defaultdict(lambda: np.array(hit)),
            entries_in_l2=np.array(entries_in_l2),
            entries_in_l3=np.array(entries_in_l3),
            memory_slowdown=np.array(memory_slowdown),
            gemm_slowdown=np.array(gemm_slowdown),
            lookup_slowdown=np.array(lookup_slowdown),
            input_slowdown=np.array(input_slowdown),
        )

    return make


@pytest.fixture
def model_of() -> MakeModel:
    """Make a model from operators written as in a model file."""

    def make(*operators: dict[str, Any], dense_features: int = 0, name: str = "m") -> RecModel:
        document = {"name": name, "dense_features": dense_features, "operators": list(operators)}
        return RecModel.model_validate_json(json.dumps(document))

    return make
