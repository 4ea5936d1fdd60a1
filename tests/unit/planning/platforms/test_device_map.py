"""Which device is the best: ranks, factors and probabilities by hand, times as `latency` has them."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from perfmodel.costmodel.service_time import batch_time
from perfmodel.domain.estimate import Basis
from perfmodel.errors import ExtrapolationError, InputError
from perfmodel.planning.breakdown import latency_table
from perfmodel.planning.platforms.answer import Cell, Compared
from perfmodel.planning.platforms.named import named_map
from perfmodel.planning.prepare import find_devices, find_model


def cell(device: str, worth: float | None, *, error: float = 0.0) -> Cell:
    seconds = None if worth is None else 1.0 / worth
    return Cell(device=device, stack=None, seconds=seconds, worth=worth, error=error, basis=Basis.FITTED)


def row(*cells: Cell) -> Compared:
    return Compared(model="m", batch_size=1, cells=cells)


def test_the_best_and_the_factor_over_the_second() -> None:
    found = row(cell("a", 2.0), cell("b", None), cell("c", 8.0), cell("d", 4.0))
    assert found.best is not None
    assert found.second is not None
    assert (found.best.device, found.second.device, found.factor) == ("c", "d", 2.0)
    assert found.probability == 1.0


def test_of_equals_the_first_is_named_and_neither_is_more_probable() -> None:
    found = row(cell("a", 3.0), cell("b", 3.0))
    assert found.best is not None
    assert (found.best.device, found.factor, found.probability) == ("a", 1.0, 0.5)


def test_a_lead_of_the_errors_size_is_as_probable_as_the_normal_law_says() -> None:
    found = row(cell("a", 2.0, error=0.6 * log(2)), cell("b", 1.0, error=0.8 * log(2)))
    assert found.probability == pytest.approx(0.8413, abs=1e-4)


def test_alone_there_is_no_second() -> None:
    found = row(cell("a", 2.0), cell("b", None))
    assert (found.second, found.factor, found.probability) == (None, None, None)


def test_times_are_those_of_latency_and_cross_where_published() -> None:
    """HPCA 2020: Broadwell leads in small batches, Skylake's wider vectors in large ones."""
    found = named_map(["hpca-rmc3"], ["broadwell", "skylake"], [16, 256])
    assert [each.best.device for each in found.rows if each.best is not None] == ["broadwell", "skylake"]
    model = find_model("hpca-rmc3")
    for at, device in enumerate(find_devices(["broadwell", "skylake"], model)):
        table = latency_table(model, device, (16, 256))
        assert [each.cells[at].seconds for each in found.rows] == [each.seconds for each in table.rows]


def test_efficiency_is_of_a_device_all_of_which_is_busy() -> None:
    found = named_map(["wnd"], ["broadwell", "gtx1080ti"], [64], by="efficiency")
    model = find_model("wnd")
    (cores, card), (row,) = find_devices(["broadwell", "gtx1080ti"], model), found.rows
    busy_s = float(batch_time(model, cores, np.array([64.0]), 28.0).seconds[0])
    assert row.cells[0].worth == pytest.approx(28 * 64 / busy_s / cores.power.tdp_w)
    alone_s = float(batch_time(model, card, np.array([64.0])).seconds[0])
    assert row.cells[1].worth == pytest.approx(64 / alone_s / card.power.tdp_w)
    by_latency = named_map(["wnd"], ["broadwell", "gtx1080ti"], [64]).rows[0]
    assert by_latency.cells[0].seconds is not None
    assert busy_s > by_latency.cells[0].seconds, "all cores at work slow each other down"


def test_what_does_not_fit_is_left_out_and_said() -> None:
    found = named_map(["dlrm-v2", "wnd"], ["broadwell", "gtx1080ti"], [1])
    first, second = found.rows
    assert first.best is not None
    assert (first.best.device, first.factor) == ("broadwell", None)
    assert second.factor is not None
    assert any(note.startswith("dlrm-v2 does not fit gtx1080ti: needs 97.4 GiB") for note in found.notes)


def test_times_outside_the_calibrated_range_are_asked_for_and_counted() -> None:
    with pytest.raises(ExtrapolationError, match="batch 4096 is outside the calibrated range of broadwell"):
        named_map(["wnd"], ["broadwell", "gtx1080ti"], [64, 4096])
    found = named_map(["wnd"], ["broadwell", "gtx1080ti"], [64, 4096], extrapolate=True)
    assert [each.is_extrapolated for each in found.rows] == [False, True]
    assert found.num_extrapolated == 2
    near, far = (each.cells[0].error for each in found.rows)
    assert far == pytest.approx((near**2 + log(2) ** 2) ** 0.5)


def test_a_model_has_one_stack_on_all_devices() -> None:
    found = named_map(["wnd", "hpca-rmc1"], ["broadwell", "skylake"], [1])
    assert [{each.stack for each in row.cells} for row in found.rows] == [{"hpca2020"}, {"hpca2020"}]
    with pytest.raises(InputError, match="expected one software stack for all devices"):
        named_map(["wnd"], ["skylake", "t4"], [1])
    mixed = named_map(["wnd"], ["skylake", "t4"], [1], mixed_stacks=True)
    assert len({each.stack for each in mixed.rows[0].cells}) == 2


@pytest.mark.parametrize(
    ("models", "on", "batch_sizes", "expected"),
    [
        (["wnd", "wnd"], ["t4", "v100"], [1], "--models: 'wnd' is named twice"),
        (["wnd"], ["t4"], [1], "--on: expected two devices or more to compare, got 1"),
        (["wnd"], ["t4", "v100"], [1, 1], "--batch: expected each size once"),
        (["dlrm-v2"], ["t4", "v100"], [1], "--on: dlrm-v2 does not fit t4"),
    ],
)
def test_nothing_to_compare_is_refused(
    models: list[str], on: list[str], batch_sizes: list[int], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        named_map(models, on, batch_sizes)


def test_ranks_do_not_depend_on_the_order_of_devices() -> None:
    one = named_map(["wnd", "din"], ["broadwell", "gtx1080ti"], [1, 64])
    other = named_map(["wnd", "din"], ["gtx1080ti", "broadwell"], [1, 64])
    assert [(a.best.device if a.best else None, a.factor) for a in one.rows] == [
        (b.best.device if b.best else None, b.factor) for b in other.rows
    ]
    assert replace(one.rows[0], cells=one.rows[0].cells[::-1]) == other.rows[0]
