"""Times read from surfaces: law times residual, contention, and where an answer is an extrapolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from perfmodel.costmodel.lowering import lower
from perfmodel.costmodel.moments import Mix
from perfmodel.costmodel.places import TOUCHED
from perfmodel.costmodel.service_time import batch_time
from perfmodel.costmodel.surface_times import Timed, surface_times
from perfmodel.domain.estimate import Basis
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.surface import Surface, law_names
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.prepare import find_device

LAYER = RecModel.model_validate(
    {
        "name": "layer",
        "dense_features": 8,
        "operators": (
            {"name": "layer", "kind": "mlp", "input": "dense", "widths": (8, 20), "final_activation": "none"},
        ),
    }
)
COLD = RecModel.model_validate(
    {
        "name": "cold",
        "dense_features": 8,
        "operators": (
            {"name": "layer", "kind": "mlp", "input": "dense", "widths": (8, 20), "final_activation": "none"},
            {"name": "other", "kind": "mlp", "input": "layer", "widths": (20, 16384, 16384)},
        ),
    }
)
"""A layer beside one of 1 GB of weights."""
DIMS = 10


def law(family: str, **coefficients_s: float) -> dict[str, float]:
    """A law that charges for these terms only."""
    nothing = dict.fromkeys(law_names(family).terms, 0.0)
    assert coefficients_s.keys() <= nothing.keys()
    return nothing | coefficients_s


FLAT = Surface(
    law=law("fc", call=1e-6, row_strip=16e-9),  # 1 us a call, 16 ns a row, input and strip
    scales=np.ones(DIMS),
    amplitude=0.5,
    noise=0.1,
    noise_s=0.0,
    points=np.zeros((1, DIMS)),
    weights=np.zeros(1),
    low=np.full(DIMS, -100.0),
    high=np.full(DIMS, 100.0),
    relative_error=0.05,
)
UP_TO_16_ROWS = np.array(
    [np.log(16.0) if name == "log_rows" else 100.0 for name in law_names("fc").coordinates]
)


def layer_on(device: Device, surface: Surface, batch_size: float, busy: float = 1.0) -> Timed:
    calibrated = replace(device, surfaces={"fc": surface}, co_located={"fc": {2: 1.2, 4: 1.4}})
    kernels = lower(LAYER)
    timed = surface_times(kernels, calibrated, np.array([batch_size]), np.array([busy]))
    return next(one for kernel, one in zip(kernels, timed, strict=True) if kernel.family == "fc")


def test_a_layer_takes_what_its_law_charges_with_outputs_rounded_up_to_vectors(cpu: Device) -> None:
    seconds, basis = layer_on(cpu, FLAT, 4)
    assert seconds == pytest.approx([1e-6 + 4 * 8 * 32 * 1e-9])
    assert basis is Basis.INTERPOLATED


def test_a_residual_far_wider_than_the_distance_scales_the_time(cpu: Device) -> None:
    wide = replace(FLAT, scales=np.full(DIMS, 1e9), weights=np.array([4.0 * np.log(1.5)]))
    seconds, _ = layer_on(cpu, wide, 4)
    assert seconds == pytest.approx([1.5 * 2.024e-6])  # exp(0.5^2 * 4 ln 1.5) = 1.5


def test_a_residual_far_away_leaves_the_law(cpu: Device) -> None:
    narrow = replace(FLAT, scales=np.full(DIMS, 1e-3), weights=np.array([100.0]))
    assert layer_on(cpu, narrow, 4)[0] == pytest.approx([2.024e-6])


@pytest.mark.parametrize(("busy", "factor"), [(1, 1.0), (2, 1.2), (3, 1.3), (4, 1.4), (8, 1.4)])
def test_busy_workers_slow_a_family_down_as_measured(cpu: Device, busy: int, factor: float) -> None:
    assert layer_on(cpu, FLAT, 4, busy)[0] == pytest.approx([factor * 2.024e-6])


def test_workers_who_share_a_core_take_longer_as_hyper_threads(cpu: Device) -> None:
    """All twelve on six cores: each beside another."""
    six = replace(cpu, sockets=1, cores_per_socket=6)
    apart, paired = (layer_on(six, FLAT, 4, busy)[0] for busy in (6, 12))
    assert paired == pytest.approx(1.6 * apart)


def test_beyond_twice_the_measured_range_is_an_extrapolation(cpu: Device) -> None:
    up_to_16_rows = replace(FLAT, high=UP_TO_16_ROWS)
    assert layer_on(cpu, up_to_16_rows, 31)[1] is Basis.INTERPOLATED
    assert layer_on(cpu, up_to_16_rows, 33)[1] is Basis.EXTRAPOLATED


@pytest.mark.parametrize(
    ("fc_share", "basis"),
    [(0.04, Basis.INTERPOLATED), (0.06, Basis.ASSUMED), (0.19, Basis.ASSUMED), (0.21, Basis.EXTRAPOLATED)],
)
def test_what_lies_outside_the_range_counts_by_its_share_of_the_time(
    cpu: Device, fc_share: float, basis: Basis
) -> None:
    """A layer of 33 rows, of which up to 16 were measured, beside an activation of 1 ms."""
    layer = replace(FLAT, law=law("fc", call=1e-3 * fc_share / (1.0 - fc_share)), high=UP_TO_16_ROWS)
    beside = LAYER.model_copy(
        update={"operators": (LAYER.operators[0].model_copy(update={"final_activation": "relu"}),)}
    )
    activation = replace(FLAT, law=law("activation", call=1e-3), **_of_dims(4))
    calibrated = replace(cpu, surfaces={"fc": layer, "activation.relu": activation})
    time = batch_time(beside, calibrated, np.array([33.0]))
    assert time.basis is basis
    assert time.extrapolated_share == pytest.approx(fc_share, rel=1e-3)
    assert time.extrapolated == pytest.approx({"layer": fc_share}, rel=1e-3)


def test_weights_are_read_from_memory_where_neighbours_empty_the_cache_between_passes(cpu: Device) -> None:
    cold = replace(FLAT, law=law("fc", call=10e-3, weight_beyond_l3=1e-6))
    caches = cpu.caches
    assert caches is not None
    seconds = []
    for lifetime_s in (np.inf, 1.0, 1e-3):
        shared = replace(cpu, caches=replace(caches, l3_lifetime_s=lifetime_s))
        found, _ = layer_on(shared, cold, 16)
        assert found is not None
        seconds.append(float(found[0]))
    assert seconds == pytest.approx([10e-3, 10e-3, 10e-3 + 8 * 20 * 1e-6], rel=1e-3)


def _of_dims(dims: int) -> dict[str, np.ndarray]:
    flat = {"scales": np.ones(dims), "points": np.zeros((1, dims)), "weights": np.zeros(1)}
    return flat | {"low": np.full(dims, -100.0), "high": np.full(dims, 100.0)}


def test_beyond_the_calibrated_batches_is_an_extrapolation(cpu: Device) -> None:
    assert layer_on(replace(cpu, batch_range=(1, 8)), FLAT, 9)[1] is Basis.EXTRAPOLATED


def test_no_call_is_colder_than_one_measured_after_all_that_the_caches_hold(cpu: Device) -> None:
    wide = {"scales": np.ones(DIMS), "low": np.full(DIMS, -100.0)}
    for touched_bytes, basis in ((10e6, Basis.EXTRAPOLATED), (60e6, Basis.INTERPOLATED)):
        level = float(np.log(touched_bytes / (1 + touched_bytes / 256e6)))
        high = [level if name in TOUCHED else 100.0 for name in law_names("fc").coordinates]
        surface = replace(FLAT, high=np.array(high), **wide)
        assert cpu.caches is not None
        small = replace(cpu, caches=replace(cpu.caches, l2_bytes=1e6, l3_bytes=30e6))
        kernels = lower(COLD)
        timed = surface_times(kernels, replace(small, surfaces={"fc": surface}), np.array([4.0]), np.ones(1))
        found = {one[1] for kernel, one in zip(kernels, timed, strict=True) if kernel.family == "fc"}
        assert found == {basis}, touched_bytes


@pytest.mark.parametrize(("l2_bytes", "basis"), [(1e6, Basis.INTERPOLATED), (1e3, Basis.EXTRAPOLATED)])
def test_what_half_an_l2_holds_makes_no_call_colder(cpu: Device, l2_bytes: float, basis: Basis) -> None:
    high = [np.log(500.0) if name in TOUCHED else 100.0 for name in law_names("fc").coordinates]
    assert cpu.caches is not None
    device = replace(cpu, caches=replace(cpu.caches, l2_bytes=l2_bytes, l3_bytes=30e6))
    assert layer_on(device, replace(FLAT, high=np.array(high)), 16.0)[1] is basis


def test_many_tables_take_what_each_of_them_takes_alone(cpu: Device) -> None:
    """However many are worked out together, and whatever the order: only sizes are told apart here."""
    dims = len(law_names("embedding_bag").coordinates)
    coefficients = law(
        "embedding_bag", call=1e-6, row=1e-8, line_beyond_l2_least_1=1e-8, page_beyond_tlb1=1e-8
    )
    surface = replace(FLAT, law=coefficients, **_of_dims(dims))
    device = replace(cpu, surfaces={"embedding_bag.pooled": surface, "embedding_bag.sequence": surface})
    tables = [
        {"num_rows": 1000 + 977 * index, "dim": 16, "pooling_factor": 1 + index % 7} for index in range(700)
    ]

    def seconds(order: Sequence[int]) -> dict[float, list[float]]:
        rows = tuple(tables[index] for index in order)
        tower = {"name": "e", "kind": "embedding_bag", "tables": rows}
        kernels = lower(RecModel.model_validate({"name": "many", "operators": (tower,)}))
        timed = surface_times(kernels, device, np.array([2.0, 9.0]), np.ones(2))
        pairs = zip(kernels, timed, strict=True)
        return {k.gather.num_rows: list(one[0]) for k, one in pairs if k.gather and one[0] is not None}

    forwards, backwards = seconds(range(700)), seconds(range(699, -1, -1))
    assert len(forwards) == 700
    assert all(found == pytest.approx(backwards[size], rel=1e-12) for size, found in forwards.items())


def test_a_kind_of_call_without_a_surface_has_no_time(cpu: Device) -> None:
    kernels = lower(LAYER)
    bare = replace(cpu, surfaces={"softmax": FLAT})
    timed = surface_times(kernels, bare, np.array([4.0]), np.array([1.0]))
    found = [one for kernel, one in zip(kernels, timed, strict=True) if kernel.family == "fc"]
    assert found == [(None, Basis.EXTRAPOLATED)]


def test_small_requests_among_large_ones_find_their_weights_gone_and_large_ones_hardly_notice(
    cpu: Device,
) -> None:
    by_weight = replace(FLAT, law=law("fc", call=1e-3, weight_beyond_l3=1e-6))
    caches = cpu.caches
    assert caches is not None
    small_cache = replace(cpu, caches=replace(caches, l2_bytes=1e3, l3_bytes=50e3, exclusive=False))
    calibrated = replace(small_cache, surfaces={"fc": by_weight})
    sizes = np.array([4.0, 2000.0])  # 2000 items: 224 kB

    def seconds(mix: Mix | None) -> np.ndarray:
        found = surface_times(lower(LAYER), calibrated, sizes, np.ones(2), mix)
        return next(one for one, _ in found if one is not None and one.all())

    loop = seconds(None)
    mixed = seconds(Mix(batch_size=np.array([4.0, 2000.0]), share=np.array([0.1, 0.9]), workers=1.0))
    assert mixed[0] > 1.1 * loop[0]
    assert mixed[1] == pytest.approx(loop[1], rel=0.02)


def test_of_many_workers_times_lie_on_straight_lines_between_four_shares_of_busy_ones(cpu: Device) -> None:
    """Nine workers beside pauses: one, three, six and ten busy ones are looked up, the rest lies between."""
    waiting = replace(FLAT, law=law("fc", call=1e-3, weight_beyond_l3=20e-6))
    caches = cpu.caches
    assert caches is not None
    ample = replace(cpu.memory, bandwidth_bytes_per_s=1e15)  # no worker slows another down
    shared = replace(cpu, caches=replace(caches, l3_lifetime_s=20e-3), memory=ample)
    shared = replace(shared, sockets=1, cores_per_socket=10)
    calibrated = replace(shared, surfaces={"fc": waiting}, co_located={})
    mix = Mix(batch_size=np.array([16.0]), share=np.ones(1), workers=9.0)

    def seconds(*busy: float) -> np.ndarray:
        found = surface_times(lower(LAYER), calibrated, np.full(len(busy), 16.0), np.array(busy), mix)
        return next(one for one, _ in found if one is not None and one.all())

    few = seconds(1.0, 3.0, 6.0, 10.0)
    assert few[0] > 1.2 * few[1] > 1.1 * few[2]  # the longer the pauses, the more is gone
    many = seconds(*range(1, 11))
    assert many[[0, 2, 5, 9]] == pytest.approx(few)
    assert many[1] == pytest.approx((few[0] + few[1]) / 2)
    assert many[3] == pytest.approx((2 * few[1] + few[2]) / 3)
    assert many[7] == pytest.approx((few[2] + few[3]) / 2)


def test_reading_the_same_memory_slows_workers_down_where_it_does_not_suffice(cpu: Device) -> None:
    # 640 bytes of weights from memory in 0.1 us: 6.4 GB/s, all of what a socket gives
    reading = replace(FLAT, law=law("fc", call=100e-9))
    caches = cpu.caches
    assert caches is not None
    cold = replace(cpu, caches=replace(caches, l2_bytes=1.0, l3_bytes=1.0), sockets=1)
    calibrated = replace(cold, surfaces={"fc": reading})
    busy = np.array([1.0, 2.0, 4.0])
    found = surface_times(lower(LAYER), calibrated, np.full(3, 4.0), busy)
    seconds = next(one for one, _ in found if one is not None and one.all())
    assert seconds[0] == pytest.approx(100e-9)
    # 64 % of the time is reading, at 10 GB/s; four ask for four times what there is
    assert 1.2 < seconds[1] / seconds[0] < 1.7
    assert 2.0 < seconds[2] / seconds[0] < 3.3


def test_a_recurrent_layer_takes_its_time_step_by_step(cpu: Device) -> None:
    def layer(steps: int) -> RecModel:
        operators = (
            {
                "name": "rows",
                "kind": "embedding_bag",
                "pooling": "none",
                "tables": ({"num_rows": 100, "dim": 8, "pooling_factor": steps},),
            },
            {"name": "states", "kind": "gru", "input": "rows", "hidden_size": 16},
        )
        return RecModel.model_validate({"name": "steps", "operators": operators})

    by_step = law("recurrent", call=20e-6, step=5e-6, state_multiply_add=1e-9)
    surface = replace(FLAT, law=by_step, **_of_dims(7))
    calibrated = replace(cpu, surfaces={"recurrent.gru": surface})
    for steps in (10, 20):
        timed = surface_times(lower(layer(steps)), calibrated, np.array([4.0]), np.ones(1))
        seconds = [one for one, _ in timed if one is not None and one.all()]
        assert seconds == [pytest.approx([20e-6 + steps * (5e-6 + 4 * 256e-9)])]


FUSED_ATTENTION = RecModel.model_validate(
    {
        "name": "attention",
        "operators": (
            {
                "name": "rows",
                "kind": "embedding_bag",
                "pooling": "none",
                "tables": ({"num_rows": 100, "dim": 16, "pooling_factor": 5},),
            },
            {
                "name": "attend",
                "kind": "attention",
                "query": "rows",
                "num_heads": 2,
                "projected": False,
                "fused": True,
            },
        ),
    }
)
"""Of each item two heads of five queries and five keys, of eight elements."""


def attention_on(device: Device) -> Timed:
    kernels = lower(FUSED_ATTENTION)
    timed = surface_times(kernels, device, np.array([4.0]), np.ones(1))
    return next(one for kernel, one in zip(kernels, timed, strict=True) if kernel.family == "batch_matmul")


def test_attention_in_one_call_takes_what_its_own_law_charges(cpu: Device) -> None:
    charged = law("batch_matmul.fused", call=5e-6, score_strip=7e-9)  # five keys: strips of 4 and 1
    own = replace(FLAT, law=charged, **_of_dims(6))
    seconds, basis = attention_on(replace(cpu, surfaces={"batch_matmul.fused": own}))
    assert seconds == pytest.approx([5e-6 + 4 * 2 * 5 * 2 * 7e-9])
    assert basis is Basis.INTERPOLATED


def test_attention_in_one_call_that_nobody_measured_takes_what_its_parts_take(cpu: Device) -> None:
    scores = law("batch_matmul.scores", multiply_add=1e-9)
    weights = law("softmax", element=3e-9)
    values = law("batch_matmul.values", multiply_add=2e-9)
    surfaces = {
        "batch_matmul.scores": replace(FLAT, law=scores, **_of_dims(6)),
        "softmax": replace(FLAT, law=weights, **_of_dims(5)),
        "batch_matmul.values": replace(FLAT, law=values, **_of_dims(6)),
    }
    seconds, basis = attention_on(replace(cpu, surfaces=surfaces))
    assert seconds == pytest.approx([4 * 2 * 5 * 5 * (8 * 1e-9 + 3e-9 + 8 * 2e-9)])
    assert basis is Basis.ASSUMED
    del surfaces["softmax"]
    assert attention_on(replace(cpu, surfaces=surfaces)) == (None, Basis.EXTRAPOLATED)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("amd-epyc-turin-2c", ["attention in one call was not measured on amd-epyc-turin-2c; assumed: "]),
        ("amd-epyc-turin-2c-modules", []),
        ("skylake", []),  # formulas
    ],
)
def test_an_answer_says_that_attention_in_one_call_was_not_measured(profile: str, said: list[str]) -> None:
    found = latency_table(FUSED_ATTENTION, find_device(profile, FUSED_ATTENTION), (1, 64))
    assert [note[: len(begin)] for note, begin in zip(found.notes, said, strict=True)] == said
    assert any(row.basis is Basis.ASSUMED for row in found.rows) == bool(said)
